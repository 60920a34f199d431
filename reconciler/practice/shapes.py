"""The Engine's JSON: what the API answers and `docker inspect` prints (Docker 20.10 to 28, their common part)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reconciler.practice.clock import BILLION, ago, digest, rfc3339
from reconciler.practice.engine_texts import ANYWHERE

if TYPE_CHECKING:
    from reconciler.practice.containers import Container, Mount, Publish
    from reconciler.practice.engine import Engine
    from reconciler.practice.images import Image

Json = dict[str, Any]
API_VERSION: Final = "1.50"
OLD_API_VERSION: Final = "1.41"
EMPTY_ADDRESS: Final[Json] = {
    "Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "MacAddress": "",
}


def api_version(engine: Engine) -> str:
    """The newest API version this engine speaks."""
    return OLD_API_VERSION if engine.version.startswith("20.") else API_VERSION


def status(container: Container, now: float) -> str:
    """`Up 3 minutes`, `Exited (1) 2 hours ago`: the STATUS of `docker ps`."""
    up = ago(now - container.started / BILLION)
    ended = ago(now - container.finished / BILLION)
    return {
        "created": "Created",
        "running": f"Up {up}",
        "paused": f"Up {up} (Paused)",
        "restarting": f"Restarting ({container.exit_code}) {ended} ago",
        "exited": f"Exited ({container.exit_code}) {ended} ago",
    }.get(container.state, "Dead")


def command_line(container: Container) -> str:
    """Path and arguments in one text, as a list shows them."""
    return " ".join(f"'{word}'" if " " in word else word for word in container.spec.argv)


def mount_points(container: Container) -> list[Json]:
    """`Mounts` of a list or an inspection."""
    found: list[Json] = []
    for mount in container.spec.mounts:
        if mount.kind == "bind":
            shown: Json = {"Type": "bind", "Source": mount.source, "Destination": mount.target, "Mode": mount.mode}
            found.append({**shown, "RW": not mount.read_only, "Propagation": "rprivate"})
        elif mount.kind == "volume":
            name = mount.source or digest(container.id + mount.target)
            path = f"/var/lib/docker/volumes/{name}/_data"
            shown = {"Type": "volume", "Name": name, "Source": path, "Destination": mount.target, "Driver": "local"}
            found.append({**shown, "Mode": "z", "RW": not mount.read_only, "Propagation": ""})
        else:
            shown = {"Type": "tmpfs", "Source": "", "Destination": mount.target, "Mode": ""}
            found.append({**shown, "RW": True, "Propagation": ""})
    return found


def _networks(container: Container) -> Json:
    name = "bridge" if container.spec.network == "default" else container.spec.network
    identity = digest(f"network {name}") if container.started else ""
    endpoint = digest(f"endpoint {container.id}") if container.active else ""
    ends = {"NetworkID": identity, "EndpointID": endpoint, **EMPTY_ADDRESS, "DriverOpts": None}
    return {name: {"IPAMConfig": None, "Links": None, "Aliases": None, **ends}}


def listed_ports(container: Container) -> list[Json]:
    """`Ports` of `GET /containers/json`."""
    return [
        {"IP": port.address or ANYWHERE, "PrivatePort": port.inner, "PublicPort": port.host, "Type": port.protocol}
        for port in container.ports
    ]


def listed(container: Container, now: float) -> Json:
    """One entry of `GET /containers/json`."""
    return {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": container.spec.image,
        "ImageID": container.image_id,
        "Command": command_line(container),
        "Created": container.created // BILLION,
        "Ports": listed_ports(container),
        "Labels": dict(container.spec.labels),
        "State": container.state,
        "Status": status(container, now),
        "HostConfig": {"NetworkMode": container.spec.network},
        "NetworkSettings": {"Networks": _networks(container)},
        "Mounts": mount_points(container),
    }


def state(container: Container) -> Json:
    """`State` of an inspection."""
    return {
        "Status": container.state,
        "Running": container.active,
        "Paused": container.state == "paused",
        "Restarting": container.state == "restarting",
        "OOMKilled": container.oom_killed,
        "Dead": container.state == "dead",
        "Pid": container.pid,
        "ExitCode": container.exit_code,
        "Error": container.error,
        "StartedAt": rfc3339(container.started),
        "FinishedAt": rfc3339(container.finished),
    }


def inspected(container: Container) -> Json:
    """`GET /containers/{id}/json` and one entry of `docker inspect`."""
    spec = container.spec
    folder = f"/var/lib/docker/containers/{container.id}"
    files = {"ResolvConfPath": "resolv.conf", "HostnamePath": "hostname", "HostsPath": "hosts"}
    return {
        "Id": container.id,
        "Created": rfc3339(container.created),
        "Path": spec.argv[0],
        "Args": spec.argv[1:],
        "State": state(container),
        "Image": container.image_id,
        **{key: f"{folder}/{name}" if container.started else "" for key, name in files.items()},
        "LogPath": f"{folder}/{container.id}-json.log" if container.started else "",
        "Name": f"/{container.name}",
        "RestartCount": container.restarts,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": _host_config(container),
        "GraphDriver": {"Data": {"ID": container.id}, "Name": "overlay2"},
        "Mounts": mount_points(container),
        "Config": _config(container),
        "NetworkSettings": _network_settings(container),
    }


def _bindings(ports: list[Publish], *, running: bool) -> Json:
    found: dict[str, list[Json]] = {}
    for port in ports:
        address = port.address or (ANYWHERE if running else "")
        host = {"HostIp": address, "HostPort": str(port.host) if port.host else ""}
        found.setdefault(f"{port.inner}/{port.protocol}", []).append(host)
    return dict(found)


def _mount_spec(mount: Mount) -> Json:
    shown: Json = {"Type": mount.kind, "Source": mount.source, "Target": mount.target}
    return shown | ({"ReadOnly": True} if mount.read_only else {})


def _host_config(container: Container) -> Json:
    spec = container.spec
    binds = [":".join(filter(None, (m.source, m.target, m.mode))) for m in spec.mounts if m.by_volume_flag]
    mounts = [_mount_spec(mount) for mount in spec.mounts if not mount.by_volume_flag]
    policy = spec.policy
    devices = (device.split(":") for device in spec.devices)
    return {
        "Binds": binds or None,
        "LogConfig": {"Type": "json-file", "Config": {}},
        "NetworkMode": spec.network,
        "PortBindings": _bindings(spec.publish, running=False),
        "RestartPolicy": {"Name": policy.name or "no", "MaximumRetryCount": policy.most},
        "AutoRemove": spec.auto_remove,
        "CapAdd": [f"CAP_{name.upper().removeprefix('CAP_')}" for name in spec.cap_add] or None,
        "CapDrop": None,
        "CgroupnsMode": "private",
        "IpcMode": spec.ipc,
        "PidMode": "",
        "Privileged": "privileged" in spec.other,
        "ReadonlyRootfs": False,
        "SecurityOpt": None,
        "ShmSize": spec.shm,
        "Runtime": "runc",
        "Memory": spec.memory,
        "NanoCpus": 0,
        "Devices": [{"PathOnHost": d[0], "PathInContainer": (d + d)[1], "CgroupPermissions": "rwm"} for d in devices],
        "DeviceRequests": spec.gpus or None,
        "MemorySwap": spec.memory * 2,
        "OomKillDisable": False,
        "PidsLimit": None,
        "Ulimits": [{"Name": n, "Hard": hard, "Soft": soft} for n, (soft, hard) in sorted(spec.ulimits.items())],
        **({"Mounts": mounts} if mounts else {}),
        **({"Init": spec.init} if spec.init is not None else {}),
    }


def _config(container: Container) -> Json:
    spec = container.spec
    exposed: Json = {f"{port.inner}/{port.protocol}": {} for port in spec.publish}
    return {
        "Hostname": spec.hostname or container.id[:12],
        "Domainname": "",
        "User": spec.user,
        "AttachStdin": False,
        "AttachStdout": not spec.detach,
        "AttachStderr": not spec.detach,
        **({"ExposedPorts": exposed} if exposed else {}),
        "Tty": False,
        "OpenStdin": False,
        "StdinOnce": False,
        "Env": list(spec.env),
        "Cmd": list(spec.command) or None,
        "Image": spec.image,
        "Volumes": None,
        "WorkingDir": spec.workdir,
        "Entrypoint": spec.entrypoint,
        "OnBuild": None,
        "Labels": dict(spec.labels),
        **({"StopTimeout": spec.stop_timeout} if spec.stop_timeout is not None else {}),
    }


def _network_settings(container: Container) -> Json:
    return {
        "Bridge": "",
        "SandboxID": digest(f"sandbox {container.id}") if container.active else "",
        "Ports": _bindings(container.ports, running=True),
        "SandboxKey": "/var/run/docker/netns/default" if container.active else "",
        **EMPTY_ADDRESS,
        "Networks": _networks(container),
    }


def image(found: Image) -> Json:
    """One entry of `GET /images/json`."""
    return {
        "Containers": -1,
        "Created": found.created // BILLION,
        "Id": found.id,
        "Labels": dict(found.config.labels) or None,
        "ParentId": "",
        "RepoDigests": sorted(found.digests),
        "RepoTags": sorted(found.tags),
        "SharedSize": -1,
        "Size": found.size,
    }


def version(engine: Engine) -> Json:
    """`GET /version`."""
    details = {"ApiVersion": api_version(engine), "Arch": "arm64", "MinAPIVersion": "1.24", "Os": "linux"}
    return {
        "Platform": {"Name": "Docker Engine - Community (practice)"},
        "Components": [{"Name": "Engine", "Version": engine.version, "Details": details}],
        "Version": engine.version,
        "ApiVersion": api_version(engine),
        "MinAPIVersion": "1.24",
        "GitCommit": "practice",
        "GoVersion": "go1.24.3",
        "Os": "linux",
        "Arch": "arm64",
        "KernelVersion": KERNEL,
        "BuildTime": "2025-05-30T12:07:15.000000000+00:00",
    }


KERNEL: Final = "6.11.0-1016-nvidia"


def info(engine: Engine) -> Json:
    """`GET /info`, its useful part."""
    states = [container.state for container in engine.containers.values()]
    machine = engine.machine
    return {
        "ID": digest(f"engine {machine.name}")[:12],
        "Containers": len(states),
        "ContainersRunning": sum(s in {"running", "restarting"} for s in states),
        "ContainersPaused": states.count("paused"),
        "ContainersStopped": sum(s in {"exited", "created", "dead"} for s in states),
        "Images": len(engine.images.all),
        "Driver": "overlay2",
        "LoggingDriver": "json-file",
        "CgroupDriver": "systemd",
        "CgroupVersion": "2",
        "SystemTime": rfc3339(machine.clock.nanos()),
        "KernelVersion": KERNEL,
        "OperatingSystem": "Ubuntu 24.04.2 LTS",
        "OSType": "linux",
        "Architecture": "aarch64",
        "NCPU": 20,
        "MemTotal": machine.memory_total,
        "DockerRootDir": "/var/lib/docker",
        "Runtimes": {"nvidia": {"path": "nvidia-container-runtime"}, "runc": {"path": "runc"}},
        "DefaultRuntime": "runc",
        "Name": machine.name,
        "Labels": [],
        "ServerVersion": engine.version,
    }
