"""What the fetching program has said so far: how many bytes are there, and why it ended. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from reconciler.weights import cache, failures
from reconciler.weights.cache import Completeness, Found, Want
from reconciler.weights.download import Said, read_line
from reconciler.weights.failures import Refusal, refusal
from reconciler.weights.progress import Pace, Progress, bytes_done

FULL: Final = ("No space left on device", "Disk quota exceeded")  # what tools say of a full disk, in LC_ALL=C


@dataclass(slots=True)
class Tally:
    """What the program has said so far."""

    state: Completeness
    found: Found
    source: str
    clock: Callable[[], float]
    whole: bool = False
    _pace: Pace = field(default_factory=Pace)
    _sizes: dict[str, int] = field(default_factory=dict)
    _parts: dict[str, int] = field(default_factory=dict)
    _here: set[str] = field(default_factory=set)
    _fail: Said | None = None
    _details: dict[int, dict[str, str]] = field(default_factory=dict)
    _noise: str = ""

    def __post_init__(self) -> None:
        self._sizes = {file.etag: file.size for file in self.state.files}
        missing = {file.etag for file in self.state.missing}
        self._here = set(self._sizes) - missing
        self._parts = {etag: have for etag, have in self.found.parts.items() if etag in missing}
        self._pace = self._pace.then(self.clock(), self.done)

    @property
    def done(self) -> int:
        """Bytes of the revision that lie on the disk."""
        sizes = self._sizes
        parts = [(have, sizes[etag]) for etag, have in self._parts.items() if etag in sizes and etag not in self._here]
        return bytes_done((sizes[etag] for etag in self._here), parts)

    def progress(self) -> Progress:
        """The figures now."""
        files, total = self.state.files, self.state.total
        here = sum(file.etag in self._here for file in files)
        return self._pace.progress(total, files_done=here, files=len(files), source=self.source)

    def take(self, line: str) -> bool:
        """One line of the program. Whether the figures moved on."""
        said = read_line(line)
        if said is None or said.number >= len(self.state.files):
            self._noise = line.strip()[:300] or self._noise
            return False
        if said.word in {"head", "text", "fail"}:
            self._refused(said)
            return False
        etag = self.state.files[said.number].etag if said.number >= 0 else ""
        if said.word == "part":
            size, _, name = said.rest.partition(" ")
            etag = name.removesuffix(cache.PART)
            if size.isdecimal() and etag in self._sizes:
                self._parts[etag] = int(size)
            return False
        if said.word == "got" and etag:
            self._here.add(etag)
        elif said.word == "again" and etag:
            self._parts[etag] = 0
        self.whole = self.whole or said.word == "whole"
        self._pace = self._pace.then(self.clock(), self.done)
        return True

    def _refused(self, said: Said) -> None:
        """Details come before the `fail` that they belong to; what comes after the first is of no interest."""
        if self._fail is not None:
            return
        if said.word == "fail":
            self._fail = said
            return
        details = self._details.setdefault(said.number, {})
        name, _, value = ("", "", said.rest) if said.word == "text" else said.rest.partition(" ")
        details[name.lower()] = value

    def verdict(self, want: Want, *, token: bool) -> Refusal:
        """Why the program ended without making the revision whole."""
        if self._fail is None:
            return refusal("Interrupted", f"fetching ended before it was done{_said(self._noise)}")
        kind, _, text = self._fail.rest.partition(" ")
        number = int(text) if text.isdecimal() else 0
        path = self.state.files[self._fail.number].path if self._fail.number >= 0 else ""
        what = f"{path} of {want.repository}"
        details = self._details.get(self._fail.number, {})
        match kind:
            case "http":
                return failures.of_http(number, details, what=what, who=self.source, token=token)
            case "curl":
                return failures.of_curl(number, details.get("", ""), who=self.source)
            case "write":
                return failures.disk_ran_full(what, self.source)
            case "temp":
                return failures.no_room_for_notes(what, _said(self._noise))
            case "corrupt":
                words = (
                    f"{what} came twice from {self.source} with other bytes than its hash promises; it was thrown away"
                )
                return refusal("Corrupted", words, terminal=True)
            case "length":
                return refusal("HubRefused", f"{self.source} gives {what} with another length than it lists")
            case "busy":
                return refusal("Busy", f"another program on the Spark is fetching {what}")
            case _ if any(words in self._noise for words in FULL):
                return failures.disk_ran_full(f"{path or 'the rest'} of {want.repository}", self.source)
            case _:
                return refusal("Unwritable", f"the Spark's cache {want.cache} can't be written{_said(self._noise)}")


def unwritable(want: Want, user: str) -> Refusal:
    """The cache belongs to somebody else, most often to root, since containers run as root."""
    words = (
        f"{user} may not write into {want.cache} on the Spark: containers that run as root leave files of root there. "
        f"On the Spark: sudo chown -R {user} {want.cache}"
    )
    return refusal("Unwritable", words)


def _said(noise: str) -> str:
    return f" ({noise})" if noise else ""
