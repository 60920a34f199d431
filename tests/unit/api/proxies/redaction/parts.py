"""What the gateway's tests are made of: a detector that knows a handful of patterns, and conversations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from api.proxies.redaction.finds import Find

PATTERNS = {
    "EMAIL": r"[\w.+-]+@[\w-]+\.[\w.-]*\w",
    "SECRET": r"sk-[\w-]{8,}",
    "CREDIT_CARD": r"\b4[0-9]{15}\b",
    "PHONE": r"(?:\+49 |\b0)[0-9]{3} [0-9]{7}\b",
    "PERSON": r"\bAnna(?: Schmidt)?\b|\bMax Meier\b",
}


class Finder:
    """Finds them; `down` and `busy` are raised instead."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.raises: Exception | None = None

    async def __call__(self, texts: list[str]) -> list[list[Find]]:
        return await self.find(texts)

    async def find(self, texts: Sequence[str]) -> list[list[Find]]:
        if self.raises is not None:
            raise self.raises
        self.asked += texts
        return [
            [Find(m.start(), m.end(), kind, 1.0) for kind, form in PATTERNS.items() for m in re.finditer(form, text)]
            for text in texts
        ]


def conversation() -> Any:
    """One that is remembered by nobody."""
    from api.proxies.redaction.placeholders import Conversation

    return Conversation()
