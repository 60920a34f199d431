"""Scans of a stand-in Engine behind real OpenSSH, by the socket and by the docker command; both must say the same."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from reconciler import facts
from reconciler.engine import Engine
from reconciler.facts import ScanFailed, Section
from reconciler.images import has_image
from reconciler.linkdown import LinkDown
from reconciler.model import Container, Scan
from reconciler.scan import (
    SETTLED_FOR,
    SIGNS,
    _both,
    _check_cli,
    _from_cli,
    container_from_inspect,
    container_from_list,
    images_from_list,
    images_from_rows,
    scan,
    unix_time,
)
from reconciler.ssh import Link, Timing
from state.fields import MAX_SECONDS
from tests.unit.reconciler.test_engine import Answer, StandIn
from tests.unit.reconciler.test_ssh import SSHD, Sshd, Wire, link_to, serving, spark_of

needs_sshd = pytest.mark.skipif(not SSHD.exists(), reason="OpenSSH's server is not installed")

SPEC = {"image": "keep/echo:1", "port": 8080, "ports": [[9001, 80, "tcp"]]}
LABELS = {"sparkkeep.owner": "lab", "sparkkeep.workload": "echo", "sparkkeep.spec": json.dumps(SPEC)}
IMAGE = "sha256:321c17391604a510649667c898149f96886104e1e0d11a0934f2bcd28df5bbc8"
OURS, FOREIGN, ENDED, MADE = "871abb9b262b", "6f5681b532cf", "58287ae229c6", "977a43e3c801"

# Docker 20.10.24 (API 1.41), recorded; fields that nobody reads left out.
LIST_20 = [
    {
        "Id": ENDED, "Names": ["/ours-killed"], "Image": "keep/echo:1", "ImageID": IMAGE, "Command": "/bin/sleep 1000",
        "Created": 1795388466, "Ports": [], "Labels": LABELS, "State": "exited", "Status": "Exited (137) 9 seconds ago",
        "HostConfig": {"NetworkMode": "none"}, "NetworkSettings": {"Networks": {}}, "Mounts": [],
    },
    {
        "Id": FOREIGN, "Names": ["/other/alias", "/foreign"], "Image": "nginx", "ImageID": IMAGE, "Command": "nginx", "Created": 1795388465,
        "Ports": [
            {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8081, "Type": "tcp"},
            {"IP": "::", "PrivatePort": 80, "PublicPort": 8081, "Type": "tcp"},
            {"PrivatePort": 443, "Type": "tcp"},
        ],
        "Labels": {}, "State": "running", "Status": "Up 2 hours (healthy)", "HostConfig": {"NetworkMode": "default"}, "Mounts": [],
    },
    {
        "Id": OURS, "Names": ["/ours"], "Image": "keep/echo:1", "ImageID": IMAGE, "Command": "/bin/keep-server", "Created": 1795388465,
        "Ports": [], "Labels": LABELS, "State": "running", "Status": "Up 8 seconds", "HostConfig": {"NetworkMode": "host"}, "Mounts": [],
    },
    {
        "Id": MADE, "Names": ["/somebody-elses"], "Image": "keep/echo:1", "ImageID": IMAGE, "Command": "x", "Created": 1795388465,
        "Ports": [], "Labels": {**LABELS, "sparkkeep.owner": "neighbour"}, "State": "restarting", "Status": "Restarting (3) 5 seconds ago",
    },
]  # fmt: skip
INSPECT_20 = {
    ENDED: {
        "Id": ENDED, "Created": "2026-11-22T23:01:06.5Z", "Name": "/ours-killed", "Image": IMAGE, "RestartCount": 2,
        "State": {
            "Status": "exited", "Running": False, "OOMKilled": True, "Dead": False, "Pid": 0, "ExitCode": 137, "Error": "out of luck",
            "StartedAt": "2026-11-22T23:01:06.861728123Z", "FinishedAt": "2026-11-22T23:01:06.90943Z",
        },
        "Config": {"Image": "keep/echo:1", "Labels": LABELS}, "NetworkSettings": {"Ports": {}},
        "HostConfig": {"NetworkMode": "none", "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0}},
    },
    FOREIGN: {
        "Id": FOREIGN, "Name": "/foreign", "Image": IMAGE, "RestartCount": 0,
        "State": {"Status": "running", "ExitCode": 0, "Error": "", "OOMKilled": False, "StartedAt": "2026-11-22T21:00:00Z", "FinishedAt": "0001-01-01T00:00:00Z"},
        "Config": {"Image": "nginx", "Labels": {}},
        "NetworkSettings": {
            "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8081"}, {"HostIp": "::", "HostPort": "8081"}], "443/tcp": None}
        },
        "HostConfig": {"RestartPolicy": {"Name": "", "MaximumRetryCount": 0}},
    },
    OURS: {
        "Id": OURS, "Name": "/ours", "Image": IMAGE, "RestartCount": 0,
        "State": {"Status": "running", "ExitCode": 0, "Error": "", "OOMKilled": False, "StartedAt": "2026-11-22T23:01:05.487559979Z", "FinishedAt": "0001-01-01T00:00:00Z"},
        "Config": {"Image": "keep/echo:1", "Labels": LABELS}, "NetworkSettings": {"Ports": {}},
        "HostConfig": {"NetworkMode": "host", "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}},
    },
    MADE: {
        "Id": MADE, "Name": "/somebody-elses", "Image": IMAGE, "RestartCount": 5,
        "State": {"Status": "restarting", "ExitCode": 3, "Error": "", "OOMKilled": False, "StartedAt": "2026-11-22T23:01:05Z", "FinishedAt": "2026-11-22T23:01:06Z"},
        "Config": {"Image": "keep/echo:1", "Labels": {**LABELS, "sparkkeep.owner": "neighbour"}}, "NetworkSettings": {"Ports": {}},
        "HostConfig": {"NetworkMode": "host", "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}},
    },
}  # fmt: skip
IMAGES_20 = [
    {
        "Containers": -1,
        "Id": IMAGE,
        "ParentId": "",
        "RepoDigests": None,
        "RepoTags": ["keep/echo:1"],
        "Labels": {"keep.version": "1"},
    },
    {
        "Containers": -1,
        "Id": "sha256:aa",
        "RepoDigests": ["busybox@sha256:bb"],
        "RepoTags": ["busybox:latest", "registry.lan:5000/busybox:1"],
    },
    {"Containers": -1, "Id": "sha256:cc", "RepoDigests": ["<none>@<none>"], "RepoTags": ["<none>:<none>"]},
]
ROWS_20 = [
    {
        "Repository": "keep/echo",
        "Tag": "1",
        "Digest": "<none>",
        "ID": IMAGE,
        "Size": "2.71MB",
        "CreatedSince": "10 months ago",
    },
    {"Repository": "busybox", "Tag": "latest", "Digest": "sha256:bb", "ID": "sha256:aa"},
    {"Repository": "registry.lan:5000/busybox", "Tag": "1", "Digest": "<none>", "ID": "sha256:aa"},
    {"Repository": "<none>", "Tag": "<none>", "Digest": "<none>", "ID": "sha256:cc"},
]

# Docker 28 (API 1.50) differs in what nobody reads: the same answers in its shape.
LIST_28: list[dict[str, Any]] = [
    {
        **item,
        "ImageManifestDescriptor": {"digest": "sha256:dd"},
        "Health": {"Status": "none"},
        "NetworkSettings": {"Networks": {"host": {"DNSNames": None}}},
    }
    for item in LIST_20
]
INSPECT_28: dict[str, dict[str, Any]] = {
    key: {**item, "ImageManifestDescriptor": {"digest": "sha256:dd"}, "State": {**item["State"], "Pid": 7}}  # type: ignore[dict-item]
    for key, item in INSPECT_20.items()
}
IMAGES_28: list[dict[str, Any]] = [
    {"Id": IMAGE, "Descriptor": {}, "RepoDigests": [], "RepoTags": ["docker.io/keep/echo:1"], "Manifests": None},
    *IMAGES_20[1:2],
    {"Id": "sha256:cc", "RepoDigests": [], "RepoTags": []},
]
VERSIONS: dict[str, tuple[Any, Any, Any]] = {
    "20.10": (LIST_20, INSPECT_20, IMAGES_20),
    "28": (LIST_28, INSPECT_28, IMAGES_28),
}


def answering(version: str) -> Any:
    listed, inspected, images = VERSIONS[version]

    def answer(path: str) -> Answer:
        if path.startswith("/containers/json"):
            return 200, listed
        if path == "/images/json":
            return 200, images
        return 200, inspected[path.split("/")[2]]

    return answer


# Pure reading


def test_a_container_of_ours_in_full() -> None:
    assert container_from_inspect(INSPECT_20[ENDED]) == Container(
        id=ENDED, name="ours-killed", image="keep/echo:1", image_id=IMAGE, state="exited", labels=LABELS, ports=(8080, 9001),
        exit_code=137, oom_killed=True, error="out of luck", started_at=1795388466.861728, finished_at=1795388466.90943,
        restart_count=2, restart_policy="unless-stopped",
    )  # fmt: skip


def test_a_running_container_has_not_finished() -> None:
    ours = container_from_inspect(INSPECT_20[OURS])
    assert (ours.finished_at, ours.started_at, ours.restart_policy) == (0.0, 1795388465.487559, "no")
    assert container_from_inspect(INSPECT_20[FOREIGN]).restart_policy == "no"


def test_a_foreign_container_from_the_list() -> None:
    assert container_from_list(LIST_20[1]) == Container(
        id=FOREIGN, name="foreign", image="nginx", image_id=IMAGE, state="running", labels={}, ports=(8081,)
    )
    another = container_from_list(LIST_20[3])
    assert (another.exit_code, another.labels) == (3, {**LABELS, "sparkkeep.owner": "neighbour"})


@pytest.mark.parametrize("missing", ["Names", "Ports", "Labels", "Status", "ImageID"])
def test_a_list_that_lacks_what_is_not_needed(missing: str) -> None:
    item: dict[str, Any] = {**LIST_20[1], missing: None}
    assert container_from_list(item).id == FOREIGN
    del item[missing]
    assert container_from_list(item).id == FOREIGN


@pytest.mark.parametrize(
    ("spec", "ports"),
    [
        ('{"port": 8080}', (8080,)),
        ('{"port": 8080, "network": "host"}', (8080,)),
        ('{"port": 8080, "network": "bridge", "ports": [[9000, 8080, "tcp"]]}', (9000,)),
        ('{"ports": []}', ()),
        ("", ()),
        ("nonsense", ()),
        ("[]", ()),
        ('{"port": {}}', ()),
        ('{"ports": [[]]}', ()),
        ('{"ports": 4}', ()),
        ('{"port": 1e999}', ()),
        ('{"ports": [[1e999]]}', ()),
        ("[" * 100_000, ()),
        ('{"port": 8080, "network": "bridge"}', ()),
        ('{"port": 8080, "ports": [[80, 80, "tcp"], [443, 443, "tcp"]]}', (80, 443, 8080)),
    ],
)
def test_ports_that_a_spec_declares(spec: str, ports: tuple[int, ...]) -> None:
    item = {**LIST_20[0], "Labels": {"sparkkeep.spec": spec}}
    assert container_from_list(item).ports == ports


def bare(**changed: Any) -> dict[str, Any]:
    """The least that an Engine says of a container."""
    return {"Id": OURS, "Names": ["/x"], "Image": "i", "State": "running"} | changed


def test_the_least_that_an_engine_says_is_enough() -> None:
    """Older Engines leave out what is empty."""
    assert container_from_list(bare()) == Container(id=OURS, name="x", image="i", state="running")
    inspected = {"Id": OURS, "Name": "/x", "State": {"Status": "exited"}, "Config": {"Image": "i"}}
    assert container_from_inspect(inspected) == Container(id=OURS, name="x", image="i", state="exited")
    nothing = {
        **inspected,
        "Image": None,
        "RestartCount": None,
        "HostConfig": None,
        "NetworkSettings": None,
        "State": {
            "Status": "exited",
            "ExitCode": None,
            "OOMKilled": None,
            "Error": None,
            "StartedAt": None,
            "FinishedAt": None,
        },
        "Config": {"Image": "i", "Labels": None},
    }
    assert container_from_inspect(nothing) == Container(id=OURS, name="x", image="i", state="exited")
    for host in ({"RestartPolicy": None}, {"RestartPolicy": {"Name": ""}}, {"RestartPolicy": {}}):
        assert container_from_inspect({**inspected, "HostConfig": host}).restart_policy == "no"
    most = ((int(MAX_SECONDS), MAX_SECONDS), (int(MAX_SECONDS) + 1, None))
    for said, seconds in ((120, 120.0), (0, 0.0), (-1, None), *most, ("x", None), (None, None)):
        assert (
            container_from_inspect({**nothing, "Config": {"Image": "i", "StopTimeout": said}}).stop_timeout == seconds
        )
    for network in ({"Ports": None}, {"Ports": {"80/tcp": None}}, {"Ports": {"80/tcp": [{"HostPort": ""}, {}]}}):
        assert container_from_inspect({**inspected, "NetworkSettings": network}).ports == ()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("Exited (137) 9 seconds ago", 137),
        ("Restarting (3) 5 seconds ago", 3),
        ("Up 2 hours", 0),
        ("Exited () x", 0),
        ("was Exited (1)", 0),
        ("", 0),
    ],
)
def test_the_status_of_one_that_is_not_ours(status: str, code: int) -> None:
    assert container_from_list(bare(Status=status)).exit_code == code


def test_the_name_of_one_that_others_link_to() -> None:
    assert container_from_list(bare(Names=["/a/x", "/b", "/c"])).name == "b"
    assert container_from_list(bare(Names=["/a/x"])).name == OURS[:12]
    assert container_from_list(bare(Id="a" * 64, Names=[])).name == "a" * 12


def test_published_ports_of_one_that_is_not_ours() -> None:
    ports = [{"PublicPort": 90}, {"PrivatePort": 1}, {"PublicPort": 80}, {"PublicPort": 90}]
    assert container_from_list(bare(Ports=ports)).ports == (80, 90)


def by_command(*inspected: Any, images: str = "") -> Any:
    """What the docker command's answer is read as."""
    return _from_cli({"containers": Section(json.dumps(inspected), 0), "images": Section(images, 0)}, "lab")


