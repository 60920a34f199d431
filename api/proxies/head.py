"""The head of a request and of an answer, read strictly: what two readers could understand in two ways is no head.

Written as one pattern for the first line and one for a field, both with nothing optional in them: a line that does not
match is refused, so there is no lenient path to find. That costs no more than a parser in C that calls back for each
field, says exactly where the head ends, and is the same for the data path and for what is handed to the API.
"""

from __future__ import annotations

import re
from typing import Final

from api.guard.heads import LENGTH, MAX_FIELDS, MAX_HEAD, MAX_TARGET
from api.guard.rules import HEADERS
from api.proxies.calls import Field

END: Final = b"\r\n\r\n"
LONGEST: Final = MAX_HEAD + MAX_TARGET + 4 * MAX_FIELDS + 1024
"""Bytes after which a head that has not ended will be none."""

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST: Final = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/1\.([01])\r\n")
_STATUS: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?\r\n")
_FIELD: Final = re.compile(rb"(?m)^(" + _TOKEN + rb"):([\t\x20-\x7e\x80-\xff]*)\r\n")
_ONCE: Final = (b"host", b"content-length", b"transfer-encoding", b"content-type", b"expect", b"x-api-key")
_CLOSE: Final = re.compile(rb"(?i)(?:^|,)[ \t]*close[ \t]*(?:,|$)")
_KEEP: Final = re.compile(rb"(?i)(?:^|,)[ \t]*keep-alive[ \t]*(?:,|$)")

CHUNKED: Final = -1
UNTIL_CLOSED: Final = -2


