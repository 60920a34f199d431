"""The Engine's own HTTP API, read only: what sparkkeep asks over the forwarded socket."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from reconciler.practice import docker_show, shapes
from reconciler.practice.clock import since_to_nanos
from reconciler.practice.errors import DaemonError
from reconciler.practice.events import FILTERS
from reconciler.practice.http_server import Answer, Request, json_answer

if TYPE_CHECKING:
    from reconciler.practice.containers import Container
    from reconciler.practice.engine import Engine

OLDEST: Final = (1, 24)
TRUE: Final = frozenset({"1", "true", "True"})
STREAMS: Final = {"stdout": 1, "stderr": 2}


class EngineApi:
    """Answers requests about one engine. `requests` keeps what was asked."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.requests: list[str] = []

    async def handle(self, request: Request) -> Answer:
        """One request; every error comes as Docker's `{"message": ...}`."""
        self.requests.append(f"{request.method} {request.path}")
        try:
            answer = self._route(request)
        except DaemonError as error:
            answer = json_answer({"message": str(error)}, error.status)
        version = shapes.api_version(self.engine)
        answer.headers |= {"api-version": version, "docker-experimental": "false", "ostype": "linux"}
        answer.headers["server"] = f"Docker/{self.engine.version} (linux)"
        return answer

    def _route(self, request: Request) -> Answer:
        path = self._unversioned(request.path)
        if request.method not in {"GET", "HEAD"}:
            raise DaemonError(501, "a practice Spark's socket is for reading: act through the docker command")
        now = self.engine.machine.clock.wall()
        match path.strip("/").split("/"):
            case ["_ping"]:
                return Answer(body=b"OK", content_type="text/plain; charset=utf-8")
            case ["version"]:
                return json_answer(shapes.version(self.engine))
            case ["info"]:
                return json_answer(shapes.info(self.engine))
            case ["containers", "json"]:
                return self._list(request, now)
            case ["containers", reference, "json"]:
                return json_answer(shapes.inspected(self.engine.find(reference)))
            case ["containers", reference, "logs"]:
                return self._logs(self.engine.find(reference), request)
            case ["images", "json"]:
                newest = sorted(self.engine.images.all.values(), key=lambda image: -image.created)
                return json_answer([shapes.image(image) for image in newest])
            case ["events"]:
                return Answer(body=self._events(request, now))
        raise DaemonError(404, "page not found")

    def _unversioned(self, path: str) -> str:
        match = re.match(r"/v(\d+)\.(\d+)(/.*)", path)
        if match is None:
            return path
        asked = (int(match[1]), int(match[2]))
        ours = shapes.api_version(self.engine)
        if asked > tuple(int(part) for part in ours.split(".")):
            text = f"client version {match[1]}.{match[2]} is too new. Maximum supported API version is {ours}"
            raise DaemonError(400, text)
        if asked < OLDEST:
            raise DaemonError(
                400,
                f"client version {match[1]}.{match[2]} is too old. Minimum supported API version is 1.24, "
                "please upgrade your client to a newer version",
            )
        return match[3]

    def _list(self, request: Request, now: float) -> Answer:
        wanted = _filters(request, docker_show.PS_FILTERS)
        everything = request.query.get("all") in TRUE or "status" in wanted
        shown = [c for c in self.engine.newest_first() if (everything or c.active) and docker_show.matches(c, wanted)]
        return json_answer([shapes.listed(container, now) for container in shown])

    def _events(self, request: Request, now: float) -> AsyncIterator[bytes]:
        wanted = _filters(request, FILTERS)
        since, until = (request.query.get(name) for name in ("since", "until"))
        return self._event_lines(
            wanted, since_to_nanos(since, now) if since else None, since_to_nanos(until, now) if until else None
        )

    async def _event_lines(
        self, wanted: dict[str, list[str]], since: int | None, until: int | None
    ) -> AsyncIterator[bytes]:
        async for event in self.engine.events.follow(wanted, since, until):
            yield json.dumps(event.json(), separators=(",", ":"), ensure_ascii=False).encode() + b"\n"

    def _logs(self, container: Container, request: Request) -> Answer:
        wanted = {name for name in STREAMS if request.query.get(name) in TRUE}
        if not wanted:
            raise DaemonError(400, "Bad parameters: you must choose at least one stream")
        follow = request.query.get("follow") in TRUE
        stamps = request.query.get("timestamps") in TRUE
        tail = request.query.get("tail", "all")
        kind = "application/vnd.docker.multiplexed-stream"
        return Answer(body=_log_frames(container, wanted, tail, follow=follow, stamps=stamps), content_type=kind)


def _filters(request: Request, known: frozenset[str]) -> dict[str, list[str]]:
    """`filters={"label":["k=v"]}`, or the older `{"label":{"k=v":true}}`. Raises DaemonError."""
    text = request.query.get("filters", "")
    if not text:
        return {}
    try:
        found = json.loads(text)
        wanted = {str(key): [str(value) for value in values] for key, values in found.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise DaemonError(400, f"invalid filter: {error}") from error
    for key in wanted:
        if key not in known:
            raise DaemonError(400, f"invalid filter '{key}'")
    return wanted


async def _log_frames(
    container: Container, wanted: set[str], tail: str, *, follow: bool, stamps: bool
) -> AsyncIterator[bytes]:
    """Docker's frames: the stream's number, three zeros, the length, the line."""
    after = 0
    lines = [entry for entry in container.logs if entry[1] in wanted]
    lines = lines[len(lines) - min(int(tail), len(lines)) :] if tail.isdigit() else lines
    while True:
        changed = container.logged
        for nanos, stream, line in lines:
            data = (f"{docker_show.stamp(nanos)} {line}\n" if stamps else f"{line}\n").encode()
            yield struct.pack(">BxxxL", STREAMS[stream], len(data)) + data
        after = container.logs[-1][0] if container.logs else after
        if not follow or not container.active:
            return
        if changed is container.logged:
            await changed.wait()
        lines = [entry for entry in container.logs if entry[1] in wanted and entry[0] > after]