def test_what_is_not_ours_is_the_same_both_ways_in_every_state() -> None:
    """Symptom: a neighbour's container that ended has another exit status where sockets can't be forwarded."""
    theirs: dict[str, Any] = {**INSPECT_20[ENDED], "Config": {"Image": "keep/echo:1", "Labels": {}}}
    ended = container_from_list({**LIST_20[0], "Labels": {}})
    assert (ended.exit_code, ended.restart_count) == (137, 0)
    assert by_command(theirs) == ((ended,), {})
    again = {**theirs, "State": {"Status": "restarting", "ExitCode": 3}}
    assert by_command(again) == ((replace(ended, state="restarting", exit_code=3),), {})
    for state in ({"Status": "running", "ExitCode": 3}, {"Status": "exited"}, {"Status": "exited", "ExitCode": None}):
        assert by_command({**theirs, "State": state})[0] == (replace(ended, state=state["Status"], exit_code=0),)
    assert by_command({**theirs, "Config": {"Image": "keep/echo:1", "Labels": None}})[0] == (ended,)


@pytest.mark.parametrize(("inspected", "images"), [([3], ""), ([{}], ""), ([], "{"), ([], "{}")])
def test_an_answer_of_the_command_that_makes_no_sense_fails_in_words(inspected: list[Any], images: str) -> None:
    with pytest.raises(ScanFailed, match=r"^the docker command's answer makes no sense: ") as caught:
        by_command(*inspected, images=images)
    assert caught.value.reason == "ScanFailed"


