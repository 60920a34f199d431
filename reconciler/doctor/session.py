"""What a session there begins with: the shell, its programs, the place of the lease, forwarding. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from reconciler.doctor.asked import FOR_GROUPS, FOR_WEIGHTS
from reconciler.doctor.case import Case
from reconciler.doctor.checks import fail, ok, unknown, warn
from reconciler.doctor.finding import Finding
from reconciler.shell import join

SHOWN: Final = 120  # characters of what a shell printed
PACKAGES: Final = {
    "flock": "util-linux", "ip": "iproute2", "curl": "curl", "find": "findutils", "grep": "grep", "sed": "sed",
    "sh": "dash",
}  # fmt: skip
QUIET: Final = "sed -i '1i case $- in *i*) ;; *) return ;; esac' ~/.bashrc"


def judge(case: Case) -> Iterator[Finding]:
    """The four of them."""
    yield _shell(case)
    yield _tools(case)
    yield _lease(case)
    yield _forwarding(case)


def _shell(case: Case) -> Finding:
    broken = case.broken
    if broken is not None and broken.stage == "shell":
        if broken.reason == "CommandTimeout":
            what = (
                f"a session of {case.user} was opened, and no command ended in it: a start-up file of the shell "
                "waits for input or runs on, or the machine hangs"
            )
            return fail("shell", what, case.ssh("-v", "true"), where="here")
        said = f"; instead of an answer came {broken.detail[:SHOWN]!r}" if broken.detail else f": {broken.message}"
        return fail(
            "shell",
            f"the login shell of {case.user} does not run what it is given{said}. A start-up file ends the session or "
            "replaces the shell, or the account has no shell",
            f"sudo usermod --shell /bin/bash {join((case.user,))}",
        )
    noise = case.noise.strip()
    if noise:
        return warn(
            "shell",
            f"the login shell prints {noise[:SHOWN]!r} before every answer: a start-up file such as ~/.bashrc speaks "
            "where nobody listens. Let it say nothing in sessions without a terminal",
            QUIET,
        )
    return ok("shell", "it hands over to `sh` and prints nothing of its own")


def _tools(case: Case) -> Finding:
    text = case.text("lacking")
    if text is None:
        return unknown("tools", f"could not be asked: {case.said('lacking') or 'no answer'}")
    lacking = text.split()
    if not lacking:
        return ok("tools", "every program is there")
    packages = sorted({PACKAGES.get(name, "coreutils") for name in lacking})
    names = ", ".join(lacking)
    install = join(("sudo", "apt-get", "install", *packages))
    path = (case.text("path") or "").strip()
    if set(lacking) <= {*FOR_WEIGHTS, *FOR_GROUPS}:
        part = "the network between Sparks is not seen" if set(lacking) <= {*FOR_GROUPS} else "weights can't be fetched"
        return warn("tools", f"{names} can't be found in the PATH of a session ({path}): {part}", install)
    return fail("tools", f"{names} can't be found in the PATH of a session ({path})", install)


def _lease(case: Case) -> Finding:
    if case.status("leaseplace") is None:
        return unknown("lease", "could not be asked")
    if case.text("leaseplace") is None:
        what = "neither /run/lock (with its sticky bit) nor /dev/shm takes a file of this user"
        return fail("lease", what, "sudo chmod 1777 /run/lock")
    return ok("lease", "there is one")


def _forwarding(case: Case) -> Finding:
    if case.forwards is None or case.text("dockerinfo") is None:
        return unknown("forwarding", "could not be asked while Docker does not answer")
    if case.forwards:
        return ok("forwarding", f"{case.spark.socket} is forwarded")
    return warn(
        "forwarding",
        f"its SSH server does not forward {case.spark.socket}: containers are read by the docker command instead",
        "echo 'AllowStreamLocalForwarding yes' | sudo tee /etc/ssh/sshd_config.d/sparkkeep.conf",
        "sudo systemctl reload ssh",
    )
