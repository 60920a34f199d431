"""Runs one step on one Spark and says what came of it.

A step is a command like any that a person could paste (the delivery of a mod stands for several, a build reads what is
sent to it); its outcome is one of four. `UNKNOWN` (the answer got lost, or came too late) is not a failure: the command
may have been done, so nobody guesses, and the next scan tells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from reconciler import building, launch, shell
from reconciler.delivery import Content, deliver
from reconciler.explain import Explanation, explain
from reconciler.hosts import Host
from reconciler.launch import ENV_FOLDER
from reconciler.lease import Fence, fenced, was_refused
from reconciler.linkdown import CommandTimeout, LinkDown, OutputTooLong
from reconciler.model import Step, Verb
from reconciler.sessions import Outcome
from state.secrets import SecretRefused

GONE = ("No such container", "is not running", "removal of container", "is already in progress")
FAILED = {  # what is said of a verb that is no docker command of its own
    Verb.MKDIR: "mkdir failed",
    Verb.DELIVER: "a mod could not be put on the Spark",
}
# What runs outside of the lease: it changes nothing that anybody wants, and a fetch would keep a Spark from being taken
# over for hours. Many fetches do no harm; an image is asked only by a worker that holds the lease, as it takes memory.
UNFENCED = frozenset({Verb.PULL, Verb.BUILD, Verb.ASK, Verb.FREE})


def no_mod(_: str) -> None:
    """There are no mods."""


class Result(StrEnum):
    """What came of a step."""

    DONE = "done"
    FAILED = "failed"
    NOT_DONE = "not-done"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of a step, with the Spark's own words. `why` is set for failures and names them.

    `lease_lost`: the Spark refused it, since it is kept by somebody else now, or by nobody.
    """

    result: Result
    status: int | None = None
    output: str = ""
    why: Explanation | None = None
    lease_lost: bool = False


def script_of(step: Step, secret: Callable[[str], str]) -> str:
    """The shell text of a step. Secrets are looked up here, at the last moment. Raises SecretRefused."""
    if step.login is not None:
        return shell.with_login(step.login.registry, step.login.user, secret(step.login.secret), step.argv)
    if not step.secrets:
        return step.command
    values = {variable: secret(name) for variable, name in step.secrets}
    return shell.with_env_file(ENV_FOLDER, step.name, values, step.argv)


async def act(
    step: Step,
    host: Host,
    secret: Callable[[str], str],
    mod: Content = no_mod,
    fence: Fence | None = None,
    context: building.Content = building.no_context,
) -> Report:
    """Run the step. `mod` and `context` give what it sends, by digest. Never raises for what a Spark can do.

    With a `fence` the Spark runs what changes something only while the lease is ours, and what is created carries
    its token.
    """
    hint = ""
    fence = None if step.verb in UNFENCED else fence
    if fence is not None and step.verb is Verb.CREATE:
        step = replace(step, argv=launch.with_fence(step.argv, fence.token))
    try:
        script = _build_script(step, context) if step.verb is Verb.BUILD else script_of(step, secret)
    except SecretRefused as refused:
        if step.login is None:
            why = Explanation("SecretRefused", str(refused), terminal=False)
            return Report(result=Result.FAILED, why=why, output=why.message)
        script, hint = step.command, f" Nobody logged in to {step.login.registry} for it: {refused}."
    if not script:
        return Report(result=Result.NOT_DONE, output="what it is built from has changed since this was planned")
    try:
        outcome = await _run(step, host, script, mod, fence)
    except CommandTimeout as late:
        # Freeing memory is a help and no condition: what it was for is tried without.
        return Report(result=Result.DONE if step.verb is Verb.FREE else Result.UNKNOWN, output=late.message)
    except OutputTooLong as long:  # before LinkDown, which it is: a build would be begun again at once, and for ever
        if step.verb is Verb.BUILD:
            return Report(result=Result.FAILED, output=long.message, why=building.why(long.message))
        return Report(result=Result.UNKNOWN, output=long.message)
    except LinkDown as down:
        return Report(result=Result.UNKNOWN if down.maybe_done else Result.NOT_DONE, output=down.message)
    if outcome is not None and was_refused(outcome.status, outcome.stdout):
        text = f"{step.spark} did not run it: its lease is not ours any more"
        return Report(result=Result.NOT_DONE, status=outcome.status, output=text, lease_lost=True)
    return _report(step, outcome, hint)


def _build_script(step: Step, context: building.Content) -> str:
    """The shell text of a build; empty if what it is built from is wanted no more."""
    content = context(step.content)
    return "" if content is None else building.script_of(step.argv, content)


async def _run(step: Step, host: Host, script: str, mod: Content, fence: Fence | None) -> Outcome | None:
    """How its command ended; None if there is nothing to run any more. Raises LinkDown."""

    def guarded(text: str) -> str:
        return text if fence is None else fenced(text, fence)

    if step.verb is not Verb.DELIVER:
        return await host.run(guarded(script), timeout=step.timeout, reserved=step.verb is Verb.STOP)
    content = mod(step.mod)
    return None if content is None else await deliver(host, content, timeout=step.timeout, fenced=guarded)


def _report(step: Step, outcome: Outcome | None, hint: str) -> Report:
    """What the end of its command means for the step."""
    if outcome is None:
        return Report(result=Result.NOT_DONE, output="the mod has changed since this was planned")
    output = (outcome.stdout + outcome.stderr).strip()
    if outcome.status == 0:
        return Report(result=Result.DONE, status=0, output=output)
    if step.verb is Verb.FREE:
        return Report(result=Result.DONE, status=outcome.status, output=f"the page cache stays: {output}")
    if outcome.status is None:
        return Report(result=Result.UNKNOWN, output=output or "the command was ended by a signal")
    if step.verb in {Verb.STOP, Verb.REMOVE} and any(text in output for text in GONE):
        return Report(result=Result.DONE, status=outcome.status, output=output)
    if step.verb is Verb.BUILD:
        why = building.why(output)
    else:
        why = explain(output, otherwise=FAILED.get(step.verb, f"`docker {step.verb}` failed"))
    if why.reason == "EngineDown":  # the Spark's trouble, not the workload's: the next scan says so too
        return Report(result=Result.NOT_DONE, status=outcome.status, output=why.message)
    if why.reason == "PullDenied":
        why = replace(why, message=why.message + hint, advice=why.advice + hint)
    return Report(result=Result.FAILED, status=outcome.status, output=output, why=why)
