"""What is counted, and that it is neither more nor less than what happened."""

from __future__ import annotations

import asyncio
from collections import Counter as Count
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.facts import ScanFailed
from reconciler.hosts import Answer
from reconciler.linkdown import CommandTimeout, LinkDown
from reconciler.loop import Loop
from reconciler.meters import OTHER, PASSES, RESULTS, Counter, Histogram, Meters, Passed
from reconciler.model import Container, ProbeSpec, Scan
from reconciler.ssh import Outcome
from tests.unit.reconciler.in_no_time import in_no_time, keeping
from tests.unit.reconciler.test_worker import TEXT, Played

QUIET = TEXT.replace("IMAGE", "keep/echo:1").replace("port: 8000", "port: 8000, probe: none")
PROBED = QUIET.replace("probe: none", "probe: {kind: http, path: /}")
YES = Answer(ready=True, message="yes")
names = st.sampled_from("abcd")


def numbers(counter: Counter) -> dict[tuple[str, ...], int]:
    return {values: number for values, number in counter.rows() if number}


def spread(histogram: Histogram) -> dict[tuple[str, ...], tuple[int, float]]:
    """How many, and their sum."""
    return {values: (sum(s.buckets), round(s.seconds, 6)) for values, s in histogram.rows()}


# Laws.


@given(st.lists(st.tuples(names, names, st.integers(0, 5))))
def test_a_counter_is_the_sum_of_what_was_added(added: list[tuple[str, str, int]]) -> None:
    counter, expected = Counter("one", "two"), Count[tuple[str, ...]]()
    for one, two, by in added:
        before = dict(counter.rows()).get((one, two), 0)
        counter.add(one, two, by=by)
        assert dict(counter.rows())[one, two] >= before
        expected[one, two] += by
    assert dict(counter.rows()) == expected


@given(
    st.lists(st.floats(0.001, 1e4, allow_nan=False), min_size=1, max_size=8, unique=True).map(sorted),
    st.lists(st.one_of(st.floats(0, 1e5, allow_nan=False), st.just(0.0)), max_size=50),
)
def test_a_bucket_holds_what_took_at_most_its_bound(bounds: list[float], seconds: list[float]) -> None:
    histogram = Histogram(tuple(bounds), "what")
    for each in [*seconds, *bounds]:
        histogram.observe(each, "x")
    (((value,), found),) = histogram.rows()
    assert value == "x"
    for index, bound in enumerate(bounds):
        assert sum(found.buckets[: index + 1]) == sum(each <= bound for each in [*seconds, *bounds])
    assert sum(found.buckets) == len(seconds) + len(bounds)
    assert found.seconds == pytest.approx(sum(seconds) + sum(bounds))


@given(st.lists(st.tuples(names, names), min_size=1), st.sets(names), st.sets(names))
def test_exactly_the_declared_names_are_kept(
    happened: list[tuple[str, str]], sparks: set[str], workloads: set[str]
) -> None:
    """In whatever family: nothing tells of another Spark or workload, and nothing else is lost."""

    def fill(meters: Meters, only: list[tuple[str, str]]) -> None:
        for spark, workload in only:
            meters.passed(spark, Passed.SUCCESS, 1.0)
            meters.scanned(spark, 1.0)
            meters.scan_failed(spark, "ScanTimeout")
            meters.link_failed(spark, "NoRoute")
            meters.failed(workload, spark)
            meters.probed(workload, spark, "page", "busy", 1.0)
            meters.runs(workload, spark, running(1))
            meters.answers(workload, 1.0)

    meters, expected = Meters(), Meters()
    fill(meters, happened)
    fill(expected, [(spark, workload) for spark, workload in happened if spark in sparks and workload in workloads])
    meters.stepped("a", "create", "done", 1.0)
    meters.told("Normal", "Created")
    meters.keep_only(sparks, workloads)
    paired = (meters.probe_seconds, meters.probe_failures, meters.restarts, meters.failures)
    paired_expected = (expected.probe_seconds, expected.probe_failures, expected.restarts, expected.failures)
    for found, wanted in zip(paired, paired_expected, strict=True):
        assert {values for values, _ in found.rows()} == {values for values, _ in wanted.rows()}
    for found in (meters.passes, meters.pass_seconds, meters.scan_failures, meters.link_failures, meters.scan_seconds):
        assert {values[0] for values, _ in found.rows()} == {spark for spark, _ in happened} & sparks
    assert {values for values, _ in meters.start_seconds.rows()} == {(w,) for _, w in happened if w in workloads}
    assert bool(numbers(meters.steps)) == ("a" in sparks)
    assert spread(meters.step_seconds) == {("create",): (1, 1.0)}, "a sum over all Sparks never falls"
    assert numbers(meters.events) == {("Normal", "Created"): 1}


