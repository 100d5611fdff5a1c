"""A program as a file for people: TOML with its kind, settings, points currencies and rules.

The words are those of the API. What differs: several conditions that must all hold are written one below the other
as `[[rules.when]]`, and a limit that may be switched off is written "off". docs/rules.md#files shows a whole file.
"""

import re
import tomllib
from datetime import date, time
from typing import Any

import msgspec

from loyalty.base.errors import Fault
from loyalty.posting.configuration import Configuration
from loyalty.programs.types import ConfigurationInvalid, PointsCurrency, Policies, ProgramKind, ProgramSettings
from loyalty.rules.types import Rule, Ruleset

_COLUMNS = 110
OFF = "off"


class _Program(msgspec.Struct, forbid_unknown_fields=True):
    """The table `[program]`: its kind and the settings that are not lists."""

    kind: ProgramKind
    name: str
    zone: str
    money: str
    policies: Policies = Policies()


class _File(msgspec.Struct, forbid_unknown_fields=True):
    program: _Program
    points_currencies: list[PointsCurrency]
    ruleset_version: int = 0
    excluded: Any = None
    rules: list[Rule] = []


def load(text: str) -> tuple[ProgramKind, Configuration]:
    """The program that a file describes.

    Only its form is looked at: whether it can be published is the business of posting/validate.py.
    Raises: ConfigurationInvalid whose fault names the line, or the place as a JSON pointer and its line.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationInvalid(f"This is not TOML: {error}") from error
    ...
