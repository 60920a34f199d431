"""What the planner makes of leases: nothing is done on a Spark that somebody else keeps, and it is said why."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler import launch
from reconciler.lease import Lease
from reconciler.model import FENCE, Held, Verb
from reconciler.plan import plan
from reconciler.weights.cache import Want
from reconciler.weights.lack import Lack
from tests.unit.reconciler.builders import IMAGES, NOW, container, declare, only, service, sight, world
from tests.unit.reconciler.test_groups import GROUP, Fleet, ranks
from tests.unit.reconciler.test_plan_laws import declared, workloads

OURS = Lease(reason="", token=7)
HELD = Lease(
    reason="LeaseHeld",
    message="sparkkeep on laptop",
    token=8,
    holder="2@laptop",
    taken_at=NOW - 3600,
    renewed_at=NOW - 12,
    expires_at=NOW + 48,
)


def test_what_would_be_done_is_held_back_with_who_keeps_the_spark() -> None:
    target = declare("services:\n" + service() + service("other", on="s2"))
    gone = container(only(declare("services:\n" + service("gone", port=9000))), 3)
    result = plan(target, world(sights={"s1": sight(gone, images=IMAGES)}, leases={"s1": HELD, "s2": OURS}))
    assert [(s.spark, s.verb, s.workload) for s in result.steps] == [("s2", Verb.CREATE, "other")]
    assert {(h.spark, h.workload, h.reason) for h in result.held} == {
        ("s1", "echo", "LeaseHeld"),
        ("s1", "gone", "LeaseHeld"),
    }
    assert result.held[0].message == (
        "sparkkeep on laptop (since 2027-01-15 07:00 UTC) keeps this Spark and renewed its lease at 07:59:48 UTC; "
        "this one only looks"
    )
    assert not result.withheld


def test_what_is_as_it_should_be_needs_no_lease() -> None:
    target = declare("services:\n" + service())
    seen = {"s1": sight(container(only(target)), images=IMAGES)}
    assert plan(target, world(sights=seen, leases={"s1": HELD})).held == ()


def test_what_waits_for_a_lease_is_told_with_its_rank_and_what_needs_nothing_done_stays_as_it_is() -> None:
    """Weights may come to a Spark that somebody else keeps: nothing is asked of its containers."""
    target = declare("services:\n" + service())
    made = container(only(target))
    odd = replace(made, name="x", labels={**made.labels, "sparkkeep.rank": "3", "sparkkeep.workload": "gone"})
    asleep = replace(made, state="restarting")
    message = HELD.told()
    result = plan(target, world(sights={"s1": sight(odd, asleep, images=IMAGES)}, leases={"s1": HELD}))
    assert result.held == (
        Held(spark="s1", workload="gone", rank=3, reason="LeaseHeld", message=message),
        Held(spark="s1", workload="echo", reason="Restarting", message="Docker is restarting it (0 times so far)"),
    )
    recipe = "{engine: vllm, model: a/b, image: 'keep/echo:1', memory: 9GiB}"
    model = declare(f"models: {{m: {{recipe: {recipe}, on: s1}}}}")
    lack = {("s1", Want("a/b")): Lack(reason="WeightsWaiting", message="not whole", fetch=True)}
    assert [held.want for held in plan(model, world(weights=lack)).held] == [Want("a/b")]
    kept = plan(model, world(weights=lack, leases={"s1": HELD}))
    assert kept.held == (Held(spark="s1", workload="m", reason="LeaseHeld", message=message),)


def test_a_group_says_whose_its_spark_is_where_a_rank_does_not_run() -> None:
    target = declare(GROUP)
    why = f"s2: {HELD.told()}"
    told = [(held.spark, held.rank, held.reason, held.message) for held in Fleet(target).plan(leases={"s2": HELD}).held]
    assert told == [("s1", 0, "LeaseHeld", why), ("s2", 1, "LeaseHeld", why)]
    head, worker = ranks(target)
    one, two = container(head, 1), container(worker, 2)
    assert Fleet(target, one, two).plan(leases={"s2": HELD}).held == ()
    half = Fleet(target, one, replace(two, state="exited")).plan(leases={"s1": OURS, "s2": HELD})
    assert [(held.spark, held.message) for held in half.held] == [("s2", why)]


def test_what_somebody_else_keeps_is_not_counted_by_the_guards() -> None:
    text = "guards: {maxDestructive: 1}\nservices:\n"
    before = declare(text + service("a") + service("b", port=8001) + service("c", on="s2"))
    after = declare(text + service("d", on="s2", port=8002))
    one, two = (container(i, n) for n, i in enumerate(before.instances["s1"], 1))
    sights = {"s1": sight(one, two, images=IMAGES), "s2": sight(container(only(before, "s2"), 3), images=IMAGES)}
    assert plan(after, world(sights=sights)).withheld
    result = plan(after, world(sights=sights, leases={"s1": HELD}))
    assert [(s.spark, s.verb) for s in result.steps] == [("s2", "stop"), ("s2", "remove"), ("s2", "create")]


def test_a_group_is_left_alone_where_one_of_its_sparks_is_not_ours() -> None:
    target = declare(GROUP)
    for leases in ({"s1": HELD}, {"s2": HELD}):
        result = Fleet(target).plan(leases=leases)
        assert result.steps == ()
        assert {h.reason for h in result.held} == {"LeaseHeld"}
    head, _ = ranks(target)
    half = Fleet(target, container(head, 1)).plan(leases={"s2": HELD})
    assert half.steps == ()  # it would be taken down whole


@given(found=workloads, away=st.sampled_from(("s1", "s2")), reason=st.sampled_from(("LeaseHeld", "LeaseNotTaken")))
@settings(max_examples=60, deadline=None)
def test_no_step_where_the_lease_is_not_ours_and_the_other_spark_as_ever(
    found: dict[str, dict[str, object]], away: str, reason: str
) -> None:
    target = declared(found)
    if target is None:
        return
    sights = {spark: sight(images=frozenset({"keep/echo:1", "keep/echo:2"})) for spark in target.sparks}
    without = plan(target, world(sights=sights))
    result = plan(target, world(sights=sights, leases={away: Lease(reason=reason)}))
    assert result.steps == tuple(step for step in without.steps if step.spark != away)
    planned = {step.workload for step in without.steps if step.spark == away}
    assert planned <= {held.workload for held in result.held if held.spark == away and held.reason == reason}


def test_the_token_is_in_what_is_sent_and_not_in_the_plan() -> None:
    target = declare("services:\n" + service())
    one, two = (plan(target, world(leases={"s1": Lease(reason="", token=token)})) for token in (7, 8))
    assert one.digest == two.digest == plan(target, world()).digest
    (step,) = one.steps
    sent = launch.with_fence(step.argv, 7)
    assert [word for word in sent if word not in step.argv] == [f"{FENCE}=7"]
    at = sent.index(f"{FENCE}=7")
    assert sent[at - 1] == "--label"
    assert (*sent[: at - 1], *sent[at + 1 :]) == step.argv


def test_the_token_in_a_label_is_read_back_and_is_no_drift() -> None:
    target = declare("services:\n" + service())
    instance = only(target)
    made = container(instance)
    marked = container(instance, labels={**made.labels, FENCE: "41"})
    assert (made.fence, marked.fence) == (0, 41)
    assert plan(target, world(sights={"s1": sight(marked, images=IMAGES)})).steps == ()
    for nonsense in ("", "x", "-1", "9" * 40, "٣"):
        assert container(instance, labels={FENCE: nonsense}).fence == 0