def running(number: int, *, started: float = 1.0, restarts: int = 0) -> Container:
    return Container(
        id=f"{number:064x}", name="n", image="i", state="running", started_at=started, restart_count=restarts
    )


@pytest.mark.parametrize(
    ("seen", "restarts"),
    [
        ([running(1)], 0),
        ([running(1), running(1), running(1)], 0),
        ([running(1), running(2)], 1),
        ([running(1), running(1, started=2.0)], 1),
        ([running(1), running(1, started=9.0, restarts=4)], 4),
        ([running(1, restarts=4), running(2, restarts=0), running(2, started=3.0, restarts=1)], 2),
        ([running(1), running(2), running(1)], 2),
    ],
)
def test_another_start_than_the_one_seen_before_is_a_restart(seen: list[Container], restarts: int) -> None:
    meters = Meters()
    for container in seen:
        meters.runs("echo", "s1", container)
        meters.runs("echo", "s2", running(7))
    assert dict(meters.restarts.rows()) == {("echo", "s1"): restarts, ("echo", "s2"): 0}


def test_what_comes_back_after_it_was_declared_no_more_has_not_restarted() -> None:
    meters = Meters()
    meters.runs("echo", "s1", running(1))
    meters.keep_only(set(), set())
    meters.runs("echo", "s1", running(2))
    assert dict(meters.restarts.rows()) == {("echo", "s1"): 0}


def test_a_bug_is_an_error_and_all_results_are_there_from_the_first_pass_on() -> None:
    meters = Meters()
    for how in (Passed.SUCCESS, Passed.PANIC, Passed.ERROR, Passed.UNKNOWN, Passed.REQUEUE, Passed.REQUEUE):
        meters.passed("s1", how, 0.001)
        assert {values[1] for values, _ in meters.passes.rows()} == set(RESULTS)
    assert numbers(meters.passes) == {
        ("s1", "success"): 1,
        ("s1", "error"): 2,
        ("s1", "requeue"): 2,
        ("s1", "unknown"): 1,
    }
    assert (numbers(meters.pass_errors), numbers(meters.pass_panics)) == ({("s1",): 2}, {("s1",): 1})
    ((_, found),) = meters.pass_seconds.rows()
    assert found.buckets == [6] + [0] * len(PASSES)


@pytest.mark.parametrize("text", ["", "two words", "lower", "A" * 65, "Bäh", "Exit\n", 'a"b', "/bin/sh"])
def test_a_text_never_becomes_a_label(text: str) -> None:
    meters = Meters()
    meters.told("Warning", text)
    meters.scan_failed("s1", text)
    meters.link_failed("s1", text)
    assert numbers(meters.events) == {("Warning", OTHER): 1}
    assert numbers(meters.scan_failures) == numbers(meters.link_failures) == {("s1", OTHER): 1}


# A whole loop in virtual time, against a Spark that the test plays: numbers are exact.


@dataclass
class Moody(Played):
    """`moods` are what the next scans raise, one after another; `says` what the server answers, after a second."""

    moods: list[Exception] = field(default_factory=list)
    says: Answer = YES

    async def scan(self, *, full: bool, before: Scan | None) -> Scan:
        if self.moods:
            raise self.moods.pop(0)
        return await super().scan(full=full, before=before)

    async def ask(self, probe: ProbeSpec) -> Answer:
        del probe
        await asyncio.sleep(1.0)
        return self.says

    async def run(self, script: str, *, timeout: float, reserved: bool = False) -> Outcome:
        if script.startswith("docker logs"):
            return Outcome(0, "bye", "")
        return await super().run(script, timeout=timeout, reserved=reserved)


def story(folder: Path, host: Played, told: Any, text: str = QUIET) -> Meters:
    meters = Meters()

    async def all_of_it() -> None:
        async with keeping(folder, host, text, meters=meters) as loop:
            await told(loop)

    in_no_time(all_of_it())
    return meters


