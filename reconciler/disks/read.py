"""The reading of a survey's answer: text in, values out. Pure.

An answer without its end mark is a failed survey. A part that was cut short, or a folder that could not be read, is
a problem told in words, and whatever it concerns is not known: never "missing". Names from the disk meet one
whitelist here; what does not pass it is listed, escaped, as no model, and goes nowhere else.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from reconciler.disks import ggufs
from reconciler.disks.cache import Content, Folder
from reconciler.disks.found import DiskSurvey, Other
from reconciler.disks.script import CLOSED, LISTING, PATTERN, SHORT, TEXTS
from reconciler.disks.stat import Stat
from reconciler.disks.where import Layout, Place
from reconciler.facts import ScanFailed, Section, end_mark, sections

META: Final = re.compile(r"([0-9a-f]{1,8}) (\d{1,19}) (-?\d{1,19}) (\d{1,20}:\d{1,20})", re.ASCII)
PART: Final = r"[A-Za-z0-9_](?:(?!--|\.\.)[A-Za-z0-9._-])*"
REPOSITORY: Final = re.compile(rf"models--(?=[A-Za-z0-9])({PART}(?:--{PART}){{0,3}})", re.ASCII)
HUB_PARTS: Final = 2  # a Hugging Face repository is OWNER/NAME, or a bare NAME of old
LONGEST: Final = 190  # characters of a repository
MOST_OTHERS: Final = 500
DIGITS: Final = 18  # of a number that is believed
QUIET: Final = frozenset({".locks", "version.txt", "CACHEDIR.TAG"})  # the cache's own
LIMITS: Final = {
    "entries": LISTING,
    "links": LISTING,
    "ggufs": LISTING,
    "dangling": SHORT,
    "closed": SHORT,
    "refs": SHORT,
    "texts": TEXTS,
    "picked": TEXTS,
}
LISTS: Final = ("entries", "links", "dangling", "closed")  # without one of these whole, nothing is known for sure
HINT: Final = re.compile(r'"(total_size|model_max_length|tokenizer_class)": *"?([A-Za-z0-9_.]+)"?', re.ASCII)
MATCH: Final = re.compile(rf"(\./models--[^:]+):({PATTERN})", re.ASCII)
SHARD: Final = re.compile(r'"([A-Za-z0-9_.-]{1,128}\.(?:safetensors|bin))"', re.ASCII)


class _Part(NamedTuple):
    """One part of the answer for one place."""

    records: list[tuple[str, str]]
    cut: bool


def escaped(name: str) -> str:
    """A hostile name made fit to be shown: one line, printable ASCII, at most 200 characters."""
    shown = name.encode("unicode_escape", "replace").decode("ascii")
    return shown if len(shown) <= 200 else f"{shown[:197]}..."  # noqa: PLR2004 - as said


def repository(folder: str, parts: int = HUB_PARTS) -> str | None:
    """`models--owner--name` as `owner/name`; None if it is no such name."""
    match = REPOSITORY.fullmatch(folder)
    if match is None or match[1].count("--") >= parts or len(match[1]) > LONGEST:
        return None
    return match[1].replace("--", "/")


def read(answer: str, nonce: str, places: Sequence[Place], taken_at: float) -> DiskSurvey:
    """What an answer to `script(nonce, places)` says. Raises ScanFailed if it is not whole."""
    if not answer.endswith(end_mark(nonce)):
        raise ScanFailed("SurveyCutShort", "the answer of the survey ends before its end mark")
    found = sections(answer, nonce)
    clock = found.get("clock")
    if clock is None or not clock.text.strip().isdecimal():
        raise ScanFailed("SurveyFailed", "the Spark did not tell its time")
    return _Reading(found, places).survey(taken_at, float(clock.text))


class _Reading:
    """One answer on its way to a survey."""

    def __init__(self, found: Mapping[str, Section], places: Sequence[Place]) -> None:
        self._found = found
        self._places = places
        self._seen: set[str] = set()  # folders by device and inode: a cache reached by two ways counts once
        self.problems: list[str] = []
        self.others: list[Other] = []

    def survey(self, taken_at: float, spark_time: float) -> DiskSurvey:
        hubs: list[Folder] = []
        nims: list[Folder] = []
        loose: list[ggufs.Found] = []
        for number, place in enumerate(self._places):
            path = self._path(number, place)
            if path is None:
                continue
            if place.layout is Layout.GGUF:
                loose += self._loose(number, path)
            else:
                (nims if place.layout is Layout.NIM else hubs).extend(self._folders(number, place, path))
        models = tuple(sorted((folder.model() for folder in hubs), key=lambda m: (m.repo, m.path)))
        cached = [found for folder in hubs for found in folder.ggufs()]
        known = {found.inode for found in cached}
        return DiskSurvey(
            taken_at=taken_at,
            spark_time=spark_time,
            models=models,
            ggufs=ggufs.grouped([*cached, *(found for found in loose if found.inode not in known)]),
            nims=tuple(sorted((folder.nim() for folder in nims), key=lambda n: (n.name, n.path))),
            others=tuple(self.others[:MOST_OTHERS]),
            problems=tuple(self.problems),
        )

    def _path(self, number: int, place: Place) -> str | None:
        """The place's real path; None if it is not there, can't be entered or was looked at already."""
        section = self._found.get(f"where{number}")
        shown = "$HF_HOME/hub" if place.path is None else str(place.path)
        if section is None or section.status == CLOSED:
            why = "the answer was longer than is kept" if section is None else "it can't be entered"
            self.problems.append(f"{shown}: not looked at: {why}")
            return None
        if section.status != 0:
            return None
        path, _, identity = section.text.partition("//")
        if identity in self._seen:
            return None
        self._seen.add(identity)
        return path

    def _part(self, name: str, number: int, path: str) -> _Part:
        """The records of a list, and whether some are lost."""
        text, cut = self._text(name, number, path)
        pieces = text.split("//\n")
        return _Part([(n, rest) for n, _, rest in (p.partition("//") for p in pieces[:-1])], cut=cut)

    def _text(self, name: str, number: int, path: str) -> tuple[str, bool]:
        """What a part says, and whether some of it is lost; that is told."""
        section = self._found.get(f"{name}{number}")
        if section is None:
            self.problems.append(f"{escaped(path)}: its {name} were cut off: the answer was longer than is kept")
            return "", True
        text = section.text
        cut = len(text.encode(errors="replace")) >= LIMITS[name]
        if cut:
            self.problems.append(f"{escaped(path)}: too much is in there: its {name} are listed in part only")
        return text, cut

    def _loose(self, number: int, path: str) -> Iterator[ggufs.Found]:
        for name, stat in _stats(self._part("ggufs", number, path).records):
            if stat.regular and name.endswith((".gguf", *ggufs.UNFINISHED)):
                yield ggufs.Found(f"{path}/{name[2:]}", name.rpartition("/")[2], stat)

    def _folders(self, number: int, place: Place, path: str) -> list[Folder]:
        """The repositories in a hub."""
        parts = {name: self._part(name, number, path) for name in LISTS}
        certain = not any(part.cut for part in parts.values())
        folders: dict[str, Folder] = {}
        most = 4 if place.layout is Layout.NIM else HUB_PARTS
        for name, stat in _stats(parts["entries"].records):
            top, _, rest = name[2:].partition("/")
            if not rest:
                self._top(top, stat, place, path, folders, most, certain=certain)
            elif top in folders:
                folders[top].entry(rest, stat)
        for name, stat in _stats(parts["links"].records):
            top, _, rest = name[2:].partition("/")
            if top in folders and rest:
                folders[top].link(rest, stat)
        self._troubles(folders, parts, path)
        self._contents(folders, number, place, path)
        return list(folders.values())

    def _top(
        self, top: str, stat: Stat, place: Place, path: str, folders: dict[str, Folder], most: int, *, certain: bool
    ) -> None:
        """Something that lies in the hub itself: a repository, or a thing to be listed."""
        repo = repository(top, most) if stat.folder else None
        if repo is not None:
            folders[top] = Folder(repo, f"{path}/{top}", certain=certain)
        elif top and top not in QUIET and (place.layout is not Layout.FLAT or top.startswith("models--")):
            self.others.append(Other(escaped(path), escaped(top)))

    def _troubles(self, folders: Mapping[str, Folder], parts: Mapping[str, _Part], path: str) -> None:
        """Links that lead nowhere, and folders that can't be read."""
        for name, _ in parts["dangling"].records:
            top, _, rest = name[2:].partition("/")
            if top in folders:
                folders[top].dangle(rest)
        for name, _ in parts["closed"].records:
            top, _, rest = name[2:].partition("/")
            self.problems.append(f"{escaped(f'{path}/{name[2:]}')}: this folder can't be read")
            if top in folders:
                folders[top].certain = False
            if name == ".":
                for folder in folders.values():
                    folder.certain = False

    def _contents(self, folders: Mapping[str, Folder], number: int, place: Place, path: str) -> None:
        """What small files say."""
        for name, data in self._files("refs", number, path):
            top, _, rest = name[2:].partition("/")
            if top in folders:
                folders[top].ref(rest, data.decode(errors="replace").strip())
        if place.layout is Layout.NIM:
            return
        for name, data in self._files("texts", number, path):
            top, _, rest = name[2:].partition("/")
            config = _json(data)
            if top in folders and config is not None:
                folders[top].config(rest, config)
        for name, found in _picked(self._text("picked", number, path)[0]).items():
            top, _, rest = name[2:].partition("/")
            if top in folders:
                folders[top].content(rest, found)

    def _files(self, name: str, number: int, path: str) -> Iterator[tuple[str, bytes]]:
        """Small files with their contents: names and sizes, then all of them in one piece, again and again."""
        text, cut = self._text(name, number, path)
        sizes: list[tuple[str, int]] = []
        pieces = text.split("//\n")
        for at, piece in enumerate(pieces):
            first, _, rest = piece.partition("//")
            if first != "=":
                sizes.append((first, int(rest) if rest.isdecimal() else 0))
                continue
            data = _decoded(rest)
            whole = len(data) == sum(size for _, size in sizes)
            if whole or (cut and at == len(pieces) - 1):
                yield from _cut(data, sizes)
            else:
                self.problems.append(f"{escaped(path)}: its {name} changed while they were read")
            sizes = []


