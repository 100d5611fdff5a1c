"""Engagement's words: what we tell others happened, in the JSON form of CloudEvents 1.0."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct


class EngagementEvent(Struct, frozen=True):
    """One engagement event. `lane` and `position` say its place: positions of a lane are dense and rise."""

    id: UUID
    source: str  # the program
    type: str
    time: datetime  # when it happened
    data: dict[str, Any]
    lane: int
    position: int
    recordedat: datetime
    decisionid: UUID
    subject: UUID | None = None  # the member, if it is about one
    specversion: Literal["1.0"] = "1.0"
    datacontenttype: Literal["application/json"] = "application/json"


class FeedPlace(Struct, frozen=True):
    """How far a reader is: of each lane the last position read, under one generation of lanes."""

    generation: int
    positions: tuple[int, ...]
