"""Every place of a request in which a string can stand, from the types of the official SDKs, each as a whole request."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ForwardRef,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from typing_extensions import is_typeddict

Json = Any
PIXEL = "data:image/png;base64," + "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk" * 2
PLAIN = {"url": PIXEL, "image_url": PIXEL, "file_data": "data:text/plain;base64,aGVsbG8=", "media_type": "text/plain"}
DEEPEST = 2  # times that a type may stand inside itself


def places(shape: Any, canary: Json, within: tuple[Any, ...] = (), name: str = "") -> Iterator[tuple[str, Json]]:
    """(where, request) with the canary in one place each, and nothing else beside it but what must be there."""
    origin, arguments = get_origin(shape), get_args(shape)
    if origin in {Annotated, Required, NotRequired}:
        yield from places(arguments[0], canary, within, name)
    elif origin in {Union, UnionType}:
        for arm in arguments:
            yield from places(arm, canary, within, name)
    elif is_typeddict(shape):
        if within.count(shape) < DEEPEST:
            yield from _fields(shape, canary, (*within, shape))
    elif origin is dict or shape is dict:
        yield "{key}", {canary: 1}
        inner = arguments[1] if arguments else object
        yield from ((f"{{}}{at}", {"k": value}) for at, value in places(inner, canary, within))
    elif shape is str or origin is Literal or isinstance(shape, TypeVarLike):
        yield "", canary
    elif shape in {object, Any}:
        yield "", canary
        yield "{key}", {canary: 1}
        yield "[{}]", [{"k": [canary]}]
    elif arguments and origin is not None and origin is not type:
        yield from ((f"[]{at}", [value]) for at, value in places(arguments[0], canary, within, name))


TypeVarLike = typing.TypeVar


def _fields(shape: Any, canary: Json, within: tuple[Any, ...]) -> Iterator[tuple[str, Json]]:
    hints = get_type_hints(shape, include_extras=True)
    needed = {n: plain(hints[n], n, within) for n in hints if n in shape.__required_keys__}
    for named, hint in hints.items():
        for at, value in places(hint, canary, within, named):
            yield f".{named}{at}", {**needed, named: value}
    yield ".{key}", {**needed, canary: 1}
    yield ".unheard_of", {**needed, "unheard_of": {"deep": [canary]}}


def plain(shape: Any, name: str, within: tuple[Any, ...] = ()) -> Json:
    """Something harmless of this type."""
    origin, arguments = get_origin(shape), get_args(shape)
    if origin in {Annotated, Required, NotRequired}:
        return plain(arguments[0], name, within)
    if origin is Literal:
        return arguments[0]
    if origin in {Union, UnionType}:
        arms = [arm for arm in arguments if arm is not NoneType]
        return plain(next((arm for arm in arms if arm is str), arms[0]), name, within)
    if is_typeddict(shape):
        if within.count(shape) >= DEEPEST:
            return {}
        hints = get_type_hints(shape, include_extras=True)
        return {n: plain(hints[n], n, (*within, shape)) for n in hints if n in shape.__required_keys__}
    if shape in {int, float}:
        return 1
    if shape is bool:
        return True
    if shape is str:
        return PLAIN.get(name, "x")
    if origin is dict or shape in {dict, object, Any}:
        return {}
    assert not isinstance(shape, ForwardRef)
    return []
