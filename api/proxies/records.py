"""What is known of each request: those under way, and the last ones that ended. Never what was said in them.

The wire says of each request what happens to it, and when it is over; everything that takes a thought is done then, or
when somebody looks. What was said is kept only of models that `settings.proxy.capture` names, of the last few requests,
and in memory.

Times are seconds of the monotonic clock, except `at`.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

from api.proxies.calls import Call, Decision
from api.proxies.chunks import BadChunk, Chunks
from reconciler.meters import Counter, Histogram, Spread
from state.proxy import Proxy

CAPTURED: Final = 65_536  # bytes of a request, and of an answer, that are kept where that was switched on
LOOKED: Final = 4096  # bytes at both ends of an answer in which its usage is looked for
NAME: Final = 200  # characters of a name that a client gave
WAITS: Final = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
FIRSTS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
TOTALS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)

# How servers count, in the words of OpenAI (chat), of OpenAI (responses) and Anthropic, and of Ollama.
PROMPT: Final = (b'"prompt_tokens"', b'"input_tokens"', b'"prompt_eval_count"')
COMPLETION: Final = (b'"completion_tokens"', b'"output_tokens"', b'"eval_count"')
REASON: Final = re.compile(r"answered|[A-Z][A-Za-z0-9]{0,63}")
OTHER: Final = "Other"
MOST_CAUSES: Final = 100
UNSET: Final = Proxy()
NUMBER: Final = re.compile(rb"\s*:\s*([0-9]{1,12})")
FRAME: Final = re.compile(rb"\r\n[0-9A-Fa-f]{1,8}\r\n")  # between two chunks
Tokens = tuple[int | None, int | None]


class Capture:
    """What was said, as much of it as is kept (`observer.Words`)."""

    __slots__ = ("_chunked", "_raw", "request", "whole")

    def __init__(self) -> None:
        self.request = b""
        self.whole = True
        self._raw = bytearray()
        self._chunked = False

    def asked(self, body: bytes) -> None:
        """What the app has said. Whatever was heard before was said by a backend that another has replaced."""
        self.request = body[:CAPTURED]
        self.whole = len(body) <= CAPTURED
        self._raw.clear()

    def heard(self, raw: bytes, *, chunked: bool) -> None:
        """A piece of the answer."""
        room = CAPTURED - len(self._raw)
        self.whole = self.whole and len(raw) <= room
        self._raw += raw[:room]
        self._chunked = chunked

    @property
    def answer(self) -> bytes:
        """Without what frames it."""
        if not self._chunked:
            return bytes(self._raw)
        pieces: list[bytes] = []
        with contextlib.suppress(BadChunk):
            Chunks().feed(bytes(self._raw), 0, pieces)
        return b"".join(pieces)

    def as_dict(self) -> dict[str, Any]:
        """As the API shows it."""
        words = {"request": self.request, "answer": self.answer}
        return {name: said.decode("utf-8", "replace") for name, said in words.items()} | {"whole": self.whole}


class Record:
    """One request, told of by the wire (`observer.Record`). 0.0 is a time that has not come."""

    __slots__ = (
        "_records", "at", "began", "bytes_in", "bytes_out", "call", "capture", "cause",
        "decision", "ended_at", "first_at", "id", "load", "number", "routed_at", "status", "tokens", "tries", "waits",
        "workload",
    )  # fmt: skip

    def __init__(self, records: Records, call: Call, request_id: str, number: int) -> None:
        self._records = records
        self.id = request_id
        self.number = number
        self.at = time.time()
        self.began = time.monotonic()
        self.call = call
        self.workload = ""
        self.decision: Decision | None = None
        self.waits = False
        self.tries = 0
        self.routed_at = self.first_at = self.ended_at = 0.0
        self.load = 0.0
        self.status = self.bytes_in = self.bytes_out = 0
        self.cause = ""
        self.tokens: Tokens = (None, None)
        self.capture: Capture | None = None

    # What the wire says.

    def held(self) -> None:
        """It waits."""
        self.waits = True

    def routed(self, decision: Decision) -> Capture | None:
        """Where it goes; a second time, if the first did not answer."""
        self.decision = decision
        self.workload = decision.backend.workload
        self.tries += 1
        self.waits = False
        self.routed_at = time.monotonic()
        if self.capture is None and self.workload in self._records.captured:
            self.capture = Capture()
        return self.capture

    def answering(self, status: int) -> None:
        """The head of the answer has come."""
        self.status = status

    def first(self) -> None:
        """The first byte of an answer goes to the client."""
        self.first_at = time.monotonic()

    def ended(self, cause: str, *, status: int, received: int, sent: int, beginning: bytes, end: bytes) -> None:
        """It is over; a second end says nothing. What stands in the answer is counted, and not kept."""
        if self.ended_at:
            return
        self.ended_at = time.monotonic()
        self.cause, self.status, self.bytes_in, self.bytes_out = cause, status, received, sent
        self.tokens = usage(beginning, end)
        self._records.ended(self)

    # What is known.

    @property
    def state(self) -> str:
        """In a word."""
        if self.ended_at:
            return "ended"
        if self.decision is None or self.waits:
            return "waiting"
        return "answering" if self.first_at else "asked"

    @property
    def queued(self) -> float:
        """Seconds from its head to the decision where it goes, or to now, or to its end without one."""
        return (self.routed_at or self.ended_at or time.monotonic()) - self.began

    @property
    def total(self) -> float:
        """Seconds so far, or in all."""
        return (self.ended_at or time.monotonic()) - self.began

    @property
    def rate(self) -> float | None:
        """Tokens of the answer a second: of a stream from its first byte on, else since it was asked for."""
        since = self.first_at if self.call.stream else self.routed_at
        made = self.tokens[1]
        return made / (self.ended_at - since) if made and since and self.ended_at > since else None

    def as_dict(self) -> dict[str, Any]:
        """As the API shows it."""
        decision, rate, (prompt, completion) = self.decision, self.rate, self.tokens
        return {
            "id": self.id,
            "at": round(self.at, 3),
            "who": self.call.who,
            "method": self.call.method,
            "path": self.call.under + self.call.path,
            "model": self.call.model[:NAME],
            "workload": self.workload or None,
            "backend": decision.backend.key if decision is not None else None,
            "why": decision.why if decision is not None else None,
            "tries": self.tries,
            "stream": self.call.stream,
            "state": self.state,
            "waiting": None,
            "queuedSeconds": round(self.queued, 6),
            "loadSeconds": round(self.load, 6),
            "firstByteSeconds": round(self.first_at - self.began, 6) if self.first_at else None,
            "totalSeconds": round(self.total, 6),
            "bytesIn": self.bytes_in,
            "bytesOut": self.bytes_out,
            "promptTokens": prompt,
            "completionTokens": completion,
            "tokensPerSecond": round(rate, 2) if rate is not None else None,
            "status": self.status or None,
            "cause": self.cause or None,
            "captured": self.capture is not None,
        }


class RequestMeters:
    """What has happened, counted."""

    def __init__(self) -> None:
        self.requests = Counter("workload", "status", "cause")
        self.queue_seconds = Histogram(WAITS, "workload")
        self.first_seconds = Histogram(FIRSTS, "workload")
        self.total_seconds = Histogram(TOTALS, "workload")
        self.tokens = Counter("workload", "kind")
        self._spreads: dict[str, tuple[Spread, ...]] = {}
        self._causes: set[str] = set()

    def ended(self, record: Record) -> None:
        """A request is over. What reached no workload counts under none."""
        name = record.workload
        self.requests.add(name, str(record.status), self._word(record.cause))
        spreads = self._spreads.get(name)
        if spreads is None:
            families = (self.total_seconds, self.queue_seconds, self.first_seconds)
            spreads = self._spreads[name] = tuple(family.spread(name) for family in families)
        spreads[0].add(record.ended_at - record.began, TOTALS)
        if record.routed_at:
            spreads[1].add(record.routed_at - record.began, WAITS)
        if record.first_at:
            spreads[2].add(record.first_at - record.began, FIRSTS)
        prompt, completion = record.tokens
        if prompt is not None:
            self.tokens.add(name, "prompt", by=prompt)
        if completion is not None:
            self.tokens.add(name, "completion", by=completion)

    def _word(self, cause: str) -> str:
        """A cause as a label; a slip must not make a series of every text."""
        if cause not in self._causes:
            if not REASON.fullmatch(cause) or len(self._causes) >= MOST_CAUSES:
                return OTHER
            self._causes.add(cause)
        return cause

    def keep_only(self, workloads: AbstractSet[str]) -> None:
        """Drop the numbers of names that are declared no more."""
        self._spreads.clear()
        for family in (self.requests, self.tokens, self.queue_seconds, self.first_seconds, self.total_seconds):
            family.keep_only({"workload": workloads | {""}})


class Records:
    """All of one server's. `settings` are those in force; `ready_since`: since when a workload answers."""

    def __init__(
        self, settings: Callable[[], Proxy] = lambda: UNSET, ready_since: Callable[[str], float | None] = lambda _: None
    ) -> None:
        self.meters = RequestMeters()
        self._settings = settings
        self._ready_since = ready_since
        self._under_way: dict[int, Record] = {}
        self._last: deque[Record] = deque()
        self._captures: OrderedDict[int, Record] = OrderedDict()
        self._who: dict[str, int] = {}
        self._numbers = itertools.count(1)
        self.heard: list[Callable[[Record], None]] = []  # called with each that has ended

    @property
    def captured(self) -> list[str]:
        """The workloads of which is kept what is said."""
        return self._settings().capture

    def begin(self, call: Call, request_id: str) -> Record:
        """A request's head is here."""
        record = Record(self, call, request_id, next(self._numbers))
        self._under_way[record.number] = record
        self._who[call.who] = self._who.get(call.who, 0) + 1
        return record

    def ended(self, record: Record) -> None:
        """Used by records."""
        if self._under_way.pop(record.number, None) is None:
            return
        who = record.call.who
        left = self._who.get(who, 0) - 1
        if left > 0:
            self._who[who] = left
        else:
            self._who.pop(who, None)
        since = self._ready_since(record.workload) if record.routed_at else None
        if since is not None:
            record.load = max(0.0, min(since, record.routed_at) - record.began)
        self.meters.ended(record)
        self._keep(record)
        for heard in self.heard:
            heard(record)

    def _keep(self, record: Record) -> None:
        settings = self._settings()
        self._last.append(record)
        if record.capture is not None:
            self._captures[record.number] = record
        while len(self._captures) > settings.keep_captured:
            self._captures.popitem(last=False)[1].capture = None
        while len(self._last) > settings.keep_requests:
            self._captures.pop(self._last.popleft().number, None)

    def under_way_of(self, who: str) -> int:
        """How many requests of somebody are under way."""
        return self._who.get(who, 0)

    def under_way(self, workload: str | None = None) -> Iterator[Record]:
        """Those that have not ended, the oldest first."""
        return (r for r in list(self._under_way.values()) if workload is None or r.workload == workload)

    def last(self, limit: int, workload: str | None = None) -> list[Record]:
        """Those that ended last, the newest first."""
        found = (r for r in reversed(self._last) if workload is None or r.workload == workload)
        return list(itertools.islice(found, limit))

    def find(self, request_id: str) -> Record | None:
        """One of them by its id; of several, the newest."""
        every = (*self._last, *self._under_way.values())
        return next((record for record in reversed(every) if record.id == request_id), None)

    def counts(self) -> Mapping[str, int]:
        """How many are under way at each workload; under no name those that have none yet."""
        found: dict[str, int] = {}
        for record in self._under_way.values():
            found[record.workload] = found.get(record.workload, 0) + 1
        return found


def usage(beginning: bytes, end: bytes) -> Tokens:
    """Tokens of prompt and answer, as an answer counts them: at its end, or (Anthropic's prompts) at its beginning."""
    end = end[-LOOKED:]
    prompt, completion = _count(end, PROMPT), _count(end, COMPLETION)
    if (prompt is None or completion is None) and (whole := FRAME.sub(b"", end)) != end:  # cut in the middle of a word
        prompt, completion = _count(whole, PROMPT), _count(whole, COMPLETION)
    return _count(beginning[:LOOKED], PROMPT) if prompt is None else prompt, completion


def _count(text: bytes, names: tuple[bytes, ...]) -> int | None:
    for name in names:
        at = text.rfind(name)
        if at >= 0 and (found := NUMBER.match(text, at + len(name))) is not None:
            return int(found[1])
    return None
