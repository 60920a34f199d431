"""`GET /metrics`: read as Prometheus reads it, and held against what happened."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from api.app import build
from api.assemble import running
from api.folder import DataFolder
from api.metrics import MOST_GPUS, families
from api.practice import no_download, workshop
from reconciler.model import OWNER, WORKLOAD, Container, Facts, Gpu, Scan
from reconciler.practice.spark import Spark as PracticeSpark
from tests.scenarios.stage import changing
from tests.unit.api.conftest import DESIRED, Stage, serving, staged

DOCS = Path(__file__).resolve().parents[3] / "docs"
LABEL = re.compile(r"[a-z]+")
BASE_UNITS = ("_seconds", "_bytes", "_ratio", "_celsius", "_watts", "_info")
COUNTS = {  # gauges that count things or say yes or no, and so have no unit
    "desired_generation", "desired_problems", "plan_steps", "plan_withheld", "undeclared_workloads",
    "max_concurrent_reconciles", "active_workers", "spark_reachable", "spark_cordoned", "spark_drained", "lease_held",
    "workload_synced", "workload_healthy", "workload_stalled", "workload_instances", "workload_instances_healthy",
    "requests_in_flight",
}  # fmt: skip


@dataclass
class Scrape:
    """One answer, as Prometheus' own parser understands it."""

    text: str
    metrics: Mapping[str, Metric]

    def of(self, name: str, **labels: str) -> dict[tuple[str, ...], float]:
        """The samples that carry these labels, by the values of their other labels (in the order of their names)."""
        found: dict[tuple[str, ...], float] = {}
        for metric in self.metrics.values():
            for sample in metric.samples:
                if sample.name == f"sparkkeep_{name}" and labels.items() <= sample.labels.items():
                    rest = tuple(value for key, value in sorted(sample.labels.items()) if key not in labels)
                    assert rest not in found, f"{name} {sample.labels} stands there twice"
                    found[rest] = sample.value
        return found

    def one(self, name: str, **labels: str) -> float:
        (number,) = self.of(name, **labels).values()
        return number

    def names(self, label: str) -> set[str]:
        return {s.labels[label] for m in self.metrics.values() for s in m.samples if label in s.labels}


def understood(text: str) -> Scrape:
    parsed = list(text_string_to_metric_families(text))
    metrics = {metric.name: metric for metric in parsed}
    assert len(metrics) == len(parsed)
    return Scrape(text, metrics)


async def scrape(http: httpx2.AsyncClient) -> Scrape:
    answer = await http.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return understood(answer.text)


async def at_rest(stage: Stage, http: httpx2.AsyncClient) -> Scrape:
    """An answer while which nobody made a pass, so that the world can be held against it."""

    def passes() -> list[int]:
        workers = stage.context.loop.workers.values()
        return [worker.passes if worker.pass_began is None else -1 for worker in workers]

    async with asyncio.timeout(20):
        while True:
            before, found = passes(), await scrape(http)
            if -1 not in before and passes() == before:
                return found


def own(found: Scrape) -> dict[str, Metric]:
    return {name: metric for name, metric in found.metrics.items() if name.startswith("sparkkeep_")}


# What a metric is.


async def test_every_metric_is_there_typed_and_explained(http: httpx2.AsyncClient) -> None:
    found = await scrape(http)
    declared = {family.full.removesuffix("_total"): family for family in families()}
    assert len(declared) == len(families())
    assert set(own(found)) == set(declared)
    for name, metric in own(found).items():
        family = declared[name]
        assert (metric.type, metric.documentation) == (family.kind, family.help)
        assert f"# HELP {family.full} {family.help}\n# TYPE {family.full} {family.kind}\n" in found.text
        for sample in metric.samples:
            assert set(sample.labels) - {"le"} == set(family.labels), sample
    assert {"process_resident_memory_bytes", "process_cpu_seconds", "python_info"} <= set(found.metrics)


def test_names_follow_the_conventions() -> None:
    for family in families():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", family.name)
        assert family.full.endswith("_total") == (family.kind == "counter"), family
        if family.kind == "histogram":
            assert family.name.endswith("_seconds")
        if family.kind == "gauge" and family.name not in COUNTS:
            assert family.name.endswith(BASE_UNITS), family
        assert re.fullmatch(r"[A-Z0-9].{9,110}\.", family.help), family
        assert all(LABEL.fullmatch(label) for label in family.labels)
        assert not {"le", "quantile", "job", "instance"} & set(family.labels)


