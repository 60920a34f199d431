"""Mods on their way: read from the mods folder of this machine, and put on the Spark that needs them.

A mod lies on a Spark in a folder named by the hash of its content, made whole beside it and then renamed: what has
that name has that content. So one that is there is not sent again, and none is ever changed under a container that
has it mounted. What is sent is standard input of a shell, in pieces of at most 1 MiB.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from reconciler.engines import Digests
from reconciler.hosts import Host
from reconciler.launch import MODS_FOLDER, mod_folder
from reconciler.linkdown import LinkDown
from reconciler.sessions import Outcome
from reconciler.shell import appended, home_path, join
from state.mods import RUN, Mod, ModFile, ModRefused, read_mods

PIECE: Final = 2**20  # bytes of content in one script
PIECE_TIMEOUT: Final = 60.0  # seconds
LEFT_OVER: Final = "60"  # minutes after which an unfinished folder is nobody's any more


class Mods:
    """The mods that are wanted, as they were last read. `digests` is what the planner needs of them."""

    def __init__(self, places: Sequence[Path] = ()) -> None:
        """The mods folder is the first of these places that is there."""
        self._places = tuple(places)
        self._found: dict[str, Mod] = {}
        self.digests: Digests = {}

    async def read(self, names: Iterable[str]) -> bool:
        """Read the mods of these names again, beside the event loop. Whether anything about them changed."""
        wanted = set(names)
        found, refused = await asyncio.to_thread(_read, self._places, wanted) if wanted else ({}, {})
        digests = _digests(found, refused)
        changed = _told(digests) != _told(self.digests)
        self._found, self.digests = found, digests
        return changed

    async def of(self, names: Iterable[str]) -> Digests:
        """The same of other names, for a plan that nobody follows: nothing of it is kept."""
        return _digests(*await asyncio.to_thread(_read, self._places, set(names)))

    def content(self, digest: str) -> Mod | None:
        """The mod of this content, if it is still what is wanted."""
        return next((mod for mod in self._found.values() if mod.digest == digest), None)


Content = Callable[[str], Mod | None]


def _read(places: tuple[Path, ...], names: set[str]) -> tuple[dict[str, Mod], dict[str, ModRefused]]:
    if not places:
        return {}, {name: ModRefused(f"mod {name}: there is no mods folder") for name in names}
    return read_mods(next((place for place in places if place.is_dir()), places[0]), names)


def _digests(found: Mapping[str, Mod], refused: Mapping[str, ModRefused]) -> Digests:
    return {**{name: mod.digest for name, mod in found.items()}, **refused}


def _told(digests: Digests) -> dict[str, str]:
    return {name: str(digest) for name, digest in digests.items()}


async def deliver(
    host: Host, mod: Mod, *, timeout: float, fenced: Callable[[str], str] = lambda script: script
) -> Outcome:
    """Put a mod on a Spark, unless it is there. The outcome is that of the script that decided. Raises LinkDown.

    `timeout` is for the whole of it, in seconds; it ends with `CommandTimeout`, as a command does. `fenced` makes
    each script that changes something one that the Spark may refuse.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout
    outcome = await host.run(_whether(mod), timeout=min(PIECE_TIMEOUT, timeout))
    if outcome.status == 0:
        return outcome
    nonce = secrets.token_hex(8)
    for script in scripts(mod, nonce):
        outcome = await host.run(fenced(script), timeout=max(1.0, min(PIECE_TIMEOUT, deadline - clock())))
        if outcome.status != 0:  # what came so far may lie on a disk that is full: it goes at once
            with suppress(LinkDown):
                await host.run(fenced(_cleared(mod, nonce)), timeout=max(1.0, min(PIECE_TIMEOUT, deadline - clock())))
            break
    return outcome


def _whether(mod: Mod) -> str:
    return join(("test", "-f", home_path(f"{mod_folder(mod.digest)}/{RUN}")))


def scripts(mod: Mod, nonce: str) -> Iterator[str]:
    """The scripts that make the mod's folder on a Spark, in order: what each of them needs, those before it have made.

    `nonce` sets the unfinished folder apart from any other.
    """
    new, final = _unfinished(mod, nonce), mod_folder(mod.digest)
    old = ("-maxdepth", "1", "-name", ".new-*", "-mmin", f"+{LEFT_OVER}", "-exec", "rm", "-rf", "{}", "+")
    folders = sorted({new, *(f"{new}/{file.path}".rpartition("/")[0] for file in mod.files)})
    yield "\n".join(
        (
            "umask 022",
            f"{join(('mkdir', '-p', '--', *map(home_path, folders)))} || exit 1",
            f"{join(('find', home_path(MODS_FOLDER), *old))} 2>/dev/null",
            ":",
        )
    )
    for lines in _pieces(mod.files, new):
        yield " &&\n".join(("umask 022", *lines))
    ready = [join(("chmod", "755", "--", home_path(f"{new}/{file.path}"))) for file in mod.files if file.executable]
    # `-T`: were the folder there, `mv` would put the new one into it. What is there has no run.sh, so nothing uses it.
    ready += [join(("rm", "-rf", "--", home_path(final))), join(("mv", "-T", "--", home_path(new), home_path(final)))]
    yield " &&\n".join(ready)


def _unfinished(mod: Mod, nonce: str) -> str:
    return f"{MODS_FOLDER}/.new-{mod.digest}-{nonce}"


def _cleared(mod: Mod, nonce: str) -> str:
    return join(("rm", "-rf", "--", home_path(_unfinished(mod, nonce))))


def _pieces(files: Iterable[ModFile], folder: str) -> Iterator[list[str]]:
    """Lines of script that write the files, together as long as a script may be."""
    lines: list[str] = []
    room = PIECE
    for file in files:
        path = home_path(f"{folder}/{file.path}")
        for start in range(0, max(1, len(file.data)), PIECE):
            part = file.data[start : start + PIECE]
            if lines and len(part) > room:
                yield lines
                lines, room = [], PIECE
            lines.append(appended(part, path))
            room -= len(part)
    if lines:
        yield lines
