"""`docker run ...` as fields of a recipe: each option by a table, what follows the image as its argv."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from reconciler.importers.accounts import Account, Fate, named
from reconciler.importers.executor_config import ULIMIT
from reconciler.importers.fields import Draft, mount, secret_name, unfit
from reconciler.importers.masks import is_secret

SHORT: Final = {
    "e": "env", "v": "volume", "p": "publish", "u": "user", "w": "workdir", "m": "memory", "h": "hostname",
    "l": "label", "c": "cpu-shares", "a": "attach", "d": "detach", "i": "interactive", "t": "tty", "q": "quiet",
    "P": "publish-all",
}  # fmt: skip
_BARE: Final = {
    "rm": "sparkkeep removes its containers itself",
    "detach": "every container of sparkkeep's is detached",
    "interactive": "nobody sits in front of it",
    "tty": "nobody sits in front of it",
    "quiet": "about the docker command itself",
    "sig-proxy": "about the docker command itself",
}
_OWN: Final = {
    "name": "the container's name is sparkkeep's own",
    "pull": "fetching an image is a step of its own",
    "runtime": "`gpus: all` gives the GPU",
    "log-driver": "the Spark's own setting holds",
    "log-opt": "the Spark's own setting holds",
    "platform": "the image decides",
}
_LOST: Final = frozenset(
    named(
        """
env-file label hostname add-host dns mount tmpfs memory memory-swap memory-reservation cpus cpuset-cpus cpu-shares
stop-signal group-add pid pids-limit oom-score-adj sysctl volumes-from userns uts cgroupns expose cap-drop annotation
ip link network-alias health-cmd health-interval health-retries health-timeout health-start-period shm attach
device-cgroup-rule
"""
    )
)
_LOST_BARE: Final = frozenset({"read-only", "publish-all", "no-healthcheck", "oom-kill-disable"})
_PUBLISHED: Final = re.compile(
    r"(?:(?P<address>[0-9.]+|\[[0-9a-f:]+\]):)?(?P<host>\d+):(?P<inside>\d+)(?:/(?P<kind>tcp|udp))?"
)


class NotReadable(Exception):
    """A `docker run` that can't be read to its end; the text says where it stops."""


