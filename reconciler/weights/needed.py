"""Who needs which weights: what is declared and pinned, and what containers that run can be reading. Pure.

Taken broadly: a repository that a recipe or a container names anywhere (its command, a flag, a draft model inside a
JSON flag, its environment) is needed by it. `owner/name` inside a longer name keeps more than it must, never less.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconciler.weights.cache import folder_of
from reconciler.weights.gc import GcRefused, Reference
from reconciler.weights.repo_files import ListingRefused
from state.recipes import Recipe


@dataclass(frozen=True, slots=True)
class Running:
    """A container that runs: the folders of the Spark that it sees, and all words it was started with, as one text."""

    name: str
    sources: tuple[str, ...]
    text: str = field(repr=False)  # its environment may hold secrets


def references(
    declared: Mapping[str, Recipe], keep: Iterable[str], repositories: Collection[str]
) -> tuple[Reference, ...]:
    """What declared workloads and `keep` need, of any Spark's `repositories` and beyond.

    A model is needed at its recipe's revision (`main` if it says none); a draft model at every one that is there.
    """
    found: list[Reference] = []
    for name, recipe in declared.items():
        why = f"workload {name}"
        own = recipe.model if recipe.model is not None and is_of_hub(recipe.model) else None
        if own is not None:
            found.append(Reference(own, why, recipe.revision or "main"))
        text = json.dumps(recipe.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False)
        others = [repository for repository in named(text, repositories) if repository != own]
        found += [Reference(repository, why) for repository in others]
    found += [Reference(repository, "keep") for repository in keep]
    return tuple(found)


def is_of_hub(model: str) -> bool:
    """Whether a recipe's model can lie in a Hugging Face cache at all: one of NGC can't."""
    try:
        folder_of(model)
    except ListingRefused:
        return False
    return True


def named(text: str, repositories: Iterable[str]) -> tuple[str, ...]:
    """Those of the repositories that a text names, as the hub does or as the cache's folder does."""
    return tuple(repository for repository in repositories if _names(text, repository))


def _names(text: str, repository: str) -> bool:
    if f"models--{repository.replace('/', '--')}" in text:
        return True
    if "/" in repository:
        return repository in text
    return re.search(rf"(?<![A-Za-z0-9._-]){re.escape(repository)}(?![A-Za-z0-9._-])", text) is not None


def read_running(text: str) -> tuple[Running, ...]:
    """From the JSON of `docker inspect`. Raises GcRefused for anything else."""
    refused = GcRefused("it is not known which containers run: docker's answer makes no sense")
    try:
        containers = json.loads(text) if text.strip() else []
        return tuple(_running(container) for container in containers)
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        raise refused from None


def _running(container: Mapping[str, Any]) -> Running:
    mounts = container.get("Mounts") or []
    sources = tuple(str(mount["Source"]) for mount in mounts if mount.get("Type") == "bind")
    config = container["Config"]
    words = (container.get("Path"), container.get("Args"), config.get("Cmd"), config.get("Entrypoint"))
    text = json.dumps([words, config.get("Env"), config.get("Labels")], ensure_ascii=False)
    return Running(str(container["Name"]).removeprefix("/"), sources, text)


def in_use(
    running: Iterable[Running], root: str, real: Mapping[str, str], repositories: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """The containers that need something of the cache at `root`, each with the repositories that it names.

    One that names any is taken to read them whatever it mounts: a volume of docker may be the cache by another path.
    What its folders are called counts as named then. One that sees the cache and names none has none: it is not known.
    `real`: the real path of each source, as far as the Spark could tell.
    """
    found: dict[str, tuple[str, ...]] = {}
    for container in running:
        paths = [path for source in container.sources for path in (source, real.get(source, source))]
        if named(container.text, repositories):
            found[container.name] = named("\n".join((container.text, *paths)), repositories)
        elif any(meets(path, root) for path in paths):
            found[container.name] = ()
    return found


def meets(source: str, root: str) -> bool:
    """Whether a folder is, holds or lies inside the cache."""
    one, other = source.rstrip("/") + "/", root.rstrip("/") + "/"
    return one.startswith(other) or other.startswith(one)
