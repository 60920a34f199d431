"""What apps are told without asking a backend: which models there are, in the words of OpenAI, Anthropic and Ollama."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from api.proxies.calls import Call, Refused
from api.proxies.dialects import ollama_models
from api.proxies.dialects.ollama_models import Card
from api.proxies.routing import listing
from api.proxies.routing.offers import READY, Offer, Offers
from api.proxies.wire import Whole

READING: Final = frozenset({"GET", "HEAD"})
ASKING: Final = {"/api/show": "POST"}
"""Where something else than GET asks."""


class Local:
    """Answers from the offers of the moment."""

    def __init__(self, offers: Callable[[], Offers]) -> None:
        self._offers = offers

    def answer(self, call: Call, body: bytes) -> Whole:
        """The answer. Raises Refused."""
        wanted = ASKING.get(call.path, "GET")
        if call.method != wanted and not (wanted == "GET" and call.method in READING):
            raise Refused(405, "MethodNotAllowed", f"{call.path} is asked with {wanted}", allowed=(wanted,))
        said = self._said(call.path, body, self._offers())
        fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(said))]
        return 200, fields, said

    def _said(self, path: str, body: bytes, offers: Offers) -> bytes:
        match path:
            case listing.MODELS:
                return listing.models(offers)
            case "/api/version":
                return ollama_models.version()
            case "/api/tags":
                return ollama_models.tags(_cards(offers))
            case "/api/ps":
                return ollama_models.running(_cards(offers))
            case "/api/show":
                name = ollama_models.asked_for(body)
                return ollama_models.shown(_card(offers.named(name), name))
            case _:
                return listing.model(offers, path.removeprefix(f"{listing.MODELS}/"))


def _cards(offers: Offers) -> Iterator[Card]:
    """One for each name that apps may use."""
    for offer in offers.each.values():
        if offer.listed:
            yield from (_card(offer, name) for name in (offer.name, *offer.aliases))


def _card(offer: Offer, name: str) -> Card:
    return Card(name=name, kind=offer.kind, ready=offer.state == READY, since=offer.since)
