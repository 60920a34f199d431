"""One request whose words are masked, in the place of an `Exchange`.

Its body is read to the end, looked through beside the loop, and replaced. From then on it is a request like any other:
it is routed, held, asked and asked again, translated, recorded and captured as it is now, masked. Only its answer
passes one more hand (`restoring`) before it goes to the client.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING

from api.proxies.calls import Backend, Call, Field, Refused
from api.proxies.dialects.errors import Trouble
from api.proxies.exchange import ASKING, OVER, READING, Client, Exchange
from api.proxies.gate import Place
from api.proxies.head import Head
from api.proxies.redaction.heads import passing
from api.proxies.redaction.placeholders import Conversation
from api.proxies.redaction.restore import restore
from api.proxies.redaction.restoring import Restoring, frames
from api.proxies.redaction.streams import restored_body
from api.proxies.translation import Translation
from api.proxies.upload import Upload
from api.proxies.wire import Wire

if TYPE_CHECKING:
    from api.proxies.redaction.gateway import Gateway

log = logging.getLogger("sparkkeep.proxies")


class Redacting(Exchange):
    """One of them."""

    __slots__ = ("_conversation", "_gateway", "_structured", "_task")

    def __init__(self, gateway: Gateway, client: Client, wire: Wire, head: Head, place: Place, said: bytes) -> None:
        super().__init__(client, wire, passing(head), place, said)
        self._gateway = gateway
        self._conversation: Conversation | None = None
        self._structured = False
        self._task: asyncio.Task[None] | None = None

    # What it asks for.

    @property
    def routed(self) -> bool:
        """Whether it was decided where it goes."""
        return self._task is not None

    def route(self) -> None:
        """All of it has come."""
        if self._state != READING:
            return
        self._state = ASKING
        self.patient(math.inf)  # the detector keeps its own time
        self._task = asyncio.get_running_loop().create_task(self._run(), name="a request whose words are masked")

    async def _run(self) -> None:
        try:
            call = self.noted()
            if not self._listed(call):
                await self._mask(call)
                self._send(call)
        except Refused as refused:
            if self._state != OVER:
                self.refuse(refused)
        except Exception as error:  # noqa: BLE001  # the root of this task; an error's words may be somebody's
            log.error("a request could not be masked (%s)\n%s", type(error).__name__, frames(error))  # noqa: TRY400
            self.fault()

    def _listed(self, call: Call) -> bool:
        """Whether it asked for the models."""
        if not self.place.local or self.wire.local is None:
            return False
        body = self._gateway.listed(self.wire.local.answer(call, b""))
        fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        self._own(200, fields, body, "answered")
        return True

    async def _mask(self, call: Call) -> None:
        """Its words, before anybody else gets to see them. Raises Refused."""
        made = await self._gateway.masked(call, self.upload.kept)
        self._conversation, self._structured = made.conversation, made.structured
        self.upload = Upload.of(self.head, self.place, self.wire.limits, made.body)
        if made.routing is not None:
            self.routing = made.routing
        self.reply.says(made.lines)
        self._asks(call, self.upload.asks())
        self.masked = True

    # Where it goes, and what comes back.

    def translation(self, backend: Backend) -> Translation | None:
        """What it passes on its way back. Raises Refused."""
        return self._restoring(backend, super().translation(backend))

    def put_right(self, backend: Backend) -> Translation | None:
        """What an answer passes that was put together from several. Raises Refused."""
        return self._restoring(backend, None)

    def _restoring(self, backend: Backend, inner: Translation | None) -> Restoring:
        if self._conversation is None:
            raise Refused(500, "NotMasked", "nothing is asked before it is masked")
        return Restoring(
            inner,
            path=self.place.path,
            body=self.upload.kept,
            backend=backend,
            dialect=self.place.dialect,
            conversation=self._conversation,
            structured=self._structured,
        )

    @property
    def as_it_came(self) -> bool:
        """Whether its backend was asked in the dialect that its client speaks."""
        translation = self.reply.translation
        return isinstance(translation, Restoring) and translation.inner is None

    # What the client is told by us, which may repeat what others said.

    def _own(self, status: int, fields: list[Field], body: bytes, cause: str) -> None:
        conversation = self._conversation
        if conversation is not None:
            body = restored_body(self.place.dialect, conversation, body)
            fields = [(name, value) for name, value in fields if name != b"content-length"]
            fields.append((b"content-length", b"%d" % len(body)))
        super()._own(status, fields, body, cause)

    def tell(self, trouble: Trouble) -> None:
        """A stream that was begun with keep-alives ends with an error."""
        if self._conversation is not None:
            message = restore(trouble.message, self._conversation)
            trouble = Trouble(status=trouble.status, code=trouble.code, message=message, param=trouble.param)
        super().tell(trouble)

    def _close(self, cause: str) -> None:
        super()._close(cause)
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
