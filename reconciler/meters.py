"""What has happened, counted where it happens: plain numbers that only rise, for `GET /metrics`.

Pure: no clock, no I/O, and nothing of any metrics library. Who counts says how long it took, in seconds of the loop's
own clock, so that in virtual time every number is exact. What *is* (memory, reachability, the two verdicts) is not kept
here: `api.metrics` reads it off the world when somebody asks, and gives all of it its names.

A label is the name of something declared, or a word of sparkkeep's own; never a text that a Spark sent. So there are
only as many numbers as the desired state has names, and `keep_only` drops those whose names have left it.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import Final

from reconciler.model import Container

# Upper bounds of the buckets, in seconds.
PASSES: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
SCANS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
STEPS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
PROBES: Final = (0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
STARTS: Final = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)

REASON: Final = re.compile(r"[A-Z][A-Za-z0-9]{0,63}")
OTHER: Final = "Other"

Values = tuple[str, ...]


class Passed(StrEnum):
    """What became of one pass of a worker, in controller-runtime's words and one more.

    `REQUEUE`: it acted, or could not yet, and looks again at once. `UNKNOWN`: the Spark did not answer, or not whether
    a command was done; nobody is to blame before the next scan tells. `PANIC` is shown as an error.
    """

    SUCCESS = "success"
    ERROR = "error"
    REQUEUE = "requeue"
    UNKNOWN = "unknown"
    PANIC = "panic"


RESULTS: Final = (Passed.SUCCESS, Passed.ERROR, Passed.REQUEUE, Passed.UNKNOWN)


class Counter:
    """A number that only rises, for each combination of its labels' values."""

    def __init__(self, *labels: str) -> None:
        self.labels = labels
        self._numbers: dict[Values, int] = {}

    def add(self, *values: str, by: int = 1) -> None:
        """It happened, or happened this often."""
        self._numbers[values] = self._numbers.get(values, 0) + by

    def rows(self) -> Iterator[tuple[Values, int]]:
        """The numbers by the values of the labels."""
        yield from self._numbers.items()

    def keep_only(self, names: Mapping[str, AbstractSet[str]]) -> None:
        """Drop the numbers of names that are not among these; `names` has the ones of each label that names things."""
        self._numbers = {values: n for values, n in self._numbers.items() if _kept(self.labels, values, names)}


class Spread:
    """The durations of one combination of labels: how many fell into each bucket, and their sum."""

    __slots__ = ("buckets", "seconds")

    def __init__(self, bounds: int) -> None:
        self.buckets = [0] * (bounds + 1)  # the last one is for all that took longer
        self.seconds = 0.0

    def add(self, seconds: float, bounds: tuple[float, ...]) -> None:
        """One more took this long."""
        self.buckets[bisect_left(bounds, seconds)] += 1
        self.seconds += seconds


class Histogram:
    """Durations, for each combination of its labels' values. A bucket holds what took at most its bound."""

    def __init__(self, bounds: tuple[float, ...], *labels: str) -> None:
        self.bounds = bounds
        self.labels = labels
        self._spreads: dict[Values, Spread] = {}

    def observe(self, seconds: float, *values: str) -> None:
        """One took this long."""
        self.spread(*values).add(seconds, self.bounds)

    def spread(self, *values: str) -> Spread:
        """The durations of these values, to be added to; until the next `keep_only`."""
        spread = self._spreads.get(values)
        if spread is None:
            spread = self._spreads[values] = Spread(len(self.bounds))
        return spread

    def rows(self) -> Iterator[tuple[Values, Spread]]:
        """The durations by the values of the labels."""
        yield from self._spreads.items()

    def keep_only(self, names: Mapping[str, AbstractSet[str]]) -> None:
        """Drop what belongs to other names."""
        self._spreads = {values: s for values, s in self._spreads.items() if _kept(self.labels, values, names)}


