"""The settings, with all that a form needs, and what became of a change to them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from api.schemas.base import Shape
from api.schemas.plans import PlanShape


class FieldShape(Shape):
    """One setting. `readOnly` says why it can't be changed here; it is null where it can."""

    name: str = Field(examples=["settings.scanInterval"])
    type: str = Field(description="in words", examples=["duration"])
    unit: str | None = Field(description="what a plain number counts", examples=["seconds"])
    json_schema: dict[str, Any] = Field(alias="schema", description="of a value, as JSON Schema")
    default: Any
    base: Any = Field(description="what it is when nothing is saved: from the environment, else the default")
    help: str
    allowed: list[str] = Field(description="what may be written, in words", examples=[["at least 1s", "at most 1h"]])
    steers: str = Field(description="the part of the product that it steers")
    variables: list[str] = Field(description="environment variables that it may come from, read at the start")
    flag: str | None = Field(description="option of `sparkkeep serve`")
    source: Literal["saved", "environment", "default", "command line"]
    place: str | None = Field(description="where it stands: file, line and column, or the variable")
    live: bool = Field(description="a change takes effect at once")
    read_only: str | None


class SettingsShape(Shape):
    """All of them. A value is written as in YAML (`45s`, `8GiB`), and a plain number is taken as well."""

    fields: list[FieldShape]
    values: dict[str, Any] = Field(examples=[{"settings.scanInterval": "45s", "guards.maxDestructive": 10}])
    tag: str | None = Field(description="of what is saved, for If-Match; null while a file can't be read")


class SettingsChangedShape(SettingsShape):
    """All of them after a change, or as they would be with `dryRun`."""

    dry_run: bool
    revision: str = Field(description="of the desired state in force now, or that would be")
    commit: str | None = Field(description="null where nothing had to be committed")
    plan: PlanShape = Field(description="what is to do now, or would be")
