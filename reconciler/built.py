"""Images that a Spark builds for itself: what they are named, and what is sent to build them from.

Pure. The tag is the hash of everything that decides about the image (ADR 36), so an image that has the name was made of
just that: whether to build is the question whether the Spark has the image, and a change of a file is a change of the
image's name, and by that of the container.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from typing import Final

from reconciler.engines.start import NotLaunchable
from reconciler.model import Built
from state.contexts import Context, ContextRefused
from state.recipes import Recipe

TAG: Final = 16  # hex digits
Contexts = Mapping[str, Context | ContextRefused]


def built(recipe: Recipe, contexts: Contexts) -> Built | None:
    """What its image is built from; None if it is not built. Raises NotLaunchable for a context that can't be used."""
    build = recipe.build
    if build is None:
        return None
    context = contexts.get(build.context)
    if not isinstance(context, Context):
        raise NotLaunchable(str(context or f"build context {build.context}: it has not been read yet"))
    args = {**({"BASE": build.base} if build.base else {}), **build.args}
    meaning = json.dumps([context.digest, sorted(args.items())], separators=(",", ":"))
    return Built(
        tag=hashlib.sha256(meaning.encode()).hexdigest()[:TAG],
        context=context.name,
        content=context.digest,
        files=len(context.files),
        size=context.size,
        base=build.base or "",
        args=tuple(sorted(args.items())),
    )


def tagged(recipe: Recipe, made: Built | None) -> Recipe:
    """The recipe with the whole name of the image that is built for it."""
    return recipe if made is None else recipe.model_copy(update={"image": f"{recipe.image}:{made.tag}", "build": None})


def archive(context: Context) -> bytes:
    """The context as the tar that `docker build -` reads: the same bytes for the same files, so that caches hold."""
    folders = {folder for file in context.files for folder in _above(file.path)}
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for folder in sorted(folders):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for file in context.files:
            entry = tarfile.TarInfo(file.path)
            entry.size, entry.mode = len(file.data), 0o755 if file.executable else 0o644
            tar.addfile(entry, io.BytesIO(file.data))
    return written.getvalue()


def _above(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
