"""From a recipe to an argv: how an instance of a workload is created, as data.

Pure. A declaration (workload + merged recipe) becomes a `LaunchSpec`, the spec becomes `docker run ...`.
The spec's hash decides about drift: whatever is in it takes a new container to change; what is not in it
(restart policy, probe, memory estimate, aliases) changes in place or only in our own head.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pydantic import JsonValue

from reconciler.model import (
    GENERATION,
    MEMORY,
    OWNER,
    RANK,
    REVISION,
    SPEC,
    SPEC_HASH,
    WORKLOAD,
    Instance,
    LaunchSpec,
    ProbeSpec,
)
from reconciler.shell import Arg, Argv, home_path
from state.recipes import Recipe, SecretRef

ENV_FOLDER: Final = "$HOME/.sparkkeep/env"
NAME_PREFIX: Final = "sparkkeep-"


class NotLaunchable(Exception):
    """A recipe that this version can't turn into a command; the text says what is missing."""


def container_name(workload: str, rank: int | None = None) -> str:
    """The one name an instance's container has on its Spark. `rank` is for groups; no workload's name has a `_`."""
    return f"{NAME_PREFIX}{workload}" if rank is None else f"{NAME_PREFIX}{workload}_{rank}"


def flag_arguments(flags: Mapping[str, JsonValue]) -> Iterator[str]:
    """A flags map as arguments, by name: `true` is a bare flag, `false` and null leave it out, maps become JSON.

    The order in the file means nothing, so it must not look like drift.
    """
    for name, value in sorted(flags.items()):
        if value is None or value is False:
            continue
        yield f"--{name}"
        if value is True:
            continue
        if isinstance(value, list):
            yield from (_flag_text(item) for item in value)
        else:
            yield _flag_text(value)


def _flag_text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def launch_spec(recipe: Recipe) -> LaunchSpec:
    """Everything that decides how the container is created. Raises NotLaunchable."""
    if recipe.engine != "container":
        raise NotLaunchable(f"engine {recipe.engine}: this version launches `engine: container` recipes only")
    plain = {key: value for key, value in recipe.env.items() if isinstance(value, str)}
    secret = {key: value.secret for key, value in recipe.env.items() if isinstance(value, SecretRef)}
    return LaunchSpec(
        image=recipe.image,
        entrypoint=None if recipe.entrypoint is None else tuple(recipe.entrypoint),
        command=(*recipe.command, *flag_arguments(recipe.flags)),
        env=tuple(sorted(plain.items())),
        secrets=tuple(sorted(secret.items())),
        mounts=tuple((mount.source, mount.target, mount.read_only) for mount in recipe.mounts),
        port=recipe.port,
        ports=tuple((port.host, port.container, port.protocol) for port in recipe.ports),
        gpus=recipe.gpus == "all",
        shm=recipe.shm,
        network=recipe.network,
        ipc=recipe.ipc,
        user=recipe.user,
        workdir=recipe.workdir,
        ulimits=tuple(sorted(recipe.ulimits.items())),
        devices=tuple(recipe.devices),
        cap_add=tuple(recipe.cap_add),
        init=recipe.init,
    )


def probe_spec(recipe: Recipe) -> ProbeSpec:
    """The recipe's probe, with the port that it asks."""
    probe = recipe.probe
    return ProbeSpec(
        kind=probe.kind,
        path=probe.path,
        port=probe.port or recipe.port or 0,
        interval=probe.interval,
        timeout=probe.timeout,
        failures=probe.failures,
    )


def labels(instance: Instance, *, owner: str, revision: str) -> dict[str, str]:
    """What the container remembers, enough to rebuild everything from the Sparks alone. Secrets stay references."""
    return {
        OWNER: owner,
        WORKLOAD: instance.workload,
        RANK: str(instance.rank),
        GENERATION: str(instance.generation),
        REVISION: revision,
        SPEC_HASH: instance.spec_hash,
        MEMORY: str(instance.memory),
        SPEC: instance.spec.canonical(),
    }


