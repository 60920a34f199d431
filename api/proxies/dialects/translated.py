"""An answer in OpenAI's chat dialect on its way to an app that speaks another one.

Whether the app asked for a stream and whether the backend sends one are two questions: usually the answers agree, and
where they don't the app still gets what it asked for. What breaks is said in the app's dialect.
"""

from __future__ import annotations

import zlib
from typing import Any, Final, Protocol

from api.proxies.calls import Field, Refused
from api.proxies.dialects import errors, sse
from api.proxies.dialects.errors import Trouble
from api.proxies.dialects.json_text import dumps, loads
from api.proxies.dialects.names import Dialect
from api.proxies.dialects.pieces import Failed, Finished, Hearing, Piece

LARGEST: Final = 64 * 1024 * 1024
"""Bytes of a whole answer."""

EVENTS: Final = b"text/event-stream; charset=utf-8"
LINES: Final = b"application/x-ndjson"
JSON: Final = b"application/json"
BAD_REQUEST: Final = 400
CUT: Final = Trouble(status=502, code="StreamCut", message="the model's server ended the stream before its answer")
OURS: Final = frozenset({b"content-type", b"content-length", b"content-encoding", b"transfer-encoding", b"etag"})


class Translation(Protocol):
    """One call that an app makes in one dialect and its backend answers in another."""

    @property
    def path(self) -> str:
        """What the backend is asked instead."""

    def body(self) -> bytes:
        """The request for the backend. Raises Refused for what can't be said there."""

    def head(self, status: int, fields: list[Field]) -> tuple[int, list[Field]]:
        """The answer's head: the backend's in, the app's out. Its length is not known yet."""

    def feed(self, data: bytes) -> bytes:
        """Bytes of the backend's answer in, bytes for the app out; nothing is held back that need not be."""

    def end(self) -> bytes:
        """The backend's answer is complete."""

    def broken(self, reason: str, message: str) -> bytes:
        """It broke: an error event, where a stream had begun."""

    @property
    def status(self) -> int:
        """The status as it is known now: an answer that is not streamed may turn out to be none, at its end."""


class Writer(Protocol):
    """Writes a dialect from pieces: a stream's bytes, or one object."""

    def begin(self, hearing: Hearing) -> bytes:
        """The stream has begun, though nothing was said yet."""

    def write(self, pieces: list[Piece]) -> bytes:
        """These pieces, in a stream. Raises ValueError or Refused if they make no sense."""

    def end(self) -> bytes:
        """The stream is over, and was whole. Raises Refused."""

    def fail(self, trouble: Trouble) -> bytes:
        """The stream is over, and was not."""

    def whole(self, hearing: Hearing, pieces: list[Piece]) -> dict[str, Any]:
        """The answer as one object. Raises Refused if it can't be one."""


class Unsayable:
    """A call that can't be put into the backend's words."""

    path = ""
    status = BAD_REQUEST

    def __init__(self, refused: Refused) -> None:
        self._refused = refused

    def body(self) -> bytes:
        """Raises what is wrong with it."""
        raise self._refused

    def head(self, status: int, fields: list[Field]) -> tuple[int, list[Field]]:
        """Nothing was asked, so nothing is answered."""
        return status, fields

    def feed(self, data: bytes) -> bytes:
        """As above."""
        return data

    def end(self) -> bytes:
        """As above."""
        return b""

    def broken(self, reason: str, message: str) -> bytes:  # noqa: ARG002 - the protocol's signature
        """As above."""
        return b""