def test_what_the_docker_command_says_is_put_in_words() -> None:
    for sign, reason, message in SIGNS:
        with pytest.raises(ScanFailed) as caught:
            _check_cli({"containers": Section(f"docker: {sign}.", 1)})
        assert (caught.value.reason, str(caught.value)) == (reason, message)
        _check_cli({"containers": Section(sign, 0)})
    _check_cli({"containers": Section("something else", 1)})
    _check_cli({})


def test_what_identifies_an_image_is_its_id_and_its_digests() -> None:
    """Two engines that store one image differently give it two ids; its digest is the same on both."""
    images = images_from_list(IMAGES_20)
    both = frozenset({"sha256:aa", "sha256:bb"})
    assert images == {
        IMAGE: frozenset({IMAGE}),
        "keep/echo:1": frozenset({IMAGE}),
        **dict.fromkeys(
            ("sha256:aa", "busybox:latest", "busybox@sha256:bb", "registry.lan:5000/busybox:1"),
            both,
        ),
        "sha256:cc": frozenset({"sha256:cc"}),
    }
    pulled = images_from_list([{"Id": "sha256:dd", "RepoTags": ["docker.io/library/x:1"], "RepoDigests": None}])
    assert {"docker.io/library/x:1", "x:1", "sha256:dd"} <= pulled.keys()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0001-01-01T00:00:00Z", 0.0),
        ("", 0.0),
        ("yesterday", 0.0),
        ("1970-01-01T00:00:10Z", 10.0),
        ("1970-01-01T00:00:10.5Z", 10.5),
        ("1970-01-01T00:00:10.123456789Z", 10.123456),
        ("1970-01-01T02:00:10.25+02:00", 10.25),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert unix_time(text) == seconds


