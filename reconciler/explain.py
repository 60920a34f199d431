"""What a failed command or a dead container means: in plain words, and whether trying again can help.

Pure. A terminal failure (a bad flag, no such image) waits for a change of the declaration; a transient one
is tried again with growing pauses. What no signature matches counts as transient, since a pause costs less
than giving up.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Final

FIRST_BACKOFF: Final = 10.0
LAST_BACKOFF: Final = 300.0
HEALTHY_RESET: Final = 600.0  # seconds of running well after which earlier failures are forgotten


@dataclass(frozen=True, slots=True)
class Signature:
    """A text that Docker or a server is known to print, and what it means."""

    pattern: re.Pattern[str]
    reason: str
    message: str
    terminal: bool


def _known(pattern: str, reason: str, message: str, *, terminal: bool) -> Signature:
    return Signature(re.compile(pattern, re.IGNORECASE), reason, message, terminal)


SIGNATURES: Final = (
    _known(
        r"manifest unknown|manifest for \S+ not found|repository does not exist|name unknown",
        "ImageNotFound",
        "the registry has no such image",
        terminal=True,
    ),
    _known(
        r"invalid reference format",
        "ImageNotFound",
        "the image's name is not one that Docker can read",
        terminal=True,
    ),
    _known(
        r"pull access denied|unauthorized|authentication required|denied: ",
        "PullDenied",
        "the registry refuses this image: is a login missing, or the name misspelt?",
        terminal=True,
    ),
    _known(
        r"no matching manifest for",
        "WrongArchitecture",
        "the image has no build for this Spark's processor",
        terminal=True,
    ),
    _known(
        r"exec format error",
        "WrongArchitecture",
        "the image's program is for another processor",
        terminal=True,
    ),
    _known(r"no space left on device", "DiskFull", "the Spark's disk is full", terminal=False),
    _known(
        r"address already in use|port is already allocated",
        "PortTaken",
        "its port is taken by something else",
        terminal=False,
    ),
    _known(r"is already in use by container", "NameTaken", "a container of this name exists", terminal=False),
    _known(
        r"bind source path does not exist",
        "MountMissing",
        "a folder to mount does not exist on the Spark (`create: true` makes it)",
        terminal=True,
    ),
    _known(
        r"could not select device driver|nvidia-container-cli",
        "NoGpu",
        "Docker on this Spark can't give a container the GPU",
        terminal=True,
    ),
    _known(
        r"unknown flag|unrecognized arguments|invalid argument|flag provided but not defined|error: argument",
        "BadFlag",
        "it does not understand one of its flags",
        terminal=True,
    ),
    _known(
        r"executable file not found|no such file or directory: unknown|permission denied: unknown",
        "BadCommand",
        "the image has no such program",
        terminal=True,
    ),
    _known(
        r"out of memory|cannot allocate memory|CUDA error: out of memory",
        "OutOfMemory",
        "it ran out of memory",
        terminal=False,
    ),
    _known(
        r"Cannot connect to the Docker daemon|Is the docker daemon running",
        "EngineDown",
        "Docker does not run on the Spark",
        terminal=False,
    ),
    _known(
        r"toomanyrequests|rate limit",
        "RateLimited",
        "the registry asks for patience (rate limit)",
        terminal=False,
    ),
    _known(
        r"i/o timeout|TLS handshake timeout|connection refused|no such host|temporary failure in name resolution|EOF$",
        "RegistryUnreachable",
        "the registry can't be reached from the Spark",
        terminal=False,
    ),
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why something failed. `reason` is one CamelCase word."""

    reason: str
    message: str
    terminal: bool


def explain(text: str, *, otherwise: str, reason: str = "CommandFailed") -> Explanation:
    """The first signature found in `text`; failing that `otherwise`, with the last line of the text."""
    for signature in SIGNATURES:
        if signature.pattern.search(text):
            return Explanation(signature.reason, f"{otherwise}: {signature.message}{_quote(text)}", signature.terminal)
    return Explanation(reason, f"{otherwise}{_quote(text)}", terminal=False)


def _quote(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    useful = [line for line in lines if not line.startswith(("See 'docker", "Run 'docker"))]
    return f" ({useful[-1].strip()[:300]})" if useful else ""


def backoff(count: int, rng: random.Random) -> float:
    """Seconds to wait after the `count`-th failure in a row: none at first, then 10 s doubling to 300 s, +-10 %."""
    if count <= 1:
        return 0.0
    base = min(FIRST_BACKOFF * 2.0 ** min(count - 2, 10), LAST_BACKOFF)
    return base * rng.uniform(0.9, 1.1)
