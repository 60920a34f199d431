"""What `GET /metrics` says, and by which names: docs/METRICS.md lists all of it, and a test holds the two together.

What has happened was counted where it happened (`reconciler.meters`). What is, is read off the status and the world at
the moment somebody asks, so a Spark or a workload that is declared no more has no series any more. What a Spark last
said of its memory, disk and GPU is shown only while it answers: an old number looks like a new one.

The registry is one of our own, not the library's global one: two of these may live in one process. It is read in the
event loop, like the status; nothing here waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, Literal

from prometheus_client import CollectorRegistry, Metric, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from api.context import Context
from api.proxies.records import RequestMeters
from reconciler.meters import Counter, Histogram, Meters
from reconciler.model import Facts
from reconciler.verdict import HEALTHY, SYNCED
from reconciler.worker import Worker

PREFIX: Final = "sparkkeep_"
MOST_GPUS: Final = 16  # of one Spark: their number is the Spark's word, and no more than this are believed

Row = tuple[str, tuple[str, ...], float]  # name, values of the labels, number


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name without the prefix, and what it tells, in a sentence."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str

    @property
    def full(self) -> str:
        """Its name as it stands in expressions."""
        return PREFIX + self.name


def _gauge(name: str, text: str, *labels: str) -> Family:
    return Family(name, "gauge", labels, text)


# What is, read when somebody asks.
READ: Final = (
    _gauge("build_info", "Always 1; the version of sparkkeep that runs.", "version"),
    _gauge("desired_generation", "How often the meaning of the desired state has changed; the one in force."),
    _gauge("desired_problems", "What is wrong with the desired state in its file; the last good one stays in force."),
    _gauge("plan_steps", "Steps that lead from what was seen to what is declared."),
    _gauge("plan_withheld", "Steps that a guard keeps back until a person approves them."),
    _gauge("undeclared_workloads", "Workloads that have containers of ours and are declared no more."),
    _gauge("max_concurrent_reconciles", "Workers: one for each Spark."),
    _gauge("active_workers", "Workers in the middle of a pass."),
    _gauge("workqueue_longest_running_processor_seconds", "How long the longest pass under way has lasted; 0 if none."),
    _gauge("spark_info", "Always 1; Reachable, or why the Spark does not answer.", "spark", "reason"),
    _gauge("spark_reachable", "1 if the Spark answers, 0 if it is Unknown: then nothing on it is touched.", "spark"),
    _gauge("spark_cordoned", "1 if nothing new is placed on the Spark.", "spark"),
    _gauge("spark_drained", "1 if everything of ours is to leave the Spark.", "spark"),
    _gauge("spark_last_scan_timestamp_seconds", "When the last complete scan began, in Unix time.", "spark"),
    _gauge("spark_memory_total_bytes", "Memory that the Spark has, while it answers.", "spark"),
    _gauge("spark_memory_available_bytes", "MemAvailable as last scanned, while the Spark answers.", "spark"),
    _gauge("spark_disk_total_bytes", "Size of the disk that holds its images and models.", "spark"),
    _gauge("spark_disk_free_bytes", "What is free of that disk.", "spark"),
    _gauge("spark_gpu_utilization_ratio", "How busy a GPU is, from 0 to 1.", "spark", "gpu"),
    _gauge("spark_gpu_temperature_celsius", "How hot it is.", "spark", "gpu"),
    _gauge("spark_gpu_power_watts", "What it draws.", "spark", "gpu"),
    _gauge("lease_held", "1 if this sparkkeep may act on the Spark, 0 if it only looks.", "spark"),
    _gauge(
        "workload_info", "Always 1; both verdicts in words, and why.",
        "workload", "kind", "run", "sync", "health", "reason",
    ),
    _gauge("workload_synced", "1 if it is as declared, 0 if not or unknown.", "workload"),
    _gauge("workload_healthy", "1 if all its instances serve, 0 otherwise.", "workload"),
    _gauge("workload_stalled", "1 if it waits for a person: a change of its declaration, or an approval.", "workload"),
    _gauge("workload_instances", "Instances that should be.", "workload"),
    _gauge("workload_instances_healthy", "Instances that serve.", "workload"),
    _gauge("workload_memory_bytes", "What an instance's start is counted with, where known.", "workload", "spark"),
    _gauge("requests_in_flight", "Requests of apps under way; with no workload, those not routed yet.", "workload"),
    Family("events_suppressed_total", "counter", (), "Events dropped because their object had said too much."),
    Family("journal_lost_writes_total", "counter", (), "Writes to the journal that the disk refused."),
)  # fmt: skip

# What has happened since this process began.
COUNTED: Final[tuple[tuple[str, str, Callable[[Meters], Counter]], ...]] = (
    ("reconcile_total", "Passes over a Spark (look, plan, act), by result.", lambda m: m.passes),
    ("reconcile_errors_total", "Passes with result=error.", lambda m: m.pass_errors),
    ("reconcile_panics_total", "Those ended by a mistake in sparkkeep; see its log.", lambda m: m.pass_panics),
    ("scan_failures_total", "Scans that were not complete, by reason.", lambda m: m.scan_failures),
    ("link_failures_total", "Connections that did not come about, or broke, by reason.", lambda m: m.link_failures),
    ("steps_total", "Steps that have ended, by what came of them.", lambda m: m.steps),
    ("probe_failures_total", "Probes of instances that did not serve (yet).", lambda m: m.probe_failures),
    ("workload_restarts_total", "Starts after the first one seen, whoever wanted them.", lambda m: m.restarts),
    ("workload_failures_total", "Times an instance did not come up, or did not stay up.", lambda m: m.failures),
    ("events_total", "Events told, repeats included, by type and reason.", lambda m: m.events),
)  # fmt: skip
TIMED: Final[tuple[tuple[str, str, Callable[[Meters], Histogram]], ...]] = (
    ("reconcile_time_seconds", "How long passes took, with the steps in them.", lambda m: m.pass_seconds),
    ("scan_duration_seconds", "How long complete scans took.", lambda m: m.scan_seconds),
    ("step_duration_seconds", "How long steps took, whatever came of them.", lambda m: m.step_seconds),
    ("probe_duration_seconds", "How long a probe was waited for.", lambda m: m.probe_seconds),
    ("workload_start_duration_seconds", "From a model's start to its first answer.", lambda m: m.start_seconds),
)  # fmt: skip

# The same of the requests of apps.
ASKED: Final[tuple[tuple[str, str, Callable[[RequestMeters], Counter]], ...]] = (
    ("requests_total", "Requests of apps that have ended, by how.", lambda m: m.requests),
    ("request_tokens_total", "Tokens that servers have counted, of prompts and of answers.", lambda m: m.tokens),
)
LASTED: Final[tuple[tuple[str, str, Callable[[RequestMeters], Histogram]], ...]] = (
    ("request_queue_seconds", "From a request's head to the decision where it goes.", lambda m: m.queue_seconds),
    ("request_first_byte_seconds", "From its head to the first byte of its answer.", lambda m: m.first_seconds),
    ("request_duration_seconds", "From its head to its end.", lambda m: m.total_seconds),
)


def families() -> tuple[Family, ...]:
    """Every metric of sparkkeep's own."""
    meters, asked = Meters(), RequestMeters()
    counted = (Family(name, "counter", of(meters).labels, text) for name, text, of in COUNTED)
    timed = (Family(name, "histogram", of(meters).labels, text) for name, text, of in TIMED)
    asks = (Family(name, "counter", of(asked).labels, text) for name, text, of in ASKED)
    lasted = (Family(name, "histogram", of(asked).labels, text) for name, text, of in LASTED)
    return (*READ, *counted, *timed, *asks, *lasted)