def taking(seconds: Mapping[str, float]) -> Any:
    """Commands take this long."""

    def before(argv: tuple[str, ...]) -> Coroutine[Any, Any, None]:
        return asyncio.sleep(seconds.get(argv[1], 0.0))

    return before


async def rest(_: Loop, seconds: float = 5.0) -> None:
    await asyncio.sleep(seconds)


def test_passes_scans_and_steps(tmp_path: Path) -> None:
    host = Played(images=set(), scan_takes=0.25)
    host.before = taking({"pull": 7.0, "run": 3.0})
    meters = story(tmp_path, host, lambda loop: rest(loop, 25.0))
    assert host.verbs() == ["pull", "run"]
    assert numbers(meters.steps) == {("s1", "pull", "done"): 1, ("s1", "create", "done"): 1}
    assert spread(meters.step_seconds) == {("pull",): (1, 7.0), ("create",): (1, 3.0)}
    assert spread(meters.scan_seconds) == {("s1",): (host.scans, round(host.scans * 0.25, 6))}
    count, seconds = spread(meters.pass_seconds)["s1",]
    assert (count, seconds) == (host.scans, round(host.scans * 0.25 + 3.0, 6)), "a fetch goes on beside the passes"
    assert numbers(meters.passes) == {("s1", "requeue"): 1, ("s1", "success"): host.scans - 1}
    assert not numbers(meters.pass_errors)


def test_the_same_story_counts_the_same(tmp_path: Path) -> None:
    def once(folder: Path) -> list[object]:
        folder.mkdir()
        host = Moody(scan_takes=0.01, moods=[ScanFailed("ScanTimeout", "late")])
        host.before = taking({"run": 0.5})
        meters = story(folder, host, lambda loop: rest(loop, 600.0), PROBED)
        assert sum(numbers(meters.passes).values()) > 15
        counters = [sorted(c.rows()) for c in vars(meters).values() if isinstance(c, Counter)]
        timed = [
            [(values, s.buckets, s.seconds) for values, s in h.rows()]
            for h in vars(meters).values()
            if isinstance(h, Histogram)
        ]
        return [counters, timed]

    assert once(tmp_path / "one") == once(tmp_path / "two")


@pytest.mark.parametrize(
    ("mood", "result", "panics", "reason"),
    [
        (ScanFailed("ScanCutShort", "half of it"), "error", 0, "ScanCutShort"),
        (LinkDown("ConnectionLost", "gone"), "unknown", 0, "ConnectionLost"),
        (ZeroDivisionError("a bug"), "error", 1, None),
    ],
)
def test_a_pass_that_fails(tmp_path: Path, mood: Exception, result: str, panics: int, reason: str | None) -> None:
    host = Moody(moods=[mood])

    async def told(loop: Loop) -> None:
        await asyncio.sleep(10)
        loop.wake_all()
        await asyncio.sleep(10)

    meters = story(tmp_path, host, told)
    assert host.verbs() == ["run"]
    assert numbers(meters.passes)["s1", result] == 1
    assert sum(numbers(meters.pass_errors).values()) == (result == "error")
    assert sum(numbers(meters.pass_panics).values()) == panics
    assert numbers(meters.scan_failures) == ({("s1", reason): 1} if reason else {})
    passes = sum(numbers(meters.passes).values())
    assert spread(meters.scan_seconds)["s1",][0] == passes - 1, "only complete scans are timed"


def test_a_connection_that_does_not_come_about(tmp_path: Path) -> None:
    host = Played(down=LinkDown("NoRoute", "no"))

    async def told(loop: Loop) -> None:
        await asyncio.sleep(0.05)
        host.down = None
        loop.hurry("s1")
        await asyncio.sleep(5)

    meters = story(tmp_path, host, told)
    assert numbers(meters.link_failures) == {("s1", "NoRoute"): 1}
    assert host.verbs() == ["run"]


