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
from functools import partial
from typing import TYPE_CHECKING, Final

from api.proxies.audio import formats, words
from api.proxies.audio.asking import Conversation, Errand, NoAnswer
from api.proxies.audio.formats import Told
from api.proxies.audio.inquiry import LONGEST, OK, Inquiry, Said, Sent, answered, as_told
from api.proxies.audio.jobs import PATH, Job, prefers_jobs
from api.proxies.audio.received import Received
from api.proxies.audio.wanted import Wanted, as_it_came, form_of, wanted
from api.proxies.calls import Call, Decision, Field, Refused
from api.proxies.chunks import LAST, chunk
from api.proxies.exchange import ASKING, OVER, READING, Client, Exchange
from api.proxies.gate import Place
from api.proxies.head import AnswerHead, Head
from api.proxies.wire import Wire

if TYPE_CHECKING:
    from api.proxies.audio.sounds import Sounds

log = logging.getLogger("sparkkeep.proxies")

INTERNAL: Final = 500
NOT, EVENTS, BLANKS = range(3)
"""What keeps a connection alive: nothing, comments of a stream, or blanks before JSON."""
_CANT: Final = frozenset({400, 422, 501})
"""What a server says to a format that it does not have; of speakers some say 500."""
_IN_JSON: Final = frozenset({"json", "verbose_json", "diarized_json"})
_LONGEST_ERROR: Final = 64 * 2**10
_TRANSCRIPTIONS: Final = "/v1/audio/transcriptions"


