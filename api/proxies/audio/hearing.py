"""One request with a sound: it is spooled, its model is asked, and if need be a diarizer beside it.

What the model's server can say itself passes as it came. It is asked for that first; if it refuses, or says something
else, it is asked for words with their times, of which everything else is made here. That it can't is remembered for an
hour. Who speaks is asked of the diarizer at the same time, from the same spooled file (docs/AUDIO_API.md).
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from api.proxies.audio import formats, turns, words
from api.proxies.audio.asking import Conversation, Errand, NoAnswer
from api.proxies.audio.formats import Told
from api.proxies.audio.merge import Turn, merge
from api.proxies.audio.received import Received
from api.proxies.audio.spool import Spool
from api.proxies.audio.wanted import Letter, Wanted, as_it_came, for_diarizer, wanted, with_times
from api.proxies.audio.words import Heard, Unreadable
from api.proxies.calls import Backend, Call, Decision, Field, Refused
from api.proxies.chunks import LAST, chunk
from api.proxies.dialects import errors
from api.proxies.exchange import ASKING, OVER, READING, Client, Exchange
from api.proxies.forward import asked_of
from api.proxies.gate import Place
from api.proxies.head import AnswerHead, Head
from api.proxies.wire import Wire

if TYPE_CHECKING:
    from api.proxies.audio.sounds import Diarizer, Sounds

log = logging.getLogger("sparkkeep.proxies")

OK: Final = 200
INTERNAL: Final = 500
_CANT: Final = frozenset({400, 422, 501})
"""What a server says to a format that it does not have; of speakers some say 500."""
_LONGEST_ERROR: Final = 64 * 2**10
_LONGEST: Final = 64 * 2**20
"""Bytes of a transcript: a day of talk has less."""
_TRANSCRIPTIONS: Final = "/v1/audio/transcriptions"

Answered = tuple[int, bytes, bytes]
"""A server's answer: status, Content-Type, body."""


class Sent:
    """The sound on its way to one server (`asking.Question`)."""

    def __init__(self, hearing: Hearing, letter: Callable[[str], Letter], target: bytes, *, plain: bool) -> None:
        self._hearing = hearing
        self._letter = letter
        self._target = target
        self._plain = plain

    def head(self, backend: Backend) -> bytes:
        """Its head."""
        before, behind = self._letter(backend.model)
        length = len(before) + self._hearing.spool.size + len(behind)
        known = self._hearing.reply.request_id
        to = {"target": self._target, "length": length, "request_id": known, "plain": self._plain}
        return asked_of(self._hearing.head, backend.address, **to)  # type: ignore[arg-type]  # each as it is wanted

    async def pieces(self, backend: Backend) -> AsyncIterator[bytes]:
        """Its body."""
        before, behind = self._letter(backend.model)
        yield before
        async for piece in self._hearing.spool.pieces():
            yield piece
        yield behind


