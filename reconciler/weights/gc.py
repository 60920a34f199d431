"""What may be deleted from a Spark's cache: a plan first, in words and bytes, and only then the commands. Pure.

A revision stays if anything refers to it: a declared workload, a `keep` pin, a container that runs. What a reference
means is taken broadly: one without a commit that the cache knows keeps every revision of its repository, and a
container of which nobody knows what it reads keeps everything. Blobs that a staying revision needs stay. Nothing is
planned from an old survey. Only names that this file knows are ever deleted, and no command goes through a link.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from reconciler import shell
from reconciler.weights.cache import folder_of
from reconciler.weights.repo_files import COMMIT, ListingRefused

FRESH: Final = 60.0  # seconds; older surveys are not acted on
UNDER_WAY: Final = 86_400.0  # seconds for which an unfinished file may still be wanted by whoever began it
FOLDER: Final = re.compile(r"models--[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
BLOB: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
UNFINISHED: Final = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})(?:\.[A-Za-z0-9]{1,32})?\.incomplete")
ROOT: Final = re.compile(r"(?:/[A-Za-z0-9._@+ -]+)+")
REF: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,127}){0,7}")

# Whether something may be deleted: the cache, and each folder on the way to it, is there and, below the cache, no link.
PROGRAM: Final = r"""
inside() { # what, folders on the way
  what=$1; shift
  [ -d "$root" ] || { printf 'skipped %s: the cache is not there\n' "$what"; return 1; }
  for way in "$@"; do
    if [ -L "$way" ]; then printf 'skipped %s: %s is a link\n' "$what" "$way"; return 1; fi
    [ -d "$way" ] || return 1
  done
}
unused() { # blob, snapshots: a look that missed a link, or somebody's download since, must not cost a file
  [ -e "$1" ] || [ -L "$1" ] || return 1
  led=$(find -L "$2" -maxdepth 9 -samefile "$1" 2>&1) && [ -z "$led" ] && return
  printf 'skipped %s: a revision that stays leads to it, or that could not be told\n' "$1"; return 1
}
"""


@dataclass(frozen=True, slots=True)
class Revision:
    """One snapshot: its commit, the names that lead to it, and the blobs that its links name."""

    commit: str
    refs: tuple[str, ...]
    blobs: frozenset[str]


@dataclass(frozen=True, slots=True)
class Blob:
    """One entry of `blobs`. `size`: bytes that deleting it frees (0 for a link into the shared store).

    `age`: seconds since it was last written.
    """

    name: str
    size: int
    age: float


@dataclass(frozen=True, slots=True)
class Cached:
    """One repository's folder, as the survey of the disk found it."""

    folder: str
    revisions: tuple[Revision, ...]
    blobs: tuple[Blob, ...]
    link: bool = False  # the folder, or its `blobs` or `snapshots`, is a link to elsewhere