class Answer:
    """The way back that all translations share: head, error, decoding, and the bound on what is kept."""

    def __init__(self, dialect: Dialect, path: str, body: bytes) -> None:
        self.path = path
        self.status = 0
        self.dialect = dialect
        self._request = body
        self._kept = bytearray()
        self._unzip: Any = None
        self._trouble: Trouble | None = None

    def body(self) -> bytes:
        """The request for the backend."""
        return self._request

    def head(self, status: int, fields: list[Field]) -> tuple[int, list[Field]]:
        """The app's head: the backend's, with the content type of what comes now."""
        self.status = status
        named = {name.lower(): value.strip(b" \t").lower() for name, value in fields}
        if named.get(b"content-encoding", b"identity") in {b"gzip", b"deflate"}:
            self._unzip = zlib.decompressobj(zlib.MAX_WBITS | 32)
        kept = [(name, value) for name, value in fields if name.lower() not in OURS]
        return status, [*kept, (b"content-type", self.content_type(named.get(b"content-type", b"")))]

    def content_type(self, theirs: bytes) -> bytes:  # noqa: ARG002 - for those whose answer may be a stream
        """What the app gets."""
        return JSON

    def feed(self, data: bytes) -> bytes:
        """Kept until it is whole."""
        if self._trouble is None:
            try:
                self._keep(self.decoded(data))
            except Refused as refused:
                self._trouble = Trouble.of(refused)
                self._kept.clear()
        return b""

    def end(self) -> bytes:
        """The whole answer, or the error that came instead."""
        if self._trouble is not None:
            return self.error(self._trouble)
        if self.status >= BAD_REQUEST:
            return self.error(errors.heard(self.status, bytes(self._kept)))
        try:
            return dumps(self.translated(loads(bytes(self._kept))))
        except ValueError as error:
            return self.error(Trouble(status=502, code="BackendGarbled", message=f"the model's server: {error}"))
        except Refused as refused:
            return self.error(Trouble.of(refused))

    def translated(self, said: Any) -> dict[str, Any]:
        """A whole answer in the app's dialect. Raises ValueError or Refused."""
        raise NotImplementedError

    def broken(self, reason: str, message: str) -> bytes:  # noqa: ARG002 - the protocol's signature
        """Nothing went out that would need an end."""
        return b""

    def decoded(self, data: bytes) -> bytes:
        """As it was before it was packed."""
        if self._unzip is None:
            return data
        try:
            unpacked: bytes = self._unzip.decompress(data, LARGEST)
        except zlib.error as error:
            raise Refused(502, "BackendGarbled", f"the model's server sent what can't be unpacked: {error}") from error
        if self._unzip.unconsumed_tail:
            raise Refused(502, "AnswerTooLong", f"the model's server answers with more than {LARGEST} bytes")
        return unpacked

    def error(self, trouble: Trouble) -> bytes:
        """An error instead of the answer."""
        self.status = trouble.status
        return dumps(errors.shaped(self.dialect, trouble))

    def _keep(self, data: bytes) -> None:
        if len(self._kept) + len(data) > LARGEST:
            raise Refused(502, "AnswerTooLong", f"the model's server answers with more than {LARGEST} bytes")
        self._kept += data


