"""The values of a survey: what was found on one Spark's disks, and how whole it is.

Sizes are in bytes, times in Unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

GROWING: Final = 180.0  # seconds: a part of a download that changed within these is being written


def growing(changed_at: float | None, now: float) -> bool:
    """Whether a part of a download that last changed then, by the Spark's own clock, is still being written."""
    return changed_at is not None and now - changed_at <= GROWING


@dataclass(frozen=True, slots=True)
class CachedFile:
    """One file of a revision, by its path inside it."""

    name: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One revision of a repository. `complete` is None where the disk could not be read well enough to tell.

    `configs` holds the small JSON files by name (config.json, ...). `hints` holds what was picked out of larger ones:
    `has_chat_template`, `tokenizer_class`, `model_max_length`, `total_size`.
    """

    commit: str
    refs: tuple[str, ...] = ()
    files: tuple[CachedFile, ...] = ()
    size: int = 0
    complete: bool | None = False
    missing: tuple[str, ...] = ()
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    hints: Mapping[str, str | int | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedModel:
    """One repository in a Hugging Face cache. `size_on_disk` counts each file once, whatever revisions share it.

    `incomplete_bytes` lie in files whose download has not ended; `changed_at` is when the last of those grew.
    Where it is not `readable`, there may be more than was seen.
    """

    repo: str
    path: str
    revisions: tuple[Revision, ...] = ()
    size_on_disk: int = 0
    incomplete_bytes: int = 0
    incomplete_files: int = 0
    changed_at: float | None = None
    readable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufFile:
    """A GGUF model: one file, or a set of parts under the first one's name.

    `repo` and `commit` are set where it lies in a Hugging Face cache. `present` of `parts` are there.
    """

    path: str
    name: str
    size: int
    parts: int = 1
    present: int = 1
    complete: bool | None = True
    repo: str | None = None
    commit: str | None = None
    changed_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NimEntry:
    """What one NIM has cached: `name` such as nim/meta/llama-3.1-8b-instruct, `profiles` its snapshots."""

    name: str
    path: str
    profiles: tuple[str, ...] = ()
    size: int = 0
    incomplete_bytes: int = 0
    complete: bool | None = True
    changed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Other:
    """Something in a cache that is no model. `name` is escaped for people and never used for anything else."""

    folder: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSurvey:
    """All that was found on one Spark. `spark_time` is the Spark's own clock, `taken_at` ours.

    `problems` are sentences about what could not be read; what they concern is None, never "missing".
    """

    taken_at: float
    spark_time: float
    models: tuple[CachedModel, ...] = ()
    ggufs: tuple[GgufFile, ...] = ()
    nims: tuple[NimEntry, ...] = ()
    others: tuple[Other, ...] = ()
    problems: tuple[str, ...] = ()