@dataclass(frozen=True, slots=True)
class CacheSurvey:
    """A cache at one moment. `began`: when the look began, as the controller's clock has it; `root`: its real path."""

    spark: str
    root: str
    began: float
    cached: tuple[Cached, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """Something that needs weights. No `revision`: all of them. `why` is for people: `workload qwen3`, `keep`."""

    repository: str
    why: str
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Deletion:
    """One thing to delete, and why nothing needs it. `paths` below the cache's root, in the order to delete them."""

    what: str
    why: str
    bytes: int
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """One thing that stays, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class GcPlan:
    """What a collection would do. `bytes` is what the disk gets back."""

    spark: str
    root: str
    began: float
    deletions: tuple[Deletion, ...]
    kept: tuple[Kept, ...]

    @property
    def bytes(self) -> int:
        """The sum over all deletions."""
        return sum(deletion.bytes for deletion in self.deletions)


class GcRefused(ValueError):
    """Nothing may be deleted now. The message says why."""


def plan(
    survey: CacheSurvey,
    references: Iterable[Reference],
    *,
    in_use: Mapping[str, Collection[str]],
    fetching: Collection[str] = (),
    now: float,
) -> GcPlan:
    """What nothing needs any more.

    `in_use`: every running container that can see the cache, with the repositories it uses; none means that this is
    not known. `fetching`: repositories that are being fetched. Raises GcRefused for an old survey, for a root that is
    no plain path, and where it is not known what a container uses.
    """
    check_fresh(survey.began, now)
    if not ROOT.fullmatch(survey.root) or ".." in survey.root.split("/"):
        raise GcRefused(f"the cache of {survey.spark} lies at {survey.root!r}; only plain absolute paths are cleaned")
    for container, repositories in in_use.items():
        if not repositories:
            raise GcRefused(
                f"the container {container} on {survey.spark} runs, sees the cache, and it is not known what it "
                f"reads there: nothing is deleted while it runs"
            )
    wanted = list(references)
    wanted += [Reference(r, f"the running container {name}") for name, repos in in_use.items() for r in repos]
    wanted += [Reference(repository, "it is being fetched") for repository in fetching]
    by_folder = _by_folder(wanted)
    deletions: list[Deletion] = []
    kept: list[Kept] = []
    for cached in survey.cached:
        gone, stays = _repository(cached, by_folder.get(cached.folder, []))
        deletions += gone
        kept += stays
    return GcPlan(survey.spark, survey.root, survey.began, tuple(deletions), tuple(kept))


def check_fresh(began: float, now: float) -> None:
    """Raises GcRefused for a survey that is too old to act on, or from the future."""
    if not 0 <= now - began <= FRESH:
        raise GcRefused(f"the survey is {now - began:.0f} s old; at most {FRESH:.0f} s are allowed: look again first")


def script(planned: GcPlan, now: float) -> str:
    """The shell text that deletes exactly what the plan names. Raises GcRefused for an old plan, or an unknown name.

    Each deletion is `rm -rf -- PATH` with a whole, quoted path. It prints `skipped ...` where a link is on the way,
    and for a file to which a revision on the disk leads after all.
    """
    check_fresh(planned.began, now)
    lines = [f"root={shell.quote(planned.root)}", PROGRAM.strip()]
    paths = [check_deletable(path) for deletion in planned.deletions for path in deletion.paths]
    for path in sorted(paths, key=_is_blob):  # all names first: a file may be of several revisions that go
        whole = f"{planned.root}/{path}"
        steps = [("inside", path.rpartition("/")[0], *_on_the_way(planned.root, path))]
        if _is_blob(path):
            steps.append(("unused", whole, f"{planned.root}/{path.partition('/')[0]}/snapshots"))
        lines.append(" && ".join(map(shell.join, (*steps, ("rm", "-rf", "--", whole)))))
    return "\n".join([*lines, "echo end"])


def _is_blob(path: str) -> bool:
    return path.split("/")[1:2] == ["blobs"]


def _on_the_way(root: str, path: str) -> list[str]:
    """The folders below the root that lead to a path, the outermost first."""
    parts = path.split("/")[:-1]
    return [f"{root}/{'/'.join(parts[: n + 1])}" for n in range(len(parts))]


def check_deletable(path: str) -> str:
    """A path below the root that this file may delete, by the one whitelist of names. Raises GcRefused."""
    match path.split("/"):
        case [folder] | [".locks", folder] if _folder(folder):
            return path
        case [folder, "snapshots", name] if _folder(folder) and COMMIT.fullmatch(name):
            return path
        case [folder, "trees", name] if _folder(folder) and COMMIT.fullmatch(name.removesuffix(".json")):
            return path
        case [folder, "blobs", name] if _folder(folder) and (BLOB.fullmatch(name) or UNFINISHED.fullmatch(name)):
            return path
        case [folder, "refs", *name] if _folder(folder) and REF.fullmatch("/".join(name)) and ".." not in path:
            return path
    raise GcRefused(f"{path!r} is not a name that is ever deleted")


def _folder(name: str) -> bool:
    return FOLDER.fullmatch(name) is not None and ".." not in name


def _by_folder(references: Iterable[Reference]) -> dict[str, list[Reference]]:
    found: dict[str, list[Reference]] = {}
    for reference in references:
        try:
            found.setdefault(folder_of(reference.repository), []).append(reference)
        except ListingRefused as error:
            raise GcRefused(f"{reference.why} refers to {reference.repository!r}: {error}") from error
    return found


def _repository(cached: Cached, references: list[Reference]) -> tuple[list[Deletion], list[Kept]]:
    """What of one repository goes, and what stays."""
    name = cached.folder.removeprefix("models--").replace("--", "/", 1)
    if not _folder(cached.folder):
        return [], [Kept(cached.folder, "not a name that sparkkeep knows: left alone")]
    if cached.link:
        return [], [Kept(name, "a link to somewhere outside the cache: left alone")]
    odd = [r.commit for r in cached.revisions if not COMMIT.fullmatch(r.commit)]
    odd += [b.name for b in cached.blobs if not BLOB.fullmatch(b.name) and not UNFINISHED.fullmatch(b.name)]
    odd += [ref for r in cached.revisions for ref in r.refs if not REF.fullmatch(ref) or ".." in ref]
    if odd:
        return [], [Kept(name, f"holds something that is not of a cache ({odd[0][:80]!r}): left alone")]
    recent = [b for b in cached.blobs if UNFINISHED.fullmatch(b.name) and b.age < UNDER_WAY]
    stays = _staying(cached, references, busy=bool(recent))
    kept = [Kept(f"{name} at {commit[:12]}", why) for commit, why in stays.items()]
    if references and not cached.revisions:
        kept.append(Kept(name, _why(references)))
    gone = [revision for revision in cached.revisions if revision.commit not in stays]
    if not stays and not references and not recent:
        return [_everything(cached, name)], kept
    return _parts(cached, name, gone, stays), kept


def _staying(cached: Cached, references: list[Reference], *, busy: bool) -> dict[str, str]:
    """The commits that stay, each with its reason."""
    stays: dict[str, str] = {}
    for reference in references:
        hit = [r for r in cached.revisions if reference.revision in {r.commit, *r.refs}]
        for revision in hit or cached.revisions:
            stays.setdefault(revision.commit, reference.why)
    for revision in cached.revisions if busy else ():
        stays.setdefault(revision.commit, "a file of this repository was being fetched within the last day")
    return stays


def _why(references: list[Reference]) -> str:
    return ", ".join(dict.fromkeys(reference.why for reference in references))


def _everything(cached: Cached, name: str) -> Deletion:
    size = sum(blob.size for blob in cached.blobs)
    count = len(cached.revisions)
    what = f"{name}: all of it, {count} revision{'' if count == 1 else 's'}"
    return Deletion(what, "nothing refers to it", size, (cached.folder, f".locks/{cached.folder}"))


def _parts(cached: Cached, name: str, gone: list[Revision], stays: Mapping[str, str]) -> list[Deletion]:
    """The revisions that go, each with the blobs that no staying revision has; names first, bytes last.

    Blobs that no revision has stay: they may be of a fetch that has not ended.
    """
    sizes = {blob.name: blob.size for blob in cached.blobs}
    needed = {blob for revision in cached.revisions if revision.commit in stays for blob in revision.blobs}
    done: set[str] = set()
    found: list[Deletion] = []
    for revision in gone:
        free = sorted((revision.blobs & sizes.keys()) - needed - done)
        done |= set(free)
        paths = [f"{cached.folder}/refs/{ref}" for ref in revision.refs]
        paths += [f"{cached.folder}/snapshots/{revision.commit}", f"{cached.folder}/trees/{revision.commit}.json"]
        paths += [f"{cached.folder}/blobs/{blob}" for blob in free]
        what = f"{name} at {revision.commit[:12]}"
        found.append(Deletion(what, "nothing refers to this revision", sum(sizes[b] for b in free), tuple(paths)))
    return found
