"""Where programs hand in changes to the desired state: compared with what they were meant for, judged, committed.

A change names a part of the document, or several, and says what becomes of it; the files that people write keep every
comment and every byte that it does not concern (`state.yaml_edit`). It is judged before anything is written: what would
make the desired state invalid is refused with the places, and nothing has happened. What is accepted becomes one commit
and one edit of the files, so that a hand edit beside it is neither committed nor lost (`state.repository`).

Who sends a tag with a change means the part as it was when they read it. Changes are taken one after the other, so of
two with the same tag the second is `Stale`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from state.declaration import digest
from state.load import Loaded, load_sources
from state.merge import merge_documents
from state.problems import Invalid, Problem
from state.repository import Repository
from state.repository_commit import Actor, Commit
from state.repository_draft import DirtyFiles
from state.repository_draft import Edit as ByteEdit
from state.sources import RecipeFile, Source, read_desired, read_recipes
from state.store import DesiredStore
from state.yaml_edit import GONE, Edit, Gone, apply, merge_patch, put
from state.yaml_edit_data import value_at
from state.yaml_read import read
from state.yaml_tree import Node, as_map

Route: TypeAlias = tuple[str, ...]
How: TypeAlias = Literal["put", "patch", "remove", "unset"]
Foresee: TypeAlias = Callable[[Loaded], Awaitable[None]]
ANY: Final = "*"


class Stale(Exception):
    """The part is not as it was when its tag was given out; `now` is its value, GONE if it is no longer there."""

    def __init__(self, route: Route, now: Any | Gone) -> None:
        super().__init__(f"{'.'.join(route) or 'the desired state'} has changed since it was read")
        self.route = route
        self.now = now


class SeveralFiles(Exception):
    """A whole document was handed in, but the desired state stands in several files; `names` are those."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__("the desired state stands in several files, which can't be replaced as one")
        self.names = tuple(names)


