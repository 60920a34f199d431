"""What `/v1/models` says: the models that answer, and those that would if they were asked and waited for.

Pure: bytes out, in the shape of OpenAI and that of Anthropic at once (they share no field but `id`). Beside those
fields each entry has ours under `sparkkeep`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from api.proxies.routing.offers import Offer, Offers

MODELS: Final = "/v1/models"
Json = dict[str, Any]


def entry(offer: Offer, name: str = "") -> Json:
    """One model, under its own name or an alias."""
    name = name or offer.name
    return {
        "id": name,
        "object": "model",
        "created": offer.since,
        "owned_by": "sparkkeep",
        # the same in Anthropic's words
        "type": "model",
        "display_name": name,
        "created_at": datetime.fromtimestamp(offer.since, UTC).isoformat().replace("+00:00", "Z"),
        "sparkkeep": {
            "workload": offer.name,
            "state": offer.state,
            "run": offer.run,
            "kind": offer.kind,
            "sparks": list(offer.sparks),
            "ready": [backend.spark for backend in offer.backends],
            "aliases": list(offer.aliases),
        },
    }


def models(offers: Offers) -> bytes:
    """The list: every name that apps may use, each model's own before its aliases."""
    listed = [offer for offer in offers.each.values() if offer.listed]
    data = [entry(offer, name) for offer in listed for name in (offer.name, *offer.aliases)]
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return _bytes({"object": "list", "data": data, "has_more": False, **ends})


def model(offers: Offers, name: str) -> bytes:
    """One of them by any of its names, whatever its state. Raises Refused."""
    return _bytes(entry(offers.named(name), name))


def _bytes(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
