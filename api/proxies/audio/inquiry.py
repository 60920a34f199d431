"""What is asked of servers about one spooled sound, and made of their answers: words, turns, and both merged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import Final, NamedTuple

from api.proxies.audio import formats, turns, words
from api.proxies.audio.asking import Conversation, Errand, NoAnswer
from api.proxies.audio.decoder import WAV_PART, Decoder, wav_header
from api.proxies.audio.formats import Told
from api.proxies.audio.merge import Turn, merge
from api.proxies.audio.spool import Spool
from api.proxies.audio.wanted import Letter, Wanted, for_diarizer, with_times
from api.proxies.audio.words import Heard, Unreadable
from api.proxies.calls import Backend, Call, Decision, Refused
from api.proxies.dialects import errors
from api.proxies.forward import asked_of
from api.proxies.head import AnswerHead, Head
from api.proxies.wire import Wire

OK: Final = 200
LONGEST: Final = 64 * 2**20
"""Bytes of a transcript: a day of talk has less."""

WORDS: Final = "words"
SPEAKERS: Final = "speakers"

Answered = tuple[int, bytes, bytes]
"""A server's answer: status, Content-Type, body."""


class Diarizer(NamedTuple):
    """A declared workload that says who speaks, and the page of its server that does."""

    name: str
    path: str


class Said(Refused):
    """What a model's server says to what it can't answer, as it said it."""

    def __init__(self, status: int, kind: bytes, body: bytes) -> None:
        super().__init__(status, "BackendError", errors.heard(status, body).message)
        self.kind = kind
        self.body = body


class Sent:
    """The sound on its way to one server (`asking.Question`)."""

    def __init__(self, inquiry: Inquiry, letter: Callable[[str], Letter], target: bytes, *, plain: bool) -> None:
        self._inquiry = inquiry
        self._letter = letter
        self._target = target
        self._plain = plain

    async def ready(self, backend: Backend) -> None:
        """The sound is there as this server reads it. Raises Refused."""
        if backend.wav:
            await self._inquiry.as_wav()

    def _parts(self, backend: Backend) -> tuple[bytes, Spool, bytes]:
        before, behind = self._letter(backend.model)
        wav = self._inquiry.wav if backend.wav else None
        if wav is None:
            return before, self._inquiry.spool, behind
        return before.removesuffix(self._inquiry.raw) + WAV_PART + wav_header(wav.size), wav, behind

    def head(self, backend: Backend) -> bytes:
        """Its head."""
        before, sound, behind = self._parts(backend)
        length = len(before) + sound.size + len(behind)
        known = self._inquiry.request_id
        to = {"target": self._target, "length": length, "request_id": known, "plain": self._plain}
        return asked_of(self._inquiry.head, backend, **to)  # type: ignore[arg-type]  # each as it is wanted

    async def pieces(self, backend: Backend) -> AsyncIterator[bytes]:
        """Its body."""
        before, sound, behind = self._parts(backend)
        yield before
        async for piece in sound.pieces():
            yield piece
        yield behind


