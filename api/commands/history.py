"""`run`, `stop`, `history`, `diff`, `rollback`: the desired state changed from the command line, and its way back."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated, Any

import typer

from api.output import (
    SERVER,
    Format,
    Output,
    ServerOption,
    age,
    dump,
    fail,
    note,
    server,
    show,
    table,
)

app = typer.Typer()

Workload = Annotated[str, typer.Argument(metavar="NAME", help="a workload")]
Revision = Annotated[str, typer.Argument(metavar="REV", help="a commit, as `history` shows it")]
Why = Annotated[str, typer.Option("--reason", "-m", help="why, for the commit")]
SHORT = 10


class When(StrEnum):
    """When it runs."""

    ALWAYS = "always"
    ON_DEMAND = "on-demand"


@app.command()
def run(
    name: Workload,
    when: Annotated[When, typer.Option(help="always, or only while it is asked for")] = When.ALWAYS,
    reason: Why = "",
    address: ServerOption = SERVER,
) -> None:
    """Have a declared workload run: sets its `run` in the desired state, as a commit."""
    _set(address, name, when.value, reason)


@app.command()
def stop(name: Workload, reason: Why = "", address: ServerOption = SERVER) -> None:
    """Have a workload not run: sets its `run` to never in the desired state, as a commit."""
    _set(address, name, "never", reason)


def _set(address: str, name: str, value: str, reason: str) -> None:
    with server(address) as client:
        declared = client.get("/api/status")["workloads"]
        if name not in declared:
            fail(f"no workload is named {name}; there are: {', '.join(sorted(declared)) or 'none'}")
        section = f"{declared[name]['kind']}s"
        answer = client.patch(f"/api/desired/{section}/{name}", {"run": value}, reason=reason)
        if answer["commit"] is None:
            note(f"{name} is declared so already, or in a hand edit that is not committed")
            return
        steps = len(answer["plan"]["steps"])
        note(f"{name}: run is {value} from now on ({answer['commit'][:SHORT]}); {_steps(steps)}")


def _steps(count: int) -> str:
    return "nothing is to do" if count == 0 else f"{count} step{'s' * (count > 1)} to do: `sparkkeep plan`"


@app.command()
def history(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="how many")] = 20,
    output: Output = Format.TABLE,
    address: ServerOption = SERVER,
) -> None:
    """Who changed the desired state, when and why; and what was edited by hand since."""
    with server(address) as client:
        answer = client.get("/api/history", limit=limit)
    if output is not Format.TABLE:
        dump(answer, output)
        return
    now = time.time()
    rows = (
        (commit["revision"][:SHORT], f"{age(now - commit['time'])} ago", commit["author"], _message(commit))
        for commit in answer["commits"]
    )
    show(table(("REVISION", "WHEN", "BY", "MESSAGE"), rows, empty="no changes yet"))
    for line in _standing(answer["checkout"]):
        note(line)


def _message(commit: dict[str, Any]) -> str:
    reason = f" ({' '.join(commit['reason'].split())})" if commit["reason"] else ""
    return f"{commit['subject']}{reason}"


def _standing(checkout: dict[str, Any]) -> list[str]:
    lines = []
    if checkout["dirty"]:
        lines.append(f"edited by hand and not committed: {', '.join(checkout['dirty'])}")
    if checkout["problem"]:
        lines.append(checkout["problem"])
    if (remote := checkout["remote"]) is not None and not remote["good"]:
        lines.append(f"{remote['reason']}: {remote['message']}")
    return lines


@app.command()
def diff(
    revision: Revision,
    to: Annotated[str | None, typer.Argument(metavar="[TO]", help="another commit; left out: the files now")] = None,
    output: Output = Format.TABLE,
    address: ServerOption = SERVER,
) -> None:
    """What has changed in the desired state since a commit."""
    with server(address) as client:
        answer = client.get(f"/api/history/{revision}/diff", to=to)
    if output is not Format.TABLE:
        dump(answer, output)
        return
    print(answer["diff"], end="")  # noqa: T201  # the data


@app.command()
def rollback(
    revision: Revision,
    reason: Why = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="without asking")] = False,
    address: ServerOption = SERVER,
) -> None:
    """Make the desired state what it was in a commit, as a new commit. Shows first what would be done."""
    with server(address) as client:
        body = {"revision": revision, "reason": reason}
        would = client.post("/api/rollback", body, dryRun=True)
        for step in (*would["plan"]["steps"], *would["plan"]["withheld"]):
            note(f"{step['verb']} {step['workload']} on {step['spark']}: {step['consequence']}")
        if not yes and not typer.confirm(f"Go back to {revision}?", err=True):
            fail("Nothing is changed.")
        answer = client.post("/api/rollback", body)
        if answer["commit"] is None:
            note(f"the desired state is that of {revision} already")
            return
        note(f"back to {revision} ({answer['commit'][:SHORT]}); {_steps(len(answer['plan']['steps']))}")
