"""Image references, as the Engine lists them and as people write them. Pure."""

from __future__ import annotations

from collections.abc import Container, Mapping


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


def registry(reference: str) -> str:
    """The registry that an image comes from; `docker.io` where its name names none."""
    head, slash, _ = reference.partition("/")
    return head if slash and (head == "localhost" or "." in head or ":" in head) else "docker.io"


def has_image(images: Container[str], reference: str) -> bool:
    """Whether an engine that lists `images` (tags, digests, ids) can run `reference` without fetching it."""
    return reference in images or familiar(reference) in images


def image_id(images: Mapping[str, frozenset[str]], reference: str) -> str:
    """The id of the image that an engine would run for `reference`; empty if it has none."""
    return next((mark for mark in sorted(identity(images, reference)) if mark in images), "")


def identity(images: Mapping[str, frozenset[str]], reference: str) -> frozenset[str]:
    """The id and digests of the image that an engine would run for `reference`; empty if it has none."""
    return images.get(reference) or images.get(familiar(reference)) or frozenset()
