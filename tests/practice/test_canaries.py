"""The canaries against servers: over a forwarded port, with the Spark's curl, and in every illness that counts."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler import probe
from reconciler.hostkeys import HostKeys
from reconciler.hosts import Answer
from reconciler.model import ProbeSpec
from reconciler.practice.fleet import PracticeFleet, PracticeSpark
from reconciler.remote import RemoteHost
from reconciler.ssh import Link
from state.desired import Spark

PORT = 8000
LINE = "docker run -d --name one --network host img:1 --port 8000 --served-model-name tiny"
GIVES = {
    "chat": "POST /v1/chat/completions on port 8000 gives a token",
    "completion": "POST /v1/completions on port 8000 gives a token",
    "embedding": "POST /v1/embeddings on port 8000 gives vectors",
    "rerank": "POST /v1/rerank on port 8000 gives scores",
    "transcription": "POST /v1/audio/transcriptions on port 8000 gives a transcript",
    "diarization": "POST /v1/diarize on port 8000 gives segments",
    "speech": "POST /v1/audio/speech on port 8000 gives audio",
}


@pytest.fixture
async def asked(fleet: PracticeFleet, tmp_path: Path) -> AsyncIterator[tuple[PracticeSpark, RemoteHost]]:
    """A Spark with a model server, and the way to ask it."""
    spark = fleet["spark-1"]
    keys = HostKeys([fleet.known_hosts_path], own=tmp_path / "own")
    at = Spark(host=spark.host, port=spark.port, user=spark.user)
    host = RemoteHost(Link("spark-1", at, keys, key_path=fleet.key_path, config=()), at.socket, "sparkkeep")
    assert (await host.run(LINE, timeout=10)).status == 0
    await spark.engine.find("one").process.ready.wait()
    yield spark, host
    await host.close()


def spec(kind: str, **more: Any) -> ProbeSpec:
    return ProbeSpec(kind=kind, port=PORT, model="tiny", **more)


@pytest.mark.parametrize("forwarding", [True, False])
async def test_every_kind_is_answered(asked: tuple[PracticeSpark, RemoteHost], forwarding: bool) -> None:
    spark, host = asked
    spark.faults.forwarding_refused(not forwarding)
    for kind, gives in GIVES.items():
        assert await host.ask(probe.canary(spec(kind))) == Answer(ready=True, message=gives)
    page = await host.ask(probe.health(spec("chat")))
    assert page == Answer(ready=True, message="GET /health on port 8000 answers 200")
    assert await host.ask(ProbeSpec(kind="http", path="/nowhere", port=PORT)) == Answer(
        ready=False, message="GET /nowhere on port 8000 answers 404"
    )
    done = await host.ask(probe.work(spec("chat")))
    assert done.work == 2.0  # the tokens of the two canaries of text
    tei = await host.ask(probe.canary(spec("rerank", path="/rerank")))
    assert tei == Answer(ready=True, message="POST /rerank on port 8000 gives scores")


@pytest.mark.parametrize("forwarding", [True, False])
async def test_every_illness_is_told(asked: tuple[PracticeSpark, RemoteHost], forwarding: bool) -> None:
    spark, host = asked
    spark.faults.forwarding_refused(not forwarding)
    other = await host.ask(probe.canary(replace(spec("chat"), model="other")))
    assert other.message == (
        "POST /v1/chat/completions on port 8000 answers 404: The model `other` does not exist. "
        "(asked for other: is that the name it is served by?)"
    )
    heard = await host.ask(probe.canary(replace(spec("transcription"), model="other")))
    assert heard.message.startswith("POST /v1/audio/transcriptions on port 8000 answers 404: The model `other`")
    spark.faults.loading("one")
    for question in (probe.health(spec("chat")), probe.canary(spec("chat"))):
        answer = await host.ask(question)
        assert (answer.ready, answer.busy, answer.retry_after) == (False, True, 1.0)
        assert answer.message.endswith("answers 503: Loading model")
    spark.faults.loading("one", False)
    spark.faults.hung("one")
    assert (await host.ask(probe.health(spec("chat")))).ready
    hung = await host.ask(probe.canary(spec("chat", canary_timeout=0.3)))
    assert hung == Answer(
        ready=False, message="POST /v1/chat/completions on port 8000 got no answer within 0.3 s", busy=True
    )
    spark.faults.hung("one", False)
    spark.faults.deaf("one")
    deaf = await host.ask(probe.health(spec("chat", timeout=0.3)))
    assert deaf == Answer(ready=False, message="GET /health on port 8000 got no answer within 0.3 s", busy=True)
    gone = await host.ask(probe.health(replace(spec("chat"), port=9)))
    assert not gone.ready
    assert not gone.busy
    assert "port 9" in gone.message


async def test_a_saturated_channel_is_given_back(asked: tuple[PracticeSpark, RemoteHost]) -> None:
    """Canaries that hang must not keep the seats of the connection."""
    spark, host = asked
    spark.faults.hung("one")
    for _ in range(8):
        assert (await host.ask(probe.canary(spec("chat", canary_timeout=0.05)))).busy
    assert (await host.run("true", timeout=5)).status == 0
