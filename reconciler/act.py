"""Runs one step on one Spark and says what came of it.

A step is a command like any that a person could paste; its outcome is one of four. `UNKNOWN` (the answer got
lost, or came too late) is not a failure: the command may have been done, so nobody guesses, and the next scan
tells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from reconciler import shell
from reconciler.explain import Explanation, explain
from reconciler.hosts import Host
from reconciler.launch import ENV_FOLDER
from reconciler.linkdown import LinkDown
from reconciler.model import Step, Verb
from state.secrets import SecretRefused

GONE = ("No such container", "is not running", "removal of container", "is already in progress")


class Result(StrEnum):
    """What came of a step."""

    DONE = "done"
    FAILED = "failed"
    NOT_DONE = "not-done"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of a step, with the Spark's own words. `why` is set for failures and names them."""

    result: Result
    status: int | None = None
    output: str = ""
    why: Explanation | None = None


def script_of(step: Step, secret: Callable[[str], str]) -> str:
    """The shell text of a step. Secrets are looked up here, at the last moment. Raises SecretRefused."""
    if not step.secrets:
        return step.command
    values = {variable: secret(name) for variable, name in step.secrets}
    return shell.with_env_file(ENV_FOLDER, step.name, values, step.argv)


async def act(step: Step, host: Host, secret: Callable[[str], str]) -> Report:
    """Run the step. Never raises for what a Spark or a network can do."""
    try:
        script = script_of(step, secret)
    except SecretRefused as refused:
        why = Explanation("SecretRefused", str(refused), terminal=False)
        return Report(result=Result.FAILED, why=why, output=why.message)
    try:
        outcome = await host.run(script, timeout=step.timeout, reserved=step.verb is Verb.STOP)
    except LinkDown as down:
        return Report(result=Result.UNKNOWN if down.maybe_done else Result.NOT_DONE, output=down.message)
    output = (outcome.stdout + outcome.stderr).strip()
    if outcome.status == 0:
        return Report(result=Result.DONE, status=0, output=output)
    if outcome.status is None:
        return Report(result=Result.UNKNOWN, output=output or "the command was ended by a signal")
    if step.verb in {Verb.STOP, Verb.REMOVE} and any(text in output for text in GONE):
        return Report(result=Result.DONE, status=outcome.status, output=output)
    why = explain(output, otherwise=f"`docker {step.verb}` failed" if step.verb is not Verb.MKDIR else "mkdir failed")
    if why.reason == "EngineDown":  # the Spark's trouble, not the workload's: the next scan says so too
        return Report(result=Result.NOT_DONE, status=outcome.status, output=why.message)
    return Report(result=Result.FAILED, status=outcome.status, output=output, why=why)