class Hearing(Exchange):
    """One of them, in the place of an `Exchange`."""

    __slots__ = ("_asked", "_passing", "_refused", "_sounds", "_task", "_waits", "_who", "received", "spool")

    def __init__(self, sounds: Sounds, client: Client, wire: Wire, head: Head, place: Place, said: bytes) -> None:
        super().__init__(client, wire, head, place, said)
        self.spool = Spool(sounds.spool, self._spooled)
        self.upload = self.received = Received(head, place, wire.limits, self.spool)
        self._sounds = sounds
        self._task: asyncio.Task[None] | None = None
        self._passing: Conversation | None = None
        self._refused: Answered | None = None  # by the model, before it was asked in another way
        self._asked: Wanted | None = None
        self._who: Decision | None = None
        self._waits = False  # a stream of ours, of which nothing but keep-alives can be said yet

    # What it asks for.

    def begin(self, data: bytes, at: int) -> int:
        """What came with its head."""
        names = self.head.names
        try:
            self.received.expect(names.get(b"content-type", b""), names.get(b"content-encoding", b""))
        except Refused as refused:
            self.refuse(refused)
            return -1
        return super().begin(data, at)

    def _spooled(self) -> None:
        """The spool is behind, or no longer."""
        if self._state != READING:
            return
        if self.spool.behind:
            self.client.pause()
        else:
            self.client.resume()

    def route(self) -> None:
        """All of it has come."""
        if self._state != READING:
            return
        self._state = ASKING
        self.patient(math.inf)  # whoever is asked is given its time
        self._task = asyncio.get_running_loop().create_task(self._run(), name="a request with a sound")

    async def _run(self) -> None:
        try:
            await self.spool.settled()
            await self._answer()
        except Refused as refused:
            self._end_with(refused)
        except OSError as error:
            self._end_with(self.received.no_room(error))
        except Exception:  # the root of this task
            log.exception("a request with a sound failed")
            self.fault()

    def _end_with(self, refused: Refused) -> None:
        if self.record is None and self._state != OVER:
            self._recorded(Call(method="POST", path=self.place.path, who=self.client.address))
        self.refuse(refused)

    def _recorded(self, call: Call) -> None:
        self._call = call
        self.record = self.wire.observer.begin(call, self.reply.request_id.decode())

    async def _answer(self) -> None:
        self._asked = asked = wanted(self.received.parts)
        who = self.client.address
        if self.wire.keys is not None:
            who = self.wire.keys.who(self.head.key, who)
        call = Call(
            method="POST",
            path=self.place.path,
            model=asked.model,
            stream=asked.stream,
            session=self.head.session,
            who=who,
        )
        self._recorded(call)
        if asked.speakers and self.place.path != _TRANSCRIPTIONS:
            message = "who speaks is told of transcriptions, not of translations"
            raise Refused(400, "BadValue", message, field="response_format")
        able = self._sounds.able(call.path, asked.model, _form(asked))
        if able and asked.format != "rttm" and not asked.diarizer and await self._itself(asked, call):
            return
        if asked.speakers:
            told = await self._with_speakers(asked, call)
        else:
            told = formats.plain(await self._heard(asked, call))
        self._tell(asked, told, await asyncio.to_thread(formats.rendered, asked, told))

    # What the model says itself.

    async def _itself(self, asked: Wanted, call: Call) -> bool:
        """Pass on what it says, unless that is not what was asked for."""
        letter = partial(as_it_came, asked, self.received.boundary)
        errand = Errand(self.wire, call, self._told)
        try:
            conversation, head = await errand.ask(Sent(self, letter, self.place.target, plain=False))
            if head.status in _CANT or (head.status == INTERNAL and asked.format == "diarized_json"):
                self._refused = await self._answered(conversation, head, _LONGEST_ERROR)
                return False
            if head.status == OK and _is_json(head) and asked.format in {"srt", "vtt"}:
                self._sounds.found_unable(call.path, asked.model, asked.format)
                return False
            if head.status == OK and _is_json(head) and (asked.format == "diarized_json" or asked.in_words):
                return await self._looked(asked, call, conversation, head)
            await self._pass(conversation, head)
        except NoAnswer as failed:
            self._broke(errand, failed)
        finally:
            errand.end()
        return True

    async def _looked(self, asked: Wanted, call: Call, conversation: Conversation, head: AnswerHead) -> bool:
        """An answer that has to have something in it: speakers, or words where they are looked for."""
        status, kind, body = await self._answered(conversation, head, _LONGEST)
        coding = head.names.get(b"content-encoding")
        there = bool(coding) or await asyncio.to_thread(_holds, asked, body)
        if there:
            self._said(status, kind, body, [(b"content-encoding", coding)] if coding else [])
            return True
        self._sounds.found_unable(call.path, asked.model, _form(asked))
        return False

    async def _pass(self, conversation: Conversation, head: AnswerHead) -> None:
        """Its answer is the client's from here on."""
        assert self._who is not None  # noqa: S101  # who answers
        self.reply.flow(head, self._who, closes=self.closes)
        self._passing = conversation
        if self.client.clogged:
            conversation.pause()
        await conversation.passed(self._piece)

    def _piece(self, raw: bytes, ended: bool) -> None:
        if self._state == OVER:
            return
        if not self.reply.sent and self.record is not None:
            self.record.first()
        at_chunk = self._passing is not None and self._passing.at_chunk
        if out := self.reply.piece(raw, ended=ended, at_chunk=at_chunk):
            self.client.write(out)
        if ended:
            self.finish("answered")

    def _broke(self, errand: Errand, failed: NoAnswer) -> None:
        errand.end(answered=False)
        key = self._who.backend.key if self._who is not None else "the model"
        if self.reply.under_way:
            self.broken(failed.reason, f"{key} broke off: {failed.message}")
        else:
            self.reply.take_back()
            self.refuse(Refused(502, "BackendFailed", f"{key} did not answer: {failed.message}", retry_after=2))

    # What is made here.

    async def _heard(self, asked: Wanted, call: Call) -> Heard:
        """The words, with their times."""
        letter = Sent(
            self, lambda model: with_times(asked, self.received.boundary, model), self.place.target, plain=True
        )
        status, kind, body = await self._asked_for(call, letter, self._told)
        if status != OK:
            raise _Said(*(self._refused or (status, kind, body)))
        try:
            said = await asyncio.to_thread(json.loads, body)
            found = await asyncio.to_thread(words.heard, said)
        except (ValueError, RecursionError) as bad:
            why = str(bad) if isinstance(bad, Unreadable) else "its answer is no JSON"
            raise Refused(502, "BadAnswer", f"{self._name()} was asked for verbose_json: {why}") from None
        if self._refused is not None:
            self._sounds.found_unable(call.path, asked.model, _form(asked))
        if found.text and not words.has_times(found) and asked.format not in {"json", "text"}:
            message = f"{self._name()} tells neither words nor segments with times, which `{asked.format}` is made of"
            raise Refused(422, "NoTimes", message, field="response_format")
        return found

    async def _with_speakers(self, asked: Wanted, call: Call) -> Told:
        """Words and turns, asked for at once, and merged."""
        diarizer = self._sounds.diarizer(asked.diarizer)
        self._waits = asked.stream and self.head.minor
        loop = asyncio.get_running_loop()
        hearing = loop.create_task(self._heard(asked, call))
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
        letter = partial(for_diarizer, asked, self.received.boundary)
        sent = Sent(self, letter, diarizer.path.encode(), plain=True)
        second = Call(method="POST", path=diarizer.path, model=diarizer.name, who=call.who)
        try:
            status, _, body = await self._asked_for(second, sent, lambda _: None)
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
        errand = Errand(self.wire, call, told)
        answered = True
        try:
            conversation, head = await errand.ask(sent)
            return await self._answered(conversation, head, _LONGEST)
        except NoAnswer as failed:
            answered = False
            message = f"{call.model or 'the model'} did not answer: {failed.message}"
            raise Refused(502, "BackendFailed", message, retry_after=2) from None
        finally:
            errand.end(answered=answered)

    async def _answered(self, conversation: Conversation, head: AnswerHead, most: int) -> Answered:
        body = await conversation.whole(most)
        return head.status, head.names.get(b"content-type", b"application/json"), body

    # What the client is told.

    def _told(self, decision: Decision | None) -> None:
        """The model's part: it waits, or goes there."""
        if decision is None:
            if self.record is not None:
                self.record.held()
            return
        self._who = decision
        if self.record is not None:
            self.record.routed(decision)

    def _name(self) -> str:
        return self._who.backend.key if self._who is not None else "the model"

    def _tell(self, asked: Wanted, told: Told, body: bytes) -> None:
        marks: list[Field] = []
        if asked.speakers:
            marks.append((b"sparkkeep-diarized", b"no" if told.names is None else b"yes"))
        if self._waits and self.reply.started:
            self._waits = False
            self.client.write(chunk(body) + LAST)
            self.reply.sent += len(body)
            self.finish("answered")
            return
        self._said(OK, formats.content_type(asked), body, marks)

    def _said(self, status: int, kind: bytes, body: bytes, more: list[Field]) -> None:
        """An answer whose body is all there."""
        fields = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *more]
        if self._who is not None:
            fields.append((b"sparkkeep-backend", self._who.backend.key.encode("ascii", "replace")))
        if self.record is not None:
            self.record.answering(status)
            self.record.first()
        self.reply.first = self.reply.last = body
        self._own(status, fields, body, "answered")

    def refuse(self, refused: Refused) -> None:
        """It can't be answered; or the model has said why."""
        self._waits = False
        if isinstance(refused, _Said) and not self.reply.started:
            self._said(refused.status, refused.kind, refused.body, [])
        else:
            super().refuse(refused)

    # Its end, and time.

    def _close(self, cause: str) -> None:
        super()._close(cause)
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        self._passing = None
        self.spool.close()

    def end(self) -> None:
        """The server ends, and this is not over."""
        if self.reply.under_way and self._state != OVER:
            self.broken("Restarting", "sparkkeep is being restarted; send the request again")
        else:
            self.reply.take_back()
            super().end()

    def unread(self) -> None:
        """The client reads more slowly than its answer comes."""
        if self._passing is not None:
            self._passing.pause()

    def read_again(self) -> None:
        """It reads again."""
        if self._passing is not None:
            self._passing.resume()

    def tick(self, now: float) -> None:
        """So late it is."""
        if not self._waits:
            super().tick(now)
        elif not self._beat or now >= self._beat:
            limits = self.wire.limits
            late = bool(self._beat)
            self._beat = now + (limits.beat if late else limits.grace)
            if late:
                self.client.write(self.reply.waiting("for the transcript and its speakers", closes=self.closes))


class _Said(Refused):
    """What a model's server says to what it can't answer, as it said it."""

    def __init__(self, status: int, kind: bytes, body: bytes) -> None:
        super().__init__(status, "BackendError", errors.heard(status, body).message)
        self.kind = kind
        self.body = body


def _form(asked: Wanted) -> str:
    """What a model is able to say, or not."""
    return f"{asked.format} with words" if asked.in_words else asked.format


def _is_json(head: AnswerHead) -> bool:
    return head.names.get(b"content-type", b"").lower().startswith(b"application/json")


def _holds(asked: Wanted, body: bytes) -> bool:
    """Whether an answer in JSON is what was asked for; of one that nothing better can be made of, it is."""
    try:
        said = json.loads(body)
        if not isinstance(said, dict):
            return False
        if asked.format == "diarized_json":
            found = said.get("segments")
            return isinstance(found, list) and all(isinstance(s, dict) and "speaker" in s for s in found)
        return bool(said.get("words")) or not words.heard(said).words
    except (ValueError, RecursionError):
        return False
