"""Where `on: any` goes: where it fits; there, where its weights lie; there, where most is free."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.binding import bind_floating
from reconciler.disks.found import CachedModel, DiskSurvey, GgufFile, Revision
from reconciler.holdings import commits, holding
from reconciler.model import Wish, World
from reconciler.place import Candidate, Placements, place
from tests.unit.reconciler.builders import GIB, NOW, container, declare, loaded_from, named, sight

OLD, NEW = "a" * 40, "b" * 40


def sparks(**free: int) -> list[Candidate]:
    return [Candidate(name=n, sight=sight(free=gib * GIB), reserve=4 * GIB, open=True) for n, gib in free.items()]


def placed(workloads: dict[str, int], free: dict[str, int], **more: dict[str, frozenset[str]]) -> Placements:
    wanted = [(name, gib * GIB) for name, gib in workloads.items()]
    return place(wanted, sparks(**free), owner="sparkkeep", before={}, promised={}, **more)  # type: ignore[arg-type]  # `holding` alone


def survey(*models: CachedModel, ggufs: tuple[GgufFile, ...] = ()) -> DiskSurvey:
    return DiskSurvey(taken_at=1.0, spark_time=1.0, models=models, ggufs=ggufs)


def cached(commit: str, *refs: str, complete: bool | None = True, repo: str = "org/m") -> CachedModel:
    return CachedModel(repo=repo, path="/x", revisions=(Revision(commit=commit, refs=refs, complete=complete),))


def test_the_spark_that_has_the_weights_is_preferred_to_an_emptier_one() -> None:
    free = {"s1": 50, "s2": 100, "s3": 60}
    assert placed({"m": 40}, free).on == {"m": "s2"}
    assert placed({"m": 40}, free, holding={"m": frozenset({"s1", "s3"})}).on == {"m": "s3"}


def test_fit_comes_before_weights() -> None:
    assert placed({"m": 60}, {"s1": 50, "s2": 100}, holding={"m": frozenset({"s1"})}).on == {"m": "s2"}
    nowhere = placed({"m": 60}, {"s1": 50}, holding={"m": frozenset({"s1"})})
    assert (nowhere.on, nowhere.waiting["m"][0]) == ({}, "NoSparkFits")


def test_a_place_once_found_is_kept_whatever_the_disks_say() -> None:
    found = place(
        [("m", GIB)], sparks(s1=50, s2=100), owner="sparkkeep", before={"m": "s1"}, promised={},
        holding={"m": frozenset({"s2"})},
    )  # fmt: skip
    assert found.on == {"m": "s1"}


NAMES = ["a", "b", "c", "d", "e"]
SPARKS = ["s1", "s2", "s3"]
WORKLOADS = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 80))
FREE = st.fixed_dictionaries({name: st.integers(0, 120) for name in SPARKS})
HOLDING = st.dictionaries(st.sampled_from(NAMES), st.frozensets(st.sampled_from([*SPARKS, "gone"])))


@given(WORKLOADS, FREE, HOLDING)
def test_laws_of_placement(workloads: dict[str, int], free: dict[str, int], holding: dict[str, frozenset[str]]) -> None:
    found = placed(workloads, free, holding=holding)
    assert set(found.on) | set(found.waiting) == set(workloads), "each is placed, or told why not"
    assert not set(found.on) & set(found.waiting)
    for spark, gib in free.items():
        taken = sum(workloads[name] for name, where in found.on.items() if where == spark)
        assert taken == 0 or taken + 4 <= gib, "no Spark is promised more than it has"
    turned = placed(dict(reversed(workloads.items())), dict(reversed(free.items())), holding=holding)
    assert turned.on == found.on, "whatever the order of the input"


@given(st.integers(0, 80), FREE, st.frozensets(st.sampled_from(SPARKS)))
def test_one_workload_goes_where_its_weights_are_if_it_fits_there(
    memory: int, free: dict[str, int], has: frozenset[str]
) -> None:
    found = placed({"m": memory}, free, holding={"m": has})
    fitting = {spark for spark, gib in free.items() if gib - 4 >= memory}
    assert set(found.on.values()) <= (fitting & has or fitting)
    assert bool(found.on) == bool(fitting)
    if fitting:
        assert free[found.on["m"]] == max(free[spark] for spark in (fitting & has or fitting))


def test_the_disks_decide_for_a_declared_workload_and_its_estimate_counts() -> None:
    yaml = "models: {m: {recipe: {engine: llamacpp, model: org/m, quant: Q4_K_M, image: 'keep/echo:1'%s}, on: any}}\n"
    loaded, target = loaded_from(yaml % ", memory: 20GiB"), declare(yaml % ", memory: 20GiB")
    sights = {"s1": sight(free=50 * GIB), "s2": sight(free=90 * GIB)}
    gguf = GgufFile(path="/x", name="m-q4_k_m.gguf", size=1, repo="org/m")
    held = holding(loaded.resolved.values(), {"s1": survey(ggufs=(gguf,)), "s2": None})
    assert held == {"m": frozenset({"s1"})}
    assert bind_floating(loaded, target, sights, {}, holding=held) == Placements(on={"m": "s1"}, waiting={})
    assert bind_floating(loaded, target, sights, {}) == Placements(on={"m": "s2"}, waiting={})
    vllm = yaml.replace("llamacpp", "vllm").replace(", quant: Q4_K_M", "") % ""
    greedy = bind_floating(loaded_from(vllm), declare(vllm), sights, {})
    assert greedy is not None
    assert greedy.waiting["m"][0] == "NoSparkFits", "vLLM takes nine tenths of a Spark if nobody says otherwise"


def test_only_the_whole_revision_that_is_asked_for_counts() -> None:
    def held(disk: DiskSurvey, revision: str = "") -> frozenset[str]:
        recipe = f"{{engine: vllm, model: org/m, image: i{revision}}}"
        loaded = loaded_from(f"models: {{m: {{recipe: {recipe}, on: any}}}}\n")
        return holding(loaded.resolved.values(), {"s1": disk})["m"]

    assert held(survey(cached(OLD, "main"))) == {"s1"}
    assert held(survey(cached(OLD))) == frozenset()
    assert held(survey(cached(OLD)), f", revision: {OLD}") == {"s1"}
    assert held(survey(cached(OLD, "main", complete=None))) == frozenset(), "not known is not there"
    assert held(survey(cached(OLD, "main", repo="org/other"))) == frozenset()


def test_commits_are_compared_only_where_a_group_names_none() -> None:
    def known(revision: str, where: str) -> dict[tuple[str, str], str]:
        recipe = f"{{engine: vllm, model: org/m, image: i, memory: 1GiB{revision}}}"
        loaded = loaded_from(f"models: {{m: {{recipe: {recipe}, {where}}}}}\n")
        surveys = {"s1": survey(cached(OLD, "main", "v1")), "s2": survey(cached(NEW, "main", complete=False))}
        return commits(loaded.resolved.values(), surveys)

    both = {("m", "s1"): OLD, ("m", "s2"): NEW}
    assert known("", "across: [s1, s2]") == both
    assert known(", revision: v1", "across: [s1, s2]") == {("m", "s1"): OLD}
    assert known(f", revision: {OLD}", "across: [s1, s2]") == {}
    assert known("", "on: [s1, s2]") == {}


# On demand

CLOCK = 10_000.0
ON_ANY = "sparks: {s1: {host: 10.0.0.1}, s2: {host: 10.0.0.2}}\nservices:\n" + "".join(
    f"  {name}: {{recipe: {{image: 'keep/echo:1', port: {port}, memory: 60GiB}}, on: any, run: on-demand}}\n"
    for port, name in enumerate("abc", 8000)
)


def bound(
    placements: Placements, wishes: dict[str, Wish], *running: str, free: dict[str, int], declared: str = ON_ANY
) -> Placements:
    """Places anew, where `running` have been placed and run."""
    target = declare(declared, placements=placements)
    up = [container(named(target, name), number) for number, name in enumerate(running, 1)]
    sights = {
        spark: sight(*(c for c in up if placements.on[c.workload] == spark), free=gib * GIB)
        for spark, gib in free.items()
    }
    found = bind_floating(
        loaded_from(declared),
        target,
        sights,
        placements.on,
        wishes=wishes,
        world=lambda: World(sights=sights, now=NOW, wishes=wishes, clock=CLOCK),
    )
    assert found is not None
    return found


NOWHERE = Placements(on={}, waiting={})


def test_what_nobody_asks_for_takes_no_room_from_others() -> None:
    everywhere = bound(NOWHERE, {}, free={"s1": 70, "s2": 80})
    assert everywhere == Placements(on={"a": "s2", "b": "s2", "c": "s2"}, waiting={})
    assert bound(NOWHERE, {}, free={"s1": 5, "s2": 7}).on == {"a": "s2", "b": "s2", "c": "s2"}
    assert bound(everywhere, {}, free={"s1": 80, "s2": 7}) == everywhere


def test_asked_for_it_goes_where_there_is_room() -> None:
    at_first = Placements(on=dict.fromkeys("abc", "s2"), waiting={})
    asked = {"a": Wish(turn=1), "b": Wish(turn=2)}
    assert bound(at_first, asked, free={"s1": 80, "s2": 80}).on == {"a": "s2", "b": "s1", "c": "s2"}
    assert bound(at_first, {"a": Wish(turn=1)}, free={"s1": 80, "s2": 50}).on["a"] == "s1"
    assert bound(at_first, {"a": Wish(turn=1)}, free={"s1": 50, "s2": 50}).on["a"] == "s2"


def test_what_runs_stays_where_it_is() -> None:
    at_first = Placements(on=dict.fromkeys("abc", "s2"), waiting={})
    assert bound(at_first, {"a": Wish(turn=1)}, "a", free={"s1": 80, "s2": 20}).on["a"] == "s2"


def test_it_goes_where_what_nobody_uses_can_be_stopped_if_there_is_room_nowhere() -> None:
    placed_before = Placements(on={"a": "s1", "b": "s2", "c": "s1"}, waiting={})
    busy, unused, asked = Wish(under_way=1), Wish(last=CLOCK - 99), Wish(turn=1)
    for a, b, goes in ((busy, unused, "s2"), (unused, unused, "s1"), (busy, busy, "s1")):
        found = bound(placed_before, {"a": a, "b": b, "c": asked}, "a", "b", free={"s1": 30, "s2": 30})
        assert found.on == {"a": "s1", "b": "s2", "c": goes}


def test_what_always_runs_is_placed_where_what_nobody_uses_makes_room() -> None:
    """History 6024: a service for any Spark waited for ever beside a model that ran on demand and that nobody asked for."""
    wanted = ON_ANY + "  z: {recipe: {image: 'keep/echo:1', port: 8009, memory: 60GiB}, on: any}\n"
    at_first = Placements(on={"a": "s1", "b": "s2"}, waiting={})
    busy, unused = Wish(under_way=1), Wish(last=CLOCK - 99)

    def found(a: Wish, b: Wish, free: int) -> Placements:
        return bound(at_first, {"a": a, "b": b}, "a", "b", free={"s1": free, "s2": free}, declared=wanted)

    assert found(busy, unused, 30).on["z"] == "s2"
    assert found(unused, busy, 30).on["z"] == "s1"
    nowhere = found(busy, busy, 30)
    assert nowhere.waiting["z"] == (
        "NoSparkFits",
        "s1 has 26.0 GiB to give, 60.0 GiB needed; s2 has 26.0 GiB to give, 60.0 GiB needed",
    )
    there = Placements(on={"a": "s1", "b": "s2", "z": "s1"}, waiting={})
    assert bound(there, {"a": busy, "b": unused}, "a", "b", free={"s1": 30, "s2": 30}, declared=wanted).on["z"] == "s1"