def test_images_are_the_same_from_the_socket_and_from_the_command() -> None:
    images = images_from_list(IMAGES_20)
    assert images == images_from_rows(ROWS_20)
    assert images.keys() == images_from_list(IMAGES_28).keys() - {"docker.io/keep/echo:1"}
    assert images.keys() == {
        IMAGE, "sha256:aa", "sha256:cc", "keep/echo:1", "busybox:latest", "busybox@sha256:bb", "registry.lan:5000/busybox:1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("reference", "there"),
    [
        ("busybox", True),
        ("busybox:latest", True),
        ("docker.io/library/busybox:latest", True),
        ("library/busybox", True),
        ("index.docker.io/library/busybox", True),
        ("busybox:1.36", False),
        ("busybox@sha256:bb", True),
        ("busybox:1.36@sha256:bb", True),
        ("docker.io/library/busybox@sha256:bb", True),
        ("busybox@sha256:ee", False),
        ("registry.lan:5000/busybox:1", True),
        ("registry.lan:5000/busybox", False),
        ("keep/echo:1", True),
        ("docker.io/keep/echo:1", True),
        ("sha256:aa", True),
    ],
)
def test_which_references_an_engine_can_run(reference: str, there: bool) -> None:
    assert has_image(images_from_list(IMAGES_28), reference) is there


