"""The run: every proxy in turn in every round, and what each was seen to do."""

from __future__ import annotations

import http.client
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tests.bench.figures import p50
from tests.bench.proxies.load import CHUNKS, JSON_MODEL, KEY, PACE, PATH, STREAM_MODEL, Load, Requests, Streams
from tests.bench.proxies.rivals import Proxy
from tests.bench.proxies.upstream import CONTENT
from tests.hosts.shell import HostError

CONNECTIONS = (1, 32, 256)
AT_ONCE = 32  # streams of 64 chunks, and requests of which the cost is told
PACED = (1000, 750, 500, 250, 100, 50, 25)  # streams at 50 chunks a second; fewer where more do not pass
LONGEST = 0.25  # seconds of silence that a reader would notice
ENOUGH = 0.95  # of the chunks due
OK = 200


@dataclass
class Seen:
    """What one proxy did, a sample for each round."""

    requests: dict[int, list[Requests]] = field(default_factory=lambda: defaultdict(list))
    chunks: list[Streams] = field(default_factory=list)
    paced: dict[int, Streams] = field(default_factory=dict)
    request_cost: list[float] = field(default_factory=list)
    chunk_cost: list[float] = field(default_factory=list)
    """Seconds of its processor for each, where many are under way: the same on a machine that others use, too."""
    worked: float = 0.0
    """Of a core, at 1,000 paced streams (or as many as passed)."""
    memory: float = 0.0

    def rate(self, connections: int) -> float:
        return p50([each.per_second for each in self.requests[connections]])

    def streams(self) -> float:
        return p50([each.per_second for each in self.chunks])

    def failed(self) -> int:
        every = [each for samples in self.requests.values() for each in samples]
        return sum(each.failed for each in every) + sum(each.broken for each in self.chunks)

    def ceiling(self) -> int:
        """Paced streams at once without one gap that is too long; 0 if even the fewest had one."""
        return next((count for count, seen in self.paced.items() if smooth(seen, count)), 0)


def smooth(seen: Streams, count: int) -> bool:
    due = count * 1000 / PACE
    return seen.gap_max <= LONGEST and seen.events >= ENOUGH * due and not seen.broken


def added(seen: Seen, direct: Seen, of: Callable[[Requests], float]) -> float:
    """What one request at a time takes longer than directly, in the median of rounds."""
    pairs = zip(seen.requests[1], direct.requests[1], strict=True)
    return p50([of(ours) - of(bare) for ours, bare in pairs])


def check(proxy: Proxy) -> None:
    """That it passes both kinds of answer on. Raises HostError in words if not."""
    target = proxy.target
    try:
        whole = json.loads(_ask(target.address, target.json_port, {"model": JSON_MODEL}))
        stream = _ask(target.address, target.stream_port, {"model": STREAM_MODEL, "stream": True})
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise HostError(f"{proxy.name} did not answer: {error}") from error
    if whole["choices"][0]["message"]["content"] != CONTENT:
        raise HostError(f"{proxy.name} answers something else: {whole}")
    words, ended = stream.count(b'"content":" token"'), stream.rstrip().endswith(b"data: [DONE]")
    if words != CHUNKS or not ended:
        raise HostError(f"{proxy.name} gave {words} of {CHUNKS} chunks, {'ended' if ended else 'without an end'}")


def measure(proxies: Sequence[Proxy], load: Load, *, rounds: int, seconds: float) -> dict[str, Seen]:
    found = {proxy.name: Seen() for proxy in proxies}
    for number in range(-1, rounds):  # the first is to warm up, and does not count
        long = seconds if number >= 0 else 1.0
        for connections in CONNECTIONS:
            for proxy in _turned(proxies, number):
                before = _worked(proxy)
                sample = load.requests(proxy.target, connections, long)
                if number >= 0:
                    found[proxy.name].requests[connections].append(sample)
                if number >= 0 and connections == AT_ONCE:
                    found[proxy.name].request_cost.append((_worked(proxy) - before) / max(sample.count, 1))
        for proxy in _turned(proxies, number):
            before = _worked(proxy)
            streams = load.chunks(proxy.target, AT_ONCE, long)
            if number >= 0:
                found[proxy.name].chunks.append(streams)
                found[proxy.name].chunk_cost.append((_worked(proxy) - before) / max(streams.count, 1))
    for proxy in proxies:
        _paced(proxy, found[proxy.name], load, seconds)
    return found


def _paced(proxy: Proxy, seen: Seen, load: Load, seconds: float) -> None:
    for count in PACED:
        before = _worked(proxy)
        seen.paced[count] = load.paced(proxy.target, count, seconds)
        if proxy.process:
            seen.worked = (_worked(proxy) - before) / (seconds + 1)
            seen.memory = max(seen.memory, proxy.process.memory())
        if smooth(seen.paced[count], count):
            break


def _worked(proxy: Proxy) -> float:
    return proxy.process.worked() if proxy.process else 0.0


def _turned(proxies: Sequence[Proxy], number: int) -> Iterable[Proxy]:
    at = number % len(proxies)
    return [*proxies[at:], *proxies[:at]]


def _ask(address: str, port: int, body: dict[str, object]) -> bytes:
    messages = [{"role": "user", "content": "Hello"}]
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    wire = http.client.HTTPConnection(address, port, timeout=60)
    wire.request("POST", PATH, json.dumps({"messages": messages, **body}), headers)
    answer = wire.getresponse()
    content = answer.read()
    wire.close()
    if answer.status != OK:
        raise ValueError(f"{answer.status} {content[:200].decode(errors='replace')}")
    return content
