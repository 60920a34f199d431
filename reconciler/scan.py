"""One complete look at one Spark: requests out, text in, observed state.

The machine's facts come by one command, its containers and images over the Engine's socket, both at the same
time. Where the socket can't be forwarded, the docker command in that same script says the same; a test holds both ways
to equal results. A scan that lacks a part has failed: `ScanFailed` if the Spark answered badly, `LinkDown` if it
did not answer. There is no partial scan.

`began` is taken before the first byte is sent, so that no scan can be newer than it says.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any, Final, TypeVar

from reconciler import facts
from reconciler.engine import Engine, EngineDown, EngineError, docker_host
from reconciler.facts import ScanFailed, Section
from reconciler.images import familiar
from reconciler.linkdown import ChannelRefused, CommandTimeout
from reconciler.model import OWNER, SPEC, Container, Scan
from reconciler.ssh import Link
from state.fields import MAX_SECONDS

DEADLINE: Final = 10.0  # seconds
SETTLED_FOR: Final = 300.0  # seconds for which interfaces are taken to stay as they are
FROM_SOCKET: Final = frozenset({"containers", "images"})
SIGNS: Final = (  # what the docker command says when it can't ask the Engine
    ("permission denied", "EngineDenied", "this user may not use Docker: add it to the group `docker`, then reconnect"),
    ("Cannot connect to the Docker daemon", "EngineDown", "the Docker Engine does not run"),
    ("failed to connect to the docker API", "EngineDown", "the Docker Engine does not run"),
    ("not found", "EngineMissing", "there is no `docker` command: install Docker"),
)
# Seconds before the next look where the list names a container that can't be inspected: it went away in between, or
# Docker is only making it (it is listed some moments before it can be asked for; longer on a busy Spark).
LOOK_AGAIN: Final = (0.0, 0.1, 0.4)
IDENTITY: Final = re.compile(r"[0-9a-f]{12,64}")
A = TypeVar("A")
B = TypeVar("B")
Images = Mapping[str, frozenset[str]]
Seen = tuple[tuple[Container, ...], Images]


async def scan(
    link: Link,
    engine: Engine,
    *,
    full: bool,
    before: Scan | None,
    owner: str,
    clock: Callable[[], float],
    now: Callable[[], float],
    deadline: float = DEADLINE,
) -> Scan:
    """Look at a Spark. A quick scan (not `full`) carries the slow facts over from `before`.

    A full one asks for them, and every five minutes, or after a reboot, also for those that hardly ever change.

    Raises ScanFailed or LinkDown.
    """
    began, taken_at = clock(), now()
    full = full or before is None
    settled = full and not (before is not None and 0 <= taken_at - before.facts.settled_at < SETTLED_FOR)
    ask = partial(_sections, link, engine, full=full, settled=settled, limit=deadline)
    try:
        async with asyncio.timeout(deadline):
            found, (containers, images) = await _look(engine, ask, owner=owner)
    except (TimeoutError, CommandTimeout) as late:
        raise ScanFailed("ScanTimeout", f"the Spark did not answer a scan within {deadline:g} s") from late
    known = before.facts if before is not None else None
    return Scan(
        began=began,
        ended=clock(),
        taken_at=taken_at,
        containers=containers,
        images=images,
        facts=facts.read_facts(found, at=taken_at, before=known),
    )


async def _look(
    engine: Engine, ask: Callable[..., Awaitable[Mapping[str, Section]]], *, owner: str
) -> tuple[Mapping[str, Section], Seen]:
    """Sections and containers, over the socket if it can be had.

    A refused socket is followed by the docker command. If that works, it is forwarding that is refused, and
    the next scans of this connection need not try.
    """
    if not engine.by_cli:
        try:
            return await _both(ask(cli=False), _from_socket(engine, owner))
        except ChannelRefused:
            pass
    found = await ask(cli=True)
    seen = _from_cli(found, owner)
    engine.use_cli()
    return found, seen


async def _sections(
    link: Link, engine: Engine, *, full: bool, settled: bool, cli: bool, limit: float
) -> Mapping[str, Section]:
    """What the one command of a scan printed, checked to be whole."""
    nonce = secrets.token_hex(8)
    script = facts.script(nonce, full=full, settled=settled, cli=cli)
    if cli:
        script = docker_host(engine.socket_path) + script
    answer = await link.ask(script, facts.end_mark(nonce), timeout=limit)
    found = facts.sections(answer, nonce)
    if cli:
        _check_cli(found)
    facts.check(found, facts.REQUIRED if cli else facts.REQUIRED - FROM_SOCKET)
    return found


def _check_cli(found: Mapping[str, Section]) -> None:
    """Raises ScanFailed in plain words if the docker command could not ask the Engine."""
    section = found.get("containers")
    if section is not None and section.status != 0:
        for sign, reason, message in SIGNS:
            if sign in section.text:
                raise ScanFailed(reason, message)


async def _from_socket(engine: Engine, owner: str) -> Seen:
    """Containers and images as the Engine tells them. Raises ScanFailed, ChannelRefused, LinkDown."""
    try:
        containers = await _containers(engine, owner)
        images = await engine.get("/images/json")
        return containers, images_from_list(images)
    except EngineDown as error:
        raise ScanFailed("EngineDown", str(error)) from error
    except EngineError as error:
        raise ScanFailed("EngineError", str(error)) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ScanFailed("EngineError", f"the Engine's answer makes no sense: {error!r}") from error


async def _containers(engine: Engine, owner: str) -> tuple[Container, ...]:
    """All containers; those of ours in full. Raises EngineError if a listed one is still not to be had at the end."""
    for pause in LOOK_AGAIN:
        try:
            return await _listed(engine, owner)
        except EngineError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
        await asyncio.sleep(pause)
    return await _listed(engine, owner)


async def _listed(engine: Engine, owner: str) -> tuple[Container, ...]:
    listed = await engine.get("/containers/json?all=1")
    return tuple(
        [
            container_from_inspect(await engine.get(f"/containers/{item['Id']}/json"))
            if (item.get("Labels") or {}).get(OWNER) == owner
            else container_from_list(item)
            for item in listed
        ]
    )


def _from_cli(found: Mapping[str, Section], owner: str) -> Seen:
    """The same from the docker command's sections."""
    try:
        inspected = json.loads(found["containers"].text)
        rows = [json.loads(line) for line in found["images"].text.splitlines() if line.strip()]
        containers = tuple(
            container_from_inspect(item)
            if (item["Config"].get("Labels") or {}).get(OWNER) == owner
            else container_from_list(_as_listed(item))
            for item in inspected
        )
        return containers, images_from_rows(rows)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ScanFailed("ScanFailed", f"the docker command's answer makes no sense: {error!r}") from error