# Whole scans


class Bench:
    """A Spark with a stand-in Engine; its `docker` command, where used, reads the same answers from files."""

    def __init__(self, server: Sshd, stand_in: StandIn, link: Link, engine: Engine) -> None:
        self.server, self.stand_in, self.link, self.engine = server, stand_in, link, engine

    async def scan(self, *, full: bool = True, before: Scan | None = None, **more: Any) -> Scan:
        options: dict[str, Any] = {"owner": "lab", "clock": time.monotonic, "now": time.time} | more
        return await scan(self.link, self.engine, full=full, before=before, **options)

    def commands(self) -> list[str]:
        log = self.server.folder / "docker.log"
        return log.read_text().splitlines() if log.exists() else []


def write_docker(folder: Path, version: str = "20.10") -> Path:
    """A `docker` command on the Spark's PATH."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    listed, inspected, _ = VERSIONS[version]
    (folder / "ids").write_text("".join(f"{item['Id']}\n" for item in listed))
    (folder / "inspect").write_text(json.dumps([inspected[item["Id"]] for item in listed]))
    (folder / "rows").write_text("".join(json.dumps(row) + "\n" for row in ROWS_20))
    (programs / "docker").write_text(
        f"""#!/bin/sh
echo "${{DOCKER_HOST:-}} $*" >> {folder}/docker.log
[ ! -e {folder}/error ] || {{ cat {folder}/error >&2; exit 1; }}
case $1 in
ps) cat {folder}/ids ;;
inspect) cat {folder}/inspect ;;
images) cat {folder}/rows ;;
esac
"""
    )
    (programs / "nvidia-smi").write_text("#!/bin/sh\necho NVIDIA GB10, 3, 41, [N/A]\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    return programs


@asynccontextmanager
async def bench(folder: Path, *options: str, version: str = "20.10", **link: Any) -> AsyncIterator[Bench]:
    programs = write_docker(folder / "sshd", version)
    with serving(folder / "sshd", f"SetEnv PATH={programs}:/usr/bin:/bin:/usr/sbin:/sbin", *options) as server:
        async with StandIn(folder / "docker.sock", answering(version)) as stand_in, link_to(server, **link) as made:
            engine = Engine(made, str(stand_in.path))
            try:
                yield Bench(server, stand_in, made, engine)
            finally:
                await engine.close()


NO_FORWARDING = ("AllowStreamLocalForwarding no", "AllowTcpForwarding no")


@needs_sshd
@pytest.mark.parametrize("version", sorted(VERSIONS))
async def test_a_full_scan(tmp_path: Path, version: str) -> None:
    async with bench(tmp_path, version=version) as spark:
        clock = itertools.count(100.0, 5.0)
        seen = await spark.scan(clock=lambda: next(clock), now=lambda: 1795388470.5)
        assert (seen.began, seen.ended, seen.taken_at) == (100.0, 105.0, 1795388470.5)
        assert [c.name for c in seen.containers] == ["ours-killed", "foreign", "ours", "somebody-elses"]
        assert seen.containers[0] == container_from_inspect(INSPECT_20[ENDED])
        assert seen.containers[1] == container_from_list(LIST_20[1])
        assert seen.containers[3].restart_count == 0  # another owner's: the list is enough
        assert has_image(seen.images, "busybox")
        assert seen.facts.memory_total > 0
        assert spark.server.port in seen.facts.listeners
        assert seen.facts.gpus[0].name == "NVIDIA GB10"
        assert seen.facts.disk_total
        assert seen.facts.interfaces["lo"][0] == "127.0.0.1"
        assert not spark.commands()
        assert sorted(spark.stand_in.asked) == sorted(
            ["/containers/json?all=1", "/images/json", f"/containers/{ENDED}/json", f"/containers/{OURS}/json"]
        )


@needs_sshd
async def test_both_ways_say_the_same(tmp_path: Path) -> None:
    async with bench(tmp_path / "a") as by_socket, bench(tmp_path / "b", *NO_FORWARDING) as by_command:
        one, two = await by_socket.scan(), await by_command.scan()
        assert one.containers == two.containers
        assert one.images == two.images
        passing = {"memory_available": 0, "memory_free": 0, "listeners": frozenset(), "disk_free": 0, "settled_at": 0.0}
        assert replace(one.facts, **passing) == replace(two.facts, **passing)
        assert by_command.commands()
        assert not by_command.stand_in.asked


@needs_sshd
async def test_refused_forwarding_is_tried_once_per_connection(tmp_path: Path) -> None:
    async with bench(tmp_path, *NO_FORWARDING) as spark:
        assert not spark.engine.by_cli
        await spark.scan()
        assert spark.engine.by_cli
        await spark.scan()
        host = f"unix://{tmp_path}/docker.sock"
        assert [line.split()[:2] for line in spark.commands()] == [
            [host, "ps"],
            [host, "inspect"],
            [host, "images"],
        ] * 2


@needs_sshd
async def test_a_quick_scan_carries_the_slow_facts_over(tmp_path: Path) -> None:
    async with bench(tmp_path) as spark:
        first = await spark.scan(full=False)  # nothing to carry over yet, so it is a full one
        assert first.facts.gpus
        known = replace(first, facts=replace(first.facts, disk_free=7))
        second = await spark.scan(full=False, before=known)
        assert (second.facts.disk_free, second.facts.gpus) == (7, first.facts.gpus)
        assert (await spark.scan(before=known)).facts.disk_free != 7


@needs_sshd
async def test_what_hardly_ever_changes_is_asked_for_every_five_minutes(tmp_path: Path) -> None:
    async with bench(tmp_path) as spark:
        first = await spark.scan(now=lambda: 1000.0)
        assert first.facts.settled_at == 1000.0
        known = replace(first, facts=replace(first.facts, interfaces={"marked": ()}))
        for now, full, asked in (
            (1000.0, True, False),
            (1000.5, True, False),
            (999.5, True, True),  # a clock that was put back
            (1000.0 + SETTLED_FOR - 1, True, False),
            (1000.0 + SETTLED_FOR, True, True),
            (1000.0 + SETTLED_FOR, False, False),
        ):
            seen = await spark.scan(full=full, before=known, now=partial(float, now))
            assert (seen.facts.interfaces != {"marked": ()}, seen.facts.settled_at) == (asked, now if asked else 1000.0)


@needs_sshd
async def test_no_two_scans_have_the_same_sentinels_and_none_can_be_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a program prints could else pass for the end of its section, and for others after it."""
    async with bench(tmp_path) as spark:
        ask, marks = spark.link.ask, list[str]()

        async def listening(script: str, mark: str, *, timeout: float) -> str:
            marks.append(mark)
            return await ask(script, mark, timeout=timeout)

        monkeypatch.setattr(spark.link, "ask", listening)
        for _ in range(3):
            await spark.scan()
        assert len(set(marks)) == 3
        assert all(re.fullmatch(r"=[0-9a-f]{16,} end\n", mark) for mark in marks)