class BadHead(Exception):
    """A head that is none: what to answer to whoever sent it."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message


def too_large() -> BadHead:
    """For a head without measure."""
    message = f"a request may have {MAX_FIELDS} header fields of {MAX_HEAD // 2**10} KiB together"
    return BadHead(431, "HeadTooLarge", message)


class Head:
    """What a request says of itself. `names`: each field's last value without the blanks around it, by small name.

    `session`, `key`: whose conversation it is, and the key that its client shows. `sent`: for whoever passes it on, to
    note how, for all heads that differ in their length only. `admitted`: by which `Gate`, likewise.
    """

    __slots__ = (
        *("admitted", "close", "fields", "key", "length", "method", "minor", "names", "sent", "session", "target"),
    )

    def __init__(self, data: bytes, end: int) -> None:
        """`end`: where its empty line begins. Raises BadHead."""
        first = _REQUEST.match(data)
        if first is None:
            raise BadHead(400, "BadRequest", "the first line of a request is `METHOD /path HTTP/1.1`")
        self.method, self.target, minor = first.groups()
        at = first.end()
        self.minor = minor == b"1"
        self.fields = fields = _fields(data, at, end)
        if len(fields) > MAX_FIELDS or (end - at > MAX_HEAD and _size(fields) > MAX_HEAD):
            raise too_large()
        self.names = names = {name.lower(): value.strip(b" \t") for name, value in fields}
        if len(names) != len(fields):
            _once(fields)
        self.length = self._length(names)
        said = names.get(b"connection")
        if said is None or said == b"keep-alive":
            self.close = said is None and not self.minor
        else:
            self.close = _CLOSE.search(said) is not None or (not self.minor and _KEEP.search(said) is None)
        self.session = _session(names)
        self.key = _key(names)
        self.sent: dict[bool, bytes] = {}
        self.admitted: object = None

    def resized(self, length: bytes) -> Head:
        """The same with another Content-Length."""
        head = Head.__new__(Head)
        head.method, head.target, head.minor, head.close = self.method, self.target, self.minor, self.close
        head.session, head.key, head.sent, head.admitted = self.session, self.key, self.sent, self.admitted
        head.names = {**self.names, b"content-length": length}
        said = b" " + length
        head.fields = [(name, said) if name.lower() == b"content-length" else (name, v) for name, v in self.fields]
        head.length = int(length)
        return head

    def without(self, *gone: bytes) -> Head:
        """The same without these fields."""
        head = self.resized(self.names.get(b"content-length", b"0"))
        head.length, head.sent = self.length, {}
        head.fields = [(name, value) for name, value in self.fields if name.lower() not in gone]
        head.names = {name: value for name, value in self.names.items() if name not in gone}
        return head

    def only(self, fields: list[Field]) -> Head:
        """The same with these fields beside those that are about the connection and the body."""
        head = Head.__new__(Head)
        head.method, head.target, head.minor, head.close = self.method, self.target, self.minor, self.close
        head.session, head.key, head.length, head.admitted = self.session, self.key, self.length, self.admitted
        head.fields = [*(field for field in self.fields if field[0].lower() in _FRAMING), *fields]
        head.names = {name.lower(): value.strip(b" \t") for name, value in head.fields}
        head.sent = {}
        return head

    def _length(self, names: dict[bytes, bytes]) -> int:
        length, coding = names.get(b"content-length"), names.get(b"transfer-encoding")
        if coding is not None:
            if length is not None or not self.minor or coding.lower() != b"chunked":
                raise BadHead(400, "BadLength", "a body has either a Content-Length or `Transfer-Encoding: chunked`")
            return CHUNKED
        if length is None:
            return 0
        if LENGTH.fullmatch(length) is None:
            raise BadHead(400, "BadLength", "Content-Length is one number")
        return int(length)


class AnswerHead:
    """What a backend says of its answer. `names`: as in `Head`, but for date and length, of which many are told apart.

    `raw`: all of it. `passed`: the lines that go on to the client as they came. `stream`: it is a success that comes in
    events, or in `lines`. `plain`: it says nothing that the guard says too.
    """

    __slots__ = ("close", "length", "lines", "names", "passed", "plain", "raw", "status", "status_line", "stream")

    def __init__(self, data: bytes, end: int, *, bodiless: bool) -> None:
        """`bodiless`: it answers a HEAD. Raises BadHead."""
        first = _STATUS.match(data)
        if first is None:
            raise BadHead(502, "BadAnswer", "it did not answer in HTTP/1.1")
        self.status = int(first[2])
        at = first.end()
        self.status_line = b"HTTP/1.1" + data[8:at]
        self.raw = data[: end + 2]
        fields = _fields(data, at, end)
        self.names = names = {name.lower(): value.strip(b" \t") for name, value in fields}
        said = names.get(b"connection", b"")
        minor = first[1] == b"1"
        if minor and (not said or said == b"keep-alive"):
            self.close, hop = False, _NONE
        else:
            self.close = _CLOSE.search(said) is not None if minor else _KEEP.search(said) is None
            hop = named(said)
        self.length = self._length(fields, bodiless=bodiless)
        self.passed = passing(fields, hop)
        names.pop(b"date", None)
        names.pop(b"content-length", None)
        kind = names.get(b"content-type", b"").lower()
        self.lines = kind.startswith(_LINES)
        plain = self.status == _OK and b"content-encoding" not in names
        self.stream = plain and (self.lines or kind.startswith(EVENTS))
        self.plain = GUARDED.isdisjoint(names)

    @property
    def fields(self) -> list[Field]:
        """All of them, as they came."""
        return _fields(self.raw, self.raw.find(b"\n") + 1, len(self.raw) - 2)

    def again(self, raw: bytes, length: int, passed: bytes) -> AnswerHead:
        """The same with another date and length: `raw` up to the end of its last field."""
        head = AnswerHead.__new__(AnswerHead)
        head.status, head.status_line, head.names, head.close = self.status, self.status_line, self.names, self.close
        head.lines, head.stream, head.plain = self.lines, self.stream, self.plain
        head.raw, head.length, head.passed = raw, length, passed
        return head

    def _length(self, fields: list[Field], *, bodiless: bool) -> int:
        names = self.names
        if bodiless or self.status < 200 or self.status in {204, 304}:  # noqa: PLR2004  # without a body, all of them
            return 0
        length, coding = names.get(b"content-length"), names.get(b"transfer-encoding")
        if len(names) != len(fields):
            _once(fields)
        if coding is not None:
            if length is not None or coding.lower() != b"chunked":
                raise BadHead(502, "BadAnswer", "the length of its answer can be read in two ways")
            return CHUNKED
        if length is None:
            return UNTIL_CLOSED
        if LENGTH.fullmatch(length) is None:
            raise BadHead(502, "BadAnswer", "the length of its answer is no number")
        return int(length)


HOP: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization"),
        *(b"te", b"upgrade"),
    }
)
"""Fields that are about one connection."""
OURS: Final = frozenset(
    {
        *(b"x-request-id", b"sparkkeep-backend", b"sparkkeep-route", b"sparkkeep-queued-ms", b"access-control-max-age"),
        *(b"sparkkeep-redacted", b"sparkkeep-session"),
    }
)
"""Fields of an answer that we say, whatever a backend says."""
_FRAMING: Final = frozenset({b"host", b"connection", b"content-length", b"transfer-encoding", b"expect"})
_WITHHELD: Final = HOP | OURS
_NONE: Final[frozenset[bytes]] = frozenset()
GUARDED: Final = frozenset(name.encode() for name in HEADERS)
"""Fields that the guard says, unless the backend does."""
EVENTS: Final = b"text/event-stream"
_LINES: Final = (b"application/x-ndjson", b"application/jsonl")
_OK: Final = 200
_SESSION: Final = (b"sparkkeep-session", b"x-session-id", b"session-id", b"x-session-affinity")
_PASS: Final[dict[bytes, bool]] = {}
_REMEMBERED: Final = 1000


def named(connection: bytes) -> frozenset[bytes]:
    """The fields that a Connection field declares to be about one connection."""
    if not connection or connection.lower() in {b"keep-alive", b"close"}:
        return frozenset()
    return frozenset(word.strip(b" \t").lower() for word in connection.split(b",")) - {b"content-length"}


def stripped(fields: list[Field]) -> list[Field]:
    """Fields without the blanks around their values."""
    return [(name, value.strip(b" \t")) for name, value in fields]


def passing(fields: list[Field], hop: frozenset[bytes] = _NONE) -> bytes:
    """The lines that go on to a client as they came: not those about one connection, nor those that we say."""
    known = _PASS
    kept = [field for field in fields if (known[field[0]] if field[0] in known else _passes(field[0]))]
    if hop:
        kept = [field for field in kept if field[0].lower() not in hop]
    return b"".join([b"%b:%b\r\n" % field for field in kept])


def _passes(name: bytes) -> bool:
    """Found out once for each way in which servers write a name: there are few."""
    small = name.lower()
    if len(_PASS) >= _REMEMBERED:
        _PASS.clear()
    passes = _PASS[name] = not (small in _WITHHELD or small.startswith(b"access-control-"))
    return passes


def _fields(data: bytes, at: int, end: int) -> list[Field]:
    """All lines, or BadHead: each of them is a field, ended by CR LF; no line is folded."""
    found = _FIELD.findall(data, at, end + 2)
    if len(found) != data.count(b"\n", at, end + 2):
        raise BadHead(400, "BadField", "a header field is `Name: value` on one line that ends with CR LF")
    return found


def _session(names: dict[bytes, bytes]) -> str:
    return next((names[name].decode("latin-1") for name in _SESSION if name in names), "")


def _key(names: dict[bytes, bytes]) -> str:
    """In either of the usual ways; with both, `authorization` holds the server's token."""
    if key := names.get(b"x-api-key"):
        return key.decode("latin-1")
    scheme, _, word = names.get(b"authorization", b"").partition(b" ")
    return word.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""


def _size(fields: list[Field]) -> int:
    return sum(len(name) + len(value) for name, value in fields)


def _once(fields: list[Field]) -> None:
    names = [name.lower() for name, _ in fields]
    for name in _ONCE:
        if names.count(name) > 1:
            reason = "BadHost" if name == b"host" else "BadLength" if name == b"content-length" else "BadField"
            raise BadHead(400, reason, f"a request says {name.decode()} once")