class Hearing(Exchange):
    """One of them, in the place of an `Exchange`."""

    __slots__ = (
        "_blanks",
        "_given",
        "_held_at",
        "_inquiry",
        "_passing",
        "_sounds",
        "_task",
        "_waits",
        "_who",
        "received",
        "spool",
    )

    def __init__(self, sounds: Sounds, client: Client, wire: Wire, head: Head, place: Place, said: bytes) -> None:
        super().__init__(client, wire, head, place, said)
        self.spool = sounds.spool(self._spooled)
        self.upload = self.received = Received(head, place, wire.limits, self.spool)
        self._sounds = sounds
        self._inquiry: Inquiry | None = None
        self._given = False  # the spool is a job's
        self._task: asyncio.Task[None] | None = None
        self._passing: Conversation | None = None
        self._held_at = 0.0
        self._who: Decision | None = None
        self._waits = NOT  # what is said meanwhile of an answer that takes long
        self._blanks = False  # some was said: of the answer nothing but its body can be told any more

    # What it asks for.

    def begin(self, data: bytes, at: int) -> int:
        """What came with its head."""
        names, who = self.head.names, self.client.address
        self._call = call = Call(method="POST", path=self.place.path, session=self.head.session, who=who)
        try:
            if self.wire.keys is not None:  # before anything of it is kept
                call.who = self.wire.keys.who(self.head.key, who)
            self.received.expect(names.get(b"content-type", b""), names.get(b"content-encoding", b""))
            self.record = self.wire.observer.begin(call, self.reply.request_id.decode())
        except Refused as refused:
            self.record = self.wire.observer.begin(call, self.reply.request_id.decode())
            self.refuse(refused)
            return -1
        return super().begin(data, at)

    @property
    def routed(self) -> bool:
        """Whether it was decided where it goes."""
        return self._task is not None

    def _spooled(self) -> None:
        """The spool is behind, or no longer."""
        if not self.spool.behind:
            self.client.resume()
        elif self._state == READING:
            self.client.pause()

    def route(self) -> None:
        """All of it has come."""
        if self._state != READING or self._call is None:
            return
        self._state = ASKING
        self.patient(math.inf)  # whoever is asked is given its time
        self._task = asyncio.get_running_loop().create_task(self._run(self._call), name="a request with a sound")

    async def _run(self, call: Call) -> None:
        try:
            await self.spool.settled()
            await self._answer(call)
        except Refused as refused:
            self.refuse(refused)
        except OSError as error:
            self.refuse(self.received.no_room(error))
        except Exception:  # the root of this task
            log.exception("a request with a sound failed")
            self.fault()

    async def _answer(self, call: Call) -> None:
        asked = wanted(self.received.parts)
        self._inquiry = inquiry = Inquiry(
            self.wire,
            self.head,
            self.spool,
            boundary=self.received.boundary,
            target=self.place.target,
            request_id=self.reply.request_id,
            told=self._told,
            raw=asked.raw,
            decoder=self._sounds.decoder,
        )
        call.model, call.stream = asked.model, asked.stream
        if asked.speakers and self.place.path != _TRANSCRIPTIONS:
            message = "who speaks is told of transcriptions, not of translations"
            raise Refused(400, "BadValue", message, field="response_format")
        if prefers_jobs(self.head.names.get(b"prefer", b"")):
            await self._later(asked, call)
            return
        if self.head.minor and (asked.stream or asked.format in _IN_JSON):
            self._waits, self._beat = EVENTS if asked.stream else BLANKS, 0.0
        able = self._sounds.able(call.path, asked.model, form_of(asked))
        if able and asked.format != "rttm" and not asked.diarizer and await self._itself(asked, call, inquiry):
            return
        if asked.speakers:
            diarizer = self._sounds.diarizer(asked.diarizer)
            told = await inquiry.with_speakers(asked, call, diarizer)
        else:
            told = formats.plain(await inquiry.heard(asked, call))
        if inquiry.refused is not None:
            self._sounds.found_unable(call.path, asked.model, form_of(asked))
        self._tell(asked, told, await asyncio.to_thread(formats.rendered, asked, told))

    # What nobody waits for.

    async def _later(self, asked: Wanted, call: Call) -> None:
        """Whatever it is, it goes on without this connection."""
        jobs, record = self._sounds.jobs, self.record
        assert record is not None  # noqa: S101  # there since its head
        if asked.stream:
            raise Refused(400, "BadValue", "nobody listens to the stream of a job", field="stream", allowed=["false"])
        if asked.speakers and asked.diarizer:
            self._sounds.diarizer(asked.diarizer)
        jobs.room()
        job = Job(jobs, self._sounds, call, asked, self.spool, record)
        inquiry = Inquiry(
            self.wire,
            self.head.without(b"prefer"),
            self.spool,
            boundary=self.received.boundary,
            target=self.place.target,
            request_id=self.reply.request_id,
            told=job.heard_of,
            patience=self.wire.limits.sound_job,
            raw=asked.raw,
            decoder=self._sounds.decoder,
        )
        self._given, self.record = True, None
        jobs.add(job, inquiry, self.wire.limits.sound_job)
        await job.begun.wait()
        if job.failure is not None:
            jobs.delete(job)
            self.refuse(job.failure)
            return
        body = json.dumps(job.shown()).encode()
        at = f"{PATH}/{job.id}".encode()
        fields = [(b"location", at), (b"preference-applied", b"respond-async"), (b"retry-after", b"2")]
        kind = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        self._own(202, [*kind, *fields], body, "answered")

    # What the model says itself.

    async def _itself(self, asked: Wanted, call: Call, inquiry: Inquiry) -> bool:
        """Pass on what it says, unless that is not what was asked for."""
        letter = partial(as_it_came, asked, inquiry.boundary)
        errand = inquiry.itself(call)
        try:
            conversation, head = await errand.ask(Sent(inquiry, letter, inquiry.target, plain=self._waits != NOT))
            if head.status in _CANT or (head.status == INTERNAL and asked.format == "diarized_json"):
                inquiry.refused = await answered(conversation, head, _LONGEST_ERROR)
                return False
            if head.status == OK and _is_json(head) and asked.format in {"srt", "vtt"}:
                self._sounds.found_unable(call.path, asked.model, asked.format)
                return False
            if head.status == OK and asked.stream and not head.stream:
                return await self._not_streamed(asked, call, conversation, head)
            if head.status == OK and _is_json(head) and (asked.format == "diarized_json" or asked.in_words):
                return await self._looked(asked, call, conversation, head)
            if self.reply.started and not (self._waits == EVENTS and head.stream):
                self._whole(*await answered(conversation, head, LONGEST))
            else:
                self._waits = NOT
                await self._pass(conversation, head)
        except NoAnswer as failed:
            self._broke(errand, failed)
        finally:
            errand.end()
        return True

    async def _looked(self, asked: Wanted, call: Call, conversation: Conversation, head: AnswerHead) -> bool:
        """An answer that has to have something in it: speakers, or words where they are looked for."""
        status, kind, body = await answered(conversation, head, LONGEST)
        coding = head.names.get(b"content-encoding")
        there = bool(coding) or await asyncio.to_thread(_holds, asked, body)
        if there:
            self._said(status, kind, body, [(b"content-encoding", coding)] if coding else [])
            return True
        self._sounds.found_unable(call.path, asked.model, form_of(asked))
        return False

    async def _not_streamed(self, asked: Wanted, call: Call, conversation: Conversation, head: AnswerHead) -> bool:
        """A whole answer to who asked for a stream: its events are made of it."""
        _, kind, body = await answered(conversation, head, LONGEST)
        told = await asyncio.to_thread(as_told, asked.format, kind, body, asked.names)
        if told is None:
            self._sounds.found_unable(call.path, asked.model, form_of(asked))
            return False
        self._tell(asked, told, await asyncio.to_thread(formats.rendered, asked, told))
        return True

    def _whole(self, status: int, kind: bytes, body: bytes) -> None:
        """An answer of the model's, behind keep-alives."""
        if status == OK:
            self._last(body)
        else:
            self.refuse(Said(status, kind, body))

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

    # What the client is told.

    def _told(self, decision: Decision | None) -> None:
        """The model's part: it waits, or goes there."""
        now = asyncio.get_running_loop().time()
        if decision is None:
            self._held_at = now
            if self.record is not None:
                self.record.held()
            return
        if self._held_at:
            self.reply.queued += round((now - self._held_at) * 1000)
            self._held_at = 0.0
        self._who = decision
        if self.record is not None:
            self.record.routed(decision)

    def _tell(self, asked: Wanted, told: Told, body: bytes) -> None:
        marks: list[Field] = []
        if asked.speakers:
            marks.append((b"sparkkeep-diarized", b"no" if told.names is None else b"yes"))
        self._said(OK, formats.content_type(asked), body, marks)

    def _last(self, body: bytes) -> None:
        """All of an answer that was begun with keep-alives."""
        self._waits = NOT
        if self.record is not None:
            self.record.answering(OK)
            self.record.first()
        self.reply.first = self.reply.last = body
        self.client.write(chunk(body) + LAST)
        self.reply.sent += len(body)
        self.finish("answered")

    def _said(self, status: int, kind: bytes, body: bytes, more: list[Field]) -> None:
        """An answer whose body is all there."""
        if self.reply.started:
            self._last(body)
            return
        self._waits = NOT
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
        self._waits = NOT
        if self._blanks:  # which look like a success, so that nothing may look like their end
            log.warning("an answer that was begun with blanks can't be given: %s", refused.message)
            self.left(refused.reason)
            self.client.cut()
        elif isinstance(refused, Said) and not self.reply.started:
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
        if self._inquiry is not None:
            self._inquiry.close()
        if not self._given:
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
            first = limits.grace if self._waits == EVENTS else limits.silence
            self._beat = now + (limits.beat if late else first)
            if late and self._waits == EVENTS:
                self.client.write(self.reply.waiting("for the transcript", closes=self.closes))
            elif late:
                self._blanks = True
                self.client.write(self.reply.blank(closes=self.closes))


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