class Translated(Answer):
    """A chat, a completion: an answer that is written from pieces, at once or as a stream."""

    def __init__(self, dialect: Dialect, path: str, body: bytes, writer: Writer, *, stream: bool) -> None:
        super().__init__(dialect, path, body)
        self._writer = writer
        self._stream = stream
        self._events = False  # whether the backend streams
        self._framer = sse.Framer()
        self._hearing = Hearing()
        self._pieces: list[Piece] = []
        self._heard = 0
        self._begun = self._finished = self._over = False

    def content_type(self, theirs: bytes) -> bytes:
        """A stream's only where a stream comes: an error is an error."""
        if self.status >= BAD_REQUEST:
            return JSON
        self._events = theirs.startswith(b"text/event-stream")
        if not self._stream:
            return JSON
        return LINES if self.dialect is Dialect.OLLAMA else EVENTS

    def feed(self, data: bytes) -> bytes:
        """What these bytes complete."""
        if self.status >= BAD_REQUEST or not self._events:
            return super().feed(data)
        if self._over:
            return b""
        try:
            return self._said(self._framer.feed(self.decoded(data)))
        except (ValueError, Refused) as error:
            return self._failed(_garbled(error))

    def end(self) -> bytes:
        """What is left to say. A stream that has no end of its own was cut, however politely."""
        if self.status >= BAD_REQUEST:
            return super().end()
        if not self._events:
            return self._all_at_once() if self._stream else super().end()
        found = b""
        if not self._over:
            try:
                found = self._said(self._framer.end())
            except ValueError as error:
                found = self._failed(_garbled(error))
        if not self._over:
            found += self._ended() if self._finished else self._failed(CUT)
        return found if self._stream else self._collected()

    def broken(self, reason: str, message: str) -> bytes:
        """The last word of a stream."""
        if self._over or not self._stream or not self.status or self.status >= BAD_REQUEST:
            return b""
        return self._failed(Trouble(status=502, code=reason, message=message))

    def translated(self, said: Any) -> dict[str, Any]:
        """A whole answer."""
        return self._whole(self._hearing.pieces(said))

    def _whole(self, pieces: list[Piece]) -> dict[str, Any]:
        for piece in pieces:
            if isinstance(piece, Failed):
                raise Refused(piece.trouble.status, piece.trouble.code, piece.trouble.message)
        return self._writer.whole(self._hearing, pieces)

    def _all_at_once(self) -> bytes:
        """A stream out of an answer that came whole."""
        if self._trouble is not None:
            return self._failed(self._trouble)
        said = self._chunk(bytes(self._kept))
        return said if self._over else said + self._ended()

    def _collected(self) -> bytes:
        """One answer out of a stream that nobody asked for."""
        try:
            return dumps(self._whole(self._pieces))
        except Refused as refused:
            return self.error(Trouble.of(refused))

    def _said(self, events: list[sse.Event | sse.Comment]) -> bytes:
        found = b""
        for event in events:
            if self._over:
                break
            if isinstance(event, sse.Comment):
                found += self._alive(event)
            elif event.data.strip() == b"[DONE]":
                found += self._ended()
            else:
                self._heard += len(event.data)
                found += self._chunk(event.data)
        return found

    def _alive(self, comment: sse.Comment) -> bytes:
        """A keep-alive is one in every dialect of events."""
        if not self._stream or self.dialect is Dialect.OLLAMA:
            return b""
        return b": %s\n\n" % comment.text.decode(errors="replace").encode()

    def _chunk(self, data: bytes) -> bytes:
        try:
            return self._written(self._hearing.pieces(loads(data)))
        except (ValueError, Refused) as error:
            return self._failed(_garbled(error))

    def _written(self, pieces: list[Piece]) -> bytes:
        self._finished = self._finished or any(isinstance(piece, Finished) for piece in pieces)
        if not self._stream:
            if self._heard > LARGEST:
                raise Refused(502, "AnswerTooLong", f"the model's server answers with more than {LARGEST} bytes")
            self._pieces += pieces
            return b""
        found = b""
        if not self._begun:
            self._begun = True
            found = self._writer.begin(self._hearing)
        for number, piece in enumerate(pieces):
            if isinstance(piece, Failed):
                return found + self._writer.write(pieces[:number]) + self._failed(piece.trouble)
        return found + self._writer.write(pieces)

    def _ended(self) -> bytes:
        self._over = True
        if not self._stream:
            return b""
        try:
            return self._writer.end()
        except Refused as refused:
            return self._failed(Trouble.of(refused))

    def _failed(self, trouble: Trouble) -> bytes:
        self._over = True
        if not self._stream:
            self._pieces.append(Failed(trouble))
            return b""
        return self._writer.fail(trouble)


def _garbled(error: Exception) -> Trouble:
    if isinstance(error, Refused):
        return Trouble.of(error)
    return Trouble(status=502, code="BackendGarbled", message=f"the model's server sent what is no answer: {error}")
