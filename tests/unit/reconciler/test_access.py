"""What a registry or a hub refused is tried again when the secret it needs is another, and not before."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from reconciler import shell
from reconciler.access import Shown, waits_for
from reconciler.explain import Explanation
from reconciler.ledger import Ledger
from reconciler.loop import Loop
from reconciler.model import Login, Step, Verb
from reconciler.plan import plan
from reconciler.ssh import Outcome
from reconciler.target import Target
from state.journal import Journal
from state.secrets import Secrets
from state.store import DesiredStore
from tests.unit.reconciler.builders import NOW, container, declare, only, sight, world
from tests.unit.reconciler.test_worker import Played, until

GOOD = "the-right-one"
NIM = "nvcr.io/nim/meta/llama:1"
GATED = "Cannot access gated repo for url https://huggingface.co/meta-llama/Llama-3.2-1B/resolve/main/config.json."


@dataclass
class Strict(Played):
    """A Spark whose registry, and whose programs, want to be shown the right secret."""

    made_with: dict[str, bool] = field(default_factory=dict)
    moment: float = 1.0
    log: str = GATED

    async def run(self, script: str, *, timeout: float, reserved: bool = False) -> Outcome:
        line = next(line for line in script.splitlines() if line.startswith(("docker ", "else docker ")))
        argv = shell.split(line.removeprefix("else "))
        self.commands.append(argv)
        if argv[1] == "logs":
            return Outcome(0, self.log, "")
        if argv[1] == "pull" and GOOD not in script:
            return Outcome(1, "", "Error response from daemon: unauthorized: authentication required")
        done = self.do(argv)
        if argv[1] in {"run", "start"}:
            self._ends(GOOD in script if argv[1] == "run" else None)
        return done

    def _ends(self, shown: bool | None) -> None:
        """It ends at once, unless it was made with the right secret."""
        ((name, made),) = self.containers.items()
        good = self.made_with.setdefault(made.id, bool(shown))
        if not good:
            self.moment += 1
            dead = replace(made, state="exited", exit_code=1, started_at=self.moment, finished_at=self.moment)
            self.containers[name] = dead


@asynccontextmanager
async def looping(folder: Path, host: Played, text: str) -> AsyncIterator[tuple[Loop, Secrets]]:
    file, kept, journal = folder / "desired.yaml", Secrets(folder / "secrets"), Journal(":memory:")
    file.write_text(text)
    async with (
        DesiredStore(file, generations=journal) as store,
        Loop(store, journal, lambda _name, _spark: host, secret=kept.get, rng=random.Random(1)) as loop,
    ):
        yield loop, kept
    journal.close()


async def look(loop: Loop, times: int = 3) -> None:
    """Some passes, in which nothing may happen."""
    for _ in range(times):
        before = loop.workers["s1"].passes
        loop.wake_all()
        await until(lambda seen=before: loop.workers["s1"].passes > seen)


def reasons(loop: Loop) -> list[tuple[str, bool]]:
    return [(held.reason, held.terminal) for held in loop.plan().held]


PULLED = f"sparks: {{s1: {{host: 10.0.0.1}}}}\nservices: {{nim: {{recipe: {{image: '{NIM}'}}, on: s1}}}}\n"


async def test_a_denied_fetch_waits_for_the_key_of_its_registry_and_no_other(tmp_path: Path) -> None:
    """Symptom: the advice said `sparkkeep secret set ngc`; it was followed, and nothing happened."""
    host = Strict(images=set())
    async with looping(tmp_path, host, PULLED) as (loop, kept):
        await until(lambda: reasons(loop) == [("PullDenied", True)])
        kept.set("hf", GOOD)
        await look(loop)
        assert host.verbs() == ["pull"]
        assert reasons(loop) == [("PullDenied", True)]
        assert "waits for a change of its declaration or of the login for its registry" in loop.plan().held[0].message
        kept.set("ngc", "a-wrong-one")
        loop.wake_all()
        await until(lambda: host.verbs() == ["pull"] * 2 and reasons(loop) == [("PullDenied", True)])
        await look(loop)
        assert host.verbs() == ["pull"] * 2
        kept.set("ngc", GOOD)
        loop.wake_all()
        await until(lambda: host.images)
        told = [each for each in await loop.history.journal.events() if each.event.reason == "SecretChanged"]
        assert [(each.event.name, each.count) for each in told] == [("nim", 2)]
        assert "(PullDenied) has changed since: it is tried again" in told[0].event.message
    assert host.verbs()[:3] == ["pull"] * 3


async def test_a_denied_fetch_ends_its_wait_when_a_login_for_its_registry_is_declared(tmp_path: Path) -> None:
    """It changes no recipe, so the spec stays the same."""
    host = Strict(images=set())
    text = PULLED.replace(NIM, "lan:5000/a:1")
    async with looping(tmp_path, host, text) as (loop, kept):
        kept.set("lan", GOOD)
        await until(lambda: reasons(loop) == [("PullDenied", True)])
        (tmp_path / "desired.yaml").write_text(
            f"{text}settings: {{registries: {{'lan:5000': {{user: me, secret: lan}}}}}}"
        )
        await until(lambda: host.images)
    assert host.verbs()[:2] == ["pull", "pull"]


MADE = """
sparks: {s1: {host: 10.0.0.1}}
services: {echo: {recipe: {image: 'keep/echo:1', env: {HF_TOKEN: {secret: hf}, KEY: {secret: other}}}, on: s1}}
"""


async def test_a_gated_model_is_made_anew_with_the_new_token(tmp_path: Path) -> None:
    """Symptom: the token was changed, and the old container with the old token would have been started again."""
    host = Strict()
    async with looping(tmp_path, host, MADE) as (loop, kept):
        kept.set("other", "x")
        kept.set("hf", "without-access")
        loop.reset_backoff("echo")
        await until(lambda: reasons(loop) == [("ModelGated", True)])
        assert host.verbs() == ["run", "start"]
        await look(loop)
        kept.set("ngc", GOOD)
        await look(loop)
        assert host.verbs() == ["run", "start"], "a secret that it does not use"
        kept.set("hf", GOOD)
        loop.wake_all()
        await until(lambda: [c.state for c in host.containers.values()] == ["running"] and not loop.plan().steps)
    assert host.verbs() == ["run", "start", "rm", "run"]


async def test_a_secret_that_was_missing_is_used_at_once(tmp_path: Path) -> None:
    """Symptom: up to five minutes went by after it had been set."""
    host = Strict()
    async with looping(tmp_path, host, MADE) as (loop, kept):
        kept.set("other", "x")
        await until(lambda: reasons(loop) == [("SecretRefused", False)])
        kept.set("hf", GOOD)
        loop.wake_all()
        await until(lambda: host.containers)
    assert host.verbs() == ["run"]


# The rules, without a loop


def begun(verb: Verb, **more: Any) -> Step:
    return Step(verb=verb, spark="s1", workload="echo", argv=("true",), cause="", consequence="", **more)


SERVICE = "services: {echo: {recipe: {image: 'keep/echo:1', env: {HF_TOKEN: {secret: hf}}}, on: s1}}"
PLAIN = "services: {echo: {recipe: {image: 'keep/echo:1'}, on: s1}}"


def failed(reason: str, target: Target, *, terminal: bool = True) -> Ledger:
    ledger = Ledger(random.Random(1))
    ledger.fail(("echo", "s1"), only(target).spec_hash, Explanation(reason, "no", terminal=terminal), NOW)
    return ledger


@pytest.mark.parametrize(
    ("reason", "ends"),
    [
        *((reason, True) for reason in ("ModelGated", "HfTokenRefused", "ModelNotFound", "NgcKeyRefused")),
        *((reason, True) for reason in ("SecretRefused", "ContainerExited")),
        *((reason, False) for reason in ("BadFlag", "OutOfMemory", "WeightsDamaged", "PullDenied", "MountMissing")),
    ],
)
@pytest.mark.parametrize("text", [SERVICE, PLAIN])
def test_only_what_a_secret_could_mend_is_tried_again(reason: str, ends: bool, text: str) -> None:
    secrets, target = {"hf": "old", "ngc": "old"}, declare(text)
    shown, ledger = Shown(secrets.__getitem__), failed(reason, target)
    shown.begun(begun(Verb.CREATE, secrets=only(target).spec.secrets))
    secrets["ngc"] = "new"
    assert list(shown.renew("s1", target, ledger, NOW)) == []
    secrets["hf"] = "new"
    assert list(shown.renew("s2", target, ledger, NOW)) == []
    ended = list(shown.renew("s1", target, ledger, NOW))
    assert bool(ended) == (ends and text == SERVICE)
    assert ledger.failures["echo", "s1"].terminal is not bool(ended)
    assert list(shown.renew("s1", target, ledger, NOW)) == [], "once"


def test_the_same_value_again_is_no_change() -> None:
    target = declare(SERVICE)
    shown, ledger = Shown({"hf": "old"}.__getitem__), failed("ModelGated", target)
    shown.begun(begun(Verb.CREATE, secrets=only(target).spec.secrets))
    assert list(shown.renew("s1", target, ledger, NOW)) == []


@pytest.mark.parametrize(("reason", "ends"), [("ModelGated", True), ("ContainerExited", False), ("PullDenied", False)])
def test_after_a_restart_a_refused_token_may_have_been_an_old_one(reason: str, ends: bool) -> None:
    """A container keeps the secrets of its making, and nobody remembers which those were."""
    target = declare(SERVICE)
    shown, ledger = Shown({"hf": "old"}.__getitem__), failed(reason, target)
    assert bool(list(shown.renew("s1", target, ledger, NOW))) is ends
    assert ledger.failures["echo", "s1"].renewed is ends


def test_a_log_that_is_read_late_does_not_close_what_a_new_secret_has_opened() -> None:
    secrets, target = {"hf": "old"}, declare(SERVICE)
    spec_hash = only(target).spec_hash
    shown, ledger = Shown(secrets.__getitem__), failed("ContainerExited", target, terminal=False)
    ledger.fail(("echo", "s1"), spec_hash, Explanation("ContainerExited", "it exited", terminal=False), NOW)
    shown.begun(begun(Verb.CREATE, secrets=only(target).spec.secrets))
    secrets["hf"] = "new"
    assert len(list(shown.renew("s1", target, ledger, NOW))) == 1
    worded = ledger.reword(("echo", "s1"), spec_hash, Explanation("ModelGated", "gated", terminal=True), ())
    assert worded is not None
    assert (worded.reason, worded.terminal, worded.renewed) == ("ModelGated", False, True)


def test_the_plan_makes_it_anew_and_says_why() -> None:
    target = declare(SERVICE)
    dead = container(only(target), state="exited", exit_code=1)
    ledger = failed("ModelGated", target)
    there = {"s1": sight(dead, images=frozenset({"keep/echo:1"}))}
    assert plan(target, world(sights=there, failures=ledger.failures)).steps == ()
    ledger.renew(("echo", "s1"), NOW)
    steps = plan(target, world(sights=there, failures=ledger.failures)).steps
    assert [step.verb for step in steps] == [Verb.REMOVE, Verb.CREATE]
    assert steps[0].cause == "it exited with status 1, and its secrets have changed since it was made"
    assert not any(step.destructive for step in steps)


def test_no_value_is_kept() -> None:
    target = declare(SERVICE)
    shown = Shown({"hf": "hf_s3cret", "ngc": "hf_s3cret"}.__getitem__)
    shown.begun(begun(Verb.CREATE, secrets=only(target).spec.secrets))
    shown.begun(begun(Verb.PULL, login=Login(registry="nvcr.io", user="me", secret="ngc")))  # noqa: S106  # its name
    other = Shown({"hf": "hf_s3cret"}.__getitem__)
    assert "s3cret" not in repr(vars(shown) | {"_secret": None})
    assert shown.of(["hf"]) != other.of(["hf"]), "the digest tells nothing outside of this process"
    shown.keep_only(set())
    assert list(shown.renew("s1", target, failed("ContainerExited", target), NOW)) == []


def test_the_words_of_a_wait() -> None:
    with_secret, plain = only(declare(SERVICE)), only(declare(PLAIN))
    for instance in (with_secret, plain, None):
        assert waits_for("BadFlag", instance) == "waits for a change of its declaration"
        told = "waits for a change of its declaration or of the login for its registry"
        assert waits_for("PullDenied", instance) == told
    assert waits_for("ModelGated", with_secret) == "waits for a change of its declaration or of its secrets"
    assert waits_for("ModelGated", plain) == waits_for("ModelGated", None) == "waits for a change of its declaration"