# What it says.


async def test_a_fleet_as_it_is(stage: Stage, http: httpx2.AsyncClient) -> None:
    found, gib = await at_rest(stage, http), 2**30
    assert found.of("build_info") == {("1",): 1}
    assert found.of("spark_reachable") == {("s1",): 1, ("s2",): 1}
    assert found.of("spark_info") == {("Reachable", "s1"): 1, ("Reachable", "s2"): 1}
    assert found.of("spark_memory_total_bytes") == {("s1",): 121 * gib, ("s2",): 121 * gib}
    assert found.of("spark_memory_available_bytes", spark="s1") == {(): 100 * gib}
    assert found.of("spark_disk_free_bytes", spark="s2") == {(): gib}
    assert found.of("spark_disk_total_bytes") == {}, "the scan does not have it"
    assert found.of("lease_held") == {}, "these Sparks are shared with nobody"
    assert found.of("workload_synced") == found.of("workload_healthy") == {("echo",): 1, ("twice",): 1}
    assert found.of("workload_instances") == {("echo",): 1, ("twice",): 2}
    assert found.of("workload_info", workload="twice") == {("Healthy", "service", "Running", "always", "Synced"): 1}
    assert found.of("steps_total") == {("done", "s1", "create"): 2, ("done", "s2", "create"): 1}
    assert found.one("step_duration_seconds_count", verb="create") == 3
    assert (found.one("desired_generation"), found.one("desired_problems"), found.one("plan_steps")) == (1, 0, 0)
    assert found.one("max_concurrent_reconciles") == 2
    for name, worker in stage.context.loop.workers.items():
        assert worker.sight.scan is not None
        assert found.of("spark_last_scan_timestamp_seconds", spark=name) == {(): worker.sight.scan.taken_at}
        assert sum(found.of("reconcile_total", spark=name).values()) == worker.passes
        assert found.one("reconcile_time_seconds_count", spark=name) == worker.passes
        assert found.one("reconcile_time_seconds_bucket", spark=name, le="+Inf") == worker.passes


async def test_a_spark_that_does_not_answer_says_nothing_of_itself(stage: Stage, http: httpx2.AsyncClient) -> None:
    """Its last numbers would look like new ones."""
    stage.sparks["s2"].down, stage.sparks["s2"].reason = "no answer", "NoRoute"
    stage.context.loop.wake_all()
    async with asyncio.timeout(10):
        while not stage.context.loop.workers["s2"].sight.unknown:
            await asyncio.sleep(0.01)
    found = await scrape(http)
    assert found.of("spark_reachable") == {("s1",): 1, ("s2",): 0}
    assert found.of("spark_info", spark="s2") == {("NoRoute",): 1}
    assert set(found.of("spark_memory_available_bytes")) == set(found.of("spark_disk_free_bytes")) == {("s1",)}
    last = stage.context.loop.workers["s2"].sight.scan
    assert last is not None
    assert found.of("spark_last_scan_timestamp_seconds", spark="s2") == {(): last.taken_at}
    assert found.of("workload_synced") == {("echo",): 1, ("twice",): 0}
    assert found.of("scan_failures_total").keys() == {("NoRoute", "s2")}
    assert found.one("reconcile_total", spark="s2", result="unknown") == found.one("scan_failures_total") > 0
    assert found.one("reconcile_total", spark="s1", result="unknown") == 0


async def test_what_is_declared_no_more_has_no_series(stage: Stage, http: httpx2.AsyncClient) -> None:
    await stage.rewrite(
        "sparks: {s1: {host: 10.0.0.1}}\n"
        "services: {twice: {recipe: {image: 'keep/echo:1', port: 8001, probe: none}, on: s1}}\n"
    )
    await stage.settled()
    found = await scrape(http)
    assert (found.names("spark"), found.names("workload")) == ({"s1"}, {"twice"})
    assert found.one("step_duration_seconds_count", verb="create") == 3, "a sum over all Sparks does not fall"
    stage.context.loop.meters.stepped("s2", "stop", "unknown", 1.0)  # as a dismissed worker does at its end
    assert (await scrape(http)).names("spark") == {"s1"}


