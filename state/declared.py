"""What every part of a declaration is: a model of pydantic, written as people write YAML."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel


class Declared(BaseModel):
    """A part of what a person wrote: camelCase in YAML, unknown keys refused, never changed afterwards.

    A known key without a value (`models:` with everything under it commented out) is as good as left out.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=False,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_left_out(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        known = {field.alias for field in cls.model_fields.values()}
        return {k: v for k, v in data.items() if v is not None or k not in known}
