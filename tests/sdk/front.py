"""The data path itself before one practice model: what the SDKs speak to.

It can be told to refuse, to hang and to break in the middle; everything else is as in `sparkkeep serve`.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack
from functools import partial

from fastapi import FastAPI

from api.guard.addressed import Hosts
from api.proxies.calls import Backend, Call, Decision, Field, Refused
from api.proxies.dialects import Learned, ollama_models, translation
from api.proxies.dialects.json_text import dumps
from api.proxies.embeddings.factory import dividing
from api.proxies.embeddings.way import Way
from api.proxies.records import Records
from api.proxies.wire import Masks, Wire
from api.serve import Server, _listen, configured
from reconciler.practice.http_server import Answer, HttpConnection, Request
from reconciler.practice.models import ModelServer

NAME = "qwen"


class Front:
    """One listener. It is its own routing: `asked` counts the requests that came, refused ones too."""

    def __init__(self, model: ModelServer, engine: str = "container", masks: Masks | None = None) -> None:
        self.masks = masks
        self.model = model
        self.engine = engine
        self.records = Records()
        self.refusals: list[Refused] = []
        self.hangs = False
        self.breaks_after: int | None = None
        self.asked = 0
        self.port = 0
        self._backend: Backend | None = None
        self._stack = AsyncExitStack()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        behind = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self._stack.callback(behind.close)
        port = behind.sockets[0].getsockname()[1]
        self._backend = Backend(
            workload=NAME, spark="spark-1", host="127.0.0.1", port=port, model=self.model.name, engine=self.engine
        )
        learned = Learned()
        wire = Wire(
            self,
            local=self,
            translate=partial(translation, spoken=learned),
            lacks=learned.lacks,
            divide=dividing,
            masks=self.masks,
            observer=self.records,
        )
        wire.guarded(hosts=Hosts(), origins=None, token=None)
        self._stack.callback(wire.close)
        server = Server(configured(FastAPI(), wire))
        listener = self._stack.enter_context(_listen("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        task = asyncio.create_task(server.serve(sockets=[listener]))

        async def stop() -> None:
            server.stop()
            await task

        self._stack.push_async_callback(stop)
        while not server.started:
            await asyncio.sleep(0.002)

    def asked_as(self, way: Way) -> None:
        """How the model is asked for vectors from now on."""
        assert self._backend is not None
        self._backend = dataclasses.replace(self._backend, way=way)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()

    # `calls.Routing`

    def choose(self, call: Call, *, without: Collection[str] = ()) -> Decision:
        self.asked += 1
        if self.refusals:
            raise self.refusals.pop(0)
        if call.model != NAME or without:
            raise Refused(404, "NoSuchModel", f"no model is named `{call.model}`", field="model", allowed=[NAME])
        assert self._backend is not None
        return Decision(backend=self._backend, why="the only one")

    def began(self, decision: Decision) -> None:
        """Nothing is counted here."""

    def ended(self, decision: Decision, *, answered: bool) -> None:
        """Nothing is counted here."""

    # `wire.Local`

    def answer(self, call: Call, body: bytes) -> tuple[int, list[Field], bytes]:
        said = self._said(call.path, body)
        return 200, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(said))], said

    def _said(self, path: str, body: bytes) -> bytes:
        cards = [ollama_models.Card(name=NAME)]
        match path:
            case "/v1/models":
                entry = {"id": NAME, "object": "model", "created": 1, "owned_by": "sparkkeep"}
                return dumps({"object": "list", "data": [entry]})
            case "/api/tags":
                return ollama_models.tags(cards)
            case "/api/ps":
                return ollama_models.running(cards)
        return ollama_models.shown(ollama_models.Card(name=ollama_models.asked_for(body)))

    # The model's server

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.create_task(self._converse(reader, writer)))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await HttpConnection(reader, writer, self._handle).run()
        finally:
            writer.transport.abort()

    async def _handle(self, request: Request) -> Answer:
        if self.hangs:
            await asyncio.Event().wait()
        answer = await self.model.handle(request)
        if self.breaks_after is not None and not isinstance(answer.body, bytes):
            return dataclasses.replace(answer, body=self._breaking(answer.body))
        return answer

    async def _breaking(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        number = 0
        async for part in parts:
            number += 1
            if number == self.breaks_after:
                raise ConnectionResetError
            yield part