class DockerRun:
    """Reads one `docker run` into a draft; `argv` is what follows the image."""

    def __init__(self, draft: Draft, account: Account, key: str) -> None:
        self._draft, self._account, self._key = draft, account, key
        self._network_said = False
        self.argv: list[str] = []

    def read(self, words: Sequence[str]) -> None:
        """`words` follow `docker run`. Raises NotReadable."""
        waiting = list(words)
        while waiting and waiting[0].startswith("-") and waiting[0] != "--":
            self._option(waiting)
        if waiting[:1] == ["--"]:
            waiting.pop(0)
        if not waiting:
            raise NotReadable("names no image")
        self._put("image", "image", waiting.pop(0))
        self.argv = waiting
        if not self._network_said:
            self._draft.fields.setdefault("network", "bridge")

    def _option(self, waiting: list[str]) -> None:
        word = waiting.pop(0)
        name, equals, value = word.lstrip("-").partition("=")
        if not word.startswith("--"):
            first, rest = word[1], word[2:]
            name, value = SHORT.get(first, first), rest.removeprefix("=")
            if name in _BARE or name in _LOST_BARE:  # `-it`: several at once
                if rest:
                    waiting.insert(0, f"-{rest}")
                value, equals = "", ""
            else:
                equals = "=" if rest else ""
        if name in _BARE or name in _LOST_BARE or name in {"init", "privileged"}:
            self._switch(name, on=value not in {"false", "0"})
        elif name in _TAKERS or name in _OWN or name in _LOST:
            if not equals and not waiting:
                raise NotReadable(f"--{name} has no value")
            self._valued(name, value if equals else waiting.pop(0))
        elif equals:
            self._say(f"--{name}", Fate.LOST, "is not an option that this importer knows")
        else:
            raise NotReadable(f"{word} is not an option that this importer knows, nor whether a value follows it")

    def _switch(self, name: str, *, on: bool) -> None:
        if name in {"init", "privileged"}:
            self._put(name, name, on)
        elif name in _BARE:
            self._say(f"--{name}", Fate.CONSUMED, _BARE[name])
        else:
            self._say(f"--{name}", Fate.LOST, "there is no field for it")

    def _valued(self, name: str, value: str) -> None:
        if name in _TAKERS:
            _TAKERS[name](self, value)
        elif name in _OWN:
            self._say(f"--{name} {value}", Fate.CONSUMED, _OWN[name])
        else:
            self._say(f"--{name}", Fate.LOST, "there is no field for it")

    def _say(self, part: str, fate: Fate, message: str) -> None:
        self._account.say(f"{self._key}: {part}", fate, message)

    def _put(self, part: str, field: str, value: object) -> None:
        wrong = unfit(field, value)
        if wrong is None:
            self._draft.fields[field] = value
        else:
            self._say(part, Fate.LOST, f"does not fit `{field}`: {wrong}")

    def _add(self, part: str, field: str, value: object) -> None:
        self._put(part, field, [*self._draft.fields.get(field, []), value])

    def variable(self, text: str) -> None:
        """`NAME=value`; a secret leaves its value behind."""
        name, equals, value = text.partition("=")
        if not equals:
            self._say(f"--env {name}", Fate.LOST, "its value comes from where docker is called: name it as a secret")
        elif value and is_secret(name, value):
            secret = secret_name(name)
            self._draft.env({name: {"secret": secret}})
            message = f"the value is a secret and was not copied: `sparkkeep secret set {secret}`"
            self._say(f"--env {name}", Fate.LOST, message)
        elif (wrong := unfit("env", {name: value})) is not None:
            self._say(f"--env {name}", Fate.LOST, wrong)
        else:
            self._draft.env({name: value})

    def volume(self, text: str) -> None:
        """`source:target[:ro]`."""
        made = mount(text)
        if made is None or unfit("mounts", [made]):
            self._say(f"--volume {text}", Fate.LOST, "is not a mount such as /data:/data:ro")
        else:
            self._add(f"--volume {text}", "mounts", made)

    def publish(self, text: str) -> None:
        """`[address:]host:container[/udp]`."""
        found = _PUBLISHED.fullmatch(text)
        if found is None:
            self._say(f"--publish {text}", Fate.LOST, "is not a pair such as 8080:80")
            return
        if found["address"] not in {None, "0.0.0.0"}:  # noqa: S104  # an address to recognise
            self._say(
                f"--publish {text}", Fate.LOST, f"the port is published on every address, not {found['address']} alone"
            )
        port = {"host": int(found["host"]), "container": int(found["inside"])}
        self._add(f"--publish {text}", "ports", port | ({"protocol": "udp"} if found["kind"] == "udp" else {}))

    def network(self, text: str) -> None:
        """host, bridge or none."""
        self._network_said = True
        self._put(f"--network {text}", "network", text)

    def gpus(self, text: str) -> None:
        """A Spark has one GPU."""
        if text not in {"all", "1", "device=0", '"device=0"'}:
            self._say(f"--gpus {text}", Fate.LOST, "a Spark has one GPU: it is all of it")
        self._draft.fields["gpus"] = "all"

    def ulimit(self, text: str) -> None:
        """`memlock=-1[:-1]`."""
        found = ULIMIT.fullmatch(text)
        if found is None or found[3] not in {None, found[2]}:
            self._say(f"--ulimit {text}", Fate.LOST, "is not a limit such as memlock=-1")
        else:
            limits = {**self._draft.fields.get("ulimits", {}), found[1]: int(found[2])}
            self._put(f"--ulimit {text}", "ulimits", limits)

    def device(self, text: str) -> None:
        """A device keeps its path."""
        outside, _, inside = text.partition(":")
        if inside not in {"", outside}:
            self._say(f"--device {text}", Fate.LOST, "a device keeps its path inside the container")
        else:
            self._add(f"--device {text}", "devices", outside)

    def ipc(self, text: str) -> None:
        """host, or a private one."""
        self._put(f"--ipc {text}", "ipc", "private" if text == "shareable" else text)

    def plain(self, field: str, value: object) -> None:
        """A field that takes the word as it is."""
        self._put(field, field, value)

    def add(self, field: str, value: object) -> None:
        """A field that is a list of such words."""
        self._add(field, field, value)


_TAKERS: Final[dict[str, Callable[[DockerRun, str], None]]] = {
    "env": DockerRun.variable,
    "volume": DockerRun.volume,
    "publish": DockerRun.publish,
    "network": DockerRun.network,
    "net": DockerRun.network,
    "gpus": DockerRun.gpus,
    "ulimit": DockerRun.ulimit,
    "device": DockerRun.device,
    "ipc": DockerRun.ipc,
    "shm-size": lambda run, text: run.plain("shm", re.sub(r"(?i)(?<=[kmgt])b$", "", text)),
    "user": lambda run, text: run.plain("user", text),
    "workdir": lambda run, text: run.plain("workdir", text),
    "restart": lambda run, text: run.plain("restart", text),
    "entrypoint": lambda run, text: run.plain("entrypoint", [text] if text else []),
    "cap-add": lambda run, text: run.add("capAdd", text),
    "security-opt": lambda run, text: run.add("securityOpt", text),
    "stop-timeout": lambda run, text: run.plain("stopTimeout", f"{text}s"),
}
