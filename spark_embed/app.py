"""The pages: a plain ASGI app. A request waits for its ticket, and gives it up when its caller leaves."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, ParamSpec, TypeVar

from spark_embed.lane import Busy, Lane, Ticket, WrongInput
from spark_embed.metrics import CONTENT_TYPE, Metrics
from spark_embed.wire import Refused, read_scores, read_vectors, write_scores, write_vectors

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
MAX_BODY: Final = 64 * 2**20
JSON: Final = "application/json"
IN_A_THREAD: Final = 2**16  # bytes of a request from which it is read, and its answer written, beside the others
NO_CALLER: Final = 499

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger("spark_embed.app")


class Left(Exception):
    """The caller has gone."""


class App:
    """`lanes` by kind (`embed`, `rerank`); `ready` is set when they are warm."""

    def __init__(self, metrics: Metrics) -> None:
        self.lanes: Mapping[str, Lane] = {}
        self.dimensions = 0
        self.ready = False
        self._metrics = metrics
        self._pages: dict[tuple[str, str], Callable[[bytes, Receive], Awaitable[bytes]]] = {
            ("POST", "/v1/embeddings"): self._embed,
            ("POST", "/v1/rerank"): self._rerank,
            ("POST", "/v2/rerank"): self._rerank,
            ("POST", "/rerank"): self._rerank,
            ("GET", "/health"): self._health,
            ("GET", "/v1/models"): self._models,
            ("GET", "/metrics"): self._counted,
        }

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return
        method, path = scope["method"], scope["path"]
        headers: list[tuple[bytes, bytes]] = []
        page = path if any(path == known for _, known in self._pages) else "other"
        try:
            found = self._pages.get((method, path))
            if found is None:
                allowed = [known for known, at in self._pages if at == path]
                headers = [(b"allow", ", ".join(allowed).encode())] if allowed else []
                raise Refused(405 if allowed else 404, f"there is no {method} {path}", code="NoSuchPage")  # noqa: TRY301
            status, body = 200, await found(await _body(receive) if method == "POST" else b"", receive)
        except Refused as refused:
            status, body = refused.status, refused.body()
        except Busy as busy:
            headers = [(b"retry-after", str(busy.retry_after).encode())]
            status, body = 429, Refused(429, str(busy), code="Busy").body()
        except Left:
            self._metrics.answered(page, NO_CALLER)
            return
        except Exception:
            log.exception("%s %s failed", method, path)
            status, body = (
                500,
                Refused(500, "this request failed; see the container's log", code="InternalError").body(),
            )
        self._metrics.answered(page, status)
        kind = CONTENT_TYPE if path == "/metrics" else JSON
        headers += [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _embed(self, body: bytes, receive: Receive) -> bytes:
        lane = self._lane("embed", "vectors")
        asked = await _aside(len(body), read_vectors, body, self.dimensions)
        ticket = lane.submit(asked.inputs, limit=asked.limit, dimensions=asked.dimensions)
        vectors, tokens = await _answer(lane, ticket, receive, "input")
        size = sum(map(len, vectors))
        return await _aside(size, write_vectors, asked, lane.model.name, vectors, tokens)

    async def _rerank(self, body: bytes, receive: Receive) -> bytes:
        lane = self._lane("rerank", "rerank scores")
        asked = await _aside(len(body), read_scores, body)
        ticket = lane.submit(asked.pairs, limit=asked.limit)
        scores, tokens = await _answer(lane, ticket, receive, "documents")
        return write_scores(asked, lane.model.name, scores, tokens)

    def _lane(self, kind: str, what: str) -> Lane:
        if not self.ready:
            raise Refused(503, "the model is being loaded", code="NotReady")
        if kind not in self.lanes:
            raise Refused(404, f"no model that gives {what} is loaded", code="NoSuchModel")
        return self.lanes[kind]

    async def _health(self, _body: bytes, _receive: Receive) -> bytes:
        broken = {kind: lane.broken for kind, lane in self.lanes.items() if lane.broken}
        if broken or not self.ready:
            raise Refused(503, "; ".join(broken.values()) or "the model is being loaded", code="NotReady")
        return json.dumps({"status": "ok", "models": {k: lane.model.name for k, lane in self.lanes.items()}}).encode()

    async def _models(self, _body: bytes, _receive: Receive) -> bytes:
        data = [{"id": lane.model.name, "object": "model", "owned_by": kind} for kind, lane in self.lanes.items()]
        return json.dumps({"object": "list", "data": data}).encode()

    async def _counted(self, _body: bytes, _receive: Receive) -> bytes:
        return self._metrics.page({kind: lane.depth for kind, lane in self.lanes.items()})


async def _aside(size: int, work: Callable[P, R], *args: P.args, **more: P.kwargs) -> R:
    """Do it here if it is little, else in a thread, so that the others are served meanwhile."""
    return work(*args, **more) if size < IN_A_THREAD else await asyncio.to_thread(work, *args, **more)


async def _body(receive: Receive) -> bytes:
    """The whole request. Raises Refused, Left."""
    parts, size, more = list[bytes](), 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Left
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            raise Refused(413, f"the request is larger than {MAX_BODY // 2**20} MiB", code="TooLarge")
        more = message.get("more_body", False)
    return b"".join(parts)


async def _answer(lane: Lane, ticket: Ticket, receive: Receive, field: str) -> tuple[list[Any], int]:
    """What comes of a ticket. Raises Left if its caller goes first, Refused for an input that can't be computed."""
    done = asyncio.wrap_future(ticket.done)
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((done, gone), return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            raise Left
        return done.result()
    except WrongInput as wrong:
        where = f"{field}[{wrong.at}]"
        raise Refused(400, f"{where}: {wrong}", param=where, code="WrongInput") from wrong
    except asyncio.CancelledError:
        if ticket.done.cancelled() and not gone.cancelled():
            raise Left from None
        raise
    finally:
        lane.cancel(ticket)
        gone.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