@needs_sshd
@pytest.mark.parametrize("word", ["inspect", "images"])
async def test_a_docker_command_that_fails_half_way_fails_the_scan(tmp_path: Path, word: str) -> None:
    """Read as a whole answer, it would have every image fetched anew, or every container made anew."""
    async with bench(tmp_path, *NO_FORWARDING) as spark:
        program = tmp_path / "sshd/bin/docker"
        program.write_text(program.read_text().replace("case $1 in", f"case $1 in\n{word}) echo '[]'; exit 1 ;;"))
        with pytest.raises(ScanFailed, match=r"^`(containers|images)` failed on the Spark: \[\]$") as caught:
            await spark.scan()
        assert caught.value.reason == "ScanFailed"


@needs_sshd
async def test_a_spark_without_nvidia_smi_is_scanned_all_the_same(tmp_path: Path) -> None:
    async with bench(tmp_path) as spark:
        (tmp_path / "sshd/bin/nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
        assert (await spark.scan()).facts.gpus == ()


@needs_sshd
async def test_a_spark_whose_nvidia_smi_hangs_is_scanned_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, limit, *rest = facts.SLOW["gpu"]
    assert (program, limit) == ("timeout", "5")
    monkeypatch.setitem(facts.SLOW, "gpu", ("timeout", "0.3", *rest))
    async with bench(tmp_path) as spark:
        (tmp_path / "sshd/bin/nvidia-smi").write_text("#!/bin/sh\nexec sleep 30\n")
        began = time.monotonic()
        found = (await spark.scan()).facts
        assert (found.gpus, found.disk_free is None) == ((), False)
        assert time.monotonic() - began < 5


@needs_sshd
@pytest.mark.parametrize("times", [1, 2, 3, 4])
async def test_a_container_that_is_listed_but_gone_or_only_being_made(tmp_path: Path, times: int) -> None:
    """Seen on real hosts: another controller's new one was listed, and twice not there to be inspected."""
    async with bench(tmp_path) as spark:
        answer, left = spark.stand_in.answer, [times]

        def vanishing(path: str) -> Answer:
            if path == f"/containers/{OURS}/json" and left[0]:
                left[0] -= 1
                return 404, {"message": "No such container: x"}
            return answer(path)

        spark.stand_in.answer = vanishing
        if times <= 3:
            assert len((await spark.scan()).containers) == 4
        else:
            with pytest.raises(ScanFailed, match="No such container") as caught:
                await spark.scan()
            assert caught.value.reason == "EngineError"
        assert spark.stand_in.asked.count("/containers/json?all=1") == min(times + 1, 4)


@needs_sshd
@pytest.mark.parametrize(
    ("broken", "body"),
    [
        ("/containers/json?all=1", [{"Id": "x"}]),
        ("/containers/json?all=1", {"message": "?"}),
        ("/containers/json?all=1", None),
        ("/images/json", [{}]),
        (f"/containers/{OURS}/json", {"Id": OURS}),
    ],
)
async def test_an_answer_that_makes_no_sense_fails_the_scan(tmp_path: Path, broken: str, body: Any) -> None:
    async with bench(tmp_path) as spark:
        answer = spark.stand_in.answer
        spark.stand_in.answer = lambda path: (200, body) if path == broken else answer(path)
        with pytest.raises(ScanFailed, match=r"^the Engine's answer makes no sense: ") as caught:
            await spark.scan()
        assert caught.value.reason == "EngineError"


@needs_sshd
async def test_an_engine_that_does_not_speak_its_language_is_told_as_down(tmp_path: Path) -> None:
    async with bench(tmp_path) as spark:
        spark.stand_in.answer = lambda _: (200, b"<html>")
        with pytest.raises(ScanFailed, match=r"^the Engine answered with something that is not JSON: ") as caught:
            await spark.scan()
        assert caught.value.reason == "EngineDown"


@needs_sshd
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            "EngineDown",
        ),
        ("failed to connect to the docker API at unix:///var/run/docker.sock", "EngineDown"),
        ("permission denied while trying to connect to the Docker daemon socket", "EngineDenied"),
        ("something else", "ScanFailed"),
    ],
)
async def test_an_engine_that_is_down(tmp_path: Path, error: str, reason: str) -> None:
    async with bench(tmp_path) as spark:
        await spark.scan()
        (tmp_path / "sshd/error").write_text(error)
        await spark.stand_in.__aexit__()
        with pytest.raises(ScanFailed) as caught:
            await spark.scan()
        assert caught.value.reason == reason
        assert not spark.engine.by_cli
        (tmp_path / "sshd/error").unlink()
        await spark.stand_in.__aenter__()
        before = len(spark.stand_in.asked)
        await spark.scan()
        assert len(spark.stand_in.asked) > before


