"""The docker commands that look: ps, inspect, images, logs, events, version, info. And build, which tells a lot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from reconciler.practice import docker_build, docker_text, shapes
from reconciler.practice.clock import BILLION, rfc3339, since_to_nanos
from reconciler.practice.errors import DaemonError
from reconciler.practice.events import FILTERS

if TYPE_CHECKING:
    from reconciler.practice.containers import Container
    from reconciler.practice.docker_flags import Parsed
    from reconciler.practice.engine import Engine
    from reconciler.practice.shell_io import Io

PS_FILTERS: Final = frozenset({"name", "id", "label", "status", "ancestor", "exited"})


def filters(words: list[str], known: frozenset[str]) -> dict[str, list[str]]:
    """`-f key=value`, several times. Raises DaemonError for a key that isn't known."""
    found: dict[str, list[str]] = {}
    for word in words:
        key, _, value = word.partition("=")
        if key not in known:
            raise DaemonError(400, f"invalid filter '{key}'")
        found.setdefault(key, []).append(value)
    return found


def matches(container: Container, wanted: Mapping[str, list[str]]) -> bool:
    """The filters of a list of containers."""
    labels = {f"{key}={value}" for key, value in container.spec.labels.items()} | set(container.spec.labels)
    checks: Mapping[str, Callable[[str], bool]] = {
        "name": lambda value: value.removeprefix("^/").removesuffix("$").removeprefix("/") in container.name,
        "id": container.id.startswith,
        "label": labels.__contains__,
        "status": container.state.__eq__,
        "ancestor": {container.spec.image, container.image_id}.__contains__,
        "exited": lambda value: container.state == "exited" and value == str(container.exit_code),
    }
    for key, values in wanted.items():
        found = [checks[key](value) for value in values]
        if not (all(found) if key == "label" else any(found)):
            return False
    return True


async def _ps(engine: Engine, parsed: Parsed, io: Io) -> int:
    wanted = filters(parsed.all("filter"), PS_FILTERS)
    everything = parsed.on("all") or "status" in wanted or "exited" in wanted
    shown = [c for c in engine.newest_first() if (everything or c.active) and matches(c, wanted)]
    whole, now = parsed.on("no-trunc"), engine.machine.clock.wall()
    rows = [docker_text.container_row(container, now, whole=whole) for container in shown]
    if parsed.on("quiet"):
        io.out("".join(f"{row['ID']}\n" for row in rows))
    elif (form := parsed.last("format", "table")) != "table":
        io.out("".join(f"{docker_text.template(form, row)}\n" for row in rows))
    else:
        cells = ([str(row[name]) for name in docker_text.PS_COLUMNS] for row in rows)
        io.out(docker_text.table(docker_text.PS_HEADS, cells))
    return 0


async def _inspect(engine: Engine, parsed: Parsed, io: Io) -> int:
    kind = parsed.last("type")
    if kind not in {"", "container", "image"}:
        raise ValueError(
            f'unknown type: "{kind}": must be one of "config", "container", "image", "network", "node", "plugin", '
            '"secret", "service", "task", "volume"'
        )
    found: list[dict[str, Any]] = []
    errors: list[str] = []
    for name in parsed.arguments:
        try:
            found.append(_inspected(engine, name, kind))
        except DaemonError as error:
            errors.append(f"Error response from daemon: {error}" if kind else f"Error: No such object: {name}")
    if form := parsed.last("format"):
        io.out("".join(f"{docker_text.template(form, one)}\n" for one in found))
    else:
        io.out(f"{docker_text.go_indented(found)}\n")
    io.error("".join(f"{error}\n" for error in errors))
    return int(bool(errors))


def _inspected(engine: Engine, name: str, kind: str) -> dict[str, Any]:
    if kind != "image":
        try:
            return shapes.inspected(engine.find(name))
        except DaemonError:
            if kind:
                raise
    image = engine.images.find(name)
    if image is None:
        raise DaemonError(404, f"No such image: {name}")
    shown = shapes.image(image)
    keep = {key: shown[key] for key in ("Id", "RepoTags", "RepoDigests", "Size")}
    return {**keep, "Created": rfc3339(image.created), "Architecture": "arm64", "Os": "linux"}


