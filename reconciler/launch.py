"""From an instance to an argv: every docker command that is ever sent, as data.

Pure. `reconciler.engines` has made a `LaunchSpec` of workload and recipe; here the spec becomes `docker run ...`.
The spec's hash decides about drift: whatever is in it takes a new container to change; what is not in it
(restart policy, probe, memory estimate, aliases) changes in place or only in our own head.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from reconciler.model import (
    BUILD,
    FENCE,
    GENERATION,
    MEMORY,
    OWNER,
    RANK,
    REVISION,
    SPEC,
    SPEC_HASH,
    WORKLOAD,
    Built,
    Instance,
    LaunchSpec,
)
from reconciler.shell import Arg, Argv, home_path

ENV_FOLDER: Final = "$HOME/.sparkkeep/env"
MODS_FOLDER: Final = "$HOME/.sparkkeep/mods"
DROP_CACHES: Final = "/proc/sys/vm/drop_caches"
NAME_PREFIX: Final = "sparkkeep-"
# A folder that another user owns can't be opened further; whether it must be, the container's own words tell.
OPENED: Final = 'mkdir -p -- "$@" && { chmod a+rwx -- "$@" || echo "sparkkeep: left as they are" >&2; }'
FREED: Final = (
    f"timeout 30 sync; if [ -w {DROP_CACHES} ]; then echo 3 > {DROP_CACHES}; "
    f"else echo 3 | sudo -n tee {DROP_CACHES} > /dev/null; fi"
)


def container_name(workload: str, rank: int | None = None) -> str:
    """The one name an instance's container has on its Spark. `rank` is for groups; no workload's name has a `_`."""
    return f"{NAME_PREFIX}{workload}" if rank is None else f"{NAME_PREFIX}{workload}_{rank}"


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


def with_fence(argv: Argv, token: int) -> Argv:
    """The command of `create` as it is sent: the token of the lease is known only then, and is no part of a plan."""
    at = argv.index("--label")
    return (*argv[:at], "--label", f"{FENCE}={token}", *argv[at:])


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
    if spec.privileged:
        yield "--privileged"
    yield from _each("--security-opt", spec.security_opt)
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


def build(image: str, built: Built) -> Argv:
    """Build an image; its context is the tar on standard input (`tar -cC FOLDER . | docker build ... -`).

    The label stands on every container of the image too, so it is none of those that make a container ours.
    """
    args = _each("--build-arg", (f"{name}={value}" for name, value in built.args))
    return ("docker", "build", "--label", f"{BUILD}={built.tag}", "--tag", image, *args, "-")


def make_folders(paths: Iterable[str]) -> Argv:
    """Create the folders of mounts declared with `create: true`, as the SSH user, before Docker would as root."""
    return ("mkdir", "-p", "--", *(home_path(path) for path in paths))


def open_folders(paths: Iterable[str]) -> Argv:
    """Create folders that a container's own user, whichever that is, must be able to write to."""
    return ("sh", "-c", OPENED, "sparkkeep-folders", *(home_path(path) for path in paths))


def mod_folder(digest: str) -> str:
    """Where a mod of this content lies on every Spark."""
    return f"{MODS_FOLDER}/{digest}"


def deliver(name: str, digest: str) -> Argv:
    """A mod goes from the mods folder here to the Spark, told as people would do it.

    What is sent is made at the last moment, by `reconciler.delivery`.
    """
    return ("cp", "-r", "--", f"mods/{name.removeprefix('mods/')}", home_path(mod_folder(digest)))


def free_page_cache() -> Argv:
    """Let go of what the kernel keeps of files, as root or where sudo asks for no password."""
    return ("sh", "-c", FREED)


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
