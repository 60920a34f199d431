"""`docker build` on a practice Spark, in the words of the classic builder.

No step is really run. But its base must be had, what is copied must have been sent, a `RUN` of `false` or `exit N`
fails, and what comes of it is another image for another context, with its labels.
"""

from __future__ import annotations

import asyncio
import hashlib
import io as memory
import re
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from reconciler.practice import docker_text
from reconciler.practice.containers import ImageConfig
from reconciler.practice.errors import DaemonError

if TYPE_CHECKING:
    from reconciler.practice.docker_flags import Parsed
    from reconciler.practice.engine import Engine
    from reconciler.practice.shell_io import Io

BUILD_SECONDS: Final = 1.0
SIZE: Final = 64 * 2**20  # of what a build lays upon its base
VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
FAILS: Final = re.compile(r"(?:.*(?:&&|;|\|\|)\s*)?(?:false|exit\s+([1-9]\d*))\s*")


async def build(engine: Engine, parsed: Parsed, io: Io) -> int:
    """Build an image."""
    data = await io.stdin.read() if "-" in parsed.arguments else b""
    text, data, sent = _context(engine, parsed, data)
    lines = _instructions(text)
    given = dict(pair.partition("=")[::2] for pair in parsed.all("build-arg"))
    io.out(f"Sending build context to Docker daemon  {docker_text.human_size(len(data) + 1024)}\n")
    config, known = ImageConfig(), dict[str, str]()
    for number, line in enumerate(lines, 1):
        io.out(f"Step {number}/{len(lines)} : {line}\n")
        word, _, rest = line.partition(" ")
        match word.upper():
            case "ARG":
                name, _, default = rest.partition("=")
                known[name] = given.get(name, default)
            case "FROM":
                config = await _base(engine, _filled(rest, known).split()[0], io)
            case "COPY" | "ADD":
                _copied(rest, sent)
            case "RUN" if failed := FAILS.fullmatch(rest):
                status = int(failed[1] or 1)
                io.out(" ---> Running in 0123456789ab\n")
                io.error(f"The command '/bin/sh -c {rest}' returned a non-zero code: {status}\n")
                return status
            case _:
                pass
        await asyncio.sleep(BUILD_SECONDS / len(lines))
        io.out(f" ---> {docker_text.human_size(number)}\n")
    labels = tuple(sorted({**dict(config.labels), **dict(p.partition("=")[::2] for p in parsed.all("label"))}.items()))
    content = f"{hashlib.sha256(data).hexdigest()} {sorted(given.items())} {labels}"
    tags = parsed.all("tag") or ["built:latest"]
    built = [engine.images.add(tag, content=content, size=SIZE) for tag in tags]
    built[0].config = replace(config, labels=labels)
    io.out(f"Successfully built {built[0].id[7:19]}\n")
    io.out("".join(f"Successfully tagged {tag if ':' in tag else tag + ':latest'}\n" for tag in tags))
    return 0


def _context(engine: Engine, parsed: Parsed, data: bytes) -> tuple[bytes, bytes, frozenset[str] | None]:
    """The Dockerfile, all that was sent, and its paths (None if nobody knows them). Raises DaemonError."""
    where, name = parsed.arguments[0], parsed.last("file", "Dockerfile")
    if where != "-":
        path = engine.files.normal(f"{where}/{name}")
        if path not in engine.files.content:
            raise ValueError(f"unable to prepare context: path {where!r} not found".replace("'", '"'))
        data = engine.files.content[path]
        return data, data, None
    if data[257:262] != b"ustar" and data[:2] != b"\x1f\x8b":
        return data, data, frozenset()
    try:
        with tarfile.open(fileobj=memory.BytesIO(data)) as archive:
            member = archive.extractfile(name)
            return member.read() if member is not None else b"", data, frozenset(archive.getnames())
    except (KeyError, tarfile.TarError) as error:
        raise DaemonError(500, f"Cannot locate specified Dockerfile: {name}") from error


def _instructions(text: bytes) -> list[str]:
    joined = text.decode(errors="replace").replace("\\\n", " ")
    lines = [line.strip() for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")]
    if not lines:
        raise DaemonError(400, "the Dockerfile (Dockerfile) cannot be empty")
    return lines


async def _base(engine: Engine, base: str, io: Io) -> ImageConfig:
    if base == "scratch":
        return ImageConfig()
    found = engine.images.find(base) or await engine.images.pull(base, lambda text: io.out(f"{text}\n"))
    return found.config


def _copied(words: str, sent: frozenset[str] | None) -> None:
    """Raises DaemonError for a file that was not sent."""
    *sources, _ = [word for word in words.split() if not word.startswith("--")]
    for source in sources:
        path = source.removeprefix("./").strip("/")
        if (
            sent is not None
            and path not in {"", ".", *sent}
            and not re.search(r"[*?\[]", path)
            and "--from" not in words
        ):
            raise DaemonError(
                400,
                f"COPY failed: file not found in build context or excluded by .dockerignore: stat {path}: "
                "file does not exist",
            )


def _filled(text: str, known: Mapping[str, str]) -> str:
    return VARIABLE.sub(lambda match: known.get(match[1] or match[2], ""), text)
