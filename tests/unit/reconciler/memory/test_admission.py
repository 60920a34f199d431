"""Whether a start fits, in words; whom to stop; and the accidents that were reported, refused with numbers."""

from __future__ import annotations

from reconciler.memory.admission import Holder, Promise, Room, Verdict, admit, evict
from reconciler.memory.estimate import SPARK, Need, Source, estimate, settle
from tests.unit.reconciler.memory import models

GIB = 2**30


def gib(value: float) -> int:
    return round(value * GIB)


def stated(value: float) -> Need:
    return Need(size=gib(value), source=Source.STATED)


def room(available: float, **more: object) -> Room:
    given = {"spark": "spark-1", "total": SPARK, "available": gib(available), "reserve": 4 * GIB} | more
    return Room(**given)


def on_demand(name: str, memory: float, *, idle: bool = True, unused: float = 0.0, priority: int = 0) -> Holder:
    return Holder(workload=name, memory=gib(memory), run="on-demand", idle=idle, unused=unused, priority=priority)


def test_it_says_what_is_missing_and_who_holds_it():
    verdict = admit("qwen3-coder", stated(92), room(61.3, holders=(on_demand("llama-70b", 48),)))
    assert verdict == Verdict(
        fits=False,
        reason="InsufficientMemory",
        missing=gib(92) + 4 * GIB - gib(61.3),
        message="qwen3-coder needs about 92.0 GiB (stated), spark-1 has 61.3 GiB available now, 4.0 GiB of it reserved: "
        "34.7 GiB are missing. llama-70b holds 48.0 GiB there (on-demand, idle, priority 0)",
    )


def test_it_says_what_stays_free():
    assert admit("echo", stated(0.5), room(61.3)) == Verdict(
        fits=True,
        message="echo needs about 512 MiB (stated), spark-1 has 61.3 GiB available now, 4.0 GiB of it reserved: "
        "it fits, 56.8 GiB stay free",
    )


def test_the_edge_is_exact():
    need = Need(size=10 * GIB, source=Source.MEASURED)
    assert admit("a", need, room(14)).fits is True
    short = admit("a", need, Room(spark="s", total=SPARK, available=14 * GIB - 1, reserve=4 * GIB))
    assert (short.fits, short.missing) == (False, 1)


def test_what_could_never_fit_is_said_so():
    verdict = admit("giant", stated(120), room(116))
    assert verdict.message.endswith(
        "8.0 GiB are missing. It would not fit on spark-1 with nothing else there either (121.7 GiB in all)"
    )


def test_strangers_and_those_that_always_run_are_named():
    holders = (Holder(workload="jupyter", memory=9 * GIB, ours=False), Holder(workload="main", memory=50 * GIB))
    verdict = admit("a", stated(60), room(50, holders=holders))
    assert verdict.message.endswith(
        ". main holds 50.0 GiB there (always, priority 0). jupyter, which is not ours, holds 9.0 GiB there"
    )


def test_nothing_starts_whose_need_nobody_knows():
    verdict = admit("nim", settle(estimate("nim", {}, models.QWEN3_8B)), room(110))
    assert (verdict.fits, verdict.reason) == (False, "MemoryUnknown")
    assert verdict.message == ("how much memory nim needs is not known: state it in its recipe, such as memory: 60GiB")


def test_what_comes_back_counts_and_is_said():
    verdict = admit("b", stated(60), room(40, returning=20 * GIB))
    assert verdict.message == (
        "b needs about 60.0 GiB (stated), spark-1 has 40.0 GiB available now, gets 20.0 GiB back from what stops, "
        "4.0 GiB are reserved: 4.0 GiB are missing"
    )
    assert admit("b", stated(60), room(44, returning=20 * GIB)).fits is True


# Eviction


def test_as_few_as_will_do():
    holders = (on_demand("a", 10), on_demand("b", 10), on_demand("c", 25, priority=3))
    assert evict(stated(30), room(14, holders=holders), priority=5) == (holders[2],)


def test_of_those_that_would_do_the_lowest_and_never_one_in_use():
    busy, low, high = on_demand("a", 30, idle=False), on_demand("b", 30, priority=1), on_demand("c", 30, priority=2)
    assert evict(stated(30), room(14, holders=(busy, high, low)), priority=5) == (low,)
    assert evict(stated(30), room(14, holders=(busy, high)), priority=5) == (high,)
    assert evict(stated(30), room(14, holders=(busy,)), priority=5) == ()


def test_of_equals_the_one_that_was_used_least_lately_then_the_smallest():
    old, new, small = on_demand("a", 30, unused=90), on_demand("b", 30, unused=70), on_demand("c", 29, unused=90)
    assert evict(stated(29), room(14, holders=(new, old)), priority=0) == (old,)
    assert evict(stated(29), room(14, holders=(new, old, small)), priority=0) == (small,)


