"""What one client is told: the head of its answer, the pieces behind it, and how it ends. Bytes in, bytes out."""

from __future__ import annotations

from collections.abc import Sequence

from api.proxies import answers
from api.proxies.calls import Decision, Field
from api.proxies.chunks import LAST, chunk
from api.proxies.dialects import errors
from api.proxies.dialects.errors import Trouble
from api.proxies.dialects.names import Dialect
from api.proxies.edge import EVENT_ENDS, LINE_ENDS, Edge
from api.proxies.forward import reframed, told_of, unsaid
from api.proxies.head import CHUNKED, EVENTS, AnswerHead, Head, passing, stripped
from api.proxies.translation import Translation
from api.proxies.turned import Turned


class Reply:
    """One answer. `started`: a head has gone, or waits for the first bytes behind it; `sent`: bytes of its body."""

    __slots__ = (
        *(
            "_answer",
            "_closes",
            "_decision",
            "_dialect",
            "_edge",
            "_ends",
            "_head",
            "_out",
            "_said",
            "_told",
            "_turned",
        ),
        *("first", "last", "last_but_one", "queued", "request_id", "sent", "started", "status", "translation"),
    )

    def __init__(self, head: Head, said: bytes, request_id: bytes, dialect: Dialect) -> None:
        """`head`: the request's. `said`: the lines for browsers."""
        self._head = head
        self._said = said
        self._dialect = dialect
        self.request_id = request_id
        self.queued = 0
        self.translation: Translation | None = None
        self._told = b""  # the lines of the head that it made
        self._answer: AnswerHead | None = None
        self._decision: Decision | None = None
        self._closes = False
        self._turned: Turned | None = None
        self._out = b""  # a head that waits for the first bytes behind it
        self._ends: tuple[bytes, ...] | None = None  # how pieces of a stream end that are whole events
        self._edge: Edge | None = None
        self.started = False
        self.status = 0
        self.sent = 0
        self.first = self.last = self.last_but_one = b""

    @property
    def ends_well(self) -> bool:
        """Whether its end can be told from the end of the connection."""
        return self._turned is None or self._head.minor

    @property
    def under_way(self) -> bool:
        """Whether something of an answer has gone, behind which nothing else can be said."""
        return self.started and (self.sent > 0 or self._turned is not None) and not self._out

    def take_back(self) -> None:
        """What has not gone to the client is not said."""
        if self._out:
            self.started, self._out = False, b""

    def forget(self) -> None:
        """Another backend is asked."""
        self.first = b""
        self.translation = self._answer = self._turned = None

    def says(self, lines: bytes) -> None:
        """Lines that stand in whatever head it gets."""
        self._said += lines

    # Of ours.

    def own(self, status: int, fields: list[Field], body: bytes, *, date: Sequence[Field], closes: bool) -> bytes:
        """An answer that is no backend's."""
        out = [answers.status_line(status), answers.fields_lines([*date, *fields]), self._said]
        out += (b"x-request-id: ", self.request_id, b"\r\n", self._connection(closes=closes), b"\r\n")
        if self._head.method != b"HEAD":
            out.append(body)
        self.status = status
        self.sent += len(body)
        self.started, self._out = True, b""
        return b"".join(out)

    def waiting(self, what: str, *, closes: bool) -> bytes:
        """A keep-alive of a stream, with a head before the first."""
        return self._early_head(answers.STREAM, closes=closes) + chunk(answers.comment(f"waiting {what}"))

    def blank(self, *, closes: bool) -> bytes:
        """A keep-alive of an answer in JSON, before which blanks may stand; with a head before the first."""
        return self._early_head(answers.JSON, closes=closes) + chunk(b" ")

    def _early_head(self, head: bytes, *, closes: bool) -> bytes:
        if self.started:
            return b""
        self.started, self.status = True, 200
        named = b"x-request-id: %b\r\n" % self.request_id
        return b"".join((head, self._said, named, self._connection(closes=closes), b"\r\n"))

    def error(self, trouble: Trouble) -> bytes:
        """The end of a stream of which nothing but the head has gone."""
        return chunk(errors.event(self._dialect, trouble)) + LAST

    # A backend's.

    def early(self, answer: AnswerHead, decision: Decision, *, closes: bool) -> bytes:
        """A stream's head, before its first event; nothing, if that may yet change it."""
        if self.started or answer.length != CHUNKED or not self._head.minor or self.translation is not None:
            return b""
        self._decision, self._closes = decision, closes
        self.started, self.status = True, answer.status
        return self._head_of(answer, raw=True)

    def flow(self, answer: AnswerHead, decision: Decision, *, closes: bool) -> None:
        """From here on it is this backend's answer."""
        self._answer, self._decision, self._closes = answer, decision, closes
        minor, translation, length = self._head.minor, self.translation, answer.length
        same = length == CHUNKED if self.started else length >= 0 or (length == CHUNKED and minor)
        raw = same and translation is None
        if raw and length == CHUNKED and answer.stream:
            self._ends = LINE_ENDS if answer.lines else EVENT_ENDS
        if not raw:
            self._turned = Turned(length, chunked=minor, translation=translation)
        if translation is not None:
            # Its status, and with it the head, may be known at the end only.
            self._told = passing(translation.head(answer.status, stripped(answer.fields))[1])
        elif not self.started:
            self._out = self._head_of(answer, raw=raw)
            self.status = answer.status
            self.started = True

    def piece(self, raw: bytes, *, ended: bool, at_chunk: bool) -> bytes:
        """What the client gets of a piece. `at_chunk`: a chunk could begin behind it."""
        if not self.sent:
            self.first = raw
        self.last_but_one, self.last = self.last, raw
        if self._turned is None:
            passed = raw if self._ends is None else self._whole_events(raw, self._ends, ended=ended, at_chunk=at_chunk)
            out = self._out + passed if self._out else passed
            self._out = b""
        else:
            out = self._turn(self._turned, raw, ended=ended)
        self.sent += len(out)
        return out

    def broken(self, reason: str, message: str) -> bytes | None:
        """What ends a stream that broke; None: it is no stream, or one that can't be ended well."""
        answer, turned = self._answer, self._turned
        if answer is None or not answer.stream:
            return None
        if turned is not None and turned.translation is not None:
            data = turned.translation.broken(reason, message)
        else:
            data = errors.event(self._dialect, Trouble(status=502, code=reason, message=message))
        if turned is not None:
            return turned.framed(data, ended=True)
        edge = self._edge or Edge(lines=False)
        return None if self._ends is None else edge.mended(data)

    def _whole_events(self, raw: bytes, ends: tuple[bytes, ...], *, ended: bool, at_chunk: bool) -> bytes:
        edge = self._edge
        if edge is None:
            if ended or (at_chunk and raw.endswith(ends)):
                return raw
            self._edge = edge = Edge(lines=ends is LINE_ENDS)
        passed = edge.feed(raw, ended=ended)
        if edge.clear:
            self._edge = None
        return passed

    def _turn(self, turned: Turned, raw: bytes, *, ended: bool) -> bytes:
        content = turned.content(raw, ended=ended)
        head = b""
        if not self.started and (content or ended) and self._answer is not None:
            head = self._head_of(self._answer, raw=False, length=len(content) if ended else None)
            self.started = True
            if ended:
                return head if self._head.method == b"HEAD" else head + content
        elif self._out:
            head, self._out = self._out, b""
        return head + turned.framed(content, ended=ended)

    def _head_of(self, answer: AnswerHead, *, raw: bool, length: int | None = None) -> bytes:
        assert self._decision is not None  # noqa: S101  # whose answer it is
        status, passed = answer.status_line, answer.passed if raw else reframed(answer)
        if self.translation is not None:
            self.status = self.translation.status
            status, passed = answers.status_line(self.status), self._told
        out = [status, passed, told_of(self._decision, self.queued, self.request_id, unsaid(self._said, answer))]
        if not raw:
            if length is not None:
                out.append(b"content-length: %d\r\n" % length)
            elif self._head.minor:
                out.append(b"transfer-encoding: chunked\r\n")
        if answer.names.get(b"content-type", b"").startswith(EVENTS):
            out.append(b"x-accel-buffering: no\r\n")
        endless = not raw and length is None and not self._head.minor
        out += (self._connection(closes=self._closes or endless), b"\r\n")
        return b"".join(out)

    def _connection(self, *, closes: bool) -> bytes:
        if closes:
            return b"connection: close\r\n"
        return b"" if self._head.minor else b"connection: keep-alive\r\n"
