"""The prober beside a practice server, in time that jumps: when a model is ready, busy, or dead."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from reconciler import probe
from reconciler.canaries.exchange import Reply
from reconciler.hosts import Answer
from reconciler.jobs import not_serving
from reconciler.linkdown import LinkDown
from reconciler.model import Container, Instance, LaunchSpec, ProbeResult, ProbeSpec, Wish
from reconciler.on_demand import unused
from reconciler.practice.http_server import Request
from reconciler.practice.memory import MemoryConnection
from reconciler.practice.spark import Spark
from reconciler.prober import Prober
from tests.practice.virtual import virtually

CHAT = ProbeSpec(kind="chat", port=8000, model="tiny")
KEY = ("one", "spark-1")
LOAD = 40.0


@dataclass
class Served:
    """The seam of a host, straight to the practice servers of one Spark. `asked`: page or canary, and when."""

    spark: Spark
    asked: list[tuple[str, float]] = field(default_factory=list)
    at_once: int = 0
    most: int = 0
    down: bool = False

    async def ask(self, spec: ProbeSpec) -> Answer:
        if self.down:
            raise LinkDown("ConnectionLost", "gone")
        asked, server = probe.request(spec), self.spark.servers.get(spec.port)
        self.asked.append((spec.kind, asyncio.get_running_loop().time()))
        if server is None:
            return Answer(ready=False, message=f"nothing listens on port {spec.port} yet")
        request = Request(asked.method, asked.target, {}, {"content-type": asked.content_type}, asked.body)
        self.at_once += spec.kind == "chat"
        self.most = max(self.most, self.at_once)
        try:
            async with asyncio.timeout(spec.timeout):
                answer = await server.handle(request)
        except TimeoutError:
            return probe.silence(spec)
        finally:
            self.at_once -= spec.kind == "chat"
        assert isinstance(answer.body, bytes)
        headers = {"content-type": answer.content_type, **answer.headers}
        return probe.answer(spec, Reply(status=answer.status, headers=headers, body=answer.body, whole=True))

    def times(self, kind: str) -> list[float]:
        return [at for asked, at in self.asked if asked == kind]


@dataclass
class Watch:
    host: Served
    prober: Prober
    news: list[tuple[float, ProbeResult]]
    instance: Instance
    container: Container
    wall: list[float]  # what the clock on the wall shows beyond the steady one

    @property
    def result(self) -> ProbeResult:
        return self.prober.results[KEY]

    async def until(self, true: Callable[[ProbeResult], bool]) -> float:
        """The time at which the result is so."""
        while KEY not in self.prober.results or not true(self.result):
            await asyncio.sleep(0.05)
        return asyncio.get_running_loop().time()


def watching(story: Callable[[Spark, Watch], Coroutine[Any, Any, None]], spec: ProbeSpec = CHAT) -> None:
    async def told(spark: Spark) -> None:
        link = await MemoryConnection.connect(spark)
        run = "docker run -d --name one --network host img:1 --port 8000 --served-model-name tiny"
        assert (await link.run(run)).status == 0
        found = spark.engine.find("one")
        container = Container(id=found.id, name="one", image="img:1", state="running", started_at=1.0)
        launch = LaunchSpec(image="img:1")
        instance = Instance(
            workload="one", kind="model", spark="spark-1", name="one", spec=launch, spec_hash="", probe=spec
        )
        host, news, loop, wall = Served(spark), [], asyncio.get_running_loop(), [1000.0]
        prober = Prober(
            host,  # type: ignore[arg-type]  # of a host only `ask` is needed here
            now=lambda: wall[0] + loop.time(),
            rng=random.Random(1),
            changed=lambda key: news.append((loop.time(), prober.results[key])),
        )
        prober.follow([(instance, container)])
        try:
            await story(spark, Watch(host, prober, news, instance, container, wall))
        finally:
            await prober.close()

    virtually(told, load_seconds=LOAD)


def test_ready_comes_with_the_first_token_and_costs_little_afterwards() -> None:
    async def story(spark: Spark, watch: Watch) -> None:
        at = await watch.until(lambda result: result.ready)
        assert LOAD <= at <= LOAD + 2.2
        assert watch.result.message == "POST /v1/chat/completions on port 8000 gives a token"
        assert [(result.ready, result.failures) for _, result in watch.news] == [(False, 3), (True, 0)]
        await asyncio.sleep(600)
        assert 9 <= len([t for t in watch.host.times("chat") if t > at]) <= 12
        assert 54 <= len([t for t in watch.host.times("health") if t > at]) <= 68
        assert watch.result.ready
        assert watch.host.times("work") == []

    watching(story)


def test_a_server_that_says_503_while_it_loads_is_asked_no_canary() -> None:
    async def story(spark: Spark, watch: Watch) -> None:
        spark.faults.loading("one")
        await watch.until(lambda result: "Loading model" in result.message)
        await asyncio.sleep(60)
        assert watch.host.times("chat") == []
        assert not watch.result.ready_at
        spark.faults.loading("one", False)
        at = asyncio.get_running_loop().time()
        assert await watch.until(lambda result: result.ready) <= at + 2.2

    watching(story)


def test_a_deaf_server_in_a_living_container_is_found_within_thirty_seconds() -> None:
    async def story(spark: Spark, watch: Watch) -> None:
        for pause in (0.0, 7.0, 49.0, 55.0):
            await watch.until(lambda result: result.ready)
            await asyncio.sleep(pause)
            while watch.host.times("health")[-1] < asyncio.get_running_loop().time() - 0.2:
                await asyncio.sleep(0.05)
            last_good = watch.host.times("health")[-1]
            spark.faults.deaf("one")
            at = await watch.until(lambda result: result.failures >= 3)
            assert at - last_good <= 30.0
            spark.faults.deaf("one", False)

    watching(story)


def test_a_hung_engine_behind_a_living_page_is_found_in_minutes_and_a_busy_one_never() -> None:
    async def story(spark: Spark, watch: Watch) -> None:
        await watch.until(lambda result: result.ready)
        server: Any = spark.servers[8000]
        spark.faults.hung("one")
        began = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < began + 1800:
            server.tokens += 50  # of other requests: it works
            await asyncio.sleep(5)
            assert watch.result.ready
        assert watch.result.message.endswith("but it works on other requests")
        stopped = asyncio.get_running_loop().time()
        at = await watch.until(lambda result: not result.ready)
        assert 120 <= at - stopped <= 330
        assert watch.result.failures >= CHAT.failures
        assert watch.result.ready_at
        spark.faults.hung("one", False)
        await watch.until(lambda result: result.ready)

    watching(story)


def test_a_canary_that_hangs_does_not_keep_the_page_from_being_asked() -> None:
    async def story(spark: Spark, watch: Watch) -> None:
        await watch.until(lambda result: result.ready)
        spark.faults.hung("one")
        before = len(watch.host.times("health"))
        await asyncio.sleep(120)
        assert len(watch.host.times("health")) - before >= 10
        spark.faults.deaf("one")
        began = asyncio.get_running_loop().time()
        assert await watch.until(lambda result: result.failures >= 3) - began <= 30

    watching(story)


def test_at_most_two_canaries_hang_on_one_spark() -> None:
    async def story(spark: Spark, watch: Watch) -> None:
        await watch.until(lambda result: result.ready)
        spark.faults.hung("one")
        several = []
        for number in range(5):
            instance = Instance(
                workload=f"w{number}", kind="model", spark="spark-1", name=f"w{number}",
                spec=watch.instance.spec, spec_hash="", probe=CHAT,
            )  # fmt: skip
            container = Container(id=f"{number}", name=f"w{number}", image="img:1", state="running", started_at=1.0)
            several.append((instance, container))
        watch.prober.follow(several)
        await asyncio.sleep(300)
        assert watch.host.most == 2
        assert all(not result.ready_at for result in watch.prober.results.values())

    watching(story)


def test_a_lost_spark_ends_the_probe_and_a_scan_begins_it_anew_where_it_was() -> None:
    async def story(spark: Spark, watch: Watch) -> None:
        await watch.until(lambda result: result.ready)
        known = watch.result
        watch.host.down = True
        await asyncio.sleep(30)
        assert watch.result == known
        asked = len(watch.host.asked)
        watch.host.down = False
        await asyncio.sleep(30)
        assert len(watch.host.asked) == asked
        watch.prober.follow([(watch.instance, watch.container)])
        await asyncio.sleep(1)
        assert len(watch.host.asked) > asked
        assert watch.result.ready_at == known.ready_at

    watching(story)


def test_a_headless_rank_is_not_asked() -> None:
    async def story(spark: Spark, watch: Watch) -> None:
        await asyncio.sleep(100)
        assert watch.host.asked == []
        assert watch.prober.results == {}

    watching(story, ProbeSpec(kind="none"))


def test_a_corrected_probe_is_asked_at_once_and_not_only_after_a_restart() -> None:
    """The container stays as it is, so nothing else would end the old questions but the end of `start_timeout`."""

    async def story(spark: Spark, watch: Watch) -> None:
        del spark
        await asyncio.sleep(LOAD + 60)
        assert watch.result.ready_at == 0.0
        right = replace(watch.instance, probe=CHAT)
        watch.prober.follow([(right, watch.container)])
        before = asyncio.get_running_loop().time()
        async with asyncio.timeout(60):
            assert await watch.until(lambda result: result.ready) <= before + 5
        pages = len(watch.host.times("chat"))
        watch.prober.follow([(replace(right), watch.container)])
        await asyncio.sleep(1)
        assert watch.result.ready
        assert len(watch.host.times("chat")) == pages

    watching(story, replace(CHAT, path="/v1/chat/complletions"))


def test_a_serving_model_stays_ready_when_only_pauses_change_or_when_it_waits_to_be_replaced() -> None:
    async def story(spark: Spark, watch: Watch) -> None:
        del spark
        await watch.until(lambda result: result.ready)
        since = watch.result.ready_at
        slower = replace(watch.instance, probe=replace(CHAT, interval=20.0))
        watch.prober.follow([(slower, watch.container)])
        assert (watch.result.ready, watch.result.ready_at) == (True, since)
        successor = replace(watch.instance, spec_hash="new", probe=replace(CHAT, port=8001))
        watch.prober.follow([(successor, watch.container)])
        await asyncio.sleep(100)
        assert (watch.result.ready, watch.result.ready_at) == (True, since)
        assert len(watch.news) == 2

    watching(story)


@pytest.mark.parametrize("hours", [2.0, -2.0, 24 * 365.0])
def test_a_clock_that_is_set_makes_no_start_look_hung_and_nothing_look_used_for_longer(hours: float) -> None:
    """A small computer without a battery learns the time a minute after it began, when models already load."""

    async def story(spark: Spark, watch: Watch) -> None:
        del spark
        await asyncio.sleep(LOAD / 2)
        began, now = watch.result.failing_since, watch.wall[0] + asyncio.get_running_loop().time()
        assert 0 < now - began <= LOAD / 2
        watch.wall[0] += hours * 3600
        assert watch.result.failing_since == began + hours * 3600
        after = now + hours * 3600
        assert not_serving(watch.instance, watch.container, watch.result, after) is None
        await watch.until(lambda result: result.ready)
        ready = watch.result.ready_at
        await asyncio.sleep(30)
        assert watch.result.ready_at == ready
        watch.wall[0] -= hours * 3600
        assert watch.result.ready_at == pytest.approx(ready - hours * 3600)
        await asyncio.sleep(30)
        assert watch.result.ready_at == pytest.approx(ready - hours * 3600)
        clock = asyncio.get_running_loop().time()
        found = unused(Wish(), watch.result, clock, watch.wall[0] + clock)
        assert found == pytest.approx(60, abs=5)

    watching(story)