def create(instance: Instance, *, owner: str, revision: str) -> Argv:
    """`docker run` for an instance. `--pull never`: fetching an image is a step of its own, never a surprise."""
    spec = instance.spec
    return (
        *("docker", "run", "--detach", "--name", instance.name),
        *_each("--label", (f"{k}={v}" for k, v in labels(instance, owner=owner, revision=revision).items())),
        *("--restart", instance.restart, "--pull", "never"),
        *("--stop-timeout", str(max(1, round(instance.stop_timeout)))),
        *_isolation(spec),
        *_each("--env", (f"{key}={value}" for key, value in spec.env)),
        *(("--env-file", home_path(f"{ENV_FOLDER}/{instance.name}")) if spec.secrets else ()),
        *_each("--mount", (_mount(*mount) for mount in spec.mounts)),
        *_each("--publish", (f"{host}:{inner}/{protocol}" for host, inner, protocol in spec.ports)),
        *_command(spec),
    )


def _isolation(spec: LaunchSpec) -> Iterator[Arg]:
    """What the container shares with the Spark, and what it may use of it."""
    yield from ("--network", spec.network)
    if spec.ipc != "private":
        yield from ("--ipc", spec.ipc)
    if spec.gpus:
        yield from ("--gpus", "all")
    if spec.shm is not None:
        yield from ("--shm-size", str(spec.shm))
    if spec.user is not None:
        yield from ("--user", spec.user)
    if spec.workdir is not None:
        yield from ("--workdir", spec.workdir)
    yield from _each("--ulimit", (f"{name}={limit}" for name, limit in spec.ulimits))
    yield from _each("--device", spec.devices)
    yield from _each("--cap-add", spec.cap_add)
    if spec.init:
        yield "--init"


def _command(spec: LaunchSpec) -> Iterator[str]:
    """Entrypoint, image, arguments. The docker CLI takes one word as entrypoint: the rest goes before the arguments."""
    if spec.entrypoint is not None:
        yield from ("--entrypoint", spec.entrypoint[0] if spec.entrypoint else "")
    yield spec.image
    yield from (spec.entrypoint or ())[1:]
    yield from spec.command


def _mount(source: str, target: str, read_only: bool) -> Arg:
    kind = "bind" if source.startswith(("/", "$HOME")) else "volume"
    tail = f",target={target}" + (",readonly" if read_only else "")
    return home_path(source, before=f"type={kind},source=", after=tail)


def _each(flag: str, values: Iterable[Arg]) -> Iterator[Arg]:
    for value in values:
        yield flag
        yield value


def pull(image: str) -> Argv:
    """Fetch an image. No quiet flag: the last line of progress explains a failure."""
    return ("docker", "pull", image)


def make_folders(paths: Iterable[str]) -> Argv:
    """Create the folders of mounts declared with `create: true`, as the SSH user, before Docker would as root."""
    return ("mkdir", "-p", "--", *(home_path(path) for path in paths))


def start(container: str) -> Argv:
    """Run an existing container again as it was created."""
    return ("docker", "start", container)


def unpause(container: str) -> Argv:
    """Let a paused container go on."""
    return ("docker", "unpause", container)


def stop(container: str, timeout: float) -> Argv:
    """Ask it to end; Docker kills it after `timeout` seconds. `-t`: its long name is not the same in all versions."""
    return ("docker", "stop", "-t", str(max(1, round(timeout))), container)


def restart(container: str, timeout: float) -> Argv:
    """Stop and start in one command, the container stays the same."""
    return ("docker", "restart", "-t", str(max(1, round(timeout))), container)


def remove(container: str) -> Argv:
    """Remove a stopped container. Never forced: a container that runs after all is not ours to kill here."""
    return ("docker", "rm", container)


def update_restart(container: str, policy: str) -> Argv:
    """Change the restart policy in place."""
    return ("docker", "update", "--restart", policy, container)


def logs(container: str, *, tail: int, follow: bool = False) -> Argv:
    """The container's last lines."""
    return ("docker", "logs", *(("--follow",) if follow else ()), "--tail", str(tail), container)
