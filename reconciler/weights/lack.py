"""Whether a revision lies whole on a Spark, as its survey tells, and what a launch says while it waits for it. Pure.

What a survey could not read is not known, and not known is not absent: nothing waits for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from reconciler.disks.found import DiskSurvey, GgufFile
from reconciler.weights.cache import Want

CACHES: Final = ("huggingface", "/hub")  # in the path that a problem of a survey begins with


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """Why launches wait for a Spark's copy of a revision. `until` is a Unix time where waiting ends by itself.

    `fetch`: it is to be fetched now, if anything waits for it.
    """

    reason: str
    message: str
    until: float | None = None
    terminal: bool = False
    fetch: bool = False


def lies(want: Want, survey: DiskSurvey) -> bool | None:
    """Whether what an engine needs of `want` lies there whole; None where that can't be told."""
    models = [model for model in survey.models if model.repo == want.repository]
    if want.files or want.quant:
        found = [file.complete for file in survey.ggufs if _is_of(file, want)]
    else:
        revisions = (revision for model in models for revision in model.revisions)
        found = [r.complete for r in revisions if want.revision in {r.commit, *r.refs}]
    if True in found:
        return True
    hidden = not models and any(mark in problem for problem in survey.problems for mark in CACHES)
    return None if None in found or hidden or not all(model.readable for model in models) else False


def _is_of(file: GgufFile, want: Want) -> bool:
    """Whether it is (the first part of) the wanted GGUF file, in this cache or in one that llama.cpp named itself."""
    prefix = f"{want.repository.replace('/', '_')}_"
    if file.repo != want.repository and (file.repo is not None or not file.name.startswith(prefix)):
        return False
    name = file.name.removeprefix(prefix)
    if want.files:
        return any(fnmatchcase(name, pattern.rpartition("/")[2]) for pattern in want.files)
    return want.quant.casefold() in name.casefold() and not name.lower().startswith("mmproj")