def _identity(text: str) -> str:
    """A container's id. It will stand in commands, so it is what Docker makes of ids and nothing else."""
    if not IDENTITY.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is no container's id")
    return text


def container_from_inspect(item: Mapping[str, Any]) -> Container:
    """A container as `docker inspect` and `GET /containers/ID/json` describe it."""
    state, config, host = item["State"], item["Config"], item.get("HostConfig") or {}
    labels = config.get("Labels") or {}
    return Container(
        id=_identity(item["Id"]),
        name=item["Name"].removeprefix("/"),
        image=config["Image"],
        image_id=item.get("Image") or "",
        state=state["Status"],
        labels=labels,
        ports=_ports(labels, _published(item)),
        exit_code=state.get("ExitCode") or 0,
        oom_killed=bool(state.get("OOMKilled")),
        error=state.get("Error") or "",
        started_at=unix_time(state.get("StartedAt") or ""),
        finished_at=unix_time(state.get("FinishedAt") or ""),
        restart_count=item.get("RestartCount") or 0,
        restart_policy=(host.get("RestartPolicy") or {}).get("Name") or "no",
        stop_timeout=_patience(config.get("StopTimeout")),
    )


def _patience(seconds: object) -> float | None:
    """What a container says of its stop, as far as a desired state could have asked for it."""
    return float(seconds) if isinstance(seconds, int) and 0 <= seconds <= MAX_SECONDS else None