async def _images(engine: Engine, parsed: Parsed, io: Io) -> int:
    now, whole, digests = engine.machine.clock.wall(), parsed.on("no-trunc"), parsed.on("digests")
    rows = [
        row
        for image in sorted(engine.images.all.values(), key=lambda image: -image.created)
        for row in docker_text.image_rows(image, now, whole=whole, digests=digests)
    ]
    if parsed.arguments:
        name, _, tag = parsed.arguments[0].partition(":")
        rows = [row for row in rows if row["Repository"] == name and tag in {"", row["Tag"]}]
    if parsed.on("quiet"):
        io.out("".join(f"{row['ID']}\n" for row in rows))
    elif (form := parsed.last("format", "table")) != "table":
        io.out("".join(f"{docker_text.template(form, row)}\n" for row in rows))
    else:
        heads = ["REPOSITORY", "TAG", *(["DIGEST"] if digests else []), "IMAGE ID", "CREATED", "SIZE"]
        names = ["Repository", "Tag", *(["Digest"] if digests else []), "ID", "CreatedSince", "Size"]
        io.out(docker_text.table(heads, ([row[name] for name in names] for row in rows)))
    return 0


async def _logs(engine: Engine, parsed: Parsed, io: Io) -> int:
    container = engine.find(parsed.arguments[0])
    since = since_to_nanos(parsed.last("since", "0"), engine.machine.clock.wall()) or 0
    tail = parsed.last("tail", "all")
    lines = [entry for entry in container.logs if entry[0] >= since]
    if tail.isdigit():
        lines = lines[len(lines) - min(int(tail), len(lines)) :]
    stamps = parsed.on("timestamps")
    last = container.logs[-1][0] if container.logs else 0
    _print_log(lines, io, stamps=stamps)
    if parsed.on("follow"):
        await follow(container, io, after=last, stamps=stamps)
    return 0


def _print_log(lines: list[tuple[int, str, str]], io: Io, *, stamps: bool) -> None:
    for nanos, stream, line in lines:
        text = f"{stamp(nanos)} {line}\n" if stamps else f"{line}\n"
        (io.out if stream == "stdout" else io.error)(text)


def stamp(nanos: int) -> str:
    """Like RFC3339Nano, but always with nine decimals."""
    return f"{rfc3339(nanos // BILLION * BILLION)[:-1]}.{nanos % BILLION:09d}Z"


async def follow(container: Container, io: Io, *, after: int = 0, stamps: bool = False) -> None:
    """A container's log as it grows, until it ends."""
    while True:
        changed = container.logged
        fresh = [entry for entry in container.logs if entry[0] > after]
        _print_log(fresh, io, stamps=stamps)
        after = fresh[-1][0] if fresh else after
        if not container.active and container.state != "created":
            return
        if changed is container.logged:
            await changed.wait()


async def _events(engine: Engine, parsed: Parsed, io: Io) -> int:
    wanted = filters(parsed.all("filter"), FILTERS)
    now = engine.machine.clock.wall()
    since = since_to_nanos(parsed.last("since"), now) if parsed.last("since") else None
    until = since_to_nanos(parsed.last("until"), now) if parsed.last("until") else None
    form = parsed.last("format", "{{json .}}")
    async for event in engine.events.follow(wanted, since, until):
        io.out(f"{docker_text.template(form, event.json())}\n")
    return 0


async def _version(engine: Engine, parsed: Parsed, io: Io) -> int:
    server = shapes.version(engine)
    client = {"Version": engine.version, "ApiVersion": server["ApiVersion"], "Os": "linux", "Arch": "arm64"}
    if form := parsed.last("format"):
        io.out(f"{docker_text.template(form, {'Client': client, 'Server': server})}\n")
    else:
        for title, one in (("Client", client), ("Server", server)):
            lines = f" Version:           {one['Version']}\n API version:       {one['ApiVersion']}\n"
            io.out(f"{title}:\n{lines} OS/Arch:           linux/arm64\n")
    return 0


async def _info(engine: Engine, parsed: Parsed, io: Io) -> int:
    found = shapes.info(engine)
    if form := parsed.last("format"):
        io.out(f"{docker_text.template(form, found)}\n")
    else:
        words = ("Containers", "Images", "ServerVersion", "KernelVersion", "OperatingSystem", "Architecture", "Name")
        io.out("Server:\n" + "".join(f" {word}: {found[word]}\n" for word in words))
    return 0


SHOWING: Final[Mapping[str, Callable[[Engine, Parsed, Io], Awaitable[int]]]] = {
    "ps": _ps,
    "inspect": _inspect,
    "images": _images,
    "logs": _logs,
    "events": _events,
    "version": _version,
    "info": _info,
    "build": docker_build.build,
}
