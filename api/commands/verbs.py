"""`suspend`, `restart`, `cordon` and their like, `trust`, and `practice`: what is done by saying so once."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
import yaml

from api.output import SERVER, Format, Output, ServerOption, dump, fail, note, server, show, table

app = typer.Typer()

Workload = Annotated[str, typer.Argument(metavar="NAME", help="a workload")]
Spark = Annotated[str, typer.Argument(metavar="SPARK", help="a Spark")]


def _tell(address: str, path: str, said: str) -> None:
    with server(address) as client:
        client.post(path)
        note(said)


@app.command()
def suspend(name: Workload, address: ServerOption = SERVER) -> None:
    """Leave a workload alone: nothing about it is started, stopped or changed until `resume`."""
    _tell(address, f"/api/workloads/{name}/suspend", f"{name} is left alone from now on; `sparkkeep resume {name}`")


@app.command()
def resume(name: Workload, address: ServerOption = SERVER) -> None:
    """Mind a workload again."""
    with server(address) as client:
        answer = client.post(f"/api/workloads/{name}/resume")
        if answer["suspended"]:
            fail(f"{name} has `suspend: true` in the desired state: take it out there")
        note(f"{name} is minded again")


@app.command()
def restart(name: Workload, address: ServerOption = SERVER) -> None:
    """Restart a workload's containers once."""
    _tell(
        address, f"/api/workloads/{name}/restart", f"{name} is being restarted; `sparkkeep events -f --workload {name}`"
    )


@app.command("reset-backoff")
def reset_backoff(name: Workload, address: ServerOption = SERVER) -> None:
    """Forget a workload's failures and try again now."""
    _tell(address, f"/api/workloads/{name}/reset-backoff", f"{name} is tried again now")


@app.command()
def cordon(name: Spark, address: ServerOption = SERVER) -> None:
    """Start nothing new on a Spark; what runs goes on."""
    _tell(address, f"/api/sparks/{name}/cordon", f"nothing new starts on {name}; `sparkkeep uncordon {name}`")


@app.command()
def uncordon(name: Spark, address: ServerOption = SERVER) -> None:
    """Let a Spark take work again."""
    with server(address) as client:
        answer = client.post(f"/api/sparks/{name}/uncordon")
        if answer["cordoned"]:
            fail(f"{name} is still cordoned, by the desired state or by a drain")
        note(f"{name} takes work again")


@app.command()
def drain(name: Spark, address: ServerOption = SERVER) -> None:
    """Stop what runs on a Spark and start nothing new there; what may run anywhere moves."""
    _tell(address, f"/api/sparks/{name}/drain", f"{name} is being emptied; `sparkkeep undrain {name}` fills it again")


@app.command()
def undrain(name: Spark, address: ServerOption = SERVER) -> None:
    """Take a drain back."""
    with server(address) as client:
        answer = client.post(f"/api/sparks/{name}/undrain")
        if answer["drained"]:
            fail(f"{name} has `drain: true` in the desired state: take it out there")
        note(f"{name} is filled again")


@app.command()
def trust(
    name: Spark,
    fingerprint: Annotated[
        str | None, typer.Option(help="trust it only if this is its fingerprint (SHA256:...); asks nothing")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="trust what it shows first, without asking")] = False,
    address: ServerOption = SERVER,
) -> None:
    """Believe a Spark's host key, after comparing its fingerprint with the one it shows on its own screen.

    On the Spark: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub
    """
    with server(address) as client:
        shown = client.get(f"/api/sparks/{name}/hostkey")["fingerprint"]
        if fingerprint is None:
            note(f"{name} shows the host key {shown}")
            spark = client.get("/api/status")["sparks"][name]
            changed = spark["reason"] == "HostKeyChanged"
            if changed:
                note(f"Take care: {spark['message']}")
            if changed and yes:
                fail(f"a key that changed is not taken unseen: compare it, then use --fingerprint {shown}")
            if not yes:
                _ask_for_trust(name)
        client.post(f"/api/sparks/{name}/trust", {"fingerprint": fingerprint or shown})
        note(f"the host key of {name} is trusted from now on")


def _ask_for_trust(name: str) -> None:
    if not sys.stdin.isatty():
        fail("nobody is there to compare it: use --fingerprint SHA256:... (or --yes)")
    note("On the Spark itself, `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` shows what it should be.")
    if not typer.confirm(f"Is that the key of {name}?", err=True):
        fail("Nothing is trusted.")


@app.command()
def practice(
    fault: Annotated[str | None, typer.Argument(help="what goes wrong; left out: the list of faults")] = None,
    name: Annotated[str | None, typer.Argument(metavar="[SPARK]", help="a practice Spark")] = None,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARG]...", help="values, or name=value")] = None,
    output: Output = Format.TABLE,
    address: ServerOption = SERVER,
) -> None:
    """Break or mend something on a practice Spark (of `serve --practice`).

    \b
    sparkkeep practice                           which faults there are
    sparkkeep practice cut spark-1               pull its cable; `heal` mends it
    sparkkeep practice reboot spark-1 5          reboot, taking 5 seconds
    """  # noqa: D301  # \b is typer's
    with server(address) as client:
        room = client.get("/api/practice")
        if fault is None or name is None:
            _list_faults(room, output)
            return
        fault = fault.replace("-", "_")
        known = room["faults"].get(fault, {"arguments": []})
        given = _arguments(arguments or [], [argument["name"] for argument in known["arguments"]])
        answer = client.post(f"/api/practice/{name}/{fault}", given)
        if output is Format.TABLE:
            note(f"{fault} done to {name}")
        else:
            dump(answer, output)


def _list_faults(room: dict[str, Any], output: Format) -> None:
    if output is not Format.TABLE:
        dump(room, output)
        return
    rows = (
        (name.replace("_", "-"), " ".join(_argument(a) for a in fault["arguments"]), fault["about"])
        for name, fault in room["faults"].items()
    )
    show(table(("FAULT", "ARGUMENTS", "MESSAGE"), rows))
    note("sparkkeep practice FAULT SPARK [ARG]...; Sparks: " + ", ".join(room["sparks"]))


def _argument(argument: dict[str, Any]) -> str:
    name = str(argument["name"])
    return name.upper() if argument["required"] else f"[{name.upper()}={argument['default']}]"


def _arguments(given: list[str], names: list[str]) -> dict[str, Any]:
    """Values in the order of the names, or `name=value`; each is read as YAML would."""
    found: dict[str, Any] = {}
    free = list(names)
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or name not in names:
            if not free:
                fail(f"too many arguments: this fault takes {', '.join(names) or 'none'}")
            name, value = free[0], text
        if name in free:
            free.remove(name)
        found[name] = yaml.safe_load(value)
    return found