def registry(context: Context, *, version: str) -> CollectorRegistry:
    """Everything about one server: sparkkeep's own metrics, and those of its process."""
    made = CollectorRegistry()
    made.register(Fleet(context, version=version))
    ProcessCollector(registry=made)
    PlatformCollector(registry=made)
    return made


class Fleet(Collector):
    """Sparkkeep's own metrics, made anew for each who asks."""

    def __init__(self, context: Context, *, version: str) -> None:
        self._context = context
        self._version = version

    def collect(self) -> Iterator[Metric]:
        """All of them, also those that have no number yet."""
        loop, requests = self._context.loop, self._context.records.meters
        # A worker that was dismissed may have counted its end after its Spark's name was dropped.
        loop.meters.keep_only(loop.workers.keys(), set(loop.store.current.loaded.resolved))
        requests.keep_only(set(loop.store.current.loaded.resolved))
        yield from _read(self._rows())
        for name, text, counter in COUNTED:
            yield _counter(name, text, counter(loop.meters))
        for name, text, histogram in TIMED:
            yield _histogram(name, text, histogram(loop.meters))
        for name, text, asked in ASKED:
            yield _counter(name, text, asked(requests))
        for name, text, lasted in LASTED:
            yield _histogram(name, text, lasted(requests))

    def _rows(self) -> Iterator[Row]:
        loop, status = self._context.loop, self._context.status.build()
        yield "build_info", (self._version,), 1
        yield "desired_generation", (), status["generation"]
        yield "desired_problems", (), len(status["problems"])
        yield "plan_steps", (), status["plan"]["steps"]
        yield "plan_withheld", (), status["plan"]["withheld"]
        yield "events_suppressed_total", (), self._context.journal.suppressed
        yield "journal_lost_writes_total", (), self._context.journal.lost_writes
        for name, count in self._context.records.counts().items():
            yield "requests_in_flight", (name,), count
        yield from _passes(loop.workers.values())
        for name, worker in loop.workers.items():
            yield from _spark(name, worker, status["sparks"][name])
        declared = {name: found for name, found in status["workloads"].items() if found["kind"] != "removed"}
        yield "undeclared_workloads", (), len(status["workloads"]) - len(declared)
        for name, found in declared.items():
            yield from _workload(name, found)


