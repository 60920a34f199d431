"""Vectors as they are written: numbers, or base64 of little-endian float32. Cutting them. Pure."""

from __future__ import annotations

import base64
import binascii
import math
import sys
from array import array
from typing import Final

WIDTH: Final = 4  # bytes of a float32
Vector = str | list[float]
"""As a server said it; what is no flat vector (one for each token) is left as it is."""


def packed(values: list[float]) -> str:
    """As base64. Raises ValueError for what is no float32."""
    try:
        made = array("f", values)
    except (TypeError, OverflowError) as error:
        raise ValueError("a vector holds what is no number") from error
    if sys.byteorder == "big":
        made.byteswap()
    return base64.b64encode(made.tobytes()).decode()


def unpacked(text: str) -> list[float]:
    """As numbers. Raises ValueError."""
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("a vector is no base64") from error
    if len(raw) % WIDTH:
        raise ValueError("a vector is no list of float32")
    made = array("f")
    made.frombytes(raw)
    if sys.byteorder == "big":
        made.byteswap()
    return made.tolist()


def flat(vector: Vector) -> bool:
    """Whether it is one vector."""
    return isinstance(vector, str) or not (vector and isinstance(vector[0], list))


def length(vector: Vector) -> int:
    """Of how many numbers it is."""
    if not isinstance(vector, str):
        return len(vector)
    return len(vector) // 4 * 3 // WIDTH if not vector.endswith("=") else len(unpacked(vector))


def checked(values: list[float]) -> list[float]:
    """The same, if each is a number. Raises ValueError."""
    try:
        if math.isfinite(sum(values)):
            return values
    except TypeError:
        pass
    raise ValueError("a vector holds what is no number")


def cut(values: list[float], dimensions: int) -> list[float]:
    """Its first numbers, brought to length 1. Raises ValueError."""
    kept = checked(values[:dimensions])
    size = math.hypot(*kept)
    return [value / size for value in kept] if size else kept


def written(vector: Vector, *, as_base64: bool, dimensions: int | None) -> Vector:
    """As it was asked for; the very same where it is so already. Raises ValueError."""
    if not flat(vector):
        return vector
    if dimensions is not None and length(vector) > dimensions:
        vector = cut(unpacked(vector) if isinstance(vector, str) else vector, dimensions)
    if isinstance(vector, str):
        return vector if as_base64 else unpacked(vector)
    return packed(vector) if as_base64 else vector
