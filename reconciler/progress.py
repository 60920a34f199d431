"""How far a starting server is, read from its log, and how long it may still take. Pure.

Servers of models say what they do while they load: which shard of the weights, which graph. The last line that is
understood tells the stage; a bar's percentage belongs to its stage, not to the whole. How long the whole takes is
best known from earlier starts of the same recipe on the same Spark.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

REMEMBERED: Final = 5  # earlier starts that count; an image or a driver changes what older ones say
MINUTE: Final = 60.0
ALMOST: Final = 95.0  # percent: all of it is only what has answered
DOTS: Final = 100  # that llama.cpp prints for all of its weights


class Stage(StrEnum):
    """What a server does while it starts, in the words of `words`."""

    DOWNLOAD = "downloads its files"
    WEIGHTS = "loads the weights"
    COMPILE = "compiles kernels"
    CACHE = "makes room for its cache"
    GRAPHS = "captures graphs"
    WARMUP = "warms up"
    SERVER = "opens its port"
    STARTED = "has started"


@dataclass(frozen=True, slots=True)
class Progress:
    """The stage of a start. `percent` is of this stage, from 0 to 100; `detail` such as "5 of 9"."""

    stage: Stage
    percent: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Sign:
    """A line that tells the stage. Groups named `percent`, `at` and `of` are read; `percent` here is the default."""

    pattern: re.Pattern[str]
    stage: Stage
    percent: float | None = None


def _sign(pattern: str, stage: Stage, percent: float | None = None) -> _Sign:
    return _Sign(re.compile(pattern), stage, percent)


_BAR: Final = r"\s+(?P<percent>\d{1,3})%\|[^|]*\|\s*(?P<at>\d+)/(?P<of>\d+)\b"
# vLLM, SGLang, TensorRT-LLM, llama.cpp and NIM; of several that match a line the first counts.
SIGNS: Final = (
    _sign(
        r"[Ll]oading \S.*?:\s+(?P<percent>\d{1,3})% Completed \| (?P<at>\d+)/(?P<of>\d+)",
        Stage.WEIGHTS,
    ),
    _sign(rf"Loading weights[^:]*:{_BAR}", Stage.WEIGHTS),
    _sign(rf"Fetching \d+ files:{_BAR}", Stage.DOWNLOAD),
    _sign(r"\S\.(?:safetensors|gguf|bin|nemo|json):\s+(?P<percent>\d{1,3})%\|", Stage.DOWNLOAD),
    _sign(r"Preparing model workspace", Stage.DOWNLOAD),
    _sign(r"Model workspace is now ready", Stage.DOWNLOAD, 100.0),
    _sign(r"Time spent downloading weights", Stage.DOWNLOAD, 100.0),
    _sign(r"Starting to load model|Load weight begin|load_tensors: loading model tensors", Stage.WEIGHTS, 0.0),
    _sign(r"Loading weights took|Model loading took|Load weight end", Stage.WEIGHTS, 100.0),
    _sign(r"for vLLM's torch\.compile|Dynamo bytecode transform time|Compiling a graph|Cache the graph", Stage.COMPILE),
    _sign(r"torch\.compile (?:takes|took)|Directly load the compiled graph", Stage.COMPILE, 100.0),
    _sign(rf"Captur\w+ (?:CUDA graph|batches|num tokens)[^%]*?:{_BAR}", Stage.GRAPHS),
    _sign(r"Capture cuda graph begin", Stage.GRAPHS, 0.0),
    _sign(r"Graph capturing finished|Capture cuda graph end", Stage.GRAPHS, 100.0),
    _sign(r"Available KV cache memory|GPU KV cache size|KV Cache is allocated|llama_kv_cache", Stage.CACHE),
    _sign(r"init engine \(|warming up the model|Warmup", Stage.WARMUP),
    _sign(r"Starting vLLM (?:API )?server|Started server process|Waiting for application startup", Stage.SERVER),
    _sign(r"Application startup complete|fired up and ready to roll|main: model loaded", Stage.STARTED),
)
_DOTS: Final = re.compile(r"\.{2,100}")


def progress(lines: Iterable[str]) -> Progress | None:
    """How far it is by the last line that is understood; None if there is none. A bar may redraw itself (CR)."""
    found: Progress | None = None
    for line in lines:
        for drawn in line.split("\r"):
            found = _read(drawn.strip()) or found
    return found


def _read(line: str) -> Progress | None:
    if _DOTS.fullmatch(line):
        return Progress(Stage.WEIGHTS, 100.0 * len(line) / DOTS)
    for sign in SIGNS:
        match = sign.pattern.search(line)
        if match:
            groups = match.groupdict()
            percent = min(float(groups["percent"]), 100.0) if groups.get("percent") else sign.percent
            detail = f"{int(groups['at'])} of {int(groups['of'])}" if groups.get("of") else ""
            return Progress(sign.stage, percent, detail)
    return None


def remaining(elapsed: float, past: Sequence[float]) -> float | None:
    """Seconds until a start may be done, `elapsed` seconds after it began. None if nothing is known.

    `past`: how long earlier starts took, oldest first. The middle one of those that took longer than this one has
    taken so far; if it has outlasted them all, they say nothing any more.
    """
    longer = [duration for duration in past[-REMEMBERED:] if duration > elapsed]
    return statistics.median(longer) - elapsed if longer else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """How far a start is, in numbers: seconds, and percent of the whole, None where no earlier start tells."""

    stage: str
    elapsed: float
    remaining: float | None
    percent: float | None


def account(seen: Progress | None, elapsed: float, past: Sequence[float]) -> Account:
    """By the clock of earlier starts: a stage's own percentage says nothing about the stages after it."""
    left = remaining(elapsed, past)
    percent = min(100.0 * elapsed / (elapsed + left), ALMOST) if left is not None else None
    return Account(
        stage="starts" if seen is None else str(seen.stage), elapsed=elapsed, remaining=left, percent=percent
    )


def words(seen: Progress | None, elapsed: float, past: Sequence[float]) -> str:
    """All of it for people: "loads the weights, 56 % (5 of 9); about 3 min left"."""
    text = "starts" if seen is None else str(seen.stage)
    if seen is not None and seen.percent is not None and seen.stage is not Stage.STARTED:
        text += f", {seen.percent:.0f} %"
    if seen is not None and seen.detail:
        text += f" ({seen.detail})"
    left = remaining(elapsed, past)
    if left is not None:
        return f"{text}; about {_span(left)} left"
    return f"{text}; since {_span(elapsed)}" + (", longer than ever before" if past else "")


def _span(seconds: float) -> str:
    return f"{max(1.0, seconds):.0f} s" if seconds < 2 * MINUTE else f"{seconds / MINUTE:.0f} min"