def _passes(workers: Iterable[Worker]) -> Iterator[Row]:
    began = [worker.pass_began for worker in workers]
    under_way = [at for at in began if at is not None]
    now = asyncio.get_running_loop().time()
    yield "max_concurrent_reconciles", (), len(began)
    yield "active_workers", (), len(under_way)
    yield "workqueue_longest_running_processor_seconds", (), now - min(under_way, default=now)


def _spark(name: str, worker: Worker, told: Mapping[str, Any]) -> Iterator[Row]:
    sight, lease = worker.sight, worker.lease.lease
    yield "spark_info", (name, told["reason"]), 1
    yield "spark_reachable", (name,), not sight.unknown
    yield "spark_cordoned", (name,), told["cordoned"]
    yield "spark_drained", (name,), told["drained"]
    if lease is not None:
        yield "lease_held", (name,), worker.lease.acts
    if sight.scan is not None:
        yield "spark_last_scan_timestamp_seconds", (name,), sight.scan.taken_at
    if sight.current is not None:
        yield from _facts(name, sight.current.facts)


def _facts(name: str, facts: Facts) -> Iterator[Row]:
    yield "spark_memory_total_bytes", (name,), facts.memory_total
    yield "spark_memory_available_bytes", (name,), facts.memory_available
    if facts.disk_total is not None:
        yield "spark_disk_total_bytes", (name,), facts.disk_total
    if facts.disk_free is not None:
        yield "spark_disk_free_bytes", (name,), facts.disk_free
    for number, gpu in enumerate(facts.gpus[:MOST_GPUS]):
        labels = (name, str(number))
        if gpu.utilization is not None:
            yield "spark_gpu_utilization_ratio", labels, gpu.utilization / 100
        if gpu.temperature is not None:
            yield "spark_gpu_temperature_celsius", labels, gpu.temperature
        if gpu.power is not None:
            yield "spark_gpu_power_watts", labels, gpu.power


def _workload(name: str, found: Mapping[str, Any]) -> Iterator[Row]:
    conditions = {condition["type"]: condition for condition in found["conditions"]}
    words = (found["kind"], found["run"], found["sync"], found["health"], conditions["Ready"]["reason"])
    yield "workload_info", (name, *words), 1
    yield "workload_synced", (name,), found["sync"] == SYNCED
    yield "workload_healthy", (name,), found["health"] == HEALTHY
    yield "workload_stalled", (name,), conditions["Stalled"]["status"] == "True"
    yield "workload_instances", (name,), len(found["instances"])
    yield "workload_instances_healthy", (name,), sum(i["health"] == HEALTHY for i in found["instances"])
    for instance in found["instances"]:
        if (memory := instance["memory"]["bytes"]) is not None:
            yield "workload_memory_bytes", (name, instance["spark"]), memory


def _read(rows: Iterable[Row]) -> Iterator[Metric]:
    """The rows under the metrics that they belong to."""
    found = {
        family.name: (GaugeMetricFamily if family.kind == "gauge" else CounterMetricFamily)(
            family.full, family.help, labels=family.labels
        )
        for family in READ
    }
    for name, values, number in rows:
        found[name].add_metric(values, number)
    yield from found.values()


def _counter(name: str, text: str, counter: Counter) -> Metric:
    made = CounterMetricFamily(PREFIX + name, text, labels=counter.labels)
    for values, number in counter.rows():
        made.add_metric(values, number)
    return made


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    made = HistogramMetricFamily(PREFIX + name, text, labels=histogram.labels)
    bounds = [*map(str, histogram.bounds), "+Inf"]
    for values, spread in histogram.rows():
        made.add_metric(values, list(zip(bounds, accumulate(spread.buckets), strict=True)), spread.seconds)
    return made
