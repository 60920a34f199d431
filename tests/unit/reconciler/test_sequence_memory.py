"""What fits on one Spark and what is stopped for it, to the byte; and how it is told where it does not fit."""

from __future__ import annotations

from dataclasses import replace

from reconciler.model import Container, Held, Verb
from reconciler.plan import plan
from reconciler.target import Target
from tests.unit.reconciler.builders import GIB, container, declare, foreign, named, only, service
from tests.unit.reconciler.test_sequence import ECHO, here, lines, told


def test_memory_is_enough_where_it_is_exactly_enough() -> None:
    """One byte less must be refused: an over-committed Spark hangs."""
    target = declare("services:\n" + service(recipe=", memory: 96GiB"))
    assert lines(plan(target, here())) == ["create echo"]
    assert [held.reason for held in plan(target, here(free=100 * GIB - 1)).held] == ["InsufficientMemory"]


def test_its_own_old_memory_counts_as_room_exactly_once() -> None:
    before = declare("services:\n" + service(recipe=", memory: 60GiB"))
    old = container(only(before))
    for need, fits in ((76, True), (77, False)):
        target = declare("services:\n" + service(recipe=f", memory: {need}GiB, env: {{A: b}}"))
        result = plan(target, here(old, free=20 * GIB))
        assert lines(result) == (["stop echo", "remove echo", "create echo"] if fits else [])
        if fits:
            look = "the memory of echo must be seen to be back: 76.0 GiB + 4.0 GiB reserve"
            assert [step.look_first for step in result.steps] == ["", "", look]
    message = (
        "echo needs about 77.0 GiB (stated), s1 has 20.0 GiB available now, gets 60.0 GiB back from what stops, "
        "4.0 GiB are reserved: 1.0 GiB are missing; its old container keeps running"
    )
    assert result.held == (Held(spark="s1", workload="echo", reason="InsufficientMemory", message=message),)


def test_what_a_stopped_container_held_is_no_room() -> None:
    target = declare("services:\n" + service(recipe=", memory: 60GiB, env: {A: b}"))
    old = container(
        only(ECHO), state="exited", labels={**container(only(ECHO)).labels, "sparkkeep.memory": str(60 * GIB)}
    )
    message = "echo needs about 60.0 GiB (stated), s1 has 20.0 GiB available now, 4.0 GiB of it reserved: 44.0 GiB are missing"
    assert told(plan(target, here(old, free=20 * GIB))) == [("echo", "InsufficientMemory", message)]


def three(memory: tuple[int, int, int], env: str = "", priority: str = ", priority: 1") -> Target:
    a, b, c = memory
    return declare(
        "services:\n"
        + service("a", port=1000, recipe=f", memory: {a}GiB{env}", extra=priority)
        + service("b", port=2000, recipe=f", memory: {b}GiB{env}")
        + service("c", port=3000, recipe=f", memory: {c}GiB{env}")
    )


def test_as_many_recreations_as_it_takes_are_brought_forward_and_no_more() -> None:
    """Each that is stopped early is down for longer than it must be."""
    before = three((20, 30, 40))
    old = [container(named(before, name), at) for at, name in enumerate("abc", 1)]
    for need, order in (
        (36, ["stop a", "remove a", "create a", "stop b", "remove b", "create b", "stop c", "remove c", "create c"]),
        (37, ["stop b", "remove b", "stop a", "remove a", "create a", "create b", "stop c", "remove c", "create c"]),
        (61, ["stop b", "remove b", "stop a", "remove a", "create a", "create b", "stop c", "remove c", "create c"]),
        (66, ["stop b", "remove b", "stop a", "remove a", "create a", "stop c", "remove c", "create b", "create c"]),
        (67, ["stop b", "remove b", "stop c", "remove c", "stop a", "remove a", "create a", "create b", "create c"]),
    ):
        after = three((need, 1, 1), env=", env: {A: b}")
        result = plan(after, here(*old, free=20 * GIB))
        assert lines(result) == order, need
        assert result.held == ()
    names = {step.workload: step.look_first for step in result.steps if step.verb is Verb.CREATE}
    assert names["a"] == "the memory of a, b, c must be seen to be back: 67.0 GiB + 4.0 GiB reserve"


def test_what_gives_its_port_gives_its_memory_too() -> None:
    """Counted as no room, it would be refused although all that it needs comes back with the port."""
    before = declare("services:\n" + service("b", port=1000, recipe=", memory: 60GiB"))
    after = declare(
        "services:\n"
        + service("a", port=1000, recipe=", memory: 50GiB", extra=", priority: 1")
        + service("b", port=2000, recipe=", memory: 1GiB")
    )
    result = plan(after, here(container(only(before)), free=20 * GIB))
    assert lines(result) == ["stop b", "remove b", "create a", "create b"]
    assert result.held == ()


def test_what_gives_no_memory_back_is_not_stopped_for_it() -> None:
    before = three((20, 0, 40))
    old = [container(named(before, name), at) for at, name in enumerate("abc", 1)]
    result = plan(three((60, 0, 1), env=", env: {A: b}"), here(*old, free=20 * GIB))
    assert lines(result) == [
        *("stop c", "remove c", "stop a", "remove a", "create a", "stop b", "remove b", "create b", "create c")
    ]


