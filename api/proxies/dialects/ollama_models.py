"""What Ollama's dialect says of models: those that there are, those that answer, one of them, and its version."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from api.proxies.dialects.asked import Asked, Json
from api.proxies.dialects.json_text import dumps

VERSION: Final = "0.14.0"
"""Of Ollama's API that is spoken here: apps ask for it before they use what is new in one."""

CAPABILITIES: Final = {"chat": ("completion", "tools"), "completion": ("completion",), "embedding": ("embedding",)}
FOREVER: Final = datetime(2318, 1, 1, tzinfo=UTC).isoformat()
"""When a model will be unloaded: what Ollama says of one that is to stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One model under one of its names. `since`: unix seconds; `kind`: of question that it answers."""

    name: str
    kind: str = "chat"
    ready: bool = True
    since: int = 0
    context: int | None = None


def version() -> bytes:
    """`/api/version`."""
    return dumps({"version": VERSION})


def tags(cards: Iterable[Card]) -> bytes:
    """`/api/tags`: all that may be asked for."""
    return dumps({"models": [_entry(card) | {"modified_at": _stamp(card.since)} for card in cards]})


def running(cards: Iterable[Card]) -> bytes:
    """`/api/ps`: those that answer now."""
    more = {"expires_at": FOREVER, "size_vram": 0}
    ready = [card for card in cards if card.ready]
    return dumps({"models": [_entry(card) | more | {"context_length": card.context or 0} for card in ready]})


def asked_for(body: bytes) -> str:
    """The name that `/api/show` asks for; older apps call it `name`. Raises Refused."""
    asked = Asked.body(body)
    return asked.text("model") or asked.needed_text("name")


def shown(card: Card) -> bytes:
    """`/api/show`. How it is launched is the recipe's business, so there is no Modelfile to show."""
    info: Json = {"general.architecture": "sparkkeep", "general.basename": card.name}
    if card.context:
        info["sparkkeep.context_length"] = card.context
    return dumps(
        {
            "modelfile": "",
            "parameters": "",
            "template": "",
            "details": _details(),
            "model_info": info,
            "capabilities": list(CAPABILITIES.get(card.kind, ())),
            "modified_at": _stamp(card.since),
        }
    )


def _entry(card: Card) -> Json:
    """Sizes are not known here; a digest is made of the name, since apps tell models apart by it."""
    digest = hashlib.sha256(card.name.encode()).hexdigest()
    return {"name": card.name, "model": card.name, "size": 0, "digest": digest, "details": _details()}


def _details() -> Json:
    return {
        "parent_model": "",
        "format": "",
        "family": "",
        "families": [],
        "parameter_size": "",
        "quantization_level": "",
    }


def _stamp(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
