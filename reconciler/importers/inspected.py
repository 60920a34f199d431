"""Adoption: a recipe and a workload from `docker inspect` of a container that is not ours.

Docker shows what a person wrote and what the image brought as one. Where the same JSON holds the image as well
(`docker inspect NAME IMAGE`), what the image brings is left to it. What Docker found out by itself is no
declaration; every setting that was changed from Docker's own is carried or lost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Final

from reconciler.importers.accounts import Account, Fate, Imported, Json, Note, Outcome, named
from reconciler.importers.fields import Draft, environment, unfit, workload_name
from reconciler.importers.masks import MASKED, arguments_masked
from reconciler.importers.serving import port_among
from state.problems import Invalid, Problem

MAX_BYTES: Final = 8 * 2**20
OWNER: Final = "sparkkeep.owner"
FOUND: Final = "Docker found this out, nobody declared it"
IN_PLACE: Final = f"{MASKED} stands in place of a secret: give the program that one by a variable instead"
_FOUND_TOP: Final = frozenset(
    named(
        """
Id Created Path Args State Image ResolvConfPath HostnamePath HostsPath LogPath Name RestartCount Driver Platform
MountLabel ProcessLabel AppArmorProfile ExecIDs GraphDriver SizeRw SizeRootFs NetworkSettings
ImageManifestDescriptor Storage
"""
    )
)
_FOUND_CONFIG: Final = frozenset(
    named("Hostname AttachStdin AttachStdout AttachStderr OpenStdin StdinOnce Tty ExposedPorts Volumes OnBuild")
)
_DEFAULTS: Final[Mapping[str, tuple[object, ...]]] = {
    "CgroupnsMode": ("private", "host"),
    "ConsoleSize": ([0, 0],),
    "Runtime": ("runc", "nvidia", "io.containerd.runc.v2"),
    "LogConfig": (
        {"Type": "json-file", "Config": {}},
        {"Type": "journald", "Config": {}},
        {"Type": "local", "Config": {}},
    ),
    "MaskedPaths": (),
    "ReadonlyPaths": (),
    "NetworkMode": (),
    "OomKillDisable": (False,),
    "PidsLimit": (0, -1),
    "MemorySwappiness": (-1,),
    "AutoRemove": (True, False),
    "VolumeDriver": ("",),
    "UsernsMode": ("",),
    "UTSMode": ("",),
    "PidMode": ("",),
    "Isolation": ("", "default"),
}
_ALWAYS_FOUND: Final = frozenset({"MaskedPaths", "ReadonlyPaths", "ContainerIDFile", "Links", "ConsoleSize"})
_CAPS: Final = "CAP_"


def read_inspected(text: str | bytes, file: str) -> Outcome:
    """Every container in the JSON of `docker inspect`. Raises Invalid."""
    objects = _objects(text, file)
    images = {str(found.get("Id")): found for found in objects if "RootFS" in found}
    containers = [found for found in objects if "RootFS" not in found]
    if not containers:
        raise Invalid([Problem(file, 0, 0, "", "holds no container: `docker inspect NAME` gives one")])
    made: list[Imported] = []
    notes: list[Note] = []
    for found in containers:
        name = str(found.get("Name") or found.get("Id") or "container").removeprefix("/")
        adoption = _Adoption(found, f"{file}: {name}", images.get(str(found.get("Image"))))
        made.append(adoption.imported(name))
        notes += adoption.account.notes()
    return Outcome(tuple(made), tuple(notes))


def _objects(text: str | bytes, file: str) -> list[Json]:
    if len(text) > MAX_BYTES:
        raise Invalid([Problem(file, 0, 0, "", f"is longer than {MAX_BYTES} bytes")])
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        line, column = getattr(error, "lineno", 0), getattr(error, "colno", 0)
        raise Invalid([Problem(file, line, column, "", f"is not JSON: {getattr(error, 'msg', 'too deep')}")]) from None
    found = data if isinstance(data, list) else [data]
    if not all(isinstance(each, dict) and (isinstance(each.get("Config"), dict) or "RootFS" in each) for each in found):
        raise Invalid([Problem(file, 0, 0, "", "is not what `docker inspect` prints: a list of containers")])
    return found


class _Adoption:
    def __init__(self, found: Json, file: str, image: Json | None) -> None:
        self.account = Account(file, found, unknown="was set, and there is no field for it")
        self._found, self._file = found, file
        self._config = self._map(found.get("Config"))
        self._host = self._map(found.get("HostConfig"))
        self._image = self._map((image or {}).get("Config"))
        self._known_image = image is not None
        self._draft = Draft(self.account)

    @staticmethod
    def _map(value: object) -> Json:
        return value if isinstance(value, dict) else {}

    def imported(self, name: str) -> Imported:
        """Recipe and workload. Raises Invalid for a container that is ours already."""
        labels = self._map(self._config.get("Labels"))
        if OWNER in labels:
            raise Invalid([Problem(self._file, 0, 0, "", f"is sparkkeep's own already (owner {labels[OWNER]})")])
        self._draft.fields["engine"] = "container"
        for key in self._found.keys() & _FOUND_TOP:
            self.account.consume(key, why=FOUND)
        self._program()
        self._environment()
        self._mounts()
        self._network()
        self._rights()
        self._limits()
        self._rest(labels)
        section = "models" if self._draft.fields.get("gpus") == "all" else "services"
        workload: Json = {"on": "spark-1", "run": "always"}
        return Imported(
            name=workload_name(name),
            recipe=self._draft.recipe(),
            workload=workload,
            section=section,  # type: ignore[arg-type]  # one of the two
        )

    def _program(self) -> None:
        config, put, account = self._config, self._draft.put, self.account
        put("Config", "Image", field="image", value=config.get("Image"))
        for key, field in (("Entrypoint", "entrypoint"), ("Cmd", "command")):
            value = config.get(key)
            if key not in config:
                continue
            if value is None or (self._known_image and value == self._image.get(key)):
                account.consume("Config", key, why="the image's own" if value else "there is none")
            else:
                self._words(key, field, [value] if isinstance(value, str) else value)
        argv = [*(self._draft.fields.get("entrypoint") or []), *(self._draft.fields.get("command") or [])]
        if (port := port_among(argv)) is not None:
            self._draft.fields["port"] = port
        for key, field in (("WorkingDir", "workdir"), ("User", "user")):
            value = config.get(key)
            if key in config and (not value or (self._known_image and value == self._image.get(key))):
                account.consume("Config", key, why="the image's own")
            elif value:
                put("Config", key, field=field, value=value)

    def _words(self, key: str, field: str, words: object) -> None:
        """Arguments; what is a secret among them stays behind."""
        kept = list(arguments_masked(words)) if isinstance(words, list) else words
        self._draft.put("Config", key, field=field, value=kept)
        if MASKED in str(kept):
            self.account.say(f"Config.{key}", Fate.LOST, IN_PLACE)

    def _environment(self) -> None:
        own = set(self._image.get("Env") or [])
        for number, entry in enumerate(self._config.get("Env") or []):
            at = ("Config", "Env", number)
            name, _, value = str(entry).partition("=")
            if entry in own or (not self._known_image and name == "PATH"):
                self.account.consume(*at, why="the image's own")
            else:
                self._draft.env(environment({name: value}, self.account, at))
        if not self._config.get("Env") and "Env" in self._config:
            self.account.consume("Config", "Env", why="there is none")

    def _mounts(self) -> None:
        """`Mounts` has them all; how they were written (`Binds`, `Mounts` of HostConfig) says the same."""
        for number, found in enumerate(self._found.get("Mounts") or []):
            at = ("Mounts", number)
            kind = found.get("Type")
            source = found.get("Name") if kind == "volume" else found.get("Source")
            if kind not in {"bind", "volume"}:
                self.account.lose(*at, why=f"a {kind} at {found.get('Destination')}: there is no field for it")
                continue
            made: Json = {"source": source, "target": found.get("Destination")}
            self._draft.add(*at, field="mounts", value=made | ({} if found.get("RW", True) else {"readOnly": True}))
        if not self._found.get("Mounts") and "Mounts" in self._found:
            self.account.consume("Mounts", why="there is none")
        for key in self._host.keys() & {"Binds", "Mounts"}:
            self.account.consume("HostConfig", key, why="the container's own list of mounts says the same")

    def _network(self) -> None:
        mode = str(self._host.get("NetworkMode") or "default")
        word = {"default": "bridge", "bridge": "bridge", "host": "host", "none": "none"}.get(mode)
        if word is None:
            self._draft.fields["network"] = "bridge"
            self.account.lose("HostConfig", "NetworkMode", why=f"{mode} is a network of its own: it becomes bridge")
        else:
            self._draft.put("HostConfig", "NetworkMode", field="network", value=word)
        bindings = self._map(self._host.get("PortBindings"))
        for inside, outside in bindings.items():
            self._published(inside, outside)
        if not bindings and "PortBindings" in self._host:
            self.account.consume("HostConfig", "PortBindings", why="there is none")
        ports = self._draft.fields.get("ports")
        if ports:
            self._draft.fields["port"] = ports[0]["host"]

    def _published(self, inside: str, outside: object) -> None:
        number, _, kind = inside.partition("/")
        at = ("HostConfig", "PortBindings", inside)
        for binding in outside if isinstance(outside, list) else []:
            host, address = str(binding.get("HostPort") or ""), binding.get("HostIp") or ""
            if self._draft.fields.get("network") != "bridge" or not (host.isdigit() and number.isdigit()):
                self.account.lose(*at, why="is not a port of the host: only `network: bridge` has such")
                continue
            made = {"host": int(host), "container": int(number)} | ({"protocol": "udp"} if kind == "udp" else {})
            if made not in self._draft.fields.get("ports", []):
                self._draft.add(*at, field="ports", value=made)
            if address not in {"", "0.0.0.0", "::"}:  # noqa: S104  # addresses to recognise
                self.account.lose(*at, why=f"the port is published on every address, not {address} alone")
        if not outside:
            self.account.lose(*at, why="Docker chose the port: name one under `ports`")

    def _rights(self) -> None:
        host, put = self._host, self._draft.put
        for key, field in (("Privileged", "privileged"), ("Init", "init")):
            if host.get(key):
                put("HostConfig", key, field=field, value=True)
        for number, cap in enumerate(host.get("CapAdd") or []):
            self._draft.add("HostConfig", "CapAdd", number, field="capAdd", value=str(cap).removeprefix(_CAPS))
        for number, option in enumerate(host.get("SecurityOpt") or []):
            self._draft.add("HostConfig", "SecurityOpt", number, field="securityOpt", value=option)
        for number, device in enumerate(host.get("Devices") or []):
            at = ("HostConfig", "Devices", number)
            if device.get("PathOnHost") == device.get("PathInContainer"):
                self._draft.add(*at, field="devices", value=device.get("PathOnHost"))
            else:
                self.account.lose(*at, why="a device keeps its path inside the container")
        requests = host.get("DeviceRequests") or []
        if any("gpu" in group for each in requests for group in each.get("Capabilities") or [[]]):
            self._draft.fields["gpus"] = "all"
            self.account.carry("HostConfig", "DeviceRequests", to="gpus")
        if host.get("Runtime") == "nvidia":
            self._draft.fields["gpus"] = "all"
            self.account.carry("HostConfig", "Runtime", to="gpus")

    def _limits(self) -> None:
        host, put = self._host, self._draft.put
        mode = str(host.get("IpcMode") or "private")
        put("HostConfig", "IpcMode", field="ipc", value="private" if mode in {"private", "shareable"} else mode)
        if "IpcMode" not in host:
            del self._draft.fields["ipc"]
        if host.get("ShmSize") not in {None, 0, 64 * 2**20}:
            put("HostConfig", "ShmSize", field="shm", value=host["ShmSize"])
        elif "ShmSize" in host:
            self.account.consume("HostConfig", "ShmSize", why="Docker's own")
        for number, limit in enumerate(host.get("Ulimits") or []):
            at = ("HostConfig", "Ulimits", number)
            if limit.get("Soft") == limit.get("Hard"):
                self._draft.add(*at, field="ulimits", value={str(limit.get("Name")): limit.get("Hard")})
            else:
                self.account.lose(*at, why="its two limits differ, and there is one number")
        policy = self._map(host.get("RestartPolicy"))
        put("HostConfig", "RestartPolicy", field="restart", value=policy.get("Name") or "no")
        if policy.get("MaximumRetryCount"):
            self.account.lose("HostConfig", "RestartPolicy", "MaximumRetryCount", why="there is no such limit here")
        timeout = self._config.get("StopTimeout")
        if timeout:
            put("Config", "StopTimeout", field="stopTimeout", value=timeout)

    def _rest(self, labels: Json) -> None:
        """Settings without a field: nothing if they are Docker's own, else lost."""
        for key in labels:
            self.account.consume("Config", "Labels", key, why="labels are the image's, or of whoever started it")
        self._rest_of_config()
        for key, value in self._host.items():
            if self.account.knows("HostConfig", key):
                continue
            if key in _ALWAYS_FOUND:
                self.account.consume("HostConfig", key, why=FOUND)
            elif _nothing(value) or value in _DEFAULTS.get(key, ()):
                self.account.consume("HostConfig", key, why="Docker's own")
        self._compose(labels)

    def _rest_of_config(self) -> None:
        for key, value in self._config.items():
            if self.account.knows("Config", key):
                continue
            if key in _FOUND_CONFIG:
                self.account.consume("Config", key, why=FOUND)
            elif _nothing(value):
                self.account.consume("Config", key, why="there is none")
            elif key in {"Healthcheck", "StopSignal", "Shell"} and self._known_image and value == self._image.get(key):
                self.account.consume("Config", key, why="the image's own")

    def _compose(self, labels: Json) -> None:
        project = labels.get("com.docker.compose.project")
        folder = labels.get("com.docker.compose.project.working_dir")
        text = f"adopted from the compose project {project}" if project else "adopted from a running container"
        where = f" in {PurePath(str(folder))}" if project and folder else ""
        if unfit("source", text + where) is None:
            self._draft.fields["source"] = text + where


def _nothing(value: object) -> bool:
    """Docker's way of saying that nothing was set."""
    if value is None or value is False or value in ("", 0):
        return True
    return isinstance(value, list | dict) and not value
