"""Keys and buckets, in time that is made."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.proxies.calls import Refused
from api.proxies.records import Record
from api.proxies.routing.buckets import Bucket
from api.proxies.routing.keys import READ_AGAIN, Keys
from state.proxy import AppKey
from state.secrets import SecretRefused


class Stage:
    def __init__(self, *keys: AppKey, **secrets: str) -> None:
        self.declared, self.secrets, self.now = list(keys), secrets, 1000.0
        self.under_way: dict[str, int] = {}
        self.read = 0
        self.keys = Keys(
            lambda: self.declared, self.secret, lambda who: self.under_way.get(who, 0), now=lambda: self.now
        )

    def secret(self, name: str) -> str:
        self.read += 1
        if name not in self.secrets:
            raise SecretRefused(f"there is no secret {name}")
        return self.secrets[name]

    def ask(self, word: str = "sesame") -> str:
        return self.keys.who(word, "10.0.0.9")

    def refused(self, word: str = "sesame") -> tuple[int, str, float | None]:
        with pytest.raises(Refused) as refused:
            self.ask(word)
        assert not word or word not in refused.value.message
        return refused.value.status, refused.value.reason, refused.value.retry_after

    def used(self, who: str, prompt: int | None, completion: int | None) -> None:
        record = SimpleNamespace(call=SimpleNamespace(who=who), tokens=(prompt, completion))
        self.keys.heard(cast("Record", record))


def key(name: str = "app", of: str = "app", **limits: Any) -> AppKey:
    return AppKey.model_validate({"name": name, "secret": of, **limits})


def test_without_keys_everybody_is_let_in_under_their_address() -> None:
    stage = Stage()
    assert stage.ask("") == "10.0.0.9"
    assert stage.ask("anything") == "10.0.0.9"
    assert not stage.keys.wanted


def test_a_key_is_known_by_its_name_and_anything_else_is_none() -> None:
    stage = Stage(key(), key("other", "second"), app="sesame", second="open")
    assert stage.ask() == "app"
    assert stage.ask("open") == "other"
    for word in ("", "wrong", "sesam", "sesame2", "app "):
        assert stage.refused(word) == (401, "KeyNeeded", None)


def test_a_secret_that_was_replaced_counts_soon_and_is_not_read_for_each_request() -> None:
    stage = Stage(key(), app="sesame")
    for _ in range(100):
        stage.ask()
    assert stage.read == 1
    stage.secrets["app"] = "changed"
    stage.now += READ_AGAIN
    assert stage.refused()[0] == 401
    assert stage.ask("changed") == "app"
    del stage.secrets["app"]
    stage.now += READ_AGAIN
    assert stage.refused("changed")[0] == 401


def test_a_key_that_is_declared_no_more_is_none_at_once() -> None:
    stage = Stage(key(), key("other", "second"), app="sesame", second="open")
    assert stage.ask() == "app"
    stage.declared = [key("other", "second")]
    assert stage.refused()[0] == 401


def test_requests_a_minute() -> None:
    stage = Stage(key(requestsPerMinute=6), app="sesame")
    for _ in range(6):
        stage.ask()
    assert stage.refused() == (429, "TooManyRequests", pytest.approx(10.0))
    stage.now += 9.9
    assert stage.refused()[0] == 429
    stage.now += 0.2
    assert stage.ask() == "app"
    assert stage.refused()[0] == 429


def test_tokens_a_minute_are_known_only_afterwards() -> None:
    stage = Stage(key(tokensPerMinute=600), app="sesame")
    stage.ask()
    stage.used("app", 500, 400)
    assert stage.refused() == (429, "TokensUsed", pytest.approx(30.1))
    stage.used("nobody", 500, 400)
    stage.now += 30.2
    assert stage.ask() == "app"
    stage.used("app", None, None)
    assert stage.ask() == "app"


def test_how_many_at_once() -> None:
    stage = Stage(key(concurrency=2), app="sesame")
    stage.under_way["app"] = 1
    assert stage.ask() == "app"
    stage.under_way["app"] = 2
    assert stage.refused()[:2] == (429, "TooManyRequests")


def test_another_limit_begins_anew_and_any_other_change_does_not() -> None:
    stage = Stage(key(requestsPerMinute=2), app="sesame")
    stage.ask()
    stage.ask()
    stage.declared = [key(requestsPerMinute=2, concurrency=9)]
    assert stage.refused()[0] == 429
    stage.declared = [key(requestsPerMinute=3)]
    assert stage.ask() == "app"


@given(
    st.integers(1, 10_000),
    st.lists(st.tuples(st.floats(0, 90), st.floats(0.5, 500)), max_size=50),
)
def test_a_bucket_gives_no_more_than_it_holds_and_what_has_flowed_in(per_minute: int, steps: list[Any]) -> None:
    bucket, now, taken = Bucket(per_minute, 0.0), 0.0, 0.0
    for pause, amount in steps:
        now += pause
        wait = bucket.wait(now, amount)
        assert (wait == 0) == (bucket.left(now) >= amount)
        if wait == 0:
            bucket.take(now, amount)
            taken += amount
        elif amount <= per_minute:
            assert bucket.left(now) + wait * per_minute / 60 == pytest.approx(amount)
        assert taken <= per_minute + now * per_minute / 60 + 1e-6
        assert bucket.left(now) <= per_minute


def test_a_clock_that_stands_still_or_goes_back_fills_nothing() -> None:
    bucket = Bucket(60, 100.0)
    bucket.take(100.0, 60)
    assert bucket.left(100.0) == bucket.left(50.0) == 0
    assert bucket.wait(50.0) == 1.0
