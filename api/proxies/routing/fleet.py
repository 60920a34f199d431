"""`calls.Routing` over the loop: a call's model is looked up among the offers, and one of its instances chosen.

What can't be answered at once either waits (for its turn, or for a model that is being started: `api.proxies.queue`),
or is refused with what the loop says about it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Final

from api.proxies.calls import Backend, Call, Decision, Hold, Refused
from api.proxies.queue.holds import Holds
from api.proxies.routing.offers import ASIDE, NEVER, SHOWN, Offer, Offers
from api.proxies.routing.ready import Ready
from api.proxies.routing.router import Router
from reconciler.demand import Outlook, State
from reconciler.loop import Loop

SOON: Final = 5.0  # seconds after which to ask again, where nobody knows
LATEST: Final = 300.0
FOR_GOOD: Final = frozenset({NEVER, ASIDE})  # a person said so: nobody waits for it
PATHS: Final[Mapping[str, str]] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completion",
    "/v1/embeddings": "embedding",
    "/v1/rerank": "rerank",
    "/v2/rerank": "rerank",
    "/rerank": "rerank",
    "/v1/audio/transcriptions": "transcription",
    "/v1/audio/translations": "transcription",
    "/v1/audio/speech": "speech",
    "/v1/audio/voices": "speech",
    "/v1/diarize": "diarization",
}


class Fleet:
    """Says where calls go, and counts them there.

    `holds` keeps those that nobody can take now; without it such calls are refused.
    """

    def __init__(
        self,
        ready: Ready,
        *,
        holds: Holds | None = None,
        rng: random.Random | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ready = ready
        self.loop: Loop = ready.loop
        self.holds = holds
        self.router = Router(rng=rng or random.Random(), now=now)  # noqa: S311  # a choice, no secret
        self._taken: dict[int, Decision] = {}  # places of those that were let go and have not begun
        ready.told.add(self._looked)

    @property
    def offers(self) -> Offers:
        """What apps can ask for now."""
        return self.ready.offers

    # What the wire asks (`calls.Routing`).

    def choose(self, call: Call, *, without: Collection[str] = ()) -> Decision | Hold:
        """Where it goes, but to none of the backends `without`; or a wait. Raises Refused."""
        offer, holds = self.offer(call), self.holds
        if offer.backends and (holds is None or holds.may_go(offer.name)):
            decision = self.router.choose(call, offer.backends, limit=offer.limit, without=without)
            if decision is not None:
                return decision
        if holds is None or offer.state in FOR_GOOD or self._gave_an_answer(offer, without):
            raise self.cannot(offer, without)
        return holds.hold(call, offer.name, partial(self._take, call), self._give_back)

    def began(self, decision: Decision) -> None:
        """Its request is under way."""
        if self._taken.pop(id(decision), None) is None:
            self._goes(decision.backend)
        if self.holds is not None:
            self.holds.began(decision)

    def ended(self, decision: Decision, *, answered: bool) -> None:
        """It is over."""
        self._comes_back(decision.backend, answered=answered)
        if self.holds is not None:
            self.holds.ended(decision)

    def offer(self, call: Call) -> Offer:
        """The model that it asks for. Raises Refused."""
        offers = self.ready.offers
        return offers.by_name.get(call.model) or (offers.named(call.model) if call.model else _only_one(call, offers))

    def _take(self, call: Call) -> Decision | None:
        """For one that was held: where it goes now, but not to who has just refused a connection.

        Its place is counted from now on, and not only when it begins: many may be let go at once.
        """
        offer = self.offer(call)
        decision = self.router.choose(call, offer.backends, limit=offer.limit, without=self.router.avoided)
        if decision is not None:
            self._goes(decision.backend)
            self._taken[id(decision)] = decision
        return decision

    def _give_back(self, decision: Decision) -> None:
        """Its client has left before it began."""
        if self._taken.pop(id(decision), None) is not None:
            self._comes_back(decision.backend, answered=True)

    def _goes(self, backend: Backend) -> None:
        self.router.began(backend)
        self.loop.traffic.begin(backend.place)

    def _comes_back(self, backend: Backend, *, answered: bool) -> None:
        self.router.ended(backend, answered=answered)
        self.loop.traffic.end(backend.place)

    def _gave_an_answer(self, offer: Offer, without: Collection[str]) -> bool:
        """Every instance was tried, and one of them has answered, though badly: waiting would make it no better."""
        return (
            bool(offer.backends)
            and not {b.key for b in offer.backends}.difference(without)
            and any(key not in self.router.avoided for key in without)
        )

    def busy(self, backend: Backend) -> int:
        """How many requests are under way there."""
        return self.router.busy(backend)

    def takes(self, workload: str) -> int | None:
        """How many requests it takes at a time, all its instances together; None: any number."""
        offer = self.ready.offers.each.get(workload)
        return None if offer is None or offer.limit is None else offer.limit * len(offer.backends)

    def _looked(self) -> None:
        self.router.keep_only(self.ready.offers.backends)
        if self.holds is not None:
            self.holds.changed()

    # What nobody can take now.

    def cannot(self, offer: Offer, without: Collection[str] = ()) -> Refused:
        """Why nobody takes it, in the loop's words."""
        left = [backend for backend in offer.backends if backend.key not in without]
        if left:
            message = f"{offer.name} has as many requests under way as it may ({offer.limit} at each instance)"
            return Refused(429, "TooManyRequests", message, field="model", retry_after=1.0)
        if offer.backends:
            message = f"{offer.name} is said to answer, but {' and '.join(sorted(without))} did not just now"
            return Refused(503, "BackendFailed", message, field="model", retry_after=1.0)
        outlook = self.loop.outlook(offer.name)
        message = f"{offer.name} does not answer: {outlook.message}"
        return Refused(503, outlook.reason, message, field="model", retry_after=self._again(outlook))

    def _again(self, outlook: Outlook) -> float | None:
        """Seconds after which to ask again; None: a person has to do something first."""
        if outlook.state is State.REFUSED:
            return None
        if outlook.retry_at is not None:
            return min(max(1.0, outlook.retry_at - self.loop.now()), LATEST)
        return SOON if outlook.eta is None else min(max(1.0, outlook.eta), LATEST)


def _only_one(call: Call, offers: Offers) -> Offer:
    """The one model that can be meant where none is named."""
    kind = PATHS.get(call.path, "")
    fit = [offer for offer in offers.each.values() if offer.kind == kind and offer.listed]
    if len(fit) == 1:
        return fit[0]
    message = "the request names no model"
    raise Refused(400, "ModelMissing", message, field="model", allowed=offers.listed[:SHOWN])