def test_what_was_held_back_is_no_room_for_the_next() -> None:
    """Its old container keeps running, so its memory does not come back."""
    before = three((60, 1, 1))
    after = three((200, 50, 1), env=", env: {A: b}")
    result = plan(after, here(container(named(before, "a"), 1), free=20 * GIB))
    assert lines(result) == ["create c"]
    (first, second) = result.held
    assert first.message.endswith("; its old container keeps running")
    assert second == Held(
        spark="s1",
        workload="b",
        reason="InsufficientMemory",
        message="b needs about 50.0 GiB (stated), s1 has 20.0 GiB available now, 4.0 GiB of it reserved: 34.0 GiB are "
        "missing. a holds 60.0 GiB there (always, priority 1)",
    )


def test_who_holds_the_memory_is_told_with_how_it_could_be_had() -> None:
    text = (
        "services:\n"
        + service("a", port=1000, recipe=", memory: 40GiB", extra=", run: on-demand, priority: 3")
        + service("b", port=2000, recipe=", memory: 30GiB")
        + service("c", port=3000, recipe=", memory: 50GiB")
        + service("d", port=4000, recipe=", memory: 0GiB")
    )
    target = declare(text)
    a, b, d = (container(named(target, name), at) for at, name in enumerate("abd", 1))
    out = container(named(target, "c"), 5, state="exited")
    stray = foreign("stray", 6, labels={**a.labels, "sparkkeep.workload": "gone", "sparkkeep.rank": "0"})
    suspended = replace(target, unresolved=frozenset({"gone"}))
    result = plan(suspended, here(a, b, d, out, stray, free=40 * GIB))
    assert told(result)[-1] == (
        "c",
        "InsufficientMemory",
        (
            "c needs about 50.0 GiB (stated), s1 has 40.0 GiB available now, 4.0 GiB of it reserved: 14.0 GiB are "
            "missing. a holds 40.0 GiB there (on-demand, busy, priority 3). gone holds 40.0 GiB there (always, "
            "priority 0). b holds 30.0 GiB there (always, priority 0)"
        ),
    )


def test_what_is_starting_is_told_as_that_and_not_as_a_holder() -> None:
    text = (
        "services:\n"
        + service("a", port=1000, recipe=", memory: 50GiB, probe: http")
        + service("b", port=2000, recipe=", memory: 20GiB, probe: http", extra=", priority: 1")
        + service("c", port=3000, recipe=", memory: 60GiB")
    )
    target = declare(text)
    result = plan(target, here(container(named(target, "a")), free=90 * GIB))
    assert lines(result) == ["create b"]
    assert told(result) == [
        (
            "c",
            "InsufficientMemory",
            (
                "c needs about 60.0 GiB (stated), s1 has 90.0 GiB available now, a is starting and may take 50.0 GiB, "
                "b is starting and may take 20.0 GiB, 4.0 GiB are reserved: 44.0 GiB are missing"
            ),
        )
    ]


def test_memory_that_nobody_knows_is_not_started_and_says_what_to_write() -> None:
    recipe = "{engine: llamacpp, model: a/b, quant: Q8_0, image: 'keep/echo:1'}"
    target = declare(f"models: {{m: {{recipe: {recipe}, on: s1}}}}")
    assert plan(target, here()).steps == ()
    assert told(plan(target, here())) == [
        (
            "m",
            "MemoryUnknown",
            "how much memory m needs is not known: state it in its recipe, such as memory: 60GiB",
        )
    ]


def test_what_frees_no_more_than_is_there_already_is_not_waited_for() -> None:
    """A look costs a whole pass, and is only worth it where the memory comes from the stop."""
    before = declare("services:\n" + service(recipe=", memory: 10GiB"))
    after = declare("services:\n" + service(recipe=", memory: 10GiB, env: {A: b}"))
    for free, look in (
        (14 * GIB, ""),
        (14 * GIB - 1, "the memory of echo must be seen to be back: 10.0 GiB + 4.0 GiB reserve"),
    ):
        result = plan(after, here(container(only(before)), free=free))
        assert [step.look_first for step in result.steps] == ["", "", look]


def test_memory_that_nobody_knows_is_not_started_beside_what_is_made_anew_either() -> None:
    """Room for nothing at all is always there; what it really takes may hang the Spark."""
    recipe = "{engine: llamacpp, model: a/b, quant: Q8_0, image: 'keep/echo:1'}"
    before = declare("services:\n" + service("b", port=2000, recipe=", memory: 60GiB"))
    after = declare(
        f"models: {{m: {{recipe: {recipe}, on: s1, priority: 1}}}}\n"
        "services:\n" + service("b", port=2000, recipe=", memory: 60GiB, env: {A: b}")
    )
    result = plan(after, here(container(only(before)), free=20 * GIB))
    assert lines(result) == ["stop b", "remove b", "create b"]
    assert [(name, reason) for name, reason, _ in told(result)] == [("m", "MemoryUnknown")]


def test_only_what_gives_memory_back_is_named_in_what_must_be_seen() -> None:
    target = declare("services:\n" + service(recipe=", memory: 50GiB"))

    def gone(name: str, number: int, memory: int, state: str) -> Container:
        labels = {"sparkkeep.owner": "sparkkeep", "sparkkeep.workload": name, "sparkkeep.memory": str(memory * GIB)}
        return foreign(f"sparkkeep-{name}", number, labels=labels, state=state)

    found = (gone("a", 1, 60, "running"), gone("b", 2, 60, "exited"), gone("c", 3, 0, "running"))
    create = plan(target, here(*found, free=20 * GIB)).steps[-1]
    assert create.look_first == "the memory of a must be seen to be back: 50.0 GiB + 4.0 GiB reserve"
