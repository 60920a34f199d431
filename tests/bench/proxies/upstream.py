"""What stands behind every proxy: on a host of its own, nginx for JSON and `stub.c` for streams."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.proxies.programs import Cores, compiled, installed, listens, pinned, running
from tests.hosts.host import Host

JSON_PORT, STREAM_PORT = 8801, 8802
CONTENT = "It was the best of times, it was the worst of times. " * 5
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "bench",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": CONTENT},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 24, "completion_tokens": 64, "total_tokens": 88},
}
NGINX = """
worker_processes 1;
daemon off;
user root;
pid {folder}/nginx.pid;
error_log stderr crit;
worker_rlimit_nofile 20000;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    server {{
        listen {port} backlog=2048;
        location / {{ default_type application/json; return 200 '{answer}'; }}
    }}
}}
"""


@dataclass(frozen=True)
class Upstream:
    """Where it listens."""

    address: str

    @property
    def json(self) -> str:
        return f"{self.address}:{JSON_PORT}"

    @property
    def stream(self) -> str:
        return f"{self.address}:{STREAM_PORT}"


def answer() -> str:
    """The JSON that nginx answers every request with."""
    return json.dumps(ANSWER)


@contextmanager
def upstream(host: Host, space: str, folder: Path, cores: Cores) -> Iterator[Upstream]:
    """Both, inside the host's network."""
    nginx, stub = installed("nginx"), compiled("stub", folder)
    assert nginx is not None
    config = folder / "upstream.conf"
    config.write_text(NGINX.format(folder=folder, port=JSON_PORT, answer=answer()))
    inside = ["ip", "netns", "exec", space]
    argvs = {
        JSON_PORT: [*inside, nginx, "-p", str(folder), "-c", str(config)],
        STREAM_PORT: [*inside, str(stub), str(STREAM_PORT)],
    }
    with ExitStack() as stack:
        for port, argv in argvs.items():
            log = folder / f"upstream-{port}.log"
            one = stack.enter_context(running(pinned(cores.others, argv), log))
            listens(one, [(host.address, port)], log)
        yield Upstream(host.address)
