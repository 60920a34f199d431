"""How to ask an instance whether it serves, and how to read its answer. Pure: bytes out, bytes in.

`http` asks its path and takes 200 to 399 for yes. The kinds of models (chat, embedding, ...) ask the server's
own health path in the same way for now: the canary of their kind comes with the engines that they belong to.
"""

from __future__ import annotations

from reconciler.hosts import Answer
from reconciler.model import ProbeSpec


def request(probe: ProbeSpec) -> bytes:
    """The HTTP/1.1 request; the connection is closed by the server after its answer."""
    lines = (
        f"GET {probe.path} HTTP/1.1",
        f"Host: 127.0.0.1:{probe.port}",
        "User-Agent: sparkkeep-probe",
        "Accept: */*",
        "Connection: close",
        "",
        "",
    )
    return "\r\n".join(lines).encode()


def answer(probe: ProbeSpec, head: bytes) -> Answer:
    """What the first line of the response says."""
    line = head.split(b"\r\n", 1)[0].decode("latin-1", "replace")
    parts = line.split(" ", 2)
    asked = f"GET {probe.path} on port {probe.port}"
    if len(parts) == 1 or not parts[0].startswith("HTTP/") or not parts[1].isdigit():
        return Answer(ready=False, message=f"{asked}: the answer is not HTTP")
    status = int(parts[1])
    return Answer(ready=200 <= status < 400, message=f"{asked} answers {status}")  # noqa: PLR2004  # the range of success and redirects
