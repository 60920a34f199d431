"""What the shapes have in common: names as they stand in JSON, and how a route says what it answers with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Shape(BaseModel):
    """An object in an answer. Its fields are named `likeThis` there."""

    model_config = ConfigDict(alias_generator=to_camel)


def answer(
    shape: type[BaseModel], status: int = 200, *, example: Any = None, links: Mapping[str, Any] | None = None
) -> dict[int | str, dict[str, Any]]:
    """For OpenAPI: a route answers with that shape; `links` say what its answer is good for."""
    said: dict[str, Any] = {"model": shape}
    if example is not None:
        said["content"] = {"application/json": {"example": example}}
    if links is not None:
        said["links"] = dict(links)
    return {status: said}


def link(operation: str, *, body: Mapping[str, str] | None = None, **parameters: str) -> dict[str, Any]:
    """For OpenAPI: that operation takes these parts of the request and of the answer."""
    said: dict[str, Any] = {"operationId": operation, "parameters": parameters}
    return said if body is None else {**said, "requestBody": dict(body)}