@needs_sshd
async def test_no_docker_command_either(tmp_path: Path) -> None:
    async with bench(tmp_path, *NO_FORWARDING) as spark:
        (tmp_path / "sshd/bin/docker").write_text("#!/bin/sh\necho sh: 1: docker: not found >&2\nexit 127\n")
        with pytest.raises(ScanFailed) as caught:
            await spark.scan()
        assert caught.value.reason == "EngineMissing"


@needs_sshd
async def test_an_engine_that_hangs_fails_the_scan_in_time(tmp_path: Path) -> None:
    async with bench(tmp_path) as spark:
        await spark.scan()
        spark.stand_in.answer = lambda _: (0, None)
        began = time.monotonic()
        with pytest.raises(ScanFailed) as caught:
            await spark.scan(deadline=0.5)
        assert (caught.value.reason, str(caught.value)) == (
            "ScanTimeout",
            "the Spark did not answer a scan within 0.5 s",
        )
        assert time.monotonic() - began < 2


@needs_sshd
async def test_a_hanging_command_fails_the_scan_in_time(tmp_path: Path) -> None:
    async with bench(tmp_path) as spark:
        (tmp_path / "sshd/bin/nvidia-smi").write_text("#!/bin/sh\nexec sleep 5\n")
        with pytest.raises(ScanFailed) as caught:
            await spark.scan(deadline=1.0)
        assert caught.value.reason == "ScanTimeout"


