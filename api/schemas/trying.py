"""A model's own answer to a question of one's own."""

from __future__ import annotations

from api.schemas.base import Shape
from reconciler.canaries.trying import Kind


class ScoreShape(Shape):
    """One document, and how well it fits."""

    text: str
    score: float


class AnswerShape(Shape):
    """What the kind gives, and null for what it does not give.

    That is `text`; or the first numbers of a `vector`, and its `dimensions`; or `scores`; or `audio` in base64.
    `truncated`: there was more.
    """

    workload: str
    spark: str
    kind: Kind
    milliseconds: float
    tokens: int | None
    text: str | None
    vector: list[float] | None
    dimensions: int | None
    scores: list[ScoreShape] | None
    audio: str | None
    content_type: str | None
    truncated: bool