def _stats(records: list[tuple[str, str]]) -> Iterator[tuple[str, Stat]]:
    for name, meta in records:
        match = META.fullmatch(meta)
        if match is not None:
            yield name, Stat(int(match[1], 16), int(match[2]), float(match[3]), match[4])


def _cut(data: bytes, sizes: Sequence[tuple[str, int]]) -> Iterator[tuple[str, bytes]]:
    """Each file that is wholly there."""
    at = 0
    for name, size in sizes:
        if at + size <= len(data):
            yield name, data[at : at + size]
        at += size


def _decoded(text: str) -> bytes:
    """base64 with its slashes as underscores, as far as there are whole groups; what is not base64 is empty."""
    packed = "".join(text.split()).replace("_", "/")
    try:
        return base64.b64decode(packed[: len(packed) // 4 * 4], validate=True)
    except (binascii.Error, ValueError):
        return b""


def _json(data: bytes) -> dict[str, Any] | None:
    """A JSON object; None for anything else, and for numbers and nesting beyond reason."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, list):  # modules.json of sentence-transformers
        return {"list": value}
    return value if isinstance(value, dict) else None


def _picked(text: str) -> dict[str, Content]:
    """What `grep -H` found, by file. A name with a line break in it falls apart and is nobody's."""
    found: dict[str, list[str]] = {}
    for line in text.split("\n"):
        match = MATCH.fullmatch(line)
        if match is not None:
            found.setdefault(match[1], []).append(match[2])
    return {name: _content("\n".join(matches)) for name, matches in found.items()}


def _content(text: str) -> Content:
    hints: dict[str, str | int | bool] = {}
    for key, value in HINT.findall(text):
        hints[key] = (
            value if key == "tokenizer_class" else int(value) if value.isdecimal() and len(value) <= DIGITS else 0
        )
    if '"chat_template"' in text:
        hints["has_chat_template"] = True
    return Content(frozenset(SHARD.findall(text)), hints)
