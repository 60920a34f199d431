"""What all requests with a sound share: where sounds lie meanwhile, who can say who speaks, what models can't say."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from api.proxies.audio.asked_jobs import AskedJobs
from api.proxies.audio.decoder import Decoder
from api.proxies.audio.hearing import Hearing
from api.proxies.audio.inquiry import Diarizer
from api.proxies.audio.jobs import PATH, Jobs
from api.proxies.audio.spool import Room, Spool
from api.proxies.calls import Refused
from api.proxies.exchange import Client, Exchange
from api.proxies.gate import Place
from api.proxies.head import Head
from api.proxies.routing.offers import SHOWN
from api.proxies.wire import Wire

PATHS: Final = frozenset({"/v1/audio/transcriptions", "/v1/audio/translations"})
REMEMBERED: Final = 1000
FORGOTTEN: Final = 3600.0
"""Seconds after which a model is asked again for what it could not say: it may be another version by now."""


class Sounds:
    """Of one server. `diarizers`: all that are declared, by every name they go by."""

    def __init__(
        self,
        spool: Path | None = None,
        diarizers: Callable[[], Mapping[str, Diarizer]] = dict,
        *,
        usual: Callable[[], str | None] = lambda: None,
        room: Room | None = None,
        jobs: Jobs | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`spool`: the folder for sounds. `room`: what they may take. `jobs`: transcripts that nobody waits for.

        `usual`: the diarizer that is meant where none is named.
        """
        self.room = room or Room()
        self.jobs = jobs or Jobs()
        self._folder = spool
        self.decoder = Decoder(self.spool)
        self._diarizers = diarizers
        self._usual = usual
        self._now = now
        self._unable: dict[tuple[str, str, str], float] = {}

    def exchange(self, client: Client, wire: Wire, head: Head, place: Place, said: bytes) -> Exchange | None:
        """Who answers a request with a sound, or about one; None: it has none, and passes as any other."""
        if place.path == PATH or place.path.startswith(f"{PATH}/"):
            return AskedJobs(self.jobs, client, wire, head, place, said)
        if head.method != b"POST" or place.path not in PATHS:
            return None
        return Hearing(self, client, wire, head, place, said)

    def spool(self, told: Callable[[], None]) -> Spool:
        """A place for a sound."""
        return Spool(self._folder, told, self.room)

    # What models can't say.

    def able(self, path: str, model: str, form: str) -> bool:
        """Whether nobody has found that this model can't answer in this format."""
        return self._unable.get((path, model, form), 0.0) <= self._now()

    def found_unable(self, path: str, model: str, form: str) -> None:
        """It can't."""
        while len(self._unable) >= REMEMBERED:
            del self._unable[next(iter(self._unable))]
        self._unable[path, model, form] = self._now() + FORGOTTEN

    # Who says who speaks.

    def diarizer(self, named: str) -> Diarizer:
        """The one that is named, else the usual one, else the only one. Raises Refused."""
        known = self._diarizers()
        names = sorted(known)[:SHOWN]
        wanted = named or self._usual() or ""
        if wanted:
            if wanted in known:
                return known[wanted]
            message = f"no diarizer is named `{wanted[:SHOWN]}`"
            raise Refused(400, "NoSuchDiarizer", message, field="diarizer", allowed=names)
        found = set(known.values())
        if len(found) == 1:
            return found.pop()
        if found:
            message = "there are several diarizers; name one in the field `diarizer`"
            raise Refused(400, "DiarizerMissing", message, field="diarizer", allowed=names)
        message = "this model does not tell who speaks, and no workload is declared with `probe: diarization`"
        raise Refused(400, "NoDiarizer", message, field="response_format")
