"""What was masked, and what was put back."""

from __future__ import annotations

from typing import Any, Literal

from api.schemas.base import Shape


class SpanShape(Shape):
    """One thing that was masked: where it stood in its text, in code points, and what stands for it."""

    start: int
    end: int
    type: str
    score: float
    placeholder: str
    field: str | None = None
    """In which field of the body; null for a text alone."""


class PreviewShape(Shape):
    """`text` or `body`, as it would go on, and by type how many different things are masked in it."""

    text: str | None
    body: dict[str, Any] | None
    spans: list[SpanShape]
    counts: dict[str, int]


class RedactedShape(Shape):
    """A text, masked, and the session whose placeholders it holds."""

    text: str
    session: str
    spans: list[SpanShape]
    counts: dict[str, int]


class RestoredShape(Shape):
    """A text with what its placeholders stand for."""

    text: str


class ForgottenShape(Shape):
    """The session is there no more."""

    session: str
    removed: Literal[True]


class SelfTestShape(Shape):
    """Masking works: what was found in a known request, by type, and how long all of it took."""

    masking: Literal[True]
    found: dict[str, int]
    milliseconds: float
