"""From the flags of `docker run` or `create` to a container's spec, with what the CLI checks by itself."""

from __future__ import annotations

import re
from typing import Final

from reconciler.practice import docker_flags
from reconciler.practice.containers import SHM_DEFAULT, Mount, Policy, Publish, Spec, parse_policy
from reconciler.practice.docker_flags import Parsed
from reconciler.practice.files import Files
from reconciler.practice.images import parse_reference

USED: Final = frozenset(
    [
        "name",
        "label",
        "label-file",
        "env",
        "env-file",
        "restart",
        "network",
        "net",
        "ipc",
        "shm-size",
        "gpus",
        "mount",
        "volume",
        "publish",
        "user",
        "workdir",
        "ulimit",
        "device",
        "cap-add",
        "init",
        "entrypoint",
        "stop-timeout",
        "memory",
        "rm",
        "hostname",
        "detach",
        "pull",
    ]
)
PULLS: Final = frozenset({"always", "missing", "never"})
LAST_PORT: Final = 65535


def spec(parsed: Parsed, files: Files) -> Spec:
    """Raises ValueError with the words that follow `docker: ` on standard error."""
    image, *command = parsed.arguments
    pull = parsed.last("pull", "missing")
    if pull not in PULLS:
        raise ValueError(f'invalid pull option: \'{pull}\': must be one of "always", "missing" or "never"')
    if not re.fullmatch(r"(sha256:)?[0-9a-f]{12,64}", image):
        parse_reference(image)
    entrypoint = parsed.flags.get("entrypoint")
    stop_timeout = parsed.flags.get("stop-timeout")
    networks = parsed.all("network") + parsed.all("net")
    return Spec(
        image=image,
        command=command,
        name=parsed.last("name"),
        entrypoint=None if entrypoint is None else [entrypoint[-1]] if entrypoint[-1] else [],
        env=_environment(parsed, files),
        labels=_labels(parsed, files),
        policy=parse_policy(parsed.last("restart", "no")) if parsed.last("restart", "no") else Policy(),
        network=networks[-1] if networks else "default",
        ipc=parsed.last("ipc", "private"),
        shm=docker_flags.size(parsed.last("shm-size", str(SHM_DEFAULT))) or SHM_DEFAULT,
        gpus=[docker_flags.gpus(text) for text in parsed.all("gpus")],
        mounts=[_volume(text) for text in parsed.all("volume")] + [_mount(text) for text in parsed.all("mount")],
        publish=[publish(text) for text in parsed.all("publish")],
        user=parsed.last("user"),
        workdir=parsed.last("workdir"),
        ulimits={name: (soft, hard) for name, soft, hard in map(docker_flags.ulimit, parsed.all("ulimit"))},
        devices=parsed.all("device"),
        cap_add=parsed.all("cap-add"),
        init=parsed.on("init") if "init" in parsed.flags else None,
        stop_timeout=None if stop_timeout is None else int(stop_timeout[-1]),
        memory=docker_flags.size(parsed.last("memory", "0")),
        auto_remove=parsed.on("rm"),
        hostname=parsed.last("hostname"),
        detach=parsed.on("detach"),
        pull=pull,
        other={name: values for name, values in parsed.flags.items() if name not in USED},
    )


def _lines(path: str, files: Files) -> list[str]:
    """Raises ValueError as the CLI does for a file that isn't there."""
    try:
        return files.read(files.normal(path)).decode().splitlines()
    except OSError as error:
        raise ValueError(f"open {path}: {(error.strerror or '').lower()}") from error


def _environment(parsed: Parsed, files: Files) -> list[str]:
    """Files first, then the flags; the last value of a variable counts and keeps the first's place."""
    entries: list[str] = []
    for path in parsed.all("env-file"):
        for line in (line.lstrip() for line in _lines(path, files)):
            if not line or line.startswith("#"):
                continue
            name, equals, _ = line.partition("=")
            if re.search(r"\s", name):
                raise ValueError(f"invalid env file ({path}): variable '{name}' contains whitespaces")
            if not name:
                raise ValueError(f"invalid env file ({path}): no variable name on line '{line}'")
            if equals:
                entries.append(line)
    entries += [entry for entry in parsed.all("env") if "=" in entry]  # without a value: the CLI's own, which has none
    values = {entry.partition("=")[0]: entry for entry in entries}
    return list(values.values())


def _labels(parsed: Parsed, files: Files) -> dict[str, str]:
    lines = [line for path in parsed.all("label-file") for line in _lines(path, files) if line.strip()]
    return {key: value for key, _, value in (entry.partition("=") for entry in [*lines, *parsed.all("label")])}


def publish(text: str) -> Publish:
    """`[address:][host:]inner[/protocol]`. Raises ValueError."""
    rest, slash, protocol = text.rpartition("/")
    if not slash:
        rest, protocol = text, "tcp"
    if protocol not in {"tcp", "udp", "sctp"}:
        raise ValueError(f"invalid proto: {protocol}")
    match = re.fullmatch(r"(?:(?P<address>\[[^\]]*\]|[^:]*):)??(?:(?P<host>[^:]*):)?(?P<inner>[^:]+)", rest)
    if match is None:
        raise ValueError(f"invalid containerPort: {rest.rpartition(':')[2]}")
    host, inner = match["host"] or "0", match["inner"]
    for word, number in (("containerPort", inner), ("hostPort", host)):
        if not number.isdigit() or int(number) > LAST_PORT:
            raise ValueError(f"invalid {word}: {number}")
    return Publish(int(host), int(inner), protocol, (match["address"] or "").strip("[]"))


def _volume(text: str) -> Mount:
    """`source:target[:mode]`, or a target alone."""
    source, target, mode = ([*text.split(":"), "", ""])[:3]
    if not target:
        return Mount("volume", "", source, by_volume_flag=True)
    kind = "bind" if source.startswith("/") else "volume"
    return Mount(kind, source, target, read_only="ro" in mode.split(","), by_volume_flag=True, mode=mode)


def _mount(text: str) -> Mount:
    fields = docker_flags.mount(text)
    read_only = fields.get("readonly", "false") in docker_flags.TRUE
    return Mount(fields["type"], fields.get("source", ""), fields["target"], read_only=read_only)
