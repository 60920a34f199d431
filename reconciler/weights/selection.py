"""Which files of a repository an engine needs: everything but what safetensors hold already, and one GGUF. Pure.

A file that is missing fails a launch, one too many only costs room: what is not surely a repetition is taken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from reconciler.weights.repo_files import Listing, RepoFile

REPEATED: Final = ("pytorch_model*.bin", "*.pth", "tf_model*.h5", "flax_model*.msgpack", "rust_model.ot", "model.ckpt*")
OTHER_FORMS: Final = ("original", "metal", "onnx", "openvino", "coreml")  # the same weights for other programs
SPLIT: Final = re.compile(r"-\d{5}-of-\d{5}(?=\.gguf$)")


class SelectionRefused(ValueError):
    """It is not clear which files are wanted, or there are none. The message says what can be done."""


def select(listing: Listing, *, files: Sequence[str] = (), quant: str = "") -> tuple[RepoFile, ...]:
    """The files to fetch. `files`: patterns of a person (`*`, `?`; `!` in front leaves out) override every rule here.

    Left out otherwise, and only where safetensors hold the same: weights in older forms beside them, and folders with
    the weights for other programs. Of GGUF files one variant is taken; `quant` (such as Q4_K_M) names it.
    Raises SelectionRefused.
    """
    if files:
        return _named(listing, files)
    folders = {_folder(f.path) for f in listing.files if f.path.endswith(".safetensors")}
    chosen = [f for f in listing.files if not _repeated(f.path, folders)]
    ggufs = [f for f in chosen if f.path.endswith(".gguf")]
    if ggufs:
        taken = () if folders and not quant else _variant(ggufs, quant)
        chosen = [f for f in chosen if f not in ggufs or f in taken]
    elif quant:
        raise SelectionRefused(f"{listing.repository} has no GGUF files, so no {quant}")
    if not chosen:
        raise SelectionRefused(f"{listing.repository} has no files at {listing.revision}")
    return tuple(chosen)


def _named(listing: Listing, patterns: Sequence[str]) -> tuple[RepoFile, ...]:
    wanted = [p for p in patterns if not p.startswith("!")] or ["*"]
    unwanted = [p[1:] for p in patterns if p.startswith("!")]
    for pattern in wanted:
        if not any(fnmatchcase(f.path, pattern) for f in listing.files):
            raise SelectionRefused(f"files: {pattern!r} fits no file of {listing.repository} at {listing.revision}")
    chosen = tuple(
        f
        for f in listing.files
        if any(fnmatchcase(f.path, p) for p in wanted) and not any(fnmatchcase(f.path, p) for p in unwanted)
    )
    if not chosen:
        raise SelectionRefused(f"files: these patterns leave nothing of {listing.repository}")
    return chosen


def _repeated(path: str, folders: set[str]) -> bool:
    """Whether safetensors hold what this file holds."""
    name = path.rpartition("/")[2]
    first = path.split("/", maxsplit=1)[0]
    return ("" in folders and "/" in path and first in OTHER_FORMS) or (
        _folder(path) in folders and any(fnmatchcase(name, pattern) for pattern in REPEATED)
    )


def _variant(ggufs: Sequence[RepoFile], quant: str) -> tuple[RepoFile, ...]:
    """One variant with all its parts, and the projector files, which belong to every variant."""
    variants: dict[str, list[RepoFile]] = {}
    for file in ggufs:
        if not file.path.rpartition("/")[2].lower().startswith("mmproj"):
            variants.setdefault(SPLIT.sub("", file.path), []).append(file)
    if quant:
        mark = re.compile(rf"(?:^|[-._/]){re.escape(quant)}(?:[-._/]|$)", re.IGNORECASE)
        variants = {name: parts for name, parts in variants.items() if mark.search(name)}
    if len(variants) != 1:
        names = ", ".join(sorted(variants)[:12]) or "none"
        which = f"for {quant}: {names}" if quant else f"{len(variants)}: {names}"
        raise SelectionRefused(f"one GGUF variant is needed, and there are {which}. Say which one with `files:`")
    parts = next(iter(variants.values()))
    return tuple(f for f in ggufs if f in parts or f.path.rpartition("/")[2].lower().startswith("mmproj"))


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
