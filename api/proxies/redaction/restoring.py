"""An answer on its way back to whoever may read it: placeholders out, what they stand for in.

It is the outermost of what an answer passes: behind it may stand the translation into the client's dialect.
"""

from __future__ import annotations

import logging
import traceback
import zlib
from collections.abc import Callable
from typing import Any, Final

from api.proxies.calls import Backend, Field, Refused
from api.proxies.dialects import errors
from api.proxies.dialects.errors import Trouble
from api.proxies.dialects.names import EMBEDDINGS, Dialect
from api.proxies.peek import look
from api.proxies.redaction.placeholders import Conversation
from api.proxies.redaction.restore import restore
from api.proxies.redaction.streams import RestoringStream, restored_body
from api.proxies.translation import Translation

log = logging.getLogger("sparkkeep.proxies")

LARGEST: Final = 64 * 2**20
"""Bytes of an answer that is not streamed."""
_VERSION: Final = "/v1"
_UNTOLD: Final = frozenset({b"set-cookie", b"content-length", b"content-encoding", b"transfer-encoding", b"etag"})
_PACKED: Final = frozenset({b"gzip", b"deflate"})
_WRONG: Final = 400
_BAD_GATEWAY: Final = 502
_GARBLED: Final = "an answer came that can't be put right; it was not passed on"


class Restoring:
    """One answer (`translation.Translation`). `inner`: what turns it into the client's dialect.

    `structured`: the text that it says is JSON, as the request wanted it.
    """

    def __init__(
        self,
        inner: Translation | None,
        *,
        path: str,
        body: bytes,
        backend: Backend,
        dialect: Dialect,
        conversation: Conversation,
        structured: bool = False,
    ) -> None:
        self.inner = inner
        self._path = path
        self._body = body
        self._backend = backend
        self._dialect = dialect
        self._conversation = conversation
        self._structured = structured
        self._status = 0
        self._stream: RestoringStream | None = None
        self._json = False
        self._kept = bytearray()
        self._unzip: Any = None
        self._failed = False

    # The request.

    @property
    def path(self) -> str:
        """What is asked; of a service outside, below where its API begins."""
        path = self._path if self.inner is None else self.inner.path
        base = self._backend.base
        return path if base is None else base + path.removeprefix(_VERSION)

    def body(self) -> bytes:
        """The request, masked. Raises Refused."""
        if self.inner is not None:
            return self.inner.body()
        model = self._backend.model
        asked = look(self._body)
        return asked.spliced(self._body, model) if model and asked.model != model else self._body

    # The answer.

    @property
    def status(self) -> int:
        """Its status."""
        if self._failed and self._stream is None:
            return _BAD_GATEWAY
        return self._status if self.inner is None else self.inner.status

    def head(self, status: int, fields: list[Field]) -> tuple[int, list[Field]]:
        """Its head, without what says of its body what is not true any more, or is between us and others only."""
        self._status = status
        if self.inner is not None:
            status, fields = self.inner.head(status, fields)
        else:
            coding = next((value.lower() for name, value in fields if name.lower() == b"content-encoding"), b"identity")
            if coding in _PACKED:
                self._unzip = zlib.decompressobj(zlib.MAX_WBITS | 32)
            elif coding != b"identity":
                self._failed = True
        kind = next((value.lower() for name, value in fields if name.lower() == b"content-type"), b"")
        if kind.startswith(b"text/event-stream"):
            self._stream = RestoringStream(self._dialect, self._conversation, structured=self._structured)
        self._json = kind.startswith((b"application/json", b"application/problem+json"))
        kept = [(name, value) for name, value in fields if name.lower() not in _UNTOLD]
        if self._failed:
            kept = [(name, value) for name, value in kept if name.lower() != b"content-type"]
            kept.append((b"content-type", b"application/json"))
        return status, kept

    def feed(self, data: bytes) -> bytes:
        """Bytes as they came in, bytes that may go out."""
        if self._failed:
            return b""
        return self._tried(lambda: self._fed(data))

    def _fed(self, data: bytes) -> bytes:
        data = self._unpacked(data) if self.inner is None else self.inner.feed(data)
        if self._stream is not None:
            return self._stream.feed(data)
        self._keep(data)
        return b""

    def end(self) -> bytes:
        """There is no more."""
        found = b"" if self._failed else self._tried(self._ended)
        return self._error() if self._stream is None and self._over() else found

    def _ended(self) -> bytes:
        rest = b"" if self.inner is None else self.inner.end()
        if self._stream is not None:
            return self._stream.feed(rest) + self._stream.end()
        self._keep(rest)
        if self._path == EMBEDDINGS and self.status < _WRONG:
            return bytes(self._kept)  # numbers
        body = bytes(self._kept)
        if self._json:
            return restored_body(self._dialect, self._conversation, body, structured=self._structured)
        return restored_text(body, self._conversation)

    def broken(self, reason: str, message: str) -> bytes:
        """It broke: what was held back of a stream, and its last word."""
        if self._stream is None or self._failed:
            return b""
        stream = self._stream

        def last() -> bytes:
            if self.inner is not None:
                return stream.feed(self.inner.broken(reason, message)) + stream.end()
            return stream.end() + errors.event(self._dialect, Trouble(status=502, code=reason, message=message))

        return self._tried(last)

    # What goes wrong.

    def _tried(self, what: Callable[[], bytes]) -> bytes:
        """Nothing that fails here may say what it was about."""
        try:
            return what()
        except Refused as refused:
            trouble = Trouble.of(refused)
        except Exception as error:  # noqa: BLE001  # logged, but for its words
            log.error("an answer could not be put right (%s)\n%s", type(error).__name__, frames(error))  # noqa: TRY400
            trouble = Trouble(status=502, code="BackendGarbled", message=_GARBLED)
        self._failed = True
        self._kept.clear()
        return b"" if self._stream is None else errors.event(self._dialect, trouble)

    def _over(self) -> bool:
        """Whether it failed, be it just now."""
        return self._failed

    def _error(self) -> bytes:
        refused = Refused(502, "BackendGarbled", _GARBLED)
        return errors.answer(self._dialect, refused)[2]

    def _keep(self, data: bytes) -> None:
        if len(self._kept) + len(data) > LARGEST:
            raise Refused(502, "AnswerTooLong", f"the answer is longer than {LARGEST // 2**20} MiB")
        self._kept += data

    def _unpacked(self, data: bytes) -> bytes:
        if self._unzip is None:
            return data
        found: bytes = self._unzip.decompress(data, LARGEST)
        if self._unzip.unconsumed_tail:
            raise Refused(502, "AnswerTooLong", f"the answer is longer than {LARGEST // 2**20} MiB")
        return found


def restored_text(body: bytes, conversation: Conversation) -> bytes:
    """What is no JSON, as the text that it is."""
    return restore(body.decode("utf-8", "surrogateescape"), conversation).encode("utf-8", "surrogateescape")


def frames(error: BaseException) -> str:
    """Where something failed, without what it said: that may be somebody's words."""
    return "".join(traceback.format_tb(error.__traceback__))
