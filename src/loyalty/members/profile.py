"""What a profile may hold, checked and brought to one form before it is written.

Pure. Attributes are a program's own words about a person: texts, whole numbers, yes and no.
"""

import re
from datetime import date
from typing import Any

import msgspec

from loyalty.base.errors import Fault
from loyalty.base.text import TextFault, clean
from loyalty.members.types import Profile, ProfileInvalid

NAME_MAX = 120
ATTRIBUTES_MAX = 50
TEXT_MAX = 500
NUMBER_MAX = 2**53 - 1
BORN_FIRST = date(1900, 1, 1)

# Language, script and country of BCP 47, as browsers and phones send them.
_LOCALE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?")
_ATTRIBUTE = re.compile(r"[a-z][a-z0-9_]{0,63}")


def normalise_profile(profile: Profile, today: date, pointer: str = "") -> Profile:
    """The profile with its texts in one form; `pointer` is where it stands in the body.

    Raises: ProfileInvalid with every fault.
    """
    faults: list[Fault] = []
    name = profile.name
    if name is not None:
        name = _text(name, NAME_MAX, f"{pointer}/name", faults)
    if profile.locale is not None and not _LOCALE.fullmatch(profile.locale):
        faults.append(Fault(f"{pointer}/locale", "invalid_locale", "A locale looks like `de` or `de-AT`."))
    if profile.birthday_on is not None and not BORN_FIRST <= profile.birthday_on <= today:
        detail = "A birthday lies between 1900 and today."
        faults.append(Fault(f"{pointer}/birthday_on", "out_of_range", detail))
    if len(profile.attributes) > ATTRIBUTES_MAX:
        detail = f"At most {ATTRIBUTES_MAX} attributes are kept."
        faults.append(Fault(f"{pointer}/attributes", "too_many", detail))
        raise ProfileInvalid(faults=tuple(faults))
    attributes: dict[str, Any] = {}
    for key, value in profile.attributes.items():
        at = f"{pointer}/attributes/{_escaped(key[:64])}"
        if not _ATTRIBUTE.fullmatch(key):
            detail = "A name has small letters, digits and _ and begins with a letter."
            faults.append(Fault(at, "invalid_name", detail))
        attributes[key] = _value(value, at, faults)
    if faults:
        raise ProfileInvalid(faults=tuple(faults))
    return msgspec.structs.replace(profile, name=name, attributes=attributes)


def _value(value: Any, at: str, faults: list[Fault]) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) > NUMBER_MAX:
            faults.append(Fault(at, "out_of_range", "Whole numbers go up to 9,007,199,254,740,991."))
        return value
    if isinstance(value, str):
        return _text(value, TEXT_MAX, at, faults)
    faults.append(Fault(at, "invalid_type", "A value is a text, a whole number, true or false."))
    return None


def _text(raw: str, most: int, at: str, faults: list[Fault]) -> str | None:
    try:
        return clean(raw, most)
    except TextFault as fault:
        faults.append(Fault(at, fault.code, fault.detail))
        return None


def _escaped(key: str) -> str:
    """A key as JSON pointers write it; what cannot be shown is left out."""
    shown = "".join(character for character in key if character.isprintable())
    return shown.replace("~", "~0").replace("/", "~1")
