"""What the gateway's tests are made of: a detector that knows a handful of patterns, and conversations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from api.proxies.redaction.clouds import Clouds
from api.proxies.redaction.finds import Find
from api.proxies.redaction.gateway import Gateway
from api.proxies.redaction.placeholders import Conversation
from api.proxies.redaction.sessions import Sessions
from api.proxies.redaction.vault import Vault
from state.redaction import Redaction
from state.secrets import SecretRefused

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


def conversation() -> Conversation:
    """One that is remembered by nobody."""
    return Conversation()


def gateway(finder: Finder | None, *at_home: str, keys: dict[str, str] | None = None, **settings: Any) -> Gateway:
    """With these models of our own, and what the settings say."""
    said = Redaction(**settings)

    def secret(name: str) -> str:
        if name not in (keys or {}):
            raise SecretRefused(f"there is no secret {name}: `sparkkeep secret set {name}` sets it")
        return (keys or {})[name]

    clouds = Clouds(lambda: said.targets, secret)
    sessions = Sessions(Vault.open(None))
    return Gateway(lambda: said, finder, sessions, clouds, at_home=lambda model: model in at_home)