class Inquiry:
    """About one sound.

    `refused`: what the model has said to the same question in other words. `steps`: how far each server is (`waiting`
    for it, `asked`, `done`).
    """

    def __init__(
        self,
        wire: Wire,
        head: Head,
        spool: Spool,
        *,
        boundary: bytes,
        target: bytes,
        request_id: bytes,
        told: Callable[[Decision | None], None],
        patience: float | None = None,
        raw: bytes = b"",
        decoder: Decoder | None = None,
    ) -> None:
        """`boundary`, `target`: of the request; `raw`: the header of its part with the sound.

        `told` is called with each decision about the model, None: it waits. `patience`: seconds that each server has
        until it begins to answer, if not the usual ones. `decoder`: for servers that don't read every sound.
        """
        self.raw = raw
        self.wav: Spool | None = None
        """The sound as WAV, where it had to be brought into that."""
        self._decoder = decoder
        self._decoding = asyncio.Lock()
        self._is_wav = False
        self.wire = wire
        self.head = head
        self.spool = spool
        self.boundary = boundary
        self.target = target
        self.request_id = request_id
        self.refused: Answered | None = None
        self._who: Decision | None = None
        self._told_of = told
        self._patience = patience
        self.steps: dict[str, str] = {}

    def _told(self, decision: Decision | None) -> None:
        self._who = decision or self._who
        self.steps[WORDS] = "waiting" if decision is None else "asked"
        self._told_of(decision)

    def _told_of_speakers(self, decision: Decision | None) -> None:
        self.steps[SPEAKERS] = "waiting" if decision is None else "asked"

    @property
    def _name(self) -> str:
        return self._who.backend.key if self._who is not None else "the model"

    async def as_wav(self) -> None:
        """Bring the sound into WAV of 16 kHz, unless it is that. Raises Refused, OSError."""
        async with self._decoding:
            if self.wav is None and not self._is_wav and self._decoder is not None:
                self.wav = await self._decoder.decoded(self.spool)
                self._is_wav = self.wav is None

    def close(self) -> None:
        """Nothing more is asked."""
        if self.wav is not None:
            self.wav.close()

    def itself(self, call: Call) -> Errand:
        """What is wanted of the model, to be asked in its caller's words."""
        return Errand(self.wire, call, self._told, self._patience)

    async def heard(self, asked: Wanted, call: Call) -> Heard:
        """The words, with their times."""
        sent = Sent(self, partial(with_times, asked, self.boundary), self.target, plain=True)
        status, kind, body = await self._asked_for(call, sent, self._told)
        self.steps[WORDS] = "done"
        if status != OK:
            raise Said(*(self.refused or (status, kind, body)))
        try:
            said = await asyncio.to_thread(json.loads, body)
            found = await asyncio.to_thread(words.heard, said)
        except (ValueError, RecursionError) as bad:
            why = str(bad) if isinstance(bad, Unreadable) else "its answer is no JSON"
            raise Refused(502, "BadAnswer", f"{self._name} was asked for verbose_json: {why}") from None
        if found.text and not words.has_times(found) and asked.format not in {"json", "text"}:
            message = f"{self._name} tells neither words nor segments with times, which `{asked.format}` is made of"
            raise Refused(422, "NoTimes", message, field="response_format")
        return found

    async def with_speakers(self, asked: Wanted, call: Call, diarizer: Diarizer) -> Told:
        """Words and turns, asked for at once, and merged."""
        loop = asyncio.get_running_loop()
        hearing = loop.create_task(self.heard(asked, call))
        telling = loop.create_task(self._turns(asked, call, diarizer))
        try:
            await asyncio.wait({hearing, telling}, return_when=asyncio.FIRST_EXCEPTION)
            if telling.done() and not hearing.done():
                telling.result()  # raises: what is left would be for nothing
            heard, found = await hearing, await telling
        finally:
            for task in (hearing, telling):
                task.cancel()
            await asyncio.gather(hearing, telling, return_exceptions=True)
        if isinstance(found, str):
            told = formats.plain(heard)
            return Told(heard=told.heard, transcript=told.transcript, missing=found)
        transcript = await asyncio.to_thread(merge, heard.words, found)
        names = turns.letters((word.speaker for word in transcript.words), asked.names)
        return Told(heard=heard, transcript=transcript, names=names)

    async def _turns(self, asked: Wanted, call: Call, diarizer: Diarizer) -> list[Turn] | str:
        """Who speaks when; or, where a plain transcript will do, why that is not known."""
        letter = partial(for_diarizer, asked, self.boundary)
        sent = Sent(self, letter, diarizer.path.encode(), plain=True)
        second = Call(method="POST", path=diarizer.path, model=diarizer.name, who=call.who)
        try:
            status, _, body = await self._asked_for(second, sent, self._told_of_speakers)
            self.steps[SPEAKERS] = "done"
            if status == OK:
                return await asyncio.to_thread(turns.turns, body)
            failed = Refused(502, "DiarizerFailed", f"it answers {status}: {errors.heard(status, body).message}")
        except Unreadable as bad:
            failed = Refused(502, "DiarizerFailed", str(bad))
        except Refused as refused:
            failed = refused
        why = f"{diarizer.name} can't say who speaks: {failed.message}"
        if asked.plain:
            return why
        status = failed.status if failed.status in {503, 504} else 502
        message = f"{why} (with `diarizer_down=plain` the transcript comes without)"
        raise Refused(status, "DiarizerDown", message, field="diarizer_down", retry_after=failed.retry_after or 2)

    async def _asked_for(self, call: Call, sent: Sent, told: Callable[[Decision | None], None]) -> Answered:
        """The whole answer of whoever is asked. Raises Refused."""
        errand = Errand(self.wire, call, told, self._patience)
        well = True
        try:
            conversation, head = await errand.ask(sent)
            return await answered(conversation, head, LONGEST)
        except NoAnswer as failed:
            well = False
            message = f"{call.model or 'the model'} did not answer: {failed.message}"
            raise Refused(502, "BackendFailed", message, retry_after=2) from None
        finally:
            errand.end(answered=well)


def as_told(form: str, kind: bytes, body: bytes, names: Iterable[str] = ()) -> Told | None:
    """What a model has said itself, so that any other format can be made of it; None: that can't be read.

    Its speakers are taken as they are called.
    """
    if kind.lower().startswith(b"text/plain") and form in {"json", "text"}:
        return formats.plain(Heard(text=body.decode(errors="replace").strip(), words=(), duration=0.0))
    try:
        said = json.loads(body)
        heard = words.heard(said)
        if form != "diarized_json":
            return formats.plain(heard)
        found = turns.turns(body)
    except (Unreadable, ValueError, RecursionError):
        return None
    transcript = merge(heard.words, found)
    known = {turn.speaker for turn in found}
    return Told(heard=heard, transcript=transcript, names={name: name for name in (*names, *known)})


async def answered(conversation: Conversation, head: AnswerHead, most: int) -> Answered:
    """All of it. Raises NoAnswer or Refused."""
    body = await conversation.whole(most)
    return head.status, head.names.get(b"content-type", b"application/json"), body