class NotThere(Exception):
    """There is no such part to patch or remove; `names` are its siblings."""

    def __init__(self, route: Route, names: Sequence[str]) -> None:
        super().__init__(f"there is no {'.'.join(route)}")
        self.route = route
        self.names = tuple(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of one part of the document. `value` is the new value, or an RFC 7396 merge patch of the old one.

    `remove` takes away what has to be there, `unset` what may be, with maps that hold nothing else. No `route` is the
    document as a whole, which can only be put.
    `tags`: the change is meant only if the part's tag is among them; `*` stands for any that is there, and `absent`
    for none there.
    """

    how: How
    route: Route
    value: Any = None
    tags: tuple[str, ...] = ()
    absent: bool = False

    @property
    def parts(self) -> tuple[Change, ...]:
        """What is changed, one after the other."""
        return (self,)

    def about(self, document: Document) -> Any | Gone:
        """What its tags are of."""
        return document.at(self.route)

    def meant(self, document: Document) -> None:
        """Raises Stale if it was meant for something else, NotThere if there is no such part."""
        now = self.about(document)
        there = now is not GONE
        if self.absent and there:
            raise Stale(self.route, now)
        if self.tags and not (there and (ANY in self.tags or tag_of(now) in self.tags)):
            raise Stale(self.route, now)
        if not there and self.how in {"patch", "remove"}:
            above = document.at(self.route[:-1])
            raise NotThere(self.route, sorted(above) if isinstance(above, dict) else ())

    def on(self, data: bytes | None, file: str) -> bytes | None:
        """The file with the change. A version that lacks what is patched or removed stays as it is."""
        tree = read(data or b"", file)
        was = value_at(tree.plain(), self.route)
        if was is GONE and self.how != "put":
            return data
        edits = self._edits(tree)
        return apply(data or b"", edits, file) if edits else data

    def _edits(self, tree: Node) -> list[Edit]:
        if self.how == "remove":
            return [Edit(self.route, GONE)]
        if self.how == "unset":
            return [Edit(_alone(tree.plain(), self.route), GONE)]
        if self.how == "patch":
            return merge_patch(tree, self.route, self.value)
        if self.route:
            return put(tree, self.route, self.value)
        kept = [edit for key, value in self.value.items() for edit in put(tree, (key,), value)]
        return kept + [Edit((key,), GONE) for key in as_map(tree) if key not in self.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Changes of several parts, made as one or not at all. `tags` are those of the whole of `sections`."""

    parts: tuple[Change, ...]
    sections: tuple[str, ...]
    tags: tuple[str, ...] = ()

    def about(self, document: Document) -> dict[str, Any]:
        """What its tags are of: the sections, one that is not there being empty."""
        return {name: found if isinstance(found := document.at((name,)), dict) else {} for name in self.sections}

    def meant(self, document: Document) -> None:
        """Raises Stale if they were meant for something else, NotThere if there is no such part."""
        now = self.about(document)
        if self.tags and ANY not in self.tags and tag_of(now) not in self.tags:
            raise Stale((" and ".join(self.sections),), now)
        for part in self.parts:
            part.meant(document)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The files as they are, merged. `tree` says where each part stands."""

    sources: tuple[Source, ...]
    tree: Node

    @property
    def tag(self) -> str:
        """Of all that the document says, however it is written."""
        return tag_of(self.tree.plain())

    def at(self, route: Route) -> Any | Gone:
        """What stands there."""
        return value_at(self.tree.plain(), route)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A change that would be valid: what the files would hold, and what that means."""

    change: Change | Changes
    files: Mapping[str, tuple[Change, ...]]  # what is done to each
    sources: tuple[Source, ...]
    loaded: Loaded
    value: Any | Gone  # of what its tags are of, then


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A change that was made. Without a commit it changed nothing that is in git."""

    draft: Draft
    commit: Commit | None


def tag_of(value: Any) -> str:
    """Equal for equal values."""
    return digest(value)[:16]


@dataclass(kw_only=True)
class Desk:
    """Takes changes for one desired state. `complete` adds what the environment knows, as the store does."""

    store: DesiredStore
    repository: Repository
    recipes: Sequence[RecipeFile | Path] = ()
    complete: Callable[[tuple[Source, ...]], tuple[Source, ...]] = tuple
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def read(self) -> Document:
        """The files as they are now. Raises Invalid if one is not YAML or a name stands twice."""
        return await asyncio.to_thread(_read, self.store.path)

    async def files(self) -> tuple[str, ...]:
        """The names of the files, whatever stands in them."""
        return tuple(source.name for source in await asyncio.to_thread(read_desired, self.store.path))

    async def draft(self, change: Change | Changes) -> Draft:
        """What the change would make of the files. Raises Stale, NotThere, Invalid or NotEditable; nothing happens."""
        document = await self.read()
        change.meant(document)
        if len(document.sources) > 1 and not all(part.route for part in change.parts):
            raise SeveralFiles([source.name for source in document.sources])
        files, sources = await asyncio.to_thread(_made, document.sources, change.parts)
        loaded = await self._judge(sources)
        then = await asyncio.to_thread(_merged, sources)
        return Draft(change=change, files=files, sources=sources, loaded=loaded, value=change.about(then))

    async def write(
        self, change: Change | Changes, *, message: str, actor: Actor, reason: str = "", foresee: Foresee | None = None
    ) -> Written:
        """Make the change, as one commit, and bring it into force. Raises what `draft` does, and GitFailed.

        `foresee` is asked what will come of it just before: afterwards the loop has begun to carry it out.
        """
        async with self._lock:
            draft = await self.draft(change)
            if not change.tags and not all(part.route for part in change.parts):
                for file in draft.files:
                    await self._clean(file)
            if foresee is not None:
                await foresee(draft.loaded)
            edits: dict[Path | str, ByteEdit] = {file: _all_of(parts, file) for file, parts in draft.files.items()}
            commit = await self.repository.write(edits, message=message, actor=actor, reason=reason)
            await self.store.reload()
            return Written(draft=draft, commit=commit)

    async def replace(
        self,
        file: str,
        text: bytes,
        *,
        tags: Sequence[str],
        message: str,
        actor: Actor,
        reason: str = "",
        foresee: Foresee | None = None,
    ) -> tuple[Commit | None, Loaded]:
        """Put a whole file in place of the one of that name. `tags` are those of the whole document.

        Without tags not in place of one that is dirty: raises DirtyFiles.
        """
        async with self._lock:
            loaded = await self.judge_file(file, text, tags=tags)
            if not tags:
                await self._clean(file)
            if foresee is not None:
                await foresee(loaded)
            commit = await self.repository.write({file: lambda _: text}, message=message, actor=actor, reason=reason)
            await self.store.reload()
            return commit, loaded

    async def judge_file(self, file: str, text: bytes, *, tags: Sequence[str]) -> Loaded:
        """What the desired state would mean with that file in place. Raises Stale or Invalid."""
        document = await self.read_if_possible()
        if tags and ANY not in tags and (document is None or document.tag not in tags):
            raise Stale((), document.tree.plain() if document is not None else GONE)
        sources = document.sources if document is not None else await asyncio.to_thread(read_desired, self.store.path)
        return await self._judge(tuple(Source(s.name, text) if s.name == file else s for s in sources))

    async def read_if_possible(self) -> Document | None:
        """None where the files can't be understood: then only whole files can be written."""
        try:
            return await self.read()
        except Invalid:
            return None

    async def rollback(
        self, revision: str, *, actor: Actor, reason: str = "", foresee: Foresee | None = None
    ) -> Commit | None:
        """The desired state as it was in that commit, as a new commit. Raises Invalid if it would not be valid now."""
        async with self._lock:
            loaded = await self.judge_revision(revision)
            if foresee is not None:
                await foresee(loaded)
            commit = await self.repository.rollback(revision, actor=actor, reason=reason)
            await self.store.reload()
            return commit

    async def judge_revision(self, revision: str) -> Loaded:
        """What the desired state of that commit means today. Raises Invalid or GitFailed."""
        return await self._judge(await self.repository.sources(revision))

    async def _clean(self, file: str) -> None:
        """A whole file in place of one that somebody has edited would undo that, or commit it. Raises DirtyFiles."""
        if self.repository.scope.locate(file) in await self.repository.dirty():
            raise DirtyFiles([file])

    async def _judge(self, sources: tuple[Source, ...]) -> Loaded:
        recipes = await asyncio.to_thread(read_recipes, self.recipes)
        return await asyncio.to_thread(load_sources, self.complete(sources), recipes)


def _read(path: Path) -> Document:
    return _merged(read_desired(path))


def _merged(sources: tuple[Source, ...]) -> Document:
    """Raises Invalid if a file is not YAML, or a name stands twice."""
    problems: list[Problem] = []
    tree = merge_documents([read(source.data, source.name) for source in sources], problems)
    if problems:
        raise Invalid(problems)
    return Document(sources=sources, tree=tree)


def _alone(plain: Any, route: Route) -> Route:
    """The part, or the highest map below the top level that holds nothing else."""
    above = value_at(plain, route[:-1])
    while len(route) > 2 and isinstance(above, dict) and len(above) == 1:  # noqa: PLR2004  # a key of a section
        route = route[:-1]
        above = value_at(plain, route[:-1])
    return route


def _made(
    sources: tuple[Source, ...], parts: Sequence[Change]
) -> tuple[dict[str, tuple[Change, ...]], tuple[Source, ...]]:
    """What is done to each file, and what the files are then."""
    files = dict[str, tuple[Change, ...]]()
    for part in parts:
        file = _home(sources, part.route)
        files[file] = (*files.get(file, ()), part)
        sources = _changed(sources, file, part)
    return files, sources


def _all_of(parts: Sequence[Change], file: str) -> ByteEdit:
    def edit(data: bytes | None) -> bytes | None:
        for part in parts:
            data = part.on(data, file)
        return data

    return edit


def _changed(sources: Sequence[Source], file: str, change: Change) -> tuple[Source, ...]:
    return tuple(
        Source(source.name, change.on(source.data, source.name) or b"") if source.name == file else source
        for source in sources
    )


def _home(sources: Sequence[Source], route: Route) -> str:
    """The file for a part: the one that it stands in, else the one with most of the way to it, else the first."""

    def depth(source: Source) -> int:
        node: Node | None = read(source.data, source.name)
        for step, part in enumerate(route):
            node = as_map(node).get(part) if node is not None else None
            if node is None:
                return step
        return len(route)

    return max(sources, key=depth).name