def test_what_became_of_a_command(tmp_path: Path) -> None:
    """Refused, lost, and done: each is counted as what it was, with the failure that it is."""
    host, answers = Played(), iter(["refuse", "lose"])

    async def before(argv: tuple[str, ...]) -> None:
        if argv[1] == "run" and (answer := next(answers, "")):
            await asyncio.sleep(2.0)
            raise CommandTimeout("CommandTimeout", "late") if answer == "lose" else Refuse

    class Refuse(Exception):
        pass

    class Refusing(Played):
        async def run(self, script: str, *, timeout: float, reserved: bool = False) -> Outcome:
            try:
                return await super().run(script, timeout=timeout, reserved=reserved)
            except Refuse:
                return Outcome(125, "", "docker: Error response from daemon: something is wrong.")

    host = Refusing()
    host.before = before
    meters = story(tmp_path, host, lambda loop: rest(loop, 60.0))
    assert host.verbs() == ["run", "run", "run"]
    assert numbers(meters.steps) == {("s1", "create", result): 1 for result in ("failed", "unknown", "done")}
    assert spread(meters.step_seconds) == {("create",): (3, 4.0)}
    assert numbers(meters.failures) == {("echo", "s1"): 1}, "nobody knows is no failure"
    found = numbers(meters.passes)
    assert (found["s1", "error"], found["s1", "unknown"], found["s1", "requeue"]) == (1, 1, 1)


def test_a_container_that_ends_and_one_that_a_person_restarts(tmp_path: Path) -> None:
    host = Moody()

    async def told(loop: Loop) -> None:
        await asyncio.sleep(5)
        assert dict(loop.meters.restarts.rows()) == dict(loop.meters.failures.rows()) == {("echo", "s1"): 0}
        ((name, container),) = host.containers.items()
        now = loop.now()
        host.containers[name] = replace(container, state="exited", exit_code=1, finished_at=now, started_at=now - 5)
        loop.wake_all()
        await asyncio.sleep(30)
        assert numbers(loop.meters.failures) == {("echo", "s1"): 1}, "its log explains it, which is no second failure"
        ((name, container),) = host.containers.items()
        assert container.state == "running"
        before = numbers(loop.meters.restarts)["echo", "s1"]
        host.containers[name] = replace(container, started_at=container.started_at + 60)
        loop.wake_all()
        await asyncio.sleep(30)
        assert numbers(loop.meters.restarts)["echo", "s1"] == before + 1

    meters = story(tmp_path, host, told)
    assert numbers(meters.failures) == {("echo", "s1"): 1}


@pytest.mark.parametrize(
    ("says", "failure"),
    [
        (YES, None),
        (Answer(ready=False, message="500"), "refused"),
        (Answer(ready=False, message="late", busy=True), "busy"),
    ],
)
def test_probes(tmp_path: Path, says: Answer, failure: str | None) -> None:
    host = Moody(says=says)
    meters = story(tmp_path, host, lambda loop: rest(loop, 40.5), PROBED)
    ((key, (count, seconds)),) = spread(meters.probe_seconds).items()
    assert key == ("echo", "s1", "page")
    assert count >= 3
    assert seconds == count, "each took a second"
    assert numbers(meters.probe_failures) == ({(*key, failure): count} if failure else {})


def test_a_pass_under_way_is_seen(tmp_path: Path) -> None:
    host = Played()
    host.before = taking({"run": 30.0})

    async def told(loop: Loop) -> None:
        worker = loop.workers["s1"]
        await asyncio.sleep(20)
        assert worker.pass_began is not None
        assert asyncio.get_running_loop().time() - worker.pass_began == pytest.approx(20, abs=1)
        await asyncio.sleep(20)
        assert worker.pass_began is None

    story(tmp_path, host, told)


def test_a_spark_that_is_declared_no_more_is_counted_no_more(tmp_path: Path) -> None:
    host = Played()

    async def told(loop: Loop) -> None:
        await asyncio.sleep(5)
        assert numbers(loop.meters.passes)
        (tmp_path / "desired.yaml").write_text("sparks: {s2: {host: 10.0.0.2}}\n")
        await loop.store.reload()
        await asyncio.sleep(5)
        assert {values[0] for values, _ in loop.meters.passes.rows()} == {"s2"}
        assert not dict(loop.meters.restarts.rows())
        assert numbers(loop.meters.steps) == {}

    story(tmp_path, host, told)


def test_how_long_a_model_took_to_answer(tmp_path: Path) -> None:
    async def told(loop: Loop) -> None:
        (instance,) = loop.instances("s1")
        loop.started(instance, 42.5, 0)

    assert spread(story(tmp_path, Played(), told).start_seconds) == {("echo",): (1, 42.5)}