def container_from_list(item: Mapping[str, Any]) -> Container:
    """A container as `GET /containers/json` lists it: enough for one that is not ours."""
    names = [name.removeprefix("/") for name in item.get("Names") or ()]
    labels = item.get("Labels") or {}
    status = re.match(r"(?:Exited|Restarting) \((\d+)\)", item.get("Status") or "")
    published = (port["PublicPort"] for port in item.get("Ports") or () if port.get("PublicPort"))
    return Container(
        id=_identity(item["Id"]),
        name=next((name for name in names if "/" not in name), item["Id"][:12]),  # with "/": a link's alias
        image=item["Image"],
        image_id=item.get("ImageID") or "",
        state=item["State"],
        labels=labels,
        ports=_ports(labels, published),
        exit_code=int(status[1]) if status else 0,
    )


def _as_listed(item: Mapping[str, Any]) -> dict[str, Any]:
    """What the list would have said of an inspected container, so that both ways see the same."""
    state = item["State"]
    word = {"exited": "Exited", "restarting": "Restarting"}.get(state["Status"], "")
    return {
        "Id": item["Id"],
        "Names": [item["Name"]],
        "Image": item["Config"]["Image"],
        "ImageID": item.get("Image"),
        "State": state["Status"],
        "Status": f"{word} ({state.get('ExitCode') or 0})",
        "Labels": item["Config"].get("Labels"),
        "Ports": [{"PublicPort": port} for port in _published(item)],
    }


def _published(item: Mapping[str, Any]) -> list[int]:
    bindings = ((item.get("NetworkSettings") or {}).get("Ports") or {}).values()
    return [int(bound["HostPort"]) for row in bindings for bound in row or () if bound.get("HostPort")]


def _ports(labels: Mapping[str, str], published: Iterable[int]) -> tuple[int, ...]:
    """The Spark's ports that a container holds: published ones, and those its own spec declares."""
    return tuple(sorted({*published, *_declared(labels.get(SPEC, ""))}))


def _declared(text: str) -> set[int]:
    """The host ports in a `sparkkeep.spec` label. Anybody may write labels, so nonsense declares nothing."""
    try:
        spec = json.loads(text) if text else {}
        own = {spec["port"]} if spec.get("port") and spec.get("network", "host") == "host" else set()
        return {int(port) for port in (*own, *(row[0] for row in spec.get("ports") or ()))}
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError):
        return set()


def images_from_list(items: Iterable[Mapping[str, Any]]) -> Images:
    """Every tag, digest reference and id in the answer to `GET /images/json`, with what identifies its image."""
    return _references(
        (item["Id"], name)
        for item in items
        for name in (item["Id"], *(item.get("RepoTags") or ()), *(item.get("RepoDigests") or ()))
    )


def images_from_rows(rows: Iterable[Mapping[str, str]]) -> Images:
    """The same from the rows of `docker images --no-trunc --digests --format '{{json .}}'`."""
    return _references(
        (row["ID"], name)
        for row in rows
        for name in (row["ID"], f"{row['Repository']}:{row['Tag']}", f"{row['Repository']}@{row['Digest']}")
    )


def _references(names: Iterable[tuple[str, str]]) -> Images:
    """From (id, name): names as listed, and in the short form that `has_image` looks for (`docker.io/...` is gone).

    An image is identified by its id and by its digests: engines that store images differently give other ids.
    """
    named = [(id_, name) for id_, name in names if "<none>" not in name]
    known: dict[str, set[str]] = {}
    for id_, name in named:
        known.setdefault(id_, {id_}).update(name.partition("@")[2:])
    identities = {id_: frozenset(marks - {""}) for id_, marks in known.items()}
    return {form: identities[id_] for id_, name in named for form in (name, familiar(name))}


def unix_time(text: str) -> float:
    """Unix seconds of an RFC 3339 time with up to nine decimals; 0.0 for Docker's zero time, and for nonsense."""
    if not text or text.startswith("0001-"):
        return 0.0
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


async def _both(first: Awaitable[A], second: Awaitable[B]) -> tuple[A, B]:
    """Both results; if either fails, the other is ended before the failure is raised."""
    tasks = asyncio.ensure_future(first), asyncio.ensure_future(second)
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task in ended:
                task.result()
        return tasks[0].result(), tasks[1].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
