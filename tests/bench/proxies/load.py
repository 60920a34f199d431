"""What asks: wrk for JSON, `streams.c` for streams. Each says what it saw in a line of JSON."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from tests.bench.proxies.programs import HERE, Cores, compiled, pinned
from tests.hosts.shell import call

PATH = "/v1/chat/completions"
KEY = "sk-bench"
JSON_MODEL, STREAM_MODEL = "bench", "bench-stream"
CHUNKS = 64
PACE = 20  # milliseconds: 50 chunks a second
RAMP = 1.0  # seconds over which streams begin


@dataclass(frozen=True)
class Target:
    """Where JSON and where streams are asked for."""

    address: str
    json_port: int
    stream_port: int


@dataclass(frozen=True)
class Requests:
    """What wrk saw; latencies in seconds."""

    per_second: float
    p50: float
    p99: float
    failed: int
    count: int


@dataclass(frozen=True)
class Streams:
    """What `streams` saw; times in seconds. `broken`: ended without its end, or was no stream at all."""

    per_second: float
    events: float
    first: float
    gap_p50: float
    gap_p99: float
    gap_max: float
    broken: int
    count: int
    """Of its events, those before they were counted included."""


class Load:
    """The tools, and the bodies that they post."""

    def __init__(self, folder: Path, cores: Cores) -> None:
        self._folder, self._cores = folder, cores
        self._streams = compiled("streams", folder)
        self.json_body = self._body("json", JSON_MODEL, {})
        self._chunked = self._body("chunks", STREAM_MODEL, {"stream": True, "max_tokens": CHUNKS})

    def requests(self, target: Target, connections: int, seconds: float) -> Requests:
        url = f"http://{target.address}:{target.json_port}{PATH}"
        argv = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{max(1, round(seconds))}s"]
        told = self._run([*argv, "--timeout", "30s", "--script", str(HERE / "chat.lua"), url], seconds)
        taken = told["microseconds"] / 1e6
        return Requests(
            told["requests"] / taken, told["p50"] / 1e6, told["p99"] / 1e6, int(told["failed"]), int(told["requests"])
        )

    def chunks(self, target: Target, connections: int, seconds: float) -> Streams:
        """Streams of 64 chunks, as fast as they come."""
        return self._ask(target, connections, seconds, 0.3, self._chunked)

    def paced(self, target: Target, connections: int, seconds: float) -> Streams:
        """One long stream on each connection, at its own pace."""
        more = {"stream": True, "max_tokens": round((seconds + 3) * 1000 / PACE), "user": f"every {PACE} ms"}
        return self._ask(target, connections, seconds, RAMP, self._body("paced", STREAM_MODEL, more))

    def _ask(self, target: Target, connections: int, seconds: float, ramp: float, body: Path) -> Streams:
        where = [target.address, str(target.stream_port), PATH]
        how = [str(connections), str(seconds), str(ramp), str(body), f"Authorization: Bearer {KEY}"]
        told = self._run([str(self._streams), *where, *how], seconds)
        taken = told["seconds"]
        return Streams(
            told["whole"] / taken,
            told["events"] / taken,
            told["firstP50"] / 1e3,
            told["gapP50"] / 1e3,
            told["gapP99"] / 1e3,
            told["gapMax"] / 1e3,
            int(told["broken"] + told["refused"]),
            int(told["all"]),
        )

    def _run(self, argv: list[str], seconds: float) -> dict[str, float]:
        environ = {**os.environ, "BODY": str(self.json_body)}
        said = call(pinned(self._cores.others, argv), timeout=seconds + 90, env=environ)
        told: dict[str, float] = json.loads(said.strip().rpartition("\n")[2])
        return told

    def _body(self, name: str, model: str, more: dict[str, object]) -> Path:
        messages = [
            {"role": "system", "content": "You are a helpful assistant. Answer in one sentence."},
            {"role": "user", "content": "How does the novel begin that tells of two cities, and who wrote it? " * 3},
        ]
        path = self._folder / f"{name}.json"
        path.write_text(json.dumps({"model": model, "messages": messages, "temperature": 0.7, **more}))
        return path