class Meters:
    """All of one loop's. The attributes are read by who shows them; the methods are called by who does things."""

    def __init__(self) -> None:
        self.passes = Counter("spark", "result")
        self.pass_errors = Counter("spark")
        self.pass_panics = Counter("spark")
        self.pass_seconds = Histogram(PASSES, "spark")
        self.scan_seconds = Histogram(SCANS, "spark")
        self.scan_failures = Counter("spark", "reason")
        self.link_failures = Counter("spark", "reason")
        self.steps = Counter("spark", "verb", "result")
        self.step_seconds = Histogram(STEPS, "verb")
        self.probe_seconds = Histogram(PROBES, "workload", "spark", "probe")
        self.probe_failures = Counter("workload", "spark", "probe", "reason")
        self.start_seconds = Histogram(STARTS, "workload")
        self.restarts = Counter("workload", "spark")
        self.failures = Counter("workload", "spark")
        self.events = Counter("type", "reason")
        self._runs: dict[Values, tuple[str, float, int]] = {}  # workload, Spark: the start that was seen last

    def passed(self, spark: str, how: Passed, seconds: float) -> None:
        """A worker has made a pass."""
        wrong = how in {Passed.ERROR, Passed.PANIC}
        for result in RESULTS:  # all from the first on: a number that appears is not seen to rise
            self.passes.add(spark, result, by=int(result is (Passed.ERROR if wrong else how)))
        self.pass_errors.add(spark, by=int(wrong))
        self.pass_panics.add(spark, by=int(how is Passed.PANIC))
        self.pass_seconds.observe(seconds, spark)

    def scanned(self, spark: str, seconds: float) -> None:
        """A scan was complete."""
        self.scan_seconds.observe(seconds, spark)

    def scan_failed(self, spark: str, reason: str) -> None:
        """A scan was not."""
        self.scan_failures.add(spark, _word(reason))

    def link_failed(self, spark: str, reason: str) -> None:
        """A Spark could not be connected to, or its connection broke."""
        self.link_failures.add(spark, _word(reason))

    def stepped(self, spark: str, verb: str, result: str, seconds: float) -> None:
        """A step has ended, in whatever way."""
        self.steps.add(spark, verb, result)
        self.step_seconds.observe(seconds, verb)

    def probed(self, workload: str, spark: str, probe: str, failure: str, seconds: float) -> None:
        """A running instance was asked whether it serves; `failure` is empty if it said that it does."""
        self.probe_seconds.observe(seconds, workload, spark, probe)
        if failure:
            self.probe_failures.add(workload, spark, probe, failure)

    def answers(self, workload: str, seconds: float) -> None:
        """A model answers for the first time since its start."""
        self.start_seconds.observe(seconds, workload)

    def runs(self, workload: str, spark: str, container: Container) -> None:
        """An instance was seen running. Another start than the one seen before is a restart, whoever wanted it.

        Docker's own count also tells of those between two looks. The first start adds 0, so that there is a number for
        the first restart, and the first failure, to raise.
        """
        key, start = (workload, spark), (container.id, container.started_at, container.restart_count)
        before = self._runs.get(key, start)
        self._runs[key] = start
        by_docker = start[2] - before[2] if start[0] == before[0] else 0
        self.restarts.add(*key, by=max(by_docker, int(start != before)))
        self.failures.add(*key, by=0)

    def failed(self, workload: str, spark: str) -> None:
        """An instance did not come up, or did not stay up."""
        self.failures.add(workload, spark)

    def told(self, kind: str, reason: str) -> None:
        """An event was told."""
        self.events.add(kind, _word(reason))

    def keep_only(self, sparks: AbstractSet[str], workloads: AbstractSet[str]) -> None:
        """Only these are declared: drop the numbers of all others, so that a long life costs no memory."""
        names = {"spark": sparks, "workload": workloads}
        for family in vars(self).values():
            if isinstance(family, Counter | Histogram):
                family.keep_only(names)
        self._runs = {key: start for key, start in self._runs.items() if _kept(("workload", "spark"), key, names)}


def _word(reason: str) -> str:
    """A reason as a label. All of them are single CamelCase words; a slip must not make a series of every text."""
    return reason if REASON.fullmatch(reason) else OTHER


def _kept(labels: Values, values: Values, names: Mapping[str, AbstractSet[str]]) -> bool:
    return all(value in names[label] for label, value in zip(labels, values, strict=True) if label in names)
