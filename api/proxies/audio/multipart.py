"""multipart/form-data as it comes: parts told one after the other, nothing kept but what a delimiter may begin in.

Strict, as the readers of heads and chunks are: what two readers could understand in two ways is no form. There is no
preamble, no folded line, no padding behind a delimiter, one Content-Disposition for each part, and the end is there.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, Protocol

MOST_PARTS: Final = 100
LONGEST_HEAD: Final = 8192
"""Bytes of a part's header fields."""
LONGEST_BOUNDARY: Final = 70

_BOUNDARY: Final = re.compile(rb"[0-9A-Za-z'()+_,./:=?-]{1,70}")
_TYPE: Final = re.compile(
    rb"(?i)multipart/form-data((?:[ \t]*;[ \t]*[!#$%&'*+.^_`|~0-9a-z-]+=(?:\"[^\"\\\r\n]*\"|[^\s;\"]+))*)[ \t]*;?"
)
_PARAMETER: Final = re.compile(rb";[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:\"([^\"\\\r\n]*)\"|([^\s;\"]+))")
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_VALUE: Final = rb"(?:\"(?:[^\"\\\r\n]|\\[\"\\])*\"|[!#$%&'*+.^_`|~0-9A-Za-z-]+)"
_DISPOSITION: Final = re.compile(rb"(?i)form-data((?:[ \t]*;[ \t]*[a-z]+\*?=" + _VALUE + rb")+)")
_SAID: Final = re.compile(rb"(?i);[ \t]*([a-z]+\*?)=(" + _VALUE + rb")")
_AS_IT_IS: Final = frozenset({b"", b"binary", b"8bit", b"7bit"})
_CRLF: Final = b"\r\n"
_END: Final = b"\r\n\r\n"
_MARK: Final = 2  # bytes behind a delimiter: a line end, or the dashes of the last one

_OPENING, _HEAD, _DATA, _OVER = range(4)


class BadForm(ValueError):
    """What is no form."""


class PartHead(NamedTuple):
    """What a part says of itself. `raw`: its header fields as they came, with the empty line behind them."""

    name: str
    filename: str | None
    raw: bytes


class Sink(Protocol):
    """Who takes the parts. Both may raise."""

    def begin(self, head: PartHead) -> None:
        """Another part."""

    def data(self, data: bytes) -> None:
        """More of it."""


def boundary(content_type: bytes) -> bytes:
    """The words between parts. Raises BadForm; ValueError if it is no form at all."""
    found = _TYPE.fullmatch(content_type)
    if found is None:
        raise ValueError
    said = [quoted or bare for name, quoted, bare in _PARAMETER.findall(found[1]) if name.lower() == b"boundary"]
    if len(said) != 1 or _BOUNDARY.fullmatch(said[0]) is None:
        raise BadForm("its Content-Type has no boundary, several, or one that can't be")
    return bytes(said[0])


class Parser:
    """One form."""

    __slots__ = ("_buffer", "_delimiter", "_parts", "_sink", "_state")

    def __init__(self, boundary: bytes, sink: Sink) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._sink = sink
        self._buffer = bytearray(_CRLF)  # so that the first delimiter is like any other
        self._state = _OPENING
        self._parts = 0

    def feed(self, data: bytes) -> None:
        """More of it. Raises BadForm, and whatever the sink raises."""
        self._buffer += data
        while self._step():
            pass

    def finish(self) -> None:
        """There is no more. Raises BadForm."""
        if self._state != _OVER:
            raise BadForm("it ends in the middle")

    def _step(self) -> bool:
        """Whether there may be more to do with what is there."""
        if self._state == _DATA:
            return self._data()
        if self._state == _HEAD:
            return self._head()
        if self._state == _OPENING:
            return self._opening()
        if self._buffer and bytes(self._buffer) not in {b"\r", _CRLF}:
            raise BadForm("something follows its end")
        return False

    def _opening(self) -> bool:
        buffer, delimiter = self._buffer, self._delimiter
        if not delimiter.startswith(bytes(buffer[: len(delimiter)])):
            raise BadForm("it does not begin with its boundary")
        if len(buffer) < len(delimiter) + _MARK:
            return False
        del buffer[: len(delimiter)]
        self._delimited()
        return True

    def _delimited(self) -> None:
        """What stands behind a delimiter."""
        mark = bytes(self._buffer[:_MARK])
        del self._buffer[:_MARK]
        if mark == _CRLF:
            self._state = _HEAD
        elif mark == b"--":
            self._state = _OVER
        else:
            raise BadForm("a line begins with its boundary and goes on")

    def _head(self) -> bool:
        buffer = self._buffer
        end = buffer.find(_END)
        if end > LONGEST_HEAD or (end < 0 and len(buffer) > LONGEST_HEAD):
            raise BadForm(f"the header of a part is longer than {LONGEST_HEAD} bytes")
        if end < 0:
            return False
        raw = bytes(buffer[: end + len(_END)])
        del buffer[: end + len(_END)]
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise BadForm(f"it has more than {MOST_PARTS} parts")
        self._state = _DATA
        self._sink.begin(_part(raw))
        return True

    def _data(self) -> bool:
        buffer, delimiter = self._buffer, self._delimiter
        at = buffer.find(delimiter)
        if at < 0:
            safe = len(buffer) - len(delimiter) + 1
            if safe > 0:
                self._sink.data(bytes(buffer[:safe]))
                del buffer[:safe]
            return False
        if at:
            self._sink.data(bytes(buffer[:at]))
            del buffer[:at]
        if len(buffer) < len(delimiter) + _MARK:
            return False
        del buffer[: len(delimiter)]
        self._delimited()
        return True


def _part(raw: bytes) -> PartHead:
    said: dict[bytes, bytes] = {}
    for line in raw[: -len(_END)].split(_CRLF):
        field = _FIELD.fullmatch(line)
        if field is None:
            raise BadForm("a header of a part is `Name: value` on one line")
        name = field[1].lower()
        if name in said:
            raise BadForm("a part says one thing twice in its header")
        said[name] = field[2]
    disposition = _DISPOSITION.fullmatch(said.get(b"content-disposition", b""))
    if disposition is None:
        raise BadForm('each part has one `Content-Disposition: form-data; name="..."`')
    if said.get(b"content-transfer-encoding", b"").lower() not in _AS_IT_IS:
        raise BadForm("a part is sent as it is, in no transfer encoding")
    told = [(name.lower(), value) for name, value in _SAID.findall(disposition[1])]
    if len({name for name, _ in told}) != len(told):
        raise BadForm("a part says one thing twice in its Content-Disposition")
    known = {name: _text(value) for name, value in told}
    if b"name" not in known:
        raise BadForm("a part has no name")
    return PartHead(known[b"name"], known.get(b"filename", known.get(b"filename*")), raw)


def _text(value: bytes) -> str:
    if value.startswith(b'"'):
        value = re.sub(rb'\\(["\\])', rb"\1", value[1:-1])
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadForm("a name of a part is not UTF-8") from None
