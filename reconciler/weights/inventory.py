"""What lies in a Spark's Hugging Face cache, blob by blob: what `gc` plans from. Pure.

The question is that of the disk survey (`reconciler.disks.script`), for the one cache that sparkkeep fetches into and
without the contents of files. What a link leads to is told by inodes and not by names. What could not be read, and
what something outside of it leads into, is left alone, with the reason; an answer that is not whole refuses everything.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from reconciler.disks.read import LIMITS, META, escaped
from reconciler.disks.script import CLOSED, script
from reconciler.disks.stat import Stat
from reconciler.disks.where import Layout, Place
from reconciler.facts import Section, sections
from reconciler.shell import home_path
from reconciler.weights.cache import DEFAULT_CACHE
from reconciler.weights.gc import Blob, Cached, CacheSurvey, GcRefused, Kept, Revision

# The lists of a hub, without the contents of its files: what is asked of a NIM's cache.
PLACES: Final = (Place(Layout.NIM, home_path(DEFAULT_CACHE)),)
OF_A_CACHE: Final = frozenset({"blobs", "snapshots", "refs", "trees", ".no_exist"})
MODELS: Final = "models--"
DEEPEST: Final = 8  # slashes in the path of a folder into which the survey does not go any more


@dataclass(frozen=True, slots=True)
class Inventory:
    """One look at one cache. `survey` is None where there is no cache; `unclear`: what stays since it isn't known."""

    survey: CacheSurvey | None
    unclear: tuple[Kept, ...] = ()


@dataclass(slots=True)
class _Folder:
    """One repository while it is put together. Blobs by name; `leads`: the inodes that each snapshot leads to."""

    blobs: dict[str, Blob] = field(default_factory=dict)
    inodes: dict[str, set[str]] = field(default_factory=dict)  # inode -> names of blobs
    owned: set[str] = field(default_factory=set)  # inodes of its own files
    leads: dict[str, set[str]] = field(default_factory=dict)  # commit -> inodes
    refs: dict[str, list[str]] = field(default_factory=dict)  # commit -> branches and tags
    link: bool = False
    unclear: str = ""

    def add_blob(self, name: str, stat: Stat, now: float, *, own: bool) -> None:
        self.blobs[name] = Blob(name, stat.size if own else 0, max(now - stat.changed, 0.0))
        self.inodes.setdefault(stat.inode, set()).add(name)
        if own:
            self.owned.add(stat.inode)

    def cached(self, folder: str) -> Cached:
        revisions = tuple(
            Revision(commit, tuple(sorted(self.refs.get(commit, ()))), self._blobs_of(inodes))
            for commit, inodes in sorted(self.leads.items())
        )
        return Cached(folder, revisions, tuple(blob for _, blob in sorted(self.blobs.items())), self.link)

    def _blobs_of(self, inodes: set[str]) -> frozenset[str]:
        return frozenset(name for inode in inodes for name in self.inodes.get(inode, ()))


def question(nonce: str) -> str:
    """The script that looks; it only reads. `nonce` must be unguessable."""
    return script(nonce, PLACES)


def read(answer: str, nonce: str, spark: str, began: float) -> Inventory:
    """What the answer says. `began`: when the look began, by our clock. Raises ScanFailed, GcRefused."""
    found = sections(answer, nonce)
    where, clock = found.get("where0"), found.get("clock")
    if where is None or clock is None or not clock.text.strip().isdecimal():
        raise GcRefused(f"{spark} did not say to the end what lies in its cache: nothing is deleted")
    if where.status == CLOSED:
        raise GcRefused(f"the cache of {spark} can't be entered: nothing is deleted")
    if where.status != 0:
        return Inventory(None)
    lists = {name: _records(found, name, spark) for name in ("entries", "links", "dangling", "closed")}
    folders = _Reading(float(clock.text)).folders(lists)
    for name, commit in _refs(found, spark):
        top, _, ref = name.removeprefix("./").partition("/refs/")
        if top in folders and ref:
            folders[top].refs.setdefault(commit, []).append(ref)
    _entangled(folders)
    clear = tuple(folder.cached(name) for name, folder in sorted(folders.items()) if not folder.unclear)
    root = where.text.partition("//")[0]
    kept = (Kept(shown(name), folder.unclear) for name, folder in sorted(folders.items()) if folder.unclear)
    return Inventory(CacheSurvey(spark, root, began, clear), tuple(kept))


def shown(folder: str) -> str:
    """A folder's repository, for people."""
    return escaped(folder.removeprefix(MODELS).replace("--", "/", 1))


def _whole(found: Mapping[str, Section], name: str) -> str | None:
    """The text of a list; None where it failed, or may have been cut."""
    section = found.get(f"{name}0")
    if section is None or section.status != 0 or len(section.text.encode(errors="replace")) >= LIMITS[name]:
        return None
    return section.text


