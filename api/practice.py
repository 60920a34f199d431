"""Practice: a copy of the example, practice Sparks behind it, and what to try with them.

The copied desired state is a person's file from the first moment on: it is made once and never written again. Where
its practice Sparks listen this time is therefore not read from it but known by their names.
"""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError, validate_call

from api.folder import DataFolder, Unusable
from api.reach import Reach
from reconciler.explain import Explanation
from reconciler.hostkeys import HostKeys
from reconciler.hosts import Host
from reconciler.practice.console import USER
from reconciler.practice.errors import DaemonError
from reconciler.practice.faults import Faults
from reconciler.practice.fleet import FIRST_PORT, PracticeFleet
from reconciler.ssh import Link
from reconciler.weights.cache import Want
from reconciler.weights.fetch import Fetched
from state.desired import Spark
from state.problems import Invalid
from state.yaml_read import read_tree
from state.yaml_tree import as_map

EXAMPLE: Final = Path(__file__).parent / "example.yaml"
MOST: Final = 16
LONGEST: Final = 600  # seconds that a fault may take: who injected it waits for its end
SECTION: Final = re.compile(rb"^sparks:.*\n(?:(?:[ \t].*)?\n)*", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class PracticeReach(Reach):
    """Practice Sparks are where their fleet says, whatever the file says."""

    fleet: PracticeFleet

    def link(self, name: str, spark: Spark) -> Link:
        """A connection to the practice Spark of that name."""
        if name in self.fleet.sparks:
            there = self.fleet[name]
            spark = spark.model_copy(update={"host": there.host, "port": there.port, "user": USER})
        return super().link(name, spark)

    def address(self, name: str, spark: Spark) -> str:
        """Where the practice Spark of that name listens."""
        return self.fleet[name].host if name in self.fleet.sparks else super().address(name, spark)


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """The fleet, its desired state, and its faults: `api.context.PracticeRoom`."""

    fleet: PracticeFleet
    desired: Path
    reach: PracticeReach

    def describe(self) -> dict[str, Any]:
        """The Sparks, and the faults with their arguments."""
        return {
            "desired": str(self.desired),
            "sparks": {
                name: {
                    "host": spark.host,
                    "port": spark.port,
                    "user": USER,
                    "ssh": self.ssh(name),
                    "happened": dict(spark.faults.counts),
                }
                for name, spark in self.fleet.sparks.items()
            },
            "faults": {name: _described(getattr(Faults, name)) for name in self.faults()},
        }

    def sparks(self) -> Sequence[str]:
        """Their names."""
        return list(self.fleet.sparks)

    def faults(self) -> Sequence[str]:
        """The names of what can go wrong."""
        return [name for name, _ in inspect.getmembers(Faults, inspect.isfunction) if not name.startswith("_")]

    async def inject(self, spark: str, fault: str, arguments: Mapping[str, Any]) -> Any:
        """Let something go wrong. Raises ValueError for arguments that don't fit."""
        method = getattr(self.fleet[spark].faults, fault)
        _not_for_ever(arguments.get("seconds"))
        try:
            done = validate_call(method)(**arguments)
            return await done if inspect.isawaitable(done) else done
        except ValidationError as error:
            told = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ValueError("; ".join(told)) from error
        except DaemonError as error:
            raise ValueError(str(error)) from error

    def ssh(self, name: str) -> str:
        """How a person logs in."""
        spark = self.fleet[name]
        known = f"UserKnownHostsFile={self.fleet.known_hosts_path}"
        return shlex.join(
            ["ssh", "-i", str(self.fleet.key_path), "-o", known, "-p", str(spark.port), f"{USER}@{spark.host}"]
        )


def _not_for_ever(seconds: Any) -> None:
    """Raises ValueError. What is no number at all is left to the fault to refuse."""
    try:
        fits = 0 <= float(0 if seconds is None else seconds) <= LONGEST
    except OverflowError:
        fits = False
    except (TypeError, ValueError):
        return
    if not fits:
        raise ValueError(f"seconds: from 0 to {LONGEST}")


def _described(method: Any) -> dict[str, Any]:
    parameters = list(inspect.signature(method).parameters.values())[1:]
    return {
        "about": (inspect.getdoc(method) or "").partition("\n")[0],
        "arguments": [
            {
                "name": parameter.name,
                "type": str(parameter.annotation),
                "required": parameter.default is parameter.empty,
                "default": None if parameter.default is parameter.empty else parameter.default,
            }
            for parameter in parameters
        ],
    }


@asynccontextmanager
async def workshop(
    count: int, folder: DataFolder, template: Path | None, *, first_port: int = FIRST_PORT
) -> AsyncIterator[Workshop]:
    """Practice Sparks that run until the end, and a desired state for them. Raises Unusable."""
    kept = folder.desired.exists()
    text = _read(folder.desired if kept else template or EXAMPLE)
    count = max(count, _highest(text))
    if count > MOST:
        raise Unusable(f"a practice fleet has at most {MOST} Sparks, not {count}")
    fleet = PracticeFleet(count, folder.path / "sparks", first_port=first_port, foreign=("grafana",))
    try:
        await fleet.__aenter__()
    except OSError as error:
        what = f"the practice Sparks can't listen on ports {first_port + 1} to {first_port + count}: {error.strerror}"
        raise Unusable(f"{what}; does another practice run?") from error
    try:
        if not kept:
            folder.desired.write_bytes(with_sparks(text, fleet.desired_sparks()))
        hostkeys = HostKeys([fleet.known_hosts_path], own=folder.known_hosts)
        reach = PracticeReach(hostkeys=hostkeys, key=fleet.key_path, fleet=fleet)
        yield Workshop(fleet=fleet, desired=folder.desired, reach=reach)
    finally:
        await fleet.close()


async def no_download(host: Host, want: Want, **_: object) -> Fetched:
    """In place of `reconciler.weights.fetch.fetch`: there is no hub behind practice Sparks, and this says so."""
    del host
    what = f"practice Sparks do not download: {want.repository} would come from the hub to a real one"
    return Fetched(Explanation("Practice", what, terminal=True))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        what = f"{path} can't be read ({error.strerror}): name a desired state to practise with --desired"
        raise Unusable(what) from error


def _highest(text: bytes) -> int:
    """The highest number of a `spark-N` that the text declares, so that none of them is missing."""
    tree, problems = read_tree(text, "desired.yaml")
    if tree is None or problems:
        raise Invalid(problems)
    sparks = as_map(as_map(tree)["sparks"]) if "sparks" in as_map(tree) else {}
    numbers = [int(m[1]) for name in sparks if (m := re.fullmatch(r"spark-([1-9]\d{0,3})", name))]
    return max(numbers, default=0)


def with_sparks(text: bytes, sparks: Mapping[str, Mapping[str, Any]]) -> bytes:
    """The text with these Sparks in place of its own; everything else stays as it is, comments included."""
    lines = ["sparks:  # practice Sparks: they live in `sparkkeep serve --practice` and end with it"]
    lines += [f"  {name}: {{host: {s['host']}, port: {s['port']}, user: {s['user']}}}" for name, s in sparks.items()]
    section = "\n".join(lines).encode() + b"\n\n"
    text = text if text.endswith(b"\n") else text + b"\n"
    found = SECTION.search(text)
    if found is None:
        return text + b"\n" + section
    return text[: found.start()] + section + text[found.end() :]


def welcome(room: Workshop, address: str) -> str:
    """What a newcomer reads first."""
    first = room.sparks()[0]
    ssh = room.ssh(first)
    return f"""\
{len(room.fleet.sparks)} practice Sparks and what keeps them, at {address}

  desired state   {room.desired}
  a Spark         {ssh}

Try, in another terminal:
  sparkkeep get                     what is declared and how it is
  sparkkeep events -f               what happens; leave it open
  edit the desired state            it takes effect when you save
  {ssh} docker ps
                                    then `docker kill` one of them, and watch it come back
  sparkkeep practice cut {first}    pull its cable: nothing on it is touched; `practice heal {first}` mends it

Ctrl-C ends it. The desired state stays; the practice Sparks begin anew next time.
"""
