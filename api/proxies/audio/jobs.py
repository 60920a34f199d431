"""Transcripts that nobody waits for: asked for with `Prefer: respond-async`, and fetched later in any format.

A job outlives the connection that it came on. It keeps the spooled sound until it is done, then what was heard, for a
while. It is its owner's alone: whoever showed the same key, or asks from the same address where no keys are wanted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

from api.proxies.audio import formats, words
from api.proxies.audio.asking import NoAnswer
from api.proxies.audio.formats import Told
from api.proxies.audio.inquiry import LONGEST, OK, Answered, Inquiry, Said, Sent, answered, as_told
from api.proxies.audio.spool import Spool
from api.proxies.audio.wanted import FORMATS, SPEAKERS, Wanted, as_it_came, form_of
from api.proxies.calls import Call, Decision, Refused
from api.proxies.dialects.errors import Trouble
from api.proxies.observer import Record

if TYPE_CHECKING:
    from api.proxies.audio.sounds import Sounds

log = logging.getLogger("sparkkeep.proxies")

PATH: Final = "/v1/audio/jobs"
QUEUED, RUNNING, SUCCEEDED, FAILED = "queued", "running", "succeeded", "failed"
AGAIN: Final = 2.0
"""Seconds after which it is worth to ask again."""


def prefers_jobs(prefer: bytes) -> bool:
    """Whether a `Prefer` (RFC 7240) says `respond-async`."""
    said = (word.partition(b";")[0].strip().lower() for word in prefer.split(b","))
    return b"respond-async" in said


class Job:
    """One of them. `owner`: who asked for it. `begun`: it is known where it goes, or that it waits."""

    def __init__(self, jobs: Jobs, sounds: Sounds, call: Call, asked: Wanted, spool: Spool, record: Record) -> None:
        self.id = token_hex(16)
        self.owner = call.who
        self.asked = replace(asked, stream=False)
        self.created = time.time()
        self.ended_at: float | None = None
        self.state = QUEUED
        self.failure: Refused | None = None
        self.begun = asyncio.Event()
        self.inquiry: Inquiry | None = None
        self.task: asyncio.Task[None] | None = None
        self.size = spool.size
        self._jobs = jobs
        self._sounds = sounds
        self._call = call
        self._spool = spool
        self._record = record
        self._told: Told | None = None
        self._answer: Answered | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in {SUCCEEDED, FAILED}

    # Its life.

    def heard_of(self, decision: Decision | None) -> None:
        """It waits for the model, or goes there."""
        self.state = QUEUED if decision is None else RUNNING
        self.begun.set()
        if decision is None:
            self._record.held()
        else:
            self._record.routed(decision)

    async def run(self, inquiry: Inquiry, limit: float) -> None:
        """To its end."""
        self.inquiry = inquiry
        cause, status, state = "Cancelled", 0, FAILED
        try:
            async with asyncio.timeout(limit):
                await self._hear(inquiry)
            cause, status, state = "answered", OK, SUCCEEDED
        except Refused as refused:
            self.failure = refused
        except TimeoutError:
            self.failure = Refused(504, "BackendTimeout", f"it was not done within {limit:g} s")
        except NoAnswer as failed:
            self.failure = Refused(502, "BackendFailed", f"the model did not answer: {failed.message}", retry_after=2)
        except OSError as error:
            self.failure = Refused(507, "SpoolFailed", f"the sound can't be read: {error.strerror or error}")
        except Exception:  # the root of this task
            log.exception("a transcript that nobody waits for failed")
            self.failure = Refused(500, "InternalError", "sparkkeep failed on this sound; its log says how")
        finally:
            if self.failure is not None:
                cause, status = self.failure.reason, self.failure.status
            inquiry.close()
            self._spool.close()
            self._record.ended(cause, status=status, received=self.size, sent=0, beginning=b"", end=b"")
            self.state = state
            self.ended_at = self._jobs.now()
            self.begun.set()

    async def _hear(self, inquiry: Inquiry) -> None:
        """Words with their times, since everything can be made of those; else what the model says itself."""
        asked, call, sounds = self.asked, self._call, self._sounds
        if asked.speakers:
            itself = not asked.diarizer and asked.format == "diarized_json"
            if itself and sounds.able(call.path, asked.model, form_of(asked)) and await self._itself(inquiry):
                return
            diarizer = sounds.diarizer(asked.diarizer)
            self._told = await inquiry.with_speakers(asked, call, diarizer)
            return
        try:
            self._told = formats.plain(await inquiry.heard(asked, call))
        except Refused as refused:
            timeless = refused.reason == "NoTimes" or isinstance(refused, Said)
            if not (timeless and await self._itself(inquiry)):
                raise

    async def _itself(self, inquiry: Inquiry) -> bool:
        """What the model says to the question as it came; False: that is not what was asked for."""
        asked, errand = self.asked, inquiry.itself(self._call)
        letter = partial(as_it_came, asked, inquiry.boundary)
        try:
            conversation, head = await errand.ask(Sent(inquiry, letter, inquiry.target, plain=True))
            found = await answered(conversation, head, LONGEST)
        finally:
            errand.end()
        if found[0] != OK:
            inquiry.refused = found
            return False
        told = await asyncio.to_thread(as_told, asked.format, found[1], found[2], asked.names)
        if told is None and asked.format == "diarized_json":
            self._sounds.found_unable(self._call.path, asked.model, form_of(asked))
            return False
        self._told, self._answer = told, found
        return True

    def cancel(self) -> None:
        """Nobody wants it any more."""
        if self.task is not None:
            self.task.cancel()

    # What is told of it.

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        said: dict[str, Any] = {
            "id": self.id,
            "object": "audio.job",
            "status": self.state,
            "model": self.asked.model,
            "response_format": self.asked.format,
            "created_at": int(self.created),
            "bytes": self.size,
            "progress": dict(self.inquiry.steps) if self.inquiry is not None else {},
        }
        if self.state == SUCCEEDED:
            said["result"] = f"{PATH}/{self.id}/result"
        if self.failure is not None:
            trouble = Trouble.of(self.failure)
            said["error"] = {"message": trouble.message, "code": trouble.code, "param": trouble.param}
        if self.ended_at is not None:
            said["expires_in"] = max(0, round(self._jobs.expires(self)))
        return said

    def result(self, form: str, granularities: Sequence[str]) -> tuple[bytes, bytes]:
        """Content-Type and body, in this format or the one that was asked for. Raises Refused."""
        if not self.over:
            raise Refused(409, "JobRunning", f"it is {self.state}; ask again later", retry_after=AGAIN)
        if self.failure is not None:
            raise self.failure
        if form and form not in FORMATS:
            raise Refused(400, "BadValue", "there is no such format", field="response_format", allowed=FORMATS)
        asked = replace(self.asked, format=form or self.asked.format)
        if granularities:
            asked = replace(asked, granularities=granularities)
        if self._answer is not None and asked.format == self.asked.format:
            return self._answer[1], self._answer[2]
        told = self._told
        if told is None:
            message = f"the model said `{self.asked.format}` itself, of which nothing else can be made"
            raise Refused(422, "NoTimes", message, field="response_format", allowed=[self.asked.format])
        if asked.format in SPEAKERS and told.names is None and not (told.missing and asked.format == "diarized_json"):
            message = "nobody was asked who speaks; ask for `diarized_json`, or name a `diarizer`, with the sound"
            raise Refused(422, "NotDiarized", message, field="response_format")
        if told.heard.text and asked.format not in {"json", "text"} and not words.has_times(told.heard):
            message = f"the model told no times, which `{asked.format}` is made of"
            raise Refused(422, "NoTimes", message, field="response_format", allowed=["json", "text"])
        return formats.content_type(asked), formats.rendered(asked, told)


class Jobs:
    """All of one server, by their names. `most`, `kept`: how many, and for how many seconds after their end."""

    def __init__(
        self,
        most: Callable[[], int] = lambda: 16,
        kept: Callable[[], float] = lambda: 3600.0,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._kept = kept
        self.now = now
        self._all: dict[str, Job] = {}

    def room(self) -> None:
        """Whether there is room for one more. Raises Refused."""
        self._forget()
        if len(self._all) < self._most():
            return
        ends = [self.expires(job) for job in self._all.values() if job.over]
        message = (
            f"{len(self._all)} transcripts are under way or kept, as many as may be (`settings.proxy.soundJobs`); "
            "DELETE those that are not needed any more"
        )
        raise Refused(429, "TooManyJobs", message, retry_after=max(1.0, min([*ends, 60.0])))

    def add(self, job: Job, inquiry: Inquiry, limit: float) -> None:
        """It begins."""
        self._all[job.id] = job
        job.task = asyncio.get_running_loop().create_task(job.run(inquiry, limit), name="a transcript")

    def expires(self, job: Job) -> float:
        """Seconds until it is forgotten."""
        now = self.now()
        return (now if job.ended_at is None else job.ended_at) + self._kept() - now

    def _forget(self) -> None:
        for job in [job for job in self._all.values() if job.over and self.expires(job) <= 0]:
            del self._all[job.id]

    def of(self, owner: str) -> list[Job]:
        """Those of one owner, the oldest first."""
        self._forget()
        return [job for job in self._all.values() if job.owner == owner]

    def named(self, name: str, owner: str) -> Job:
        """One of them. Raises Refused: to others than its owner it is not there."""
        found = next((job for job in self.of(owner) if job.id == name), None)
        if found is None:
            message = "there is no such job: it was deleted, was done long ago, or sparkkeep was restarted since"
            raise Refused(404, "NoSuchJob", message)
        return found

    def delete(self, job: Job) -> Mapping[str, Any]:
        """It is given up, whatever it was about, and forgotten."""
        self._all.pop(job.id, None)
        status = job.state if job.over else "cancelled"
        job.cancel()
        return {"id": job.id, "object": "audio.job", "status": status, "deleted": True}

    async def close(self) -> None:
        """The server ends."""
        tasks = [job.task for job in self._all.values() if job.task is not None]
        self._all.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
