"""The desired state, and what became of a change to it."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field, RootModel
from pydantic.alias_generators import to_camel

from api.errors import Refusal
from api.schemas.base import Shape
from api.schemas.plans import PlanShape


class PartShape(RootModel[dict[str, Any]]):
    """A part of the desired state as it stands in the file."""


class ChangedShape(Shape):
    """A change that was made, or with `dryRun` would be. `commit` is null where nothing had to be committed."""

    dry_run: bool
    revision: str = Field(description="of the desired state in force now, or that would be")
    commit: str | None
    tag: str | None = Field(description="of the part from now on; null if it is gone")
    value: Any = Field(description="the part from now on; null if it is gone")
    plan: PlanShape = Field(description="what is to do now, or would be")


class StaleShape(Refusal):
    """The part has changed since the tag was given out: this is what it is now."""

    model_config = ConfigDict(alias_generator=to_camel)

    tag: str | None
    current: Any
