"""What is written for other proxies, whatever a server says of itself."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.proxies.calls import Backend
from api.proxies.render.haproxy import haproxy
from api.proxies.render.nginx import nginx
from api.proxies.render.site import ADDRESS, Pool, Site, ordered, pattern, sayable

RENDERERS = [haproxy, nginx]
hostile = st.text(max_size=30) | st.sampled_from(
    ["a\nserver evil 1.2.3.4:1", "a;b", 'a"b', "$host", "a b", "a}", "a#b"]
)


def backend(
    workload: str, spark: str = "spark-1", host: str = "10.0.0.1", port: int = 8000, model: str = "m"
) -> Backend:
    return Backend(workload=workload, spark=spark, host=host, port=port, model=model)


@given(name=hostile, host=hostile, spark=hostile, model=hostile, page=hostile)
def test_nothing_that_would_need_quotes_is_written(name: str, host: str, spark: str, model: str, page: str) -> None:
    """Each word that comes from elsewhere either fits a whitelist or does not appear: so no line is one of theirs."""
    mean = Pool(name=name, backends=(backend(name, spark, host, model=model),), model=model, page=page)
    plain = Pool(name="name", backends=(backend("name"),), model="m", page="/p")
    for render in RENDERERS:
        lines = render(Site(pools=ordered([plain]), by_body=True)).splitlines()
        shapes = {_shape(line) for line in lines}
        made = render(Site(pools=ordered([mean, plain]), by_body=True))
        assert made.isascii()
        assert {_shape(line) for line in made.splitlines()} <= shapes | OPTIONAL


OPTIONAL = {"# /m/ (the body says)", "http-check send meth", "option httpchk"}


def _shape(line: str) -> str:
    """Its first words, which say what it does."""
    return " ".join(re.findall(r"^[#\s]*(?:[A-Za-z_#/-]+)", line)[:1]).strip().split("/m/")[0].strip()


def test_the_same_set_is_the_same_text() -> None:
    pools = [Pool(name=f"m{n}", backends=tuple(backend(f"m{n}", f"s{k}") for k in range(4))) for n in range(5)]
    texts = set()
    for seed in range(5):
        mixed = [
            Pool(name=pool.name, backends=tuple(random.Random(seed).sample(pool.backends, 4)))
            for pool in random.Random(seed).sample(pools, 5)
        ]
        texts |= {render(Site(pools=ordered(mixed))) for render in RENDERERS}
    assert len(texts) == len(RENDERERS)


def test_a_name_is_a_path_of_its_own_only() -> None:
    found = re.compile(pattern("qwen3.5-a"))
    assert found.match("/m/qwen3.5-a/v1/chat/completions")
    for path in ("/m/qwen3x5-a/v1/chat", "/m/qwen3.5-a/v1/../x", "/m/qwen3.5-a/v1/%2e", "/m/qwen3.5-a/v1/", "/v1/chat"):
        assert not found.match(path)


def test_a_pool_of_which_nothing_can_be_said_is_left_to_sparkkeep() -> None:
    assert sayable(Pool(name="m", backends=())) is None
    assert sayable(Pool(name="m", backends=(backend("m", host="a b"),))) is None
    assert sayable(Pool(name="m/x", backends=(backend("m"),))) is None
    kept = sayable(Pool(name="m", backends=(backend("m", host="a b"), backend("m", "spark-2")), model='"'))
    assert kept is not None
    assert ([b.spark for b in kept.backends], kept.model) == (["spark-2"], "")


@pytest.mark.parametrize("render", RENDERERS)
def test_addresses_of_version_six_and_limits_are_written_as_each_reads_them(render: object) -> None:
    assert callable(render)
    pool = Pool(name="m", backends=(backend("m", host="fd00::1"),), most=4)
    text = render(Site(pools=(pool,), listen="[::]:8080", keeper="[::1]:9999"))
    assert "[fd00::1]:8000" in text
    assert "[::1]:9999" in text
    assert ("maxconn 4" in text) or ("max_conns=4" in text)
    assert ("bind [::]:8080" in text) or ("listen [::]:8080;" in text)


@pytest.mark.parametrize("address", [":8080", "127.0.0.1:80", "box.lan:9999", "[::1]:9999"])
def test_addresses(address: str) -> None:
    assert re.match(ADDRESS, address)


@pytest.mark.parametrize("address", ["8080", "a b:1", "a:1;", "a:1\n", "[::1", "::1:9999", "a:123456", "-a:1"])
def test_no_addresses(address: str) -> None:
    assert not re.fullmatch(ADDRESS.strip("^$"), address)


def test_nothing_is_asked_directly_where_there_is_a_reason() -> None:
    for render in RENDERERS:
        text = render(Site(note="Keys are asked for."))
        assert "# No model is asked directly.\n# Keys are asked for.\n# Everything else" in text
        assert "/m/" in text  # whoever uses such an address is served all the same
        assert "sparkkeep." not in text.replace("sparkkeep.\n", "")