def _records(found: Mapping[str, Section], name: str, spark: str) -> list[tuple[str, Stat | None]]:
    """The records of a list, all of them. Raises GcRefused where some are lost."""
    text = _whole(found, name)
    if text is None:
        raise GcRefused(f"the cache of {spark} holds more than can be listed: nothing is deleted")
    records = []
    for piece in text.split("//\n")[:-1]:
        path, _, rest = piece.partition("//")
        meta = META.fullmatch(rest)
        stat = Stat(int(meta[1], 16), int(meta[2]), float(meta[3]), meta[4]) if meta else None
        records.append((path, stat))
    return records


class _Reading:
    """The lists of one answer on their way to folders. `now` is the Spark's own clock."""

    def __init__(self, now: float) -> None:
        self._now = now
        self._folders: dict[str, _Folder] = {}

    def folders(self, lists: Mapping[str, list[tuple[str, Stat | None]]]) -> dict[str, _Folder]:
        for path, stat in lists["entries"]:
            if stat is not None:
                self._entry(path[2:], stat)
        for path, stat in lists["links"]:
            self._link(path[2:], stat)
        for path, _ in lists["dangling"]:
            self._link(path[2:], None)
        for path, _ in lists["closed"]:
            top = path[2:].partition("/")[0]
            if path == ".":
                raise GcRefused("the cache can't be read: nothing is deleted")
            if top.startswith(MODELS):
                self._folders.setdefault(top, _Folder()).unclear = "not all of it can be read: left alone"
        return self._folders

    def _entry(self, path: str, stat: Stat) -> None:
        top, kind, rest = _cut(path)
        if not top.startswith(MODELS) or (not kind and not stat.folder):
            return
        folder = self._folders.setdefault(top, _Folder())
        if kind and kind not in OF_A_CACHE:
            folder.unclear = f"holds something that is not of a cache ({escaped(kind)}): left alone"
        elif stat.folder and path.count("/") >= DEEPEST:
            folder.unclear = "its folders are deeper than is looked: left alone"
        elif kind == "blobs" and rest:
            folder.add_blob(rest, stat, self._now, own=True)
        elif kind == "snapshots" and rest:
            folder.leads.setdefault(rest.partition("/")[0], set())

    def _link(self, path: str, stat: Stat | None) -> None:
        """A link; `stat` is of what it leads to, None if that is not there."""
        top, kind, rest = _cut(path)
        if not top.startswith(MODELS):
            return
        folder = self._folders.setdefault(top, _Folder())
        commit, _, name = rest.partition("/")
        if kind == "blobs" and rest:
            if stat is not None:
                folder.add_blob(rest, stat, self._now, own=False)
            else:
                folder.blobs.setdefault(rest, Blob(rest, 0, 0.0))
        elif kind == "snapshots" and name:
            folder.leads.setdefault(commit, set()).update((stat.inode,) if stat is not None else ())
        else:
            folder.link = True


def _cut(path: str) -> tuple[str, str, str]:
    """A path below the cache: repository's folder, what is in it, the rest."""
    top, _, below = path.partition("/")
    kind, _, rest = below.partition("/")
    return top, kind, rest


def _refs(found: Mapping[str, Section], spark: str) -> Iterator[tuple[str, str]]:
    """Each ref's path and commit. Raises GcRefused where one could not be read: it may be what keeps a revision."""
    lost = GcRefused(f"the branches in the cache of {spark} changed, or could not be read: nothing is deleted")
    text = _whole(found, "refs")
    if text is None:
        raise lost
    sizes: list[tuple[str, int]] = []
    for piece in text.split("//\n")[:-1]:
        name, _, rest = piece.partition("//")
        if name != "=":
            sizes.append((name, int(rest) if rest.isdecimal() else -1))
            continue
        try:
            data = base64.b64decode("".join(rest.split()).replace("_", "/"), validate=True)
        except (binascii.Error, ValueError):
            raise lost from None
        if len(data) != sum(size for _, size in sizes):
            raise lost
        for path, size in sizes:
            yield path, data[:size].decode(errors="replace").strip()
            data = data[size:]
        sizes = []


def _entangled(folders: Mapping[str, _Folder]) -> None:
    """A repository whose files another one leads into is left alone."""
    owner = {inode: name for name, folder in folders.items() for inode in folder.owned}
    for name, folder in folders.items():
        for inode in {*folder.inodes, *(inode for inodes in folder.leads.values() for inode in inodes)}:
            other = owner.get(inode, name)
            if other != name:
                folders[other].unclear = f"{shown(name)} uses files of it: left alone"
