"""A form with a sound as it comes: its file goes to the spool, its other fields are kept."""

from __future__ import annotations

from api.guard.rules import too_large
from api.proxies.audio.multipart import BadForm, Parser, PartHead, boundary
from api.proxies.audio.spool import Spool
from api.proxies.body import Body, TooLarge
from api.proxies.calls import Refused
from api.proxies.chunks import BadChunk
from api.proxies.gate import Place
from api.proxies.head import Head
from api.proxies.limits import Limits
from api.proxies.peek import NOTHING, Asked
from api.proxies.upload import Upload

FILE = "file"


class Part:
    """One part. `value`: None for the sound, which is in the spool."""

    __slots__ = ("head", "value")

    def __init__(self, head: PartHead, value: bytearray | None) -> None:
        self.head = head
        self.value = value


class Received(Upload):
    """One request's body (`multipart.Sink`)."""

    __slots__ = (
        "_broken",
        "_coming",
        "_length",
        "_most",
        "_most_fields",
        "_parser",
        "_room",
        "boundary",
        "parts",
        "spool",
    )

    def __init__(self, head: Head, place: Place, limits: Limits, spool: Spool) -> None:
        """Raises Refused for what is no form."""
        super().__init__(head, place, limits)
        self.spool = spool
        self.parts: list[Part] = []
        self.boundary = b""
        self._most = min(limits.sound, place.policy.max_body)
        self._most_fields = self._room = limits.fields
        self._coming = Body(head.length, self._most)
        self._coming.release()
        self._length = head.length
        self._parser: Parser | None = None
        self._broken = False

    def expect(self, kind: bytes, coding: bytes) -> None:
        """By its Content-Type and Content-Encoding. Raises Refused."""
        if coding.lower() not in {b"", b"identity"}:
            self._broken = True
            raise Refused(415, "UnsupportedMediaType", "the form is sent as it is, in no Content-Encoding")
        try:
            self.boundary = boundary(kind)
        except BadForm as bad:
            raise self._bad(str(bad)) from None
        except ValueError:
            self._broken = True
            message = "a sound is sent as `multipart/form-data`, with a `file` and a `model`"
            raise Refused(415, "UnsupportedMediaType", message, allowed=["multipart/form-data"]) from None
        self._parser = Parser(self.boundary, self)
        try:
            self.spool.expect(min(max(self._length, 0), self._most))  # before anything of it is read
        except Refused:
            self._broken = True
            raise

    def _bad(self, why: str) -> Refused:
        self._broken = True
        return Refused(400, "BadForm", f"the body is no form: {why}")

    # `Upload`

    def read(self, data: bytes, at: int) -> int:
        """More of it: where it ends in these bytes, -1 if it does not. Raises Refused."""
        body, parser = self._coming, self._parser
        try:
            end = body.feed(data, at)
            if parser is not None:
                parser.feed(body.fresh)
                if end >= 0:
                    parser.finish()
        except TooLarge:
            self._broken = True
            raise Refused(413, "BodyTooLarge", too_large(self._most)) from None
        except BadChunk as bad:
            self._broken = True
            raise Refused(400, "BadBody", f"the request's body is not framed as HTTP says: {bad}") from None
        except BadForm as bad:
            raise self._bad(str(bad)) from None
        except Refused:
            self._broken = True
            raise
        if self.spool.failed is not None:
            raise self.no_room(self.spool.failed)
        return end

    def no_room(self, error: OSError) -> Refused:
        """The spool can't be written or read."""
        self._broken = True
        return Refused(507, "SpoolFailed", f"the sound can't be kept here while it is asked about: {error.strerror}")

    @property
    def reading(self) -> bool:
        """Whether more may come, which the connection has to end with if it was refused."""
        return self._broken or not self._coming.complete

    @property
    def enough(self) -> bool:
        """It is always read to its end."""
        return False

    @property
    def released(self) -> bool:
        """It can be sent again."""
        return False

    @property
    def size(self) -> int:
        """Bytes of it so far."""
        return self._coming.size

    @property
    def kept(self) -> bytes:
        """Nothing that could be shown as text."""
        return b""

    def asks(self) -> Asked:
        """It is no JSON."""
        return NOTHING

    # `multipart.Sink`

    def begin(self, head: PartHead) -> None:
        """Another part."""
        is_sound = head.name == FILE
        if is_sound and any(part.value is None for part in self.parts):
            raise BadForm("it has two parts named `file`")
        if head.filename is not None and not is_sound:
            raise BadForm("a file in it is not named `file`")
        self._take(len(head.raw))
        self.parts.append(Part(head, None if is_sound else bytearray()))

    def data(self, data: bytes) -> None:
        """More of it."""
        value = self.parts[-1].value
        if value is None:
            self.spool.write(data)
        else:
            self._take(len(data))
            value += data

    def _take(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            self._broken = True
            message = f"the fields beside the `file` may have {self._most_fields // 2**10} KiB together"
            raise Refused(413, "FormTooLarge", message)
