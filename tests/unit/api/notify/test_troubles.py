"""What counts as wrong, read off a real status: which words of it, of whom, and what is one message."""

from __future__ import annotations

from typing import Any

from api.notify.troubles import Look, look
from reconciler.findings import Finding, Report
from state.follow import Checkout
from state.remote import Outcome


def condition(kind: str, status: str, reason: str, message: str = "m") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def workload(health: str, reason: str = "X", *, sync: str = "Synced", stalled: bool = False) -> dict[str, Any]:
    return {
        "kind": "model",
        "health": health,
        "sync": sync,
        "message": "its container is gone",
        "conditions": [
            condition("Ready", "False", reason),
            condition("Synced", "False", "Terminal", "the flag --x is unknown"),
            condition("Stalled", "True" if stalled else "False", "Terminal"),
        ],
    }


def spark(reason: str = "Reachable", lease: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"reachable": reason == "Reachable", "reason": reason, "message": "it is off", "lease": lease}


def status(**parts: Any) -> dict[str, Any]:
    return {"revision": "r1", "problems": [], "sparks": {}, "workloads": {}, "plan": {"withheld": 0}, **parts}


def seen(
    made: dict[str, Any],
    *,
    withheld: tuple[str, ...] = (),
    checkout: Checkout | None = None,
    remote: bool = False,
    report: Report | None = None,
) -> Look:
    return look(made, withheld=withheld, checkout=checkout, remote=remote, report=report)


def test_each_health_is_bad_unsure_or_well() -> None:
    words = {
        "degraded": workload("Degraded"),
        "missing": workload("Missing", "InsufficientMemory"),
        "sleeping": workload("Missing", "OnDemand"),
        "fetching": workload("Missing", "WeightsFetching", sync="OutOfSync"),
        "elsewhere": workload("Missing", "LeaseHeld"),
        "loading": workload("Progressing"),
        "unknown": workload("Unknown", "ConnectTimeout"),
        "serving": workload("Healthy"),
        "still": workload("Suspended"),
        "stuck": workload("Healthy", sync="OutOfSync", stalled=True),
        "asked": workload("Healthy", sync="OutOfSync", stalled=True),
        "both": workload("Degraded", sync="OutOfSync", stalled=True),
    }
    found = seen(status(workloads=words), withheld=("asked",))
    assert set(found.troubles) == {
        ("workload/degraded", "NotServing"),
        ("workload/missing", "NotServing"),
        ("workload/stuck", "Stalled"),
        ("workload/both", "NotServing"),
    }
    assert found.unsure >= {f"workload/{name}" for name in ("fetching", "elsewhere", "loading", "unknown")}
    assert all(found.is_well(f"workload/{name}") for name in ("sleeping", "serving", "still", "asked", "gone"))
    told = found.troubles["workload/degraded", "NotServing"]
    assert (told.title, told.message) == ("degraded does not serve", "its container is gone")
    assert told.advice == "sparkkeep why degraded"


def test_most_sparks_gone_at_once_are_one_message() -> None:
    one = seen(status(sparks={"a": spark("ConnectTimeout"), "b": spark(), "c": spark()}))
    assert set(one.troubles) == {("spark/a", "SparkUnknown")}
    most = seen(status(sparks={"a": spark("ConnectTimeout"), "b": spark("NoRoute"), "c": spark()}))
    assert set(most.troubles) == {("fleet", "MostSparksUnknown")}
    assert most.troubles["fleet", "MostSparksUnknown"].title == "2 of 3 Sparks do not answer"
    assert most.unsure >= {"spark/a", "spark/b"}
    half = seen(status(sparks={"a": spark("ConnectTimeout"), "b": spark("NoRoute"), "c": spark(), "d": spark()}))
    assert set(half.troubles) == {("spark/a", "SparkUnknown"), ("spark/b", "SparkUnknown")}
    only = seen(status(sparks={"a": spark("ConnectTimeout")}))
    assert set(only.troubles) == {("spark/a", "SparkUnknown")}


def test_at_the_start_nobody_can_tell() -> None:
    found = seen(status(sparks={"a": spark("NotYetSeen"), "b": spark("NotYetSeen")}), checkout=Checkout(), remote=True)
    assert found.troubles == {}
    assert found.unsure == {"spark/a", "spark/b", "plan", "git", "sparkkeep"}


def test_a_lease_that_another_holds() -> None:
    def lease(reason: str, *, ours: bool = False) -> dict[str, Any]:
        return {"ours": ours, "reason": reason, "message": "box keeps it"}

    made = {
        "held": spark(lease=lease("LeaseHeld")),
        "ours": spark(lease=lease("LeaseOurs", ours=True)),
        "soon": spark(lease=lease("LeaseNotTaken")),
    }
    found = seen(status(sparks=made))
    assert set(found.troubles) == {("spark/held", "LeaseNotOurs")}
    assert "spark/soon" in found.unsure
    assert found.is_well("spark/ours")


def test_plan_desired_state_git_and_deep_health() -> None:
    failed = Finding(kind="spark", name="s", spark="s", check="disk", outcome="failed", message="it is full")
    found = seen(
        status(plan={"withheld": 3}, problems=[{"text": "d.yaml:3:1: on: is missing"}, {"text": "x"}]),
        checkout=Checkout(revision="1", remote=Outcome(reason="Conflict", message="both changed desired.yaml")),
        remote=True,
        report=Report(at=0, seconds=1, by="me", findings=(failed,)),
    )
    topics = {key: trouble.topic for key, trouble in found.troubles.items()}
    assert topics == {
        ("plan", "WaitsForApproval"): "approval",
        ("desired", "Invalid"): "desired",
        ("git", "Conflict"): "git",
        ("sparkkeep", "DeepHealthFailed"): "health",
    }
    assert found.troubles["desired", "Invalid"].message == "d.yaml:3:1: on: is missing (and 1 more). r1 stays in force"
    passing = seen(
        status(), checkout=Checkout(revision="1", remote=Outcome(reason="PushRaced", message="m")), remote=True
    )
    assert "git" in passing.unsure
    good = seen(status(), checkout=Checkout(revision="1", remote=Outcome(reason="InSync", message="")), remote=True)
    assert good.is_well("git")
