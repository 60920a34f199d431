"""What detection finds in a text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Find:
    """A private part of a text, by code points."""

    start: int
    end: int
    type: str
    score: float
