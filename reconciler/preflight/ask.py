"""Asking an image for its flags: the command to run on the Spark, once per image id, and what its answer means.

Pure; the worker runs the commands. The container sees no network and no weights, prints its help and is gone.
`--gpus all` stays, since some versions of vLLM decline to print anything where they find no device. What it may take
of the Spark's memory is capped, and counted as taken for as long as it runs (`reconciler.promised`). An image is asked
by its id, so that an answer never outlives the image.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from reconciler.preflight.help_text import read
from reconciler.preflight.tables import Table
from reconciler.shell import Argv

PATIENCE: Final = 120  # seconds inside the container; importing vLLM takes 15 on two old cores
CAP: Final = 8 * 2**30  # bytes that the container may take; Docker ends one that wants more
LABEL: Final = "sparkkeep.preflight"
FLAGS: Final = "flags"
WIDTH: Final = 400  # columns; less wrapping, less to guess
KEPT: Final = 64  # answers; a fleet has a handful of images

_IMAGE_ID: Final = re.compile(r"(?:sha256:)?([0-9a-f]{12,64})")

# Newer vLLM prints a summary for a bare --help; older vLLM does not know --help=all.
PROGRAMS: Final[dict[str, tuple[Argv, ...]]] = {
    "vllm": (
        ("vllm", "serve", "--help=all"),
        ("vllm", "serve", "--help"),
        ("python3", "-m", "vllm.entrypoints.openai.api_server", "--help"),
    ),
    "sglang": (("python3", "-m", "sglang.launch_server", "--help"),),
    "trtllm": (("trtllm-serve", "serve", "--help"),),
    "llamacpp": (("/app/llama-server", "--help"), ("llama-server", "--help")),
}


def questions(engine: str, image_id: str, *, gpus: bool = True) -> tuple[Argv, ...]:
    """The commands to try in turn until one is answered; none for an engine without flags of its own.

    `gpus`: the container sees the GPU, as far as there is one.
    Raises ValueError for an image id that is none. Give each `PATIENCE` + 30 seconds.
    """
    match = _IMAGE_ID.fullmatch(image_id)
    if match is None:
        raise ValueError(f"{image_id!r} is not an image id")
    name = container_name(image_id)
    return tuple(_run(name, image_id, program, gpus=gpus) for program in PROGRAMS.get(engine, ()))


def container_name(image_id: str) -> str:
    """What the container is called in which this image is asked."""
    return f"sparkkeep-flags-{image_id.removeprefix('sha256:')[:12]}"


def _run(name: str, image_id: str, program: Argv, *, gpus: bool) -> Argv:
    """`timeout` runs inside: a docker client that is killed would leave its container behind."""
    return (
        *("docker", "run", "--rm", "--name", name, "--label", f"{LABEL}={FLAGS}"),
        *("--network", "none", "--pull", "never", *(("--gpus", "all") if gpus else ()), "--memory", f"{CAP // 2**30}g"),
        *("--env", f"COLUMNS={WIDTH}", "--env", "HF_HUB_OFFLINE=1", "--env", "NO_COLOR=1"),
        *("--entrypoint", "timeout", image_id, "--kill-after=5", str(PATIENCE), *program),
    )


def understand(engine: str, status: int, output: str) -> Table | None:
    """The table in one answer's standard output, or None: ask the next question."""
    return read(engine, output) if status == 0 else None


@dataclass(slots=True)
class Answers:
    """What images have said, by image id. One that could not say is remembered too, and not asked again."""

    _known: OrderedDict[tuple[str, str], Table | None] = field(default_factory=OrderedDict)

    @property
    def known(self) -> Mapping[tuple[str, str], Table | None]:
        """Every answer; None for an image that could not say. One that is not in it was not asked."""
        return self._known

    def keep(self, engine: str, image_id: str, table: Table | None) -> None:
        """Remember an answer, or that there was none. The oldest of many is forgotten."""
        self._known[engine, image_id] = table
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