async def test_names_that_nobody_declared_are_no_labels(stage: Stage, http: httpx2.AsyncClient) -> None:
    """Containers may carry any label: what is left over is counted, and not named."""
    for number, name in enumerate(("gone", 'x"} 1\nevil{a="b', "ünïcode" * 500)):
        stage.sparks["s1"].containers[f"left-{number}"] = Container(
            id=f"{number:064x}", name=f"left-{number}", image="i", state="running",
            labels={OWNER: "sparkkeep", WORKLOAD: name},
        )  # fmt: skip
    loop = stage.context.loop
    loop.workers["s1"].sight = replace(
        loop.workers["s1"].sight, scan=await stage.sparks["s1"].scan(full=True, before=None)
    )
    found = await scrape(http)
    assert found.names("workload") == {"echo", "twice"}
    assert found.one("undeclared_workloads") == 3


async def test_gpus(stage: Stage, http: httpx2.AsyncClient) -> None:
    worker = stage.context.loop.workers["s1"]
    scan: Scan = await stage.sparks["s1"].scan(full=True, before=None)
    gpus = (Gpu(name="NVIDIA GB10", utilization=42.0, temperature=55.0, power=11.5), Gpu(name='"}', temperature=50.0))
    facts: Facts = replace(scan.facts, gpus=gpus * MOST_GPUS)
    worker.sight = replace(worker.sight, scan=replace(scan, facts=facts))
    found = await scrape(http)
    assert found.of("spark_gpu_utilization_ratio") == {(str(n), "s1"): 0.42 for n in range(0, MOST_GPUS, 2)}
    assert found.of("spark_gpu_power_watts", gpu="0") == {("s1",): 11.5}
    assert found.of("spark_gpu_temperature_celsius", gpu="1") == {("s1",): 50.0}
    assert len(found.of("spark_gpu_temperature_celsius")) == MOST_GPUS
    assert "GB10" not in found.text


async def test_neither_commands_nor_messages(tmp_path: Path) -> None:
    text = """\
sparks: {s1: {host: 10.9.8.7, user: somebody}}
services:
  echo:
    recipe:
      image: keep/echo:1
      command: [--mode, xyzzy-argument]
      env: {COLOUR: xyzzy-value}
      port: 8000
      probe: none
    on: s1
"""
    async with staged(tmp_path, text) as stage:
        stage.sparks["s1"].down = "xyzzy-message"
        await asyncio.sleep(0.05)
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=build(stage.context, version="1")), base_url="http://127.0.0.1:9999"
        ) as http:
            down = await scrape(http)
            stage.sparks["s1"].down = ""
            stage.context.loop.hurry("s1")
            await stage.settled()
            up = await scrape(http)
    assert up.of("steps_total") == {("done", "s1", "create"): 1}
    for found in (down, up):
        assert not re.search(r"xyzzy|10\.9\.8\.7|somebody|keep/echo|docker", found.text)


async def test_approvals_problems_and_people(stage: Stage, http: httpx2.AsyncClient) -> None:
    await http.post("/api/sparks/s2/cordon")
    await http.post("/api/workloads/echo/suspend")
    await stage.rewrite(
        stage.desired.read_text().replace("keep/echo:1", "keep/echo:2") + "guards: {maxDestructive: 0}\n"
    )
    await stage.settled()
    found = await scrape(http)
    assert found.of("spark_cordoned") == {("s1",): 0, ("s2",): 1}
    assert found.of("spark_drained") == {("s1",): 0, ("s2",): 0}
    assert found.of("workload_healthy", workload="echo") == {(): 0}
    assert next(iter(found.of("workload_info", workload="echo")))[0] == "Suspended"
    assert found.one("plan_withheld") > 0
    assert found.of("workload_stalled", workload="twice") == {(): 1}
    assert found.one("desired_generation") == 2
    await stage.rewrite("sparks: 3\n")
    assert (await scrape(http)).one("desired_problems") >= 1


# Who may read it.