@needs_sshd
async def test_a_spark_that_is_off_is_a_link_that_is_down(tmp_path: Path) -> None:
    async with bench(tmp_path) as spark:
        spark.server.stop()
        with pytest.raises(LinkDown):
            await spark.scan()


@needs_sshd
async def test_a_spark_that_goes_silent_in_the_middle(tmp_path: Path) -> None:
    with serving(tmp_path / "sshd") as server:
        async with Wire(server.port) as wire, StandIn(tmp_path / "docker.sock", answering("20.10")) as stand_in:
            spark = spark_of(server, port=wire.port, trust="on-first-use")
            async with link_to(server, spark=spark, timing=Timing(connect=1, keepalive=0.2)) as link:
                engine = Engine(link, str(stand_in.path))
                bench = Bench(server, stand_in, link, engine)
                await bench.scan()
                stand_in.answer = lambda _: (0, None)
                task = asyncio.create_task(bench.scan())
                await asyncio.sleep(0.1)
                wire.dead = True
                with pytest.raises((LinkDown, ScanFailed)):
                    await asyncio.wait_for(task, 3)
                await engine.close()


@pytest.mark.parametrize("identity", ["-f", "abc", "$(id)", "A" * 64, ""])
def test_what_is_no_id_never_gets_into_a_command(identity: str) -> None:
    with pytest.raises(ValueError, match="no container's id"):
        container_from_list({"Id": identity, "Names": ["/x"], "Image": "i", "ImageID": "j", "State": "running"})


def test_of_what_is_no_id_only_the_beginning_is_told() -> None:
    with pytest.raises(ValueError, match=rf"^'{'z' * 80}' is no container's id$"):
        container_from_list(bare(Id="z" * 99))


async def test_when_one_way_fails_the_other_is_ended_before_that_is_told() -> None:
    """Left behind, it would read on a connection that the next scan uses; waited for, it would cost the deadline."""
    ended = list[str]()

    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            ended.append("the other")

    async def fails() -> None:
        raise ScanFailed("EngineDown", "no answer")

    for one, other in ((hangs, fails), (fails, hangs)):
        async with asyncio.timeout(10):
            with pytest.raises(ScanFailed, match="no answer"):
                await _both(one(), other())
        assert ended.pop() == "the other"
