"""What holds whatever is asked: nothing is lost, doubled or moved by cutting and joining, and no number changes."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.proxies.dialects.errors import Trouble
from api.proxies.embeddings.asked import wanted
from api.proxies.embeddings.numbers import cut, length, packed, unpacked, written
from api.proxies.embeddings.rerank_asked import ranking
from api.proxies.embeddings.scores import Scores
from api.proxies.embeddings.split import halves, parts
from api.proxies.embeddings.vectors import Vectors
from api.proxies.embeddings.way import FAMILIES, Way
from tests.unit.api.proxies.embeddings import servers
from tests.unit.api.proxies.embeddings.servers import vector

FLOATS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40)
TEXTS = st.lists(st.text(max_size=20).filter(lambda text: servers.BAD not in text), min_size=1, max_size=60)
laws = settings(deadline=None)
BATCHES = st.none() | st.integers(1, 20)


@laws
@given(st.lists(st.integers(0, 50), max_size=80), BATCHES, st.none() | st.integers(1, 200))
def test_parts_joined_are_the_whole(sizes: list[int], most: int | None, size: int | None) -> None:
    found = parts(sizes, most, size)
    assert [at for part in found for at in part] == list(range(len(sizes)))
    for part in found:
        assert part
        assert most is None or len(part) <= most
        assert size is None or len(part) == 1 or sum(sizes[part.start : part.stop]) <= size


@laws
@given(st.integers(0, 1000), st.integers(2, 1000))
def test_halves_are_the_whole_and_less(start: int, many: int) -> None:
    first, second = halves(range(start, start + many))
    assert [*first, *second] == list(range(start, start + many))
    assert first
    assert second


@laws
@given(FLOATS)
def test_base64_there_and_back(values: list[float]) -> None:
    assert unpacked(packed(values)) == values
    assert length(packed(values)) == length(values) == len(values)
    assert packed(unpacked(packed(values))) == packed(values)


@laws
@given(FLOATS, st.booleans(), st.booleans())
def test_every_form_says_the_same(values: list[float], come: bool, go: bool) -> None:
    vector = packed(values) if come else values
    found = written(vector, as_base64=go, dimensions=None)
    assert isinstance(found, str) is go
    assert (unpacked(found) if isinstance(found, str) else found) == values


@laws
@given(FLOATS, st.integers(1, 60))
def test_what_is_cut_points_the_same_way_and_has_length_1(values: list[float], dimensions: int) -> None:
    found = cut(values, dimensions)
    assert len(found) == min(dimensions, len(values))
    size = math.hypot(*values[:dimensions])
    if size > 1e-30:
        assert math.isclose(math.hypot(*found), 1, rel_tol=1e-9)
        assert all(math.isclose(a * size, b, rel_tol=1e-6, abs_tol=1e-30) for a, b in zip(found, values, strict=False))


def through(job: Vectors | Scores, answers: servers.Answers) -> bytes:
    """Asked and answered, the last part first."""
    waiting = job.first()
    while waiting:
        part = waiting.pop()
        said = answers(part.path, json.loads(job.body(part)))
        head, _, body = said.partition(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
        names = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if status == 200:
            job.answered(part, names, body)
        else:
            waiting += job.refused(part, Trouble(status=status, code="Bad", message="an input is too long"))
    return job.whole()


@laws
@given(TEXTS, BATCHES, st.sampled_from(["float", "base64"]), st.booleans(), st.booleans())
def test_vectors_come_in_the_order_of_the_inputs(
    texts: list[str], batch: int | None, form: str, knows_base64: bool, counts: bool
) -> None:
    way = Way(batch=batch)
    asks = wanted({"model": "m", "input": texts, "encoding_format": form}, way)
    answers = servers.openai(batch=batch or 10**9, floats_only=not knows_base64, usage=counts)
    found = json.loads(through(Vectors(asks, way, "m", lenient=False), answers))
    data = sorted(found["data"], key=lambda item: item["index"])
    assert [item["index"] for item in data] == list(range(len(texts)))
    got = [unpacked(item["embedding"]) if form == "base64" else item["embedding"] for item in data]
    assert got == [vector(text) for text in texts]
    assert found["usage"]["prompt_tokens"] == (len(texts) if counts else 0)
    if batch is not None and len(texts) > batch:
        assert found["data"] == data, "joined in order"


@laws
@given(TEXTS, st.sets(st.integers(0, 59)), BATCHES)
def test_one_that_is_wrong_spoils_no_other(texts: list[str], bad: set[int], batch: int | None) -> None:
    spoilt = {at for at in bad if at < len(texts)}
    given_texts = [servers.BAD if at in spoilt else text for at, text in enumerate(texts)]
    way = Way(batch=batch)
    asks = wanted({"model": "m", "input": given_texts}, way)
    if len(spoilt) == len(texts):
        return
    found = json.loads(through(Vectors(asks, way, "m", lenient=True), servers.openai()))
    for item in found["data"]:
        at = item["index"]
        assert item["embedding"] == (None if at in spoilt else vector(texts[at]))
        assert ("error" in item) is (at in spoilt)
    assert found["usage"]["total_tokens"] == len(texts) - len(spoilt)


@laws
@given(TEXTS, st.text(max_size=5), BATCHES, st.none() | st.integers(1, 70), st.sampled_from(["tei", "other", "sglang"]))
def test_ranks_do_not_depend_on_the_parts(
    texts: list[str], query: str, batch: int | None, top: int | None, server: str
) -> None:
    answers = {"tei": servers.tei(batch=10**9), "other": servers.cohere, "sglang": servers.sglang}[server]
    asks = ranking("/v1/rerank", {"model": "m", "query": query, "documents": texts, "top_n": top})
    job = Scores(asks, Way(server=server, batch=batch), "m")  # type: ignore[arg-type]  # one of them
    results = json.loads(through(job, answers))["results"]
    expected = sorted((-servers.score(query, text), at) for at, text in enumerate(texts))[:top]
    assert [(result["index"], result["relevance_score"]) for result in results] == [(at, -s) for s, at in expected]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_whole(family: str) -> None:
    found = FAMILIES[family]  # type: ignore[index]  # its own keys
    assert found.page.startswith("/")
    assert found.batch is None or found.batch > 0
