"""The menu: what could be run. Every model that lies on some Spark's disk or that a recipe names, with its recipes.

Pure. A repository meets the recipes that name it: as `model:`, or as a word of the command, the flags or the
environment where a recipe is a plain container. A GGUF file meets the recipes that name the file, or its repository
without saying which file; a NIM's cache those with its image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from reconciler.disks.found import CachedFile, CachedModel, DiskSurvey, GgufFile, NimEntry, Revision, growing
from reconciler.menu_recipes import Kind, Subject, Wanted, asked_revision, speaks_of, subject

Infer = Callable[[str, Revision], Mapping[str, Any] | None]  # repository and revision -> a recipe to start from
SHOWN: Final = 20  # missing files that are told one by one
WEIGHTS: Final = (".safetensors", ".bin", ".pt", ".pth")


class State(StrEnum):
    """What can be done with an entry, the best first."""

    READY = "ready_to_run"  # complete on a Spark, and there is a recipe
    NEEDS_SETUP = "needs_setup"  # complete on a Spark, but no recipe
    DOWNLOADING = "downloading"  # not complete anywhere, and growing
    INCOMPLETE = "incomplete"  # not complete anywhere
    UNKNOWN = "unknown"  # a disk was not seen, or could not be read
    NOT_DOWNLOADED = "not_downloaded"  # every disk was seen, and it is on none


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """One entry on one Spark. Sizes in bytes; `complete` is None where the disk could not be read."""

    revision: str | None = None
    refs: tuple[str, ...] = ()
    size: int = 0
    size_on_disk: int = 0
    complete: bool | None = False
    downloading: bool = False
    incomplete_bytes: int = 0
    missing: tuple[str, ...] = ()
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the menu. `file` is set for a GGUF; `inferred` is a recipe to start from where there is none."""

    repository: str
    kind: Kind
    state: State
    file: str | None = None
    size: int = 0
    sparks: Mapping[str, Presence] = field(default_factory=dict)
    recipes: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ()
    inferred: Mapping[str, Any] | None = None


@dataclass(slots=True)
class _Line:
    """An entry while it is put together. `whole` is a revision that is complete somewhere."""

    what: Subject
    whole: Revision | None = None
    sparks: dict[str, Presence] = field(default_factory=dict)


def menu(surveys: Mapping[str, DiskSurvey | None], wanted: Wanted, *, infer: Infer | None = None) -> tuple[Entry, ...]:
    """All entries, by name. A Spark without a survey is None.

    Nothing is called not downloaded while a Spark was not surveyed, or could not be in full.
    `infer` is asked for complete models that no recipe names; what it gives stands in `inferred`.
    """
    lines: dict[Subject, _Line] = {}
    for spark, survey in sorted(surveys.items()):
        for what, presence, whole in _found(survey, wanted) if survey is not None else ():
            line = lines.setdefault(what, _Line(what))
            line.sparks[spark] = _better(line.sparks.get(spark), presence)
            line.whole = line.whole or whole
    found = [_entry(line, wanted, infer) for line in lines.values()]
    all_seen = all(survey is not None and not survey.problems for survey in surveys.values())
    absent = State.NOT_DOWNLOADED if all_seen else State.UNKNOWN
    found += _absent(wanted, found, absent)
    return tuple(sorted(found, key=lambda entry: (entry.repository.lower(), entry.file or "", entry.kind)))


def _better(one: Presence | None, other: Presence) -> Presence:
    """The same thing may lie in two caches of one Spark: what is complete counts."""
    return other if one is None or (other.complete and not one.complete) else one


def _found(survey: DiskSurvey, wanted: Wanted) -> Iterator[tuple[Subject, Presence, Revision | None]]:
    """What one Spark has: models, then GGUF files, then NIM caches."""
    now = survey.spark_time
    recipes = (*wanted.recipes.values(), *wanted.declared.values())
    split = {gguf.repo for gguf in survey.ggufs if gguf.repo is not None}
    for model in survey.models:
        if model.repo in split and not _has_weights(model):
            continue  # its GGUF files are entries of their own
        revision = _chosen(model, asked_revision(recipes, model.repo))
        whole = revision if revision is not None and revision.complete else None
        yield Subject("model", model.repo), _model(model, revision, now), whole
    for gguf in survey.ggufs:
        file = (CachedFile(gguf.name, gguf.size),)
        single = Revision(commit=gguf.commit or "", files=file, size=gguf.size, complete=True)
        yield Subject("gguf", gguf.repo or "", gguf.name), _gguf(gguf, now), single if gguf.complete else None
    for nim in survey.nims:
        yield Subject("nim", nim.name), _nim(nim, now), None