def test_never_one_that_always_runs_nor_a_strangers_nor_one_more_important():
    holders = (
        Holder(workload="a", memory=90 * GIB),
        Holder(workload="b", memory=90 * GIB, run="on-demand", ours=False),
        on_demand("c", 90, priority=6),
    )
    assert evict(stated(60), room(14, holders=holders), priority=5) == ()
    assert evict(stated(60), room(14, holders=holders), priority=6) == (holders[2],)


def test_none_if_all_of_them_would_not_do():
    assert evict(stated(60), room(14, holders=(on_demand("a", 10), on_demand("b", 10))), priority=5) == ()


def test_none_if_it_fits_already():
    assert evict(stated(10), room(14, holders=(on_demand("a", 10),)), priority=5) == ()


def test_many_workloads_are_weighed_in_bounded_time():
    holders = tuple(on_demand(f"m{n:02}", 1) for n in range(40))
    assert len(evict(stated(30), room(14, holders=holders), priority=5)) == 20


# The accidents


def test_vllm_46307_a_share_of_0_70_would_have_taken_112_of_119_gib():
    """gemma-4-26B-A4B in 16 bits on a machine of 119 GiB: the host hung while vLLM measured it."""
    machine = room(115, total=119 * GIB)
    guess = estimate("vllm", {"gpu-memory-utilization": 0.7}, models.GEMMA4_26B, total=119 * GIB)
    verdict = admit("gemma", settle(guess), machine)
    assert verdict.message.startswith(
        "gemma needs about 115.1 GiB (estimated), spark-1 has 115.0 GiB available now, 4.0 GiB of it reserved: "
        "4.1 GiB are missing"
    )
    less = estimate("vllm", {"gpu-memory-utilization": 0.6}, models.GEMMA4_26B, total=119 * GIB)
    assert admit("gemma", settle(less), machine).fits is True
    after = admit("gemma", settle(less, seen=112 * GIB), machine)
    assert after.message.startswith(
        "gemma needs about 112.0 GiB (measured), spark-1 has 115.0 GiB available now, 4.0 GiB of it reserved: "
        "1.0 GiB are missing"
    )


def test_vllm_48140_the_page_cache_is_not_counted_as_used():
    """MemFree was 2.77 GiB and MemAvailable 52 GiB at one moment: what fits the latter starts, what does not does not."""
    assert admit("small", stated(48), room(52)).fits is True
    share = estimate("vllm", {"gpu-memory-utilization": 0.7}, models.QWEN3_CODER_NEXT_INT4)
    verdict = admit("coder", settle(share), room(52))
    assert verdict.message == (
        "coder needs about 90.2 GiB (estimated), spark-1 has 52.0 GiB available now, 4.0 GiB of it reserved: "
        "42.2 GiB are missing"
    )


def test_vllm_55827_a_start_under_way_counts_with_all_that_it_was_promised():
    """Two at once on a card of 31.8 GiB: the second was charged for the first, its KV cache came to -3.21 GiB."""
    first = estimate("vllm", {"gpu-memory-utilization": 0.35}, models.WHISPER_LARGE_V3, total=gib(31.8))
    second = estimate("vllm", {"gpu-memory-utilization": 0.2}, models.WHISPER_LARGE_V3, total=gib(31.8))
    card = Room(spark="card", total=gib(31.8), available=gib(26), reserve=2 * GIB)
    assert admit("asr", settle(first), card).fits is True
    assert admit("aligner", settle(second), card).fits is True
    promised = Promise(workload="asr", memory=first.peak or 0)
    both = Room(spark="card", total=gib(31.8), available=gib(26), reserve=2 * GIB, promised=(promised,))
    verdict = admit("aligner", settle(second), both)
    assert verdict.message == (
        "aligner needs about 11.4 GiB (estimated), card has 26.0 GiB available now, asr is starting and may take "
        "16.1 GiB, 2.0 GiB are reserved: 3.5 GiB are missing"
    )


def test_vllm_50011_two_that_sleep_in_turn_do_not_fit_beside_each_other():
    """Shares of 0.50 and 0.55, one asleep: waking hung the host. Each counts with all of its memory, awake or not."""
    flags = {"gpu-memory-utilization": 0.5, "enable-sleep-mode": True}
    waking = estimate("vllm", flags, models.QWEN3_CODER_NEXT_INT4)
    asleep = on_demand("b", 0.55 * SPARK / GIB, priority=1)
    verdict = admit("a", settle(waking), room(121.7 - 66.9 - 5, holders=(asleep,)))
    assert verdict.message == (
        "a needs about 65.8 GiB (estimated), spark-1 has 49.8 GiB available now, 4.0 GiB of it reserved: "
        "20.0 GiB are missing. b holds 66.9 GiB there (on-demand, idle, priority 1)"
    )
    assert evict(settle(waking), room(49.8, holders=(asleep,)), priority=2) == (asleep,)
