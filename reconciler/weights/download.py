"""The script that makes one revision whole: the fixed program with its values, and what its lines mean. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reconciler import shell
from reconciler.weights.cache import PART, Completeness, Want, assign, folder_of
from reconciler.weights.endpoint import preamble
from reconciler.weights.failures import HEADERS
from reconciler.weights.program import PROGRAM
from reconciler.weights.repo_files import Listing, RepoFile

SLICE: Final = 8 * 2**30  # bytes asked for at once
LANES: Final = 4  # files at the same time
TRIES: Final = 5  # attempts in a row that bring no byte
TICK: Final = 1.0  # seconds between two counts
LOCK_WAIT: Final = 15  # seconds to wait for another program that fetches the same file


@dataclass(frozen=True, slots=True)
class Source:
    """Where files come from. `urls` by hash; `token` is shown to `origin` (scheme://host:port) alone."""

    name: str
    origin: str
    urls: Mapping[str, str]
    token: str = ""


@dataclass(frozen=True, slots=True)
class Pace:
    """The knobs of the program. Seconds, except `tries`, `lanes` (files at once) and `slice` (bytes)."""

    tick: float = TICK
    stall: int = 60
    pause: float = 2.0
    tries: int = TRIES
    lanes: int = LANES
    slice: int = SLICE
    lock_wait: int = LOCK_WAIT


def download(
    want: Want, listing: Listing, state: Completeness, source: Source, pace: Pace, *, forget_tree: bool
) -> str:
    """The script that makes a revision whole. `forget_tree`: the library's own list of the files names more of them.

    That list (`trees/<commit>.json`) would make the library call a snapshot incomplete from which files were left out.
    """
    knobs = {
        "cache": shell.home_path(want.cache),
        "folder": folder_of(want.repository),
        "commit": listing.commit,
        "suffix": PART,
        "headers": "|".join(HEADERS),
        "slice": str(pace.slice),
        "most": str(pace.tries),
        "pause": f"{pace.pause:g}",
        "tick": f"{pace.tick:g}",
        "lock_wait": str(pace.lock_wait),
        "lanes": "",
        "work": "",
    }
    lines = [assign(name, value) for name, value in knobs.items()]
    lines += [*preamble(source.origin, source.token, pace.stall), PROGRAM.strip()]
    lines += ["ready", "trap 'stop 143' TERM HUP INT"]
    for n, files in enumerate(deal(state.missing, pace.lanes)):
        lines += [f"lane_{n}() {{", *(_fetch(state, file, source) for file in files), "}", f"lane lane_{n} &"]
        lines += ['lanes="$lanes $!"']
    lines.append("await")
    lines += [_link(file) for file in state.unlinked]
    if state.ref_stale:
        lines.append(shell.join(("name", want.revision.rpartition("/")[0], want.revision)))
    if forget_tree:
        lines.append(shell.join(("rm", "-f", "--", f"trees/{listing.commit}.json")))
    return "\n".join([*lines, "say whole", "stop 0"])


def deal(files: Sequence[RepoFile], lanes: int) -> list[list[RepoFile]]:
    """The files for each lane, the largest first, so that all lanes have about the same to do. No lane is empty."""
    loads: list[tuple[int, list[RepoFile]]] = [(0, []) for _ in range(min(lanes, len(files)))]
    for file in sorted(files, key=lambda f: (-f.size, f.path)):
        least = min(range(len(loads)), key=lambda n: (loads[n][0], n))
        load, dealt = loads[least]
        loads[least] = (load + file.size + 1, [*dealt, file])
    return [dealt for _, dealt in loads]


def _fetch(state: Completeness, file: RepoFile, source: Source) -> str:
    number = state.files.index(file)
    return shell.join(("fetch", str(number), file.etag, file.hash, str(file.size), source.urls[file.etag]))


def _link(file: RepoFile) -> str:
    folder = file.path.rpartition("/")[0]
    up = "../" * (2 + file.path.count("/"))
    return shell.join(("link", folder, file.path, f"{up}blobs/{file.etag}"))


@dataclass(frozen=True, slots=True)
class Said:
    """One line of the program. `number`: which file of the selection, if it is about one; -1 otherwise."""

    word: str
    number: int = -1
    rest: str = ""


WORDS: Final = re.compile(r"(?:(head|text|fail|check|again|got) (\d{1,6}|-)|(part|alive|whole))(?: (.*))?")


def read_line(line: str) -> Said | None:
    """What a line says; None for one that the program did not print (a tool's own complaint)."""
    match = WORDS.fullmatch(line)
    if not match:
        return None
    if match[3]:
        return Said(match[3], rest=match[4] or "")
    return Said(match[1], -1 if match[2] == "-" else int(match[2]), match[4] or "")