def _has_weights(model: CachedModel) -> bool:
    """Weights other than GGUF."""
    return any(file.name.endswith(WEIGHTS) for revision in model.revisions for file in revision.files)


def _chosen(model: CachedModel, asked: str | None) -> Revision | None:
    """The revision that counts: the one that the recipes ask for, else main, else a complete one, else any."""
    if asked is not None:
        return next((r for r in model.revisions if asked == r.commit or asked in r.refs), None)
    ranked = sorted(model.revisions, key=lambda r: ("main" not in r.refs, r.complete is not True, r.commit))
    return ranked[0] if ranked else None


def _model(model: CachedModel, revision: Revision | None, now: float) -> Presence:
    on_disk = model.size_on_disk + model.incomplete_bytes
    moving = growing(model.changed_at, now)
    if revision is None:
        unknown = None if not model.readable else False
        return Presence(
            size_on_disk=on_disk,
            complete=unknown,
            downloading=moving,
            incomplete_bytes=model.incomplete_bytes,
            path=model.path,
        )
    return Presence(
        revision=revision.commit,
        refs=revision.refs,
        size=revision.size,
        size_on_disk=on_disk,
        complete=revision.complete,
        downloading=moving,
        incomplete_bytes=model.incomplete_bytes,
        missing=revision.missing[:SHOWN],
        path=model.path,
    )


def _gguf(gguf: GgufFile, now: float) -> Presence:
    return Presence(
        revision=gguf.commit,
        size=gguf.size,
        size_on_disk=gguf.size,
        complete=gguf.complete,
        downloading=growing(gguf.changed_at, now),
        incomplete_bytes=0 if gguf.present else gguf.size,
        path=gguf.path,
    )


def _nim(nim: NimEntry, now: float) -> Presence:
    return Presence(
        refs=nim.profiles,
        size=nim.size,
        size_on_disk=nim.size + nim.incomplete_bytes,
        complete=nim.complete,
        downloading=growing(nim.changed_at, now),
        incomplete_bytes=nim.incomplete_bytes,
        path=nim.path,
    )


def _entry(line: _Line, wanted: Wanted, infer: Infer | None) -> Entry:
    kind, repository, file = line.what
    recipes = _naming(wanted.recipes, line.what)
    workloads = _naming(wanted.declared, line.what)
    state = _state(tuple(line.sparks.values()), named=bool(recipes or workloads))
    inferred = None
    if infer is not None and state is State.NEEDS_SETUP and line.whole is not None and repository:
        inferred = infer(repository, line.whole)
    return Entry(
        repository=repository,
        kind=kind,
        state=state,
        file=file,
        size=max(presence.size for presence in line.sparks.values()),
        sparks=line.sparks,
        recipes=recipes,
        workloads=workloads,
        inferred=inferred,
    )


def _naming(recipes: Mapping[str, Any], what: Subject) -> tuple[str, ...]:
    return tuple(sorted(name for name, recipe in recipes.items() if speaks_of(recipe, *what)))


def _state(there: tuple[Presence, ...], *, named: bool) -> State:
    if any(presence.complete for presence in there):
        return State.READY if named else State.NEEDS_SETUP
    if any(presence.downloading for presence in there):
        return State.DOWNLOADING
    return State.UNKNOWN if any(presence.complete is None for presence in there) else State.INCOMPLETE


def _absent(wanted: Wanted, found: Iterable[Entry], state: State) -> Iterator[Entry]:
    """One entry for each thing that recipes want and no disk has."""
    entries = tuple(found)
    served = {name for entry in entries for name in entry.recipes}
    running = {name for entry in entries for name in entry.workloads}
    recipes: dict[Subject, list[str]] = {}
    workloads: dict[Subject, list[str]] = {}
    for names, listed, there in ((recipes, wanted.recipes, served), (workloads, wanted.declared, running)):
        for name, recipe in listed.items():
            what = subject(recipe)
            if name not in there and what is not None:
                names.setdefault(what, []).append(name)
    for what in dict.fromkeys((*recipes, *workloads)):
        yield Entry(
            repository=what.repository,
            kind=what.kind,
            state=state,
            file=what.file,
            recipes=tuple(sorted(recipes.get(what, ()))),
            workloads=tuple(sorted(workloads.get(what, ()))),
        )
