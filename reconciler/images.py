"""Image references, as the Engine lists them and as people write them. Pure."""

from __future__ import annotations

from collections.abc import Set as AbstractSet


def familiar(reference: str) -> str:
    """The short form that the Engine lists: `docker.io/library/busybox` is `busybox:latest`.

    A reference with a digest is known by its digest alone, whatever tag stands beside it.
    """
    short = reference.removeprefix("docker.io/").removeprefix("index.docker.io/").removeprefix("library/")
    name, at, digest = short.partition("@")
    last = name.rpartition("/")[2]
    if at:
        return f"{name.removesuffix(':' + last.partition(':')[2]) if ':' in last else name}@{digest}"
    return name if ":" in last else f"{name}:latest"


def has_image(images: AbstractSet[str], reference: str) -> bool:
    """Whether an engine that lists `images` (tags, digests, ids) can run `reference` without fetching it."""
    return reference in images or familiar(reference) in images
