"""How the docker CLI writes: Go's JSON, Go's templates, tables, human sizes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from reconciler.practice import shapes
from reconciler.practice.clock import BILLION, ago, rfc3339
from reconciler.practice.engine_texts import ANYWHERE

if TYPE_CHECKING:
    from reconciler.practice.containers import Container
    from reconciler.practice.images import Image

NONE: Final = "<none>"
SHORT: Final = 12
COMMAND_WIDTH: Final = 20


def go_json(value: object) -> str:
    """Go's Marshal: compact, characters that HTML cares about escaped."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def go_indented(value: object) -> str:
    """What `docker inspect` prints."""
    return json.dumps(value, indent=4, ensure_ascii=False)


def template(text: str, row: Any) -> str:
    """`{{json .}}`, `{{.State.Status}}`, `json`. Raises ValueError for what it can't do."""
    if text == "json":
        return go_json(row)

    def put(match: re.Match[str]) -> str:
        value = row
        for name in filter(None, match[2].split(".")):
            if not isinstance(value, dict) or name not in value:
                raise ValueError(f'template: :1:2: executing "" at <{match[2]}>: map has no entry for key "{name}"')
            value = value[name]
        if match[1] or isinstance(value, dict | list):
            return go_json(value)
        if isinstance(value, bool):
            return str(value).lower()
        return "<no value>" if value is None else str(value)

    filled = re.sub(r"\{\{\s*(json\s+)?(\.[\w.]*)\s*\}\}", put, text)
    if "{{" in filled and "{{" in re.sub(r"\{\{\s*(json\s+)?(\.[\w.]*)\s*\}\}", "", text):
        raise ValueError(f'template: :1: function in "{text}" not defined')
    return filled.replace("\\t", "\t").replace("\\n", "\n")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns three blanks apart."""
    lines = [tuple(heads), *(tuple(row) for row in rows)]
    widths = [max(10, *(len(line[at]) + 3 for line in lines)) for at in range(len(heads))]
    padded = ("".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "".join(line.rstrip() + "\n" for line in padded)


def human_size(size: float) -> str:
    """go-units' HumanSize: decimal, three digits."""
    unit = 0
    while size >= 1000:  # noqa: PLR2004 - decimal units
        size, unit = size / 1000, unit + 1
    return f"{size:.3g}{('B', 'kB', 'MB', 'GB', 'TB', 'PB')[unit]}"


def _when(nanos: int) -> str:
    return rfc3339(nanos // BILLION * BILLION).replace("T", " ").replace("Z", " +0000 UTC")


def container_row(container: Container, now: float, *, whole: bool) -> dict[str, Any]:
    """One line of `docker ps`, by the names of its template."""
    command = shapes.command_line(container)
    if not whole and len(command) > COMMAND_WIDTH:
        command = command[: COMMAND_WIDTH - 1] + "…"
    ports = (f"{port.address or ANYWHERE}:{port.host}->{port.inner}/{port.protocol}" for port in container.ports)
    mounts = (mount.source for mount in container.spec.mounts)
    age = ago(now - container.created / BILLION)
    return {
        "Command": f'"{command}"',
        "CreatedAt": _when(container.created),
        "ID": container.id if whole else container.id[:SHORT],
        "Image": container.spec.image,
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(container.spec.labels.items())),
        "LocalVolumes": str(sum(mount.kind == "volume" for mount in container.spec.mounts)),
        "Mounts": ",".join(mounts),
        "Names": container.name,
        "Networks": "bridge" if container.spec.network == "default" else container.spec.network,
        "Platform": None,
        "Ports": ", ".join(ports),
        "RunningFor": f"{age} ago",
        "Size": "0B",
        "State": container.state,
        "Status": shapes.status(container, now),
    }


PS_HEADS: Final = ("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES")
PS_COLUMNS: Final = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")


def image_rows(image: Image, now: float, *, whole: bool, digests: bool) -> list[dict[str, Any]]:
    """The lines of `docker images` for one image: one for each tag, or for a digest without one."""
    identity = image.id if whole else image.id.removeprefix("sha256:")[:SHORT]
    names: list[tuple[str, str, str]] = []
    for tag in sorted(image.tags):
        repository, _, name = tag.rpartition(":")
        own = [found.partition("@")[2] for found in sorted(image.digests) if found.startswith(f"{repository}@")]
        names.append((repository, name, own[0] if own and digests else NONE))
    if not names:
        names = [(d.partition("@")[0], NONE, d.partition("@")[2] if digests else NONE) for d in sorted(image.digests)]
    return [
        {
            "Containers": "N/A",
            "CreatedAt": _when(image.created),
            "CreatedSince": f"{ago(now - image.created / BILLION)} ago",
            "Digest": digest,
            "ID": identity,
            "Repository": repository,
            "SharedSize": "N/A",
            "Size": human_size(image.size),
            "Tag": tag,
            "UniqueSize": "N/A",
            "VirtualSize": human_size(image.size),
        }
        for repository, tag, digest in names or [(NONE, NONE, NONE)]
    ]
