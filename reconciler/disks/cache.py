"""One repository of a Hugging Face cache, from the files that were seen: what is there, and how whole it is. Pure.

A revision is complete if the weights of one format are all there: every shard that its index names, or every part of
an `-of-N` set, or a single file while nothing of the repository is still being fetched; and if no link in it dangles.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from reconciler.disks.found import CachedFile, CachedModel, NimEntry, Revision
from reconciler.disks.ggufs import Found
from reconciler.disks.stat import Stat

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)  # of a revision, a branch, a tag
REF: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}", re.ASCII)
PARTED: Final = re.compile(r"(?P<stem>.*)-(?P<at>\d{5})-of-(?P<of>\d{5})(?P<end>\.[a-z]+)", re.DOTALL | re.ASCII)
FORMATS: Final = (".safetensors", ".gguf", ".bin", ".pth", ".pt", ".onnx", ".nemo", ".engine")  # the best first
NOT_WEIGHTS: Final = frozenset({"training_args.bin", "optimizer.bin", "scheduler.bin"})
MOST_PARTS: Final = 2000  # of one set; a name that claims more is no set


class Content(NamedTuple):
    """What was picked out of a larger file."""

    shards: frozenset[str]
    hints: Mapping[str, str | int | bool]


@dataclass(slots=True)
class Snapshot:
    """One revision while it is put together."""

    files: dict[str, Stat] = field(default_factory=dict)
    dangling: set[str] = field(default_factory=set)
    configs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    shards: dict[str, frozenset[str]] = field(default_factory=dict)  # by the index that names them
    hints: dict[str, str | int | bool] = field(default_factory=dict)


class Folder:
    """One `models--...` folder. `certain` is false where not all of it could be read."""

    def __init__(self, repo: str, path: str, *, certain: bool) -> None:
        self.repo = repo
        self.path = path
        self.certain = certain
        self._owned: dict[str, int] = {}  # sizes by inode: a file with two names counts once
        self._unfinished: dict[str, Stat] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._refs: dict[str, str] = {}

    # Gathering

    def entry(self, name: str, stat: Stat) -> None:
        """A file or folder of its own."""
        kind, _, rest = name.partition("/")
        if kind == "blobs" and stat.regular and rest.endswith(".incomplete"):
            self._unfinished[stat.inode] = stat
        elif kind == "blobs" and stat.regular:
            self._owned[stat.inode] = stat.size
        elif kind == "snapshots" and rest:
            self._in_snapshot(rest, stat)
            if stat.regular:
                self._owned[stat.inode] = stat.size

    def link(self, name: str, stat: Stat) -> None:
        """A link that leads somewhere; `stat` is of what it leads to."""
        kind, _, rest = name.partition("/")
        if kind == "snapshots" and stat.regular:
            self._in_snapshot(rest, stat)

    def dangle(self, name: str) -> None:
        """A link that leads nowhere."""
        kind, _, rest = name.partition("/")
        snapshot, name = self._snapshot(rest) if kind == "snapshots" else (None, "")
        if snapshot is not None and name:
            snapshot.dangling.add(name)

    def ref(self, name: str, commit: str) -> None:
        """A branch or tag, and the commit that it stood at."""
        branch = name.removeprefix("refs/")
        if REF.fullmatch(branch) and NAME.fullmatch(commit):
            self._refs[branch] = commit

    def config(self, name: str, config: Mapping[str, Any]) -> None:
        """A small JSON file."""
        snapshot, name = self._snapshot(name.removeprefix("snapshots/"))
        if snapshot is not None and name in snapshot.files:
            snapshot.configs[name] = config

    def content(self, name: str, content: Content) -> None:
        """What an index or tokenizer_config.json holds of interest."""
        snapshot, name = self._snapshot(name.removeprefix("snapshots/"))
        if snapshot is None or name not in snapshot.files:
            return
        snapshot.hints.update(content.hints)
        if name.endswith(".index.json"):
            snapshot.shards[name] = content.shards

    def _snapshot(self, rest: str) -> tuple[Snapshot | None, str]:
        commit, _, name = rest.partition("/")
        if not NAME.fullmatch(commit):
            return None, ""
        return self._snapshots.setdefault(commit, Snapshot()), name

    def _in_snapshot(self, rest: str, stat: Stat) -> None:
        if "/" not in rest and not stat.folder:
            return
        snapshot, name = self._snapshot(rest)
        if snapshot is not None and name and stat.regular:
            snapshot.files[name] = stat

    # Judging

    def model(self) -> CachedModel:
        """All of it as one value."""
        return CachedModel(
            repo=self.repo,
            path=self.path,
            revisions=tuple(self._revision(commit) for commit in sorted(self._snapshots)),
            size_on_disk=sum(self._owned.values()),
            incomplete_bytes=sum(stat.size for stat in self._unfinished.values()),
            incomplete_files=len(self._unfinished),
            changed_at=self._changed_at(),
            readable=self.certain,
        )

    def nim(self) -> NimEntry:
        """All of it as the cache of one NIM; its profiles are not all models, so only what dangles is missing."""
        broken = bool(self._unfinished) or any(snapshot.dangling for snapshot in self._snapshots.values())
        whole = bool(self._snapshots) and not broken
        return NimEntry(
            name=self.repo,
            path=self.path,
            profiles=tuple(sorted(self._snapshots)),
            size=sum(self._owned.values()),
            incomplete_bytes=sum(stat.size for stat in self._unfinished.values()),
            complete=whole if self.certain else None,
            changed_at=self._changed_at(),
        )

    def ggufs(self) -> Iterator[Found]:
        """The GGUF files of all revisions."""
        for commit, snapshot in sorted(self._snapshots.items()):
            for name, stat in sorted(snapshot.files.items()):
                if name.endswith(".gguf"):
                    path = f"{self.path}/snapshots/{commit}/{name}"
                    yield Found(path, name.rpartition("/")[2], stat, self.repo, commit, self.certain)

    def _changed_at(self) -> float | None:
        return max((stat.changed for stat in self._unfinished.values()), default=None)

    def _revision(self, commit: str) -> Revision:
        snapshot = self._snapshots[commit]
        missing, whole = self._whole(snapshot)
        return Revision(
            commit=commit,
            refs=tuple(sorted(ref for ref, at in self._refs.items() if at == commit)),
            files=tuple(CachedFile(name, stat.size) for name, stat in sorted(snapshot.files.items())),
            size=sum({stat.inode: stat.size for stat in snapshot.files.values()}.values()),
            complete=whole if self.certain else None,
            missing=tuple(sorted(missing)) if self.certain else (),
            configs=snapshot.configs,
            hints=snapshot.hints,
        )

    def _whole(self, snapshot: Snapshot) -> tuple[set[str], bool]:
        """What is missing, and whether the weights are all there."""
        for end in FORMATS:
            named = {s for index in snapshot.shards for s in snapshot.shards[index] if s.endswith(end)}
            there = {name for name in snapshot.files if name.endswith(end) and name not in NOT_WEIGHTS}
            if not named and not there:
                continue
            of_sets = set(_of_sets(there))
            missing = {name for name in named | of_sets if name not in snapshot.files} | snapshot.dangling
            proven = bool(named or of_sets)
            return missing, not missing and (proven or not self._unfinished)
        return set(snapshot.dangling), False


def _of_sets(names: Iterable[str]) -> Iterator[str]:
    """Every name of every `-00001-of-00009` set that one of `names` belongs to."""
    sets = {(m["stem"], int(m["of"]), m["end"]) for m in map(PARTED.fullmatch, names) if m}
    for stem, of, end in sets:
        if of <= MOST_PARTS:
            yield from (f"{stem}-{at:05}-of-{of:05}{end}" for at in range(1, of + 1))
