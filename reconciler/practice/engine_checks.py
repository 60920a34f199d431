"""What dockerd refuses before it creates a container, in its own words."""

from __future__ import annotations

import re
from typing import Final

from reconciler.practice.containers import NAME, Mount, Spec
from reconciler.practice.errors import DaemonError
from reconciler.practice.files import Files

LEAST_MEMORY: Final = 6 * 1024 * 1024
CAPABILITIES: Final = frozenset(
    [
        "ALL",
        "AUDIT_CONTROL",
        "AUDIT_READ",
        "AUDIT_WRITE",
        "BLOCK_SUSPEND",
        "BPF",
        "CHECKPOINT_RESTORE",
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "IPC_LOCK",
        "IPC_OWNER",
        "KILL",
        "LEASE",
        "LINUX_IMMUTABLE",
        "MAC_ADMIN",
        "MAC_OVERRIDE",
        "MKNOD",
        "NET_ADMIN",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_RAW",
        "PERFMON",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYSLOG",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_CHROOT",
        "SYS_MODULE",
        "SYS_NICE",
        "SYS_PACCT",
        "SYS_PTRACE",
        "SYS_RAWIO",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "WAKE_ALARM",
    ]
)


def conflict(name: str, holder: str) -> DaemonError:
    """The name is taken."""
    return DaemonError(
        409,
        f'Conflict. The container name "/{name}" is already in use by container "{holder}". '
        "You have to remove (or rename) that container to be able to reuse that name.",
    )


def check_name(name: str, *, shown: str = "") -> None:
    """Raises DaemonError for a name that Docker does not allow."""
    if NAME.fullmatch(name.removeprefix("/")) is None:
        raise DaemonError(400, f"Invalid container name ({shown or name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")


def check_spec(spec: Spec, files: Files) -> None:
    """Raises DaemonError for what can't be created. `-v` makes the folder it names; `--mount` needs it there."""
    spec.policy.check()
    if spec.memory and spec.memory < LEAST_MEMORY:
        raise DaemonError(400, "Minimum memory limit allowed is 6MB")
    for capability in spec.cap_add:
        if capability.upper().removeprefix("CAP_") not in CAPABILITIES:
            raise DaemonError(
                400, f'invalid CapAdd: unknown capability: "CAP_{capability.upper().removeprefix("CAP_")}"'
            )
    if spec.workdir and not spec.workdir.startswith("/"):
        raise DaemonError(400, f"the working directory '{spec.workdir}' is invalid, it needs to be an absolute path")
    if spec.auto_remove and spec.policy.name not in {"", "no"}:
        raise DaemonError(400, "can't create 'AutoRemove' container with restart policy")
    if not re.fullmatch(r"(|none|host|private|shareable|container:.+)", spec.ipc):
        raise DaemonError(400, f"Invalid IPC mode: {spec.ipc}")
    for mount in spec.mounts:
        _check_mount(mount, files)


def _check_mount(mount: Mount, files: Files) -> None:
    problem = ""
    if mount.kind not in {"bind", "volume", "tmpfs"}:
        problem = "mount type unknown"
    elif not mount.target.startswith("/"):
        problem = f"invalid mount path: '{mount.target}' mount path must be absolute"
    elif mount.kind == "bind" and not mount.source.startswith("/"):
        problem = f"invalid mount path: '{mount.source}' mount path must be absolute"
    elif mount.kind == "bind" and not mount.by_volume_flag and not files.exists(mount.source):
        problem = f"bind source path does not exist: {mount.source}"
    if not problem:
        return
    problem = f'invalid mount config for type "{mount.kind}": {problem}'
    if mount.by_volume_flag:
        text = f"{mount.source}:{mount.target}" + (f":{mount.mode}" if mount.mode else "")
        problem = f"invalid volume specification: '{text}': {problem}"
    raise DaemonError(400, problem)
