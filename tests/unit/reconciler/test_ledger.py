"""What the loop remembers of failures, in time that the test makes."""

from __future__ import annotations

import random

import pytest

from reconciler.explain import Explanation, backoff, explain
from reconciler.ledger import Ledger
from reconciler.model import ProbeResult
from tests.unit.reconciler.builders import NOW, container, declare, only, service

KEY = ("echo", "s1")
WHY = Explanation("CommandFailed", "it failed", terminal=False)


def ledger() -> Ledger:
    return Ledger(random.Random(1))


def test_the_first_retry_is_at_once_then_ten_seconds_doubling_to_three_hundred() -> None:
    dice = random.Random(7)
    assert backoff(1, dice) == 0
    for count, seconds in enumerate((10, 20, 40, 80, 160, 300, 300, 300), start=2):
        assert backoff(count, dice) == pytest.approx(seconds, rel=0.1)
    assert backoff(10**6, dice) == pytest.approx(300, rel=0.1)


def test_failures_count_up_for_one_spec_and_anew_for_another() -> None:
    book = ledger()
    assert [book.fail(KEY, "a", WHY, NOW).count for _ in range(3)] == [1, 2, 3]
    assert book.fail(KEY, "b", WHY, NOW).count == 1


def test_a_clock_that_is_set_back_makes_no_wait_longer() -> None:
    """History 700: failed while the clock was an hour ahead, and was tried again an hour later, not after 40 s."""
    book = ledger()
    ahead = NOW + 3600
    waits = [book.fail(KEY, "a", WHY, ahead) for _ in range(4)][-1]
    book.set_back(ahead + 1)
    assert book.failures[KEY] == waits
    book.set_back(NOW)
    found = book.failures[KEY]
    assert (found.at, found.count) == (NOW, 4)
    assert found.retry_at - NOW == pytest.approx(waits.retry_at - ahead)
    book.set_back(NOW + 5)
    assert book.failures[KEY] == found


def test_an_end_is_counted_once_however_often_it_is_seen() -> None:
    book = ledger()
    instance = only(declare("services:\n" + service()))
    dead = container(instance, state="exited", exit_code=3, finished_at=NOW)
    first = book.ended(instance, dead, NOW)
    assert first is not None
    assert "status 3" in first.message
    assert book.ended(instance, dead, NOW + 5) is None


def test_an_end_that_we_caused_is_no_failure() -> None:
    book = ledger()
    instance = only(declare("services:\n" + service()))
    dead = container(instance, state="exited", finished_at=NOW)
    book.expect_end(dead.id)
    assert book.ended(instance, dead, NOW) is None
    assert book.ended(instance, container(instance, state="exited", finished_at=NOW + 1), NOW) is not None


def test_ends_of_a_reboot_are_nobodys_failure() -> None:
    book = ledger()
    instance = only(declare("services:\n" + service()))
    dead = container(instance, state="exited", exit_code=255, finished_at=NOW)
    book.excuse([dead])
    assert book.ended(instance, dead, NOW) is None


def test_a_long_good_run_before_an_end_begins_the_count_anew() -> None:
    book = ledger()
    instance = only(declare("services:\n" + service()))
    for _ in range(4):
        book.fail(KEY, instance.spec_hash, WHY, NOW)
    dead = container(instance, state="exited", started_at=NOW - 700, finished_at=NOW)
    found = book.ended(instance, dead, NOW)
    assert found is not None
    assert found.count == 1


def test_ten_good_minutes_forget_and_nine_do_not() -> None:
    book = ledger()
    instance = only(declare("services:\n" + service(recipe=", probe: http")))
    alive = container(instance)
    book.fail(KEY, instance.spec_hash, WHY, NOW)
    ready = ProbeResult(container=alive.id, ready=True, ready_at=NOW + 60)
    book.settle(KEY, alive, ready, probed=True, now=NOW + 60 + 599)
    assert KEY in book.failures
    book.settle(KEY, alive, ready, probed=True, now=NOW + 60 + 600)
    assert KEY not in book.failures


def test_one_that_runs_and_does_not_answer_is_not_well() -> None:
    book = ledger()
    instance = only(declare("services:\n" + service(recipe=", probe: http")))
    book.fail(KEY, instance.spec_hash, WHY, NOW)
    silent = ProbeResult(container=container(instance).id, ready=False)
    book.settle(KEY, container(instance), silent, probed=True, now=NOW + 10**6)
    assert KEY in book.failures


def test_a_log_that_names_a_bad_flag_stops_the_second_failure_not_the_first() -> None:
    book = ledger()
    why = explain("error: unrecognized arguments: --nope", otherwise="it exited")
    assert why.terminal
    book.fail(KEY, "a", WHY, NOW)
    assert not book.reword(KEY, "a", why, ()).terminal  # type: ignore[union-attr]
    book.fail(KEY, "a", WHY, NOW)
    assert book.reword(KEY, "a", why, ("line",)).terminal  # type: ignore[union-attr]


def test_what_nobody_asks_for_is_dropped() -> None:
    book = ledger()
    instance = only(declare("services:\n" + service()))
    dead = container(instance, state="exited", finished_at=NOW)
    book.ended(instance, dead, NOW)
    book.keep_only(set(), set())
    assert not book.failures
    assert book.ended(instance, dead, NOW) is not None


@pytest.mark.parametrize(
    ("text", "reason", "terminal"),
    [
        (
            "Error response from daemon: manifest for x:9 not found: manifest unknown: manifest unknown",
            "ImageNotFound",
            True,
        ),
        (
            "Error response from daemon: pull access denied for x, repository does not exist or may require 'docker login'",
            "ImageNotFound",
            True,
        ),
        ("unauthorized: authentication required", "PullDenied", True),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", "WrongArchitecture", True),
        ("standard_init_linux.go:228: exec user process caused: exec format error", "WrongArchitecture", True),
        ("write /var/lib/docker/tmp/x: no space left on device", "DiskFull", False),
        ("dial tcp: lookup registry-1.docker.io: no such host", "RegistryUnreachable", False),
        ("toomanyrequests: You have reached your pull rate limit", "RateLimited", False),
        ('invalid mount config for type "bind": bind source path does not exist: /nope', "MountMissing", True),
        ('could not select device driver "" with capabilities: [[gpu]]', "NoGpu", True),
        ("vllm serve: error: unrecognized arguments: --nope", "BadFlag", True),
        ('exec: "nope": executable file not found in $PATH: unknown', "BadCommand", True),
        ("torch.OutOfMemoryError: CUDA error: out of memory", "OutOfMemory", False),
        ("something nobody has seen", "CommandFailed", False),
    ],
)
def test_known_texts_have_a_plain_meaning(text: str, reason: str, terminal: bool) -> None:
    why = explain(text, otherwise="it failed")
    assert (why.reason, why.terminal) == (reason, terminal)
    assert why.message.startswith("it failed")
