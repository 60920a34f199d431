"""Docker on a Spark: the command, who may use it, the Engine and its version. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from reconciler.doctor.case import Case
from reconciler.doctor.checks import fail, ok, unknown, warn
from reconciler.doctor.finding import Finding
from reconciler.shell import join

FIRST_WITH_GPUS: Final = (19, 3)
TRIED: Final = (20, 10)
INSTALL: Final = "sudo apt-get install docker.io"
UPGRADE: Final = ("sudo apt-get update", "sudo apt-get install --only-upgrade docker.io")
GONE: Final = 3
CLOSED: Final = 4


def judge(case: Case) -> Iterator[Finding]:
    """In the order in which one depends on the other."""
    info = read_info(case)
    yield _command(case)
    yield _group(case, info)
    yield _daemon(case, info)
    yield _version(info)


def read_info(case: Case) -> dict[str, Any] | None:
    """What the Engine says of itself; None if it did not answer."""
    text = case.text("dockerinfo")
    if text is None:
        return None
    start = text.find("{")  # the client may warn before it answers
    try:
        found = json.loads(text[start:].strip().splitlines()[0]) if start >= 0 else None
    except (ValueError, IndexError):
        return None
    return found if isinstance(found, dict) and found.get("ServerVersion") else None


def _command(case: Case) -> Finding:
    if case.text("dockercli") is not None:
        return ok("docker", case.said("dockercli") or "it is there")
    if not case.missing("dockercli"):
        return unknown("docker", f"`docker --version` failed: {case.said('dockercli') or 'no answer'}")
    elsewhere = next((path for path in (case.text("elsewhere") or "").split() if path.endswith("/docker")), None)
    if elsewhere is not None:
        return fail(
            "docker",
            f"docker is at {elsewhere}, which is not in the PATH of a session ({(case.text('path') or '').strip()})",
            f"sudo ln -s {elsewhere} /usr/local/bin/docker",
        )
    return fail("docker", "there is no docker command", INSTALL)


def _refused(case: Case) -> bool:
    said = case.said("dockerinfo").lower()
    return "permission denied while trying to connect" in said or case.status("socket") == CLOSED


def _group(case: Case, info: dict[str, Any] | None) -> Finding:
    user = case.user
    if info is not None:
        return ok("docker-group", f"{user} may use it")
    if case.missing("dockercli"):
        return unknown("docker-group", "could not be asked without docker")
    if not _refused(case):
        return unknown("docker-group", "could not be asked while the Engine does not answer")
    members = re.search(r"^docker:[^:]*:[^:]*:(.*)$", case.text("account") or "", re.MULTILINE)
    if members is not None and user in members[1].split(","):
        return fail(
            "docker-group",
            f"{user} is in the group docker, and its sessions began before that: they keep their old groups",
            "sudo loginctl terminate-user " + join((user,)),
        )
    groups = " ".join((case.text("groups") or "").split()) or "no groups that could be read"
    return fail(
        "docker-group",
        f"{user} may not use Docker at {case.spark.socket}: it is not in the group docker (it is in {groups})",
        *(() if members is not None else ("sudo groupadd docker",)),
        join(("sudo", "usermod", "-aG", "docker", user)),
    )


def _daemon(case: Case, info: dict[str, Any] | None) -> Finding:
    if info is not None:
        return ok("docker-daemon", f"it answers, with its files in {info.get('DockerRootDir', 'an unknown folder')}")
    if case.status("dockerinfo") is None or case.missing("dockercli") or _refused(case):
        return unknown("docker-daemon", "could not be asked: see above")
    if case.late("dockerinfo"):
        return fail("docker-daemon", "it did not answer within 10 s: it hangs", "sudo systemctl restart docker")
    gone = (
        f"nothing is at {case.spark.socket}"
        if case.status("socket") == GONE
        else case.said("dockerinfo") or "it said nothing"
    )
    return fail(
        "docker-daemon",
        f"it does not answer: {gone}",
        "sudo systemctl enable --now docker",
        "sudo journalctl -u docker -n 50",
    )


def _version(info: dict[str, Any] | None) -> Finding:
    if info is None:
        return unknown("docker-version", "could not be asked while the Engine does not answer")
    version = str(info["ServerVersion"])
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None:
        return unknown("docker-version", f"says {version}, which is no version that can be compared")
    number = int(found[1]), int(found[2])
    if number < FIRST_WITH_GPUS:
        return fail("docker-version", f"Docker {version} is too old: it can't give GPUs to containers", *UPGRADE)
    if number < TRIED:
        return warn("docker-version", f"Docker {version} is old", *UPGRADE)
    return ok("docker-version", f"Docker {version}")
