"""The small server that runs in a practice container: it answers as a model would, in deterministic miniature.

The same prompt gives the same text, the same sentence the same vector. What it says is made in `model_answers`;
here is the routing, the streaming, and what makes a server ill: unhealthy, deaf, frozen.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Final

from reconciler.practice import model_answers, model_sound
from reconciler.practice.http_server import Answer, HttpConnection, Request, json_answer

if TYPE_CHECKING:
    from reconciler.practice.programs import Process
    from reconciler.practice.spark import Spark

TOKEN_SECONDS: Final = 0.01
TEI: Final = "text-embeddings-inference"
TEI_BATCH: Final = 32
MANY: Final = ("input", "texts", "documents")
PATHS: Final = (
    *("/health", "/v1/models", "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/rerank"),
    *("/v1/audio/transcriptions", "/v1/audio/speech", "/v1/diarize", "/tokenize", "/args", "/env", "/metrics"),
)


class BadRequest(Exception):
    """The client's mistake: an OpenAI-style error with a status."""

    def __init__(self, message: str, status: int = 400, kind: str = "BadRequestError") -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class ModelServer:
    """One listener of one running container. `requests` counts what it was asked."""

    def __init__(self, process: Process, spark: Spark, port: int) -> None:
        self.process = process
        self.port = port
        self.requests: dict[str, int] = {}
        self.tokens = 0  # made since its start
        self._spark = spark
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._began = process.machine.clock.monotonic()

    @property
    def name(self) -> str:
        """What `/v1/models` calls it: from its command line, else its workload, else its container."""
        spec = self.process.container.spec
        argv = spec.argv
        for flag in ("--served-model-name", "--model", "--model-path", "serve"):
            if flag in argv[:-1] and not argv[argv.index(flag) + 1].startswith("-"):
                return argv[argv.index(flag) + 1]
        return spec.labels.get("sparkkeep.workload") or self.process.container.name

    async def listen(self) -> None:
        """Open the real port on this Spark's address. Raises OSError if it's taken."""
        self._server = await asyncio.start_server(self._accepted, self._spark.address, self.port)

    async def close(self) -> None:
        """Stop answering: open requests break, as when a process ends."""
        if self._spark.servers.get(self.port) is self:
            del self._spark.servers[self.port]
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._converse(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await HttpConnection(reader, writer, self.handle).run()
        finally:
            writer.transport.abort()

    # Answering

    async def handle(self, request: Request) -> Answer:
        """One request."""
        container = self.process.container
        self.requests[request.path] = self.requests.get(request.path, 0) + 1
        await self._spark.link.open.wait()
        await self.process.unfrozen.wait()
        if container.name in self._spark.switches.deaf:
            self._spark.switches.count("deaf")
            await asyncio.Event().wait()
        if container.name in self._spark.switches.hung and request.method == "POST":
            self._spark.switches.count("hung")
            await asyncio.Event().wait()
        if container.name in self._spark.switches.loading:
            self._spark.switches.count("loading")
            return _loading()
        try:
            return self._get(request) if request.method in {"GET", "HEAD"} else self._post(request)
        except BadRequest as error:
            shown = {"message": str(error), "type": error.kind, "param": None, "code": error.status}
            return json_answer({"error": shown}, error.status)

    def _healthy(self) -> bool:
        flags = self.process.flags
        age = self.process.machine.clock.monotonic() - self._began
        if self.process.container.name in self._spark.switches.unhealthy:
            self._spark.switches.count("unhealthy")
            return False
        return "unhealthy-after" not in flags or age < flags["unhealthy-after"]

    def _get(self, request: Request) -> Answer:
        spec = self.process.container.spec
        match request.path:
            case "/health" | "/v1/health/ready":
                healthy = self._healthy()
                text = b"ok" if healthy else b"unhealthy"
                return Answer(200 if healthy else 503, text, content_type="text/plain")
            case "/v1/models":
                entry = {
                    "id": self.name,
                    "object": "model",
                    "owned_by": "practice",
                    "max_model_len": model_answers.MAX_MODEL_LEN,
                }
                return json_answer({"object": "list", "data": [entry]})
            case "/v1/audio/voices":
                return model_sound.voices()
            case "/args":
                return Answer(body=f"{json.dumps(spec.argv, ensure_ascii=False)}\n".encode())
            case "/env":
                return Answer(body=f"{json.dumps(spec.environment, ensure_ascii=False)}\n".encode())
            case "/metrics":
                lines = (f'practice_requests_total{{path="{path}"}} {n}\n' for path, n in sorted(self.requests.items()))
                tokens = f'vllm:generation_tokens_total{{model_name="{self.name}"}} {float(self.tokens)}\n'
                return Answer(body=("".join(lines) + tokens).encode(), content_type="text/plain; version=0.0.4")
            case "/":
                who = {"practice": True, "container": self.process.container.name, "model": self.name}
                return json_answer({**who, "image": spec.image, "spark": self._spark.name, "paths": PATHS})
        raise BadRequest(f"no page {request.path} here", 404, "NotFoundError")

    def _post(self, request: Request) -> Answer:
        answers: dict[str, Callable[[Request], Answer]] = {
            "/v1/chat/completions": lambda asked: self._generate(asked, chat=True),
            "/v1/completions": lambda asked: self._generate(asked, chat=False),
            "/tokenize": lambda asked: json_answer(model_answers.tokenized(self.name, self._body(asked))),
            "/v1/embeddings": lambda asked: json_answer(model_answers.embeddings(self.name, self._batch(asked))),
            "/v1/rerank": lambda asked: json_answer(model_answers.rerank(self.name, self._batch(asked))),
            "/v1/ranking": lambda asked: json_answer(model_answers.ranking(self._body(asked))),
            "/rerank": self._rerank,
            "/v1/audio/transcriptions": lambda asked: model_sound.transcription(self._named(asked)),
            "/v1/diarize": lambda asked: model_sound.diarization(self._named(asked)),
            "/v1/audio/speech": lambda asked: model_sound.speech(self._body(asked, strict=False)),
        }
        if request.path not in answers:
            raise BadRequest(f"no page {request.path} here", 404, "NotFoundError")
        try:
            return answers[request.path](request)
        except (ValueError, KeyError, TypeError) as error:
            raise BadRequest(f"{type(error).__name__}: {error}") from error

    def _body(self, request: Request, *, strict: bool = True) -> dict[str, Any]:
        body = request.json()
        if not isinstance(body, dict):
            raise BadRequest("the body must be a JSON object")
        if strict and body.get("model", self.name) != self.name:
            raise BadRequest(f"The model `{body['model']}` does not exist.", 404, "NotFoundError")
        return body

    def _batch(self, request: Request) -> dict[str, Any]:
        """A request of many inputs: of TEI's image as many as its server takes."""
        body = self._body(request)
        many = max((len(body[name]) for name in MANY if isinstance(body.get(name), list)), default=1)
        if TEI in self.process.container.spec.image and many > TEI_BATCH:
            raise BadRequest(f"batch size {many} > maximum allowed batch size {TEI_BATCH}", 422, "Validation")
        return body

    def _rerank(self, request: Request) -> Answer:
        body = self._batch(request)
        tei = "texts" in body and "documents" not in body
        return json_answer(model_answers.ranks(body) if tei else model_answers.rerank(self.name, body))

    def _named(self, request: Request) -> Request:
        """A form whose `model`, if it names one, is this server's."""
        model = model_sound.form(request).get("model", self.name.encode()).decode(errors="replace")
        if model != self.name:
            raise BadRequest(f"The model `{model}` does not exist.", 404, "NotFoundError")
        return request

    def _generate(self, request: Request, *, chat: bool) -> Answer:
        body = self._body(request)
        reply = model_answers.reply(self.name, body, chat=chat, now=int(self._spark.machine.clock.wall()))
        self.tokens += reply.usage["completion_tokens"]
        if not body.get("stream"):
            return json_answer(reply.whole())
        usage = bool((body.get("stream_options") or {}).get("include_usage"))
        return Answer(body=_paced(reply.parts(usage=usage)), content_type="text/event-stream; charset=utf-8")


def _loading() -> Answer:
    """In llama.cpp's words."""
    shown = {"message": "Loading model", "type": "unavailable_error", "code": 503}
    return Answer(
        503, json.dumps({"error": shown}).encode(), content_type="application/json", headers={"retry-after": "1"}
    )


async def _paced(parts: list[dict[str, Any]]) -> AsyncIterator[bytes]:
    """Server-sent events, one token after the other."""
    for part in parts:
        await asyncio.sleep(TOKEN_SECONDS)
        yield b"data: " + json.dumps(part, ensure_ascii=False).encode() + b"\n\n"
    yield b"data: [DONE]\n\n"