async def test_a_scraper_over_the_network(stage: Stage) -> None:
    async with serving(stage) as url, httpx2.AsyncClient(base_url=url) as http:
        found = await scrape(http)
        assert found.of("spark_reachable") == {("s1",): 1, ("s2",): 1}
        modern = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=1.0.0;q=0.5,*/*;q=0.1"
        for accept in (modern, "application/openmetrics-text; version=nonsense", "image/png", ""):
            answer = await http.get("/metrics", headers={"accept": accept})
            assert (answer.status_code, understood(answer.text).one("build_info")) == (200, 1)
        refused = await http.get("/metrics", headers={"host": "rebound.example"})
        assert (refused.status_code, refused.json()["reason"]) == (421, "HostNotAllowed")
        assert (await http.post("/metrics")).status_code == 405


async def test_two_controllers_in_one_process(stage: Stage, http: httpx2.AsyncClient, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with staged(tmp_path / "other", DESIRED.replace("echo:", "other:", 1)) as second:
        await second.settled()
        transport = httpx2.ASGITransport(app=build(second.context, version="2"))
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:9999") as other:
            one, two = await scrape(http), await scrape(other)
    assert (one.names("workload"), two.names("workload")) == ({"echo", "twice"}, {"other", "twice"})
    assert one.one("step_duration_seconds_count") == two.one("step_duration_seconds_count") == 3


# On practice Sparks, with everything that `sparkkeep serve` puts together.

PRACTICE = """\
sparks: {spark-1: {host: h}, spark-2: {host: h}}
services:
  echo:
    recipe: {image: 'python:3.13-slim', port: 18080, memory: 64MiB,
             env: {TOKEN: {secret: hf}}, probe: {kind: http, path: /, interval: 200ms}}
    on: spark-1
"""


@pytest.mark.xdist_group("practice-ports")
async def test_a_practice_fleet_and_what_befalls_it(tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    template.write_text(PRACTICE)
    with DataFolder(tmp_path / "data") as folder:
        folder.secrets.mkdir(mode=0o700, exist_ok=True)
        (folder.secrets / "hf").write_text("xyzzy-secret")
        (folder.secrets / "hf").chmod(0o600)
        async with (
            workshop(2, folder, template, first_port=0) as room,
            running(room.desired, folder, {}, reach=room.reach, bring=no_download, before_launch=False) as parts,
            httpx2.AsyncClient(
                transport=httpx2.ASGITransport(app=build(parts.context, version="1")),
                base_url="http://127.0.0.1:9999",
            ) as http,
        ):
            await _until(http, lambda s: s.of("workload_healthy") == {("echo",): 1} and s.one("plan_steps") == 0)
            first = await scrape(http)
            _compare(first, dict(room.fleet.sparks))
            assert (
                first.of("workload_restarts_total") == first.of("workload_failures_total") == {("spark-1", "echo"): 0}
            )
            assert first.of("lease_held") == {("spark-1",): 1, ("spark-2",): 1}
            assert first.of("spark_gpu_utilization_ratio", gpu="0").keys() == {("spark-1",), ("spark-2",)}
            assert first.of("workload_memory_bytes") == {("spark-1", "echo"): 64 * 2**20}
            assert first.one("events_total", reason="Created") == 1
            assert first.one("events_total", reason="SparkReachable") == 2

            await room.fleet["spark-1"].faults.kill("sparkkeep-echo")
            again = await _until(
                http, lambda s: s.one("workload_restarts_total") == 1 and s.one("workload_healthy") == 1
            )
            _compare(again, dict(room.fleet.sparks))
            assert again.one("workload_failures_total") == 1
            assert again.one("events_total", reason="ContainerExited") >= 1
            assert again.one("reconcile_errors_total", spark="spark-1") == 0, "a dead container is no failed pass"
            probes = again.of("probe_duration_seconds_count", workload="echo")
            assert probes[("page", "spark-1")] > first.one("probe_duration_seconds_count", workload="echo") > 0

            room.fleet["spark-2"].faults.auth_refused()
            room.fleet["spark-2"].faults.drop()
            lost = await _until(http, lambda s: s.one("spark_reachable", spark="spark-2") == 0)
            assert sum(lost.of("link_failures_total", spark="spark-2").values()) >= 1
            assert lost.of("link_failures_total", spark="spark-1") == {}
            room.fleet["spark-2"].faults.auth_refused(False)
            parts.context.loop.hurry("spark-2")
            found = await _until(http, lambda s: s.one("spark_reachable", spark="spark-2") == 1)
            assert "xyzzy" not in found.text


def _compare(found: Scrape, sparks: Mapping[str, PracticeSpark]) -> None:
    """The numbers are those of the machines, and of the commands that these have run."""
    for name, spark in sparks.items():
        assert found.one("spark_memory_total_bytes", spark=name) == spark.machine.memory_total
        sent = [argv[1] for argv in changing(list(command.argv) for command in spark.commands)]
        counted = {verb: n for (verb,), n in found.of("steps_total", spark=name, result="done").items()}
        words = {"run": "create"}
        expected: dict[str, float] = {}
        for verb in sent:
            expected[words.get(verb, verb)] = expected.get(words.get(verb, verb), 0) + 1
        assert {verb: n for verb, n in counted.items() if verb not in {"mkdir", "free"}} == expected
    total = sum(found.of("steps_total").values())
    assert sum(found.of("step_duration_seconds_count").values()) == total


async def _until(http: httpx2.AsyncClient, true: Any) -> Scrape:
    async with asyncio.timeout(30):
        while True:
            found = await scrape(http)
            try:
                if true(found):
                    return found
            except ValueError:  # a number that is not there yet
                pass
            await asyncio.sleep(0.05)


# The documents.


def test_the_document_lists_every_metric_and_no_other() -> None:
    text = (DOCS / "METRICS.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\| ([^|]+) \|$", text, re.MULTILINE)
    assert len(rows) == text.count("\n| `")
    documented = [(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels, _ in rows]
    assert sorted(documented) == sorted((family.full, family.kind, family.labels) for family in families())


def expressions(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [v for k, v in node.items() if k in {"expr", "definition"}] + expressions(list(node.values()))
    return [e for each in node for e in expressions(each)] if isinstance(node, list) else []


def judged(expression: str) -> None:
    """Every metric in it is one of ours, and so is every label that it is asked by."""
    known = {family.full: family for family in families()}
    suffixed = {
        f"{f.full}{end}": f for f in known.values() if f.kind == "histogram" for end in ("_bucket", "_sum", "_count")
    }
    names = re.findall(r"sparkkeep_\w+", expression)
    assert names, expression
    used = {name: suffixed.get(name) or known[name] for name in names}
    assert not any(family.kind == "histogram" and name == family.full for name, family in used.items()), expression
    allowed = {label for family in used.values() for label in family.labels} | {"le"}
    asked = re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", expression)
    grouped = ",".join(re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression)).split(",")
    assert {*asked, *(label.strip() for label in grouped)} - {""} <= allowed, expression
    for name, family in used.items():
        rated = re.search(rf"(?:rate|increase)\({name}\b", expression)
        assert bool(rated) == (family.kind != "gauge"), f"{name} in {expression}"
    assert expression.count("(") == expression.count(")")


def test_the_dashboard_asks_for_what_there_is() -> None:
    board = json.loads((DOCS / "grafana.json").read_text())
    found = expressions(board)
    assert len(found) > 20
    for expression in found:
        judged(expression)
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for each in (panel["gridPos"] for panel in panels)
        for x in range(each["x"], each["x"] + each["w"])
        for y in range(each["y"], each["y"] + each["h"])
    ]
    assert len(set(cells)) == len(cells), "two panels lie over each other"
    assert max(x for x, _ in cells) == 23
    for panel in panels:
        for target in panel.get("targets", []):
            labels = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            family_labels = {label for f in families() if f.full in target["expr"] for label in f.labels}
            assert labels <= family_labels, target
            refs = [t["refId"] for t in panel["targets"]]
            assert len(set(refs)) == len(refs)


def test_the_alerts_ask_for_what_there_is() -> None:
    text = (DOCS / "METRICS.md").read_text()
    alerts = re.findall(r"expr: '([^']+)'", text)
    assert len(alerts) == text.count("{alert: ")
    for expression in alerts:
        judged(expression)


@pytest.mark.parametrize("broken", ["sparkkeep_no_such == 0", 'rate(sparkkeep_steps_total{colour="red"}[5m])',
                                    "sparkkeep_steps_total > 1", "rate(sparkkeep_plan_steps[5m])"])  # fmt: skip
def test_a_wrong_expression_is_found(broken: str) -> None:
    with pytest.raises((KeyError, AssertionError)):
        judged(broken)
