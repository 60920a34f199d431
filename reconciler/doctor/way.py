"""The way to a Spark: name, port, SSH, host key, login. Where it breaks, what lies behind is unknown. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from reconciler.doctor.case import Broken, Case
from reconciler.doctor.checks import fail, ok, unknown
from reconciler.doctor.finding import Finding
from reconciler.shell import join

STEPS: Final = ("name", "port", "ssh", "host-key", "login")
USUAL_PORT: Final = 22
ON_SCREEN: Final = "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"
RESTART_SSH: Final = "sudo systemctl enable --now ssh"


def judge(case: Case) -> Iterator[Finding]:
    """Each step: what is behind a broken one could not be asked."""
    for step in STEPS:
        if case.broken is not None and case.broken.stage == step:
            yield BROKEN[step](case, case.broken)
        elif (
            case.broken is not None
            and case.broken.stage in STEPS
            and STEPS.index(step) > STEPS.index(case.broken.stage)
        ):
            yield unknown(step, "was not reached: see above")
        else:
            yield ok(step, _well(case, step))


def _well(case: Case, step: str) -> str:
    place = case.place
    if place is None:
        return "as it should be"
    through = f"through {case.spark.jump or 'the jump host of ~/.ssh/config'}"
    match step:
        case "name":
            if place.jumped:
                return f"{place.host} is reached {through}"
            found = ", ".join(case.addresses[:2])
            return f"{place.host} is {found}" if found != place.host else f"{place.host} is an address"
        case "port":
            return f"port {place.port} takes connections" + (f" {through}" if place.jumped else "")
        case "ssh":
            return "an SSH server answers"
        case "host-key":
            return "it shows the key that is known here"
        case _:
            return f"it lets {case.user} in"


def _name(case: Case, broken: Broken) -> Finding:
    if broken.reason in {"ConfigUnreadable", "JumpLoop"}:
        return fail("name", broken.message, f"ssh -G {join((case.spark.host,))}", where="here")
    host = case.place.host if case.place else case.spark.host
    return fail(
        "name",
        f"the name {host} leads to no address: {broken.detail or broken.message}. Is it spelled right? Else give its "
        "address as `host:`",
        join(("getent", "hosts", host)),
        where="here",
    )


def _port(case: Case, broken: Broken) -> Finding:
    port = case.place.port if case.place else case.spark.port or USUAL_PORT
    if broken.reason == "ConnectionRefused":
        other = "" if port == USUAL_PORT else f"; or its port is not {port}"
        return fail(
            "port",
            f"{case.who} is up, and nothing listens at its port {port}: its SSH server does not run{other}",
            RESTART_SSH,
        )
    return fail(
        "port",
        f"{case.who} is silent at port {port} ({broken.detail or broken.message}): it is switched off, its "
        "cable is out, its address is another by now, or a firewall drops what comes",
        join(("ping", "-c", "3", case.place.host if case.place else case.spark.host)),
        where="here",
    )


def _ssh(case: Case, broken: Broken) -> Finding:
    port = case.place.port if case.place else case.spark.port or USUAL_PORT
    match broken.reason:
        case "NotSsh":
            what = f"what answers at port {port} of {case.who} is no SSH server: it said {broken.detail!r}"
            return fail("ssh", what, f"{case.ssh()} -v", where="here")
        case "Silent":
            what = (
                f"port {port} of {case.who} takes connections, and nobody answers: its SSH server or the machine hangs"
            )
            return fail(
                "ssh",
                f"{what}. If this lasts, only its own screen or its power button helps",
                "sudo systemctl restart ssh",
            )
        case "Closed":
            what = f"{case.who} closes connections at once: its SSH server is full (MaxStartups), or bans us"
            return fail("ssh", what, "sudo journalctl -u ssh -n 50")
        case _:
            return fail("ssh", broken.message, f"{case.ssh()} -v", where="here")


def _host_key(case: Case, broken: Broken) -> Finding:
    """Plain ssh asks, and writes what was agreed where it is read here too; `sparkkeep trust` needs a server."""
    shown = broken.detail
    if broken.reason == "HostKeyChanged":
        name = case.place.host if case.place else case.spark.host
        port = case.place.port if case.place else USUAL_PORT
        entry = name if port == USUAL_PORT else f"[{name}]:{port}"
        return fail(
            "host-key",
            f"{broken.message}. On its own screen, `{ON_SCREEN}` shows what it should be",
            join(("ssh-keygen", "-R", entry)),
            case.ssh("true"),
            where="here",
            why="it was installed anew, or somebody stands between: nothing is done there until a person compared it",
        )
    return fail(
        "host-key",
        f"its host key is not known here yet: {shown}. Compare it with what `{ON_SCREEN}` shows on its own screen",
        case.ssh("true"),
        where="here",
    )


def _login(case: Case, broken: Broken) -> Finding:
    if broken.reason == "KeyUnreadable":
        return fail("login", broken.message, join(("ls", "-l", case.key or "~/.ssh")), where="here")
    user = case.place.user if case.place else case.spark.user
    key = f"the key {case.key}" if case.key else "any key of ours (those of the agent, and the usual ones in ~/.ssh)"
    if broken.reason != "AuthRefused":
        return fail("login", broken.message, case.ssh("true"), where="here")
    shown = ("-i", f"{case.key}.pub") if case.key else ()
    return fail(
        "login",
        f"it does not take {key} for the user {user}: the key is missing in that user's ~/.ssh/authorized_keys there, "
        "the user's name is another, or that file may be written to by others and is therefore not read",
        join(("ssh-copy-id", *shown, *case.options("-p"), case.login)),
        where="here",
    )


BROKEN: Final[dict[str, Callable[[Case, Broken], Finding]]] = {
    "name": _name,
    "port": _port,
    "ssh": _ssh,
    "host-key": _host_key,
    "login": _login,
}
