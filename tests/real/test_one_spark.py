"""One vLLM on one Spark: from nothing to an answer, and what is said when it can't start."""

from __future__ import annotations

import pytest

from tests.real.stage import IMAGE, MODEL, Room, recipe

START = 600.0
FAILS = 300.0


async def test_from_nothing_to_a_completion(room: Room) -> None:
    spark = room.hosts[0]
    room.declare(tiny={"recipe": recipe(probe="completion"), "on": spark.name})
    await room.until("one vLLM, declared to Healthy", lambda: room.keeper.settled("tiny"), START)
    answer = await room.asked(spark, "/v1/completions", {"model": "tiny", "prompt": "ping", "max_tokens": 16})
    assert answer["usage"]["completion_tokens"] == 16
    listed = await room.asked(spark, "/v1/models")
    assert [(m["id"], m["root"]) for m in listed["data"]] == [("tiny", MODEL)]
    assert (await room.asked(spark, "/version"))["version"].startswith("0.32.0")
    await room.gone()


async def test_a_misspelt_flag_is_found_before_anything_is_started(room: Room) -> None:
    """The image says itself which flags it knows."""
    spark = room.hosts[0]
    room.declare(tiny={"recipe": recipe(flags={"max-modle-len": 512}), "on": spark.name})
    await room.until("misspelt flag, refused", lambda: room.synced("tiny")[0] == "FlagRefused", FAILS)
    assert "max-modle-len" in room.synced("tiny")[1]
    assert "max-model-len" in room.synced("tiny")[1]
    assert not spark.docker("ps", "--all", "--quiet", "--filter", "name=^sparkkeep-tiny$")


# What only the server itself finds out, in words of vLLM 0.32.
WRITTEN = {"image": IMAGE, "gpus": "none", "memory": "3GiB", "port": 8000, "probe": {"path": "/health"}}
SAID = {
    "a flag that no such vLLM has": (
        {**WRITTEN, "command": [MODEL, "--max-modle-len", "512"]},
        "BadFlag",
        "unrecognized arguments: --max-modle-len 512",
        "Correct the recipe's flags",
    ),
    "a context that the model was not made for": (
        recipe(flags={"max-model-len": 100_000}),
        "ContextTooLong",
        "User-specified max_model_len (100000) is greater than the derived max_model_len",
        "Lower `max-model-len`",
    ),
    "a model that is not there": (
        recipe(model="tiny/lama"),
        "WeightsMissing",
        "LocalEntryNotFoundError: Cannot find an appropriate cached snapshot folder",
        "Fetch the model to this Spark",
    ),
}


@pytest.mark.parametrize("what", SAID)
async def test_its_log_is_explained(what: str, room: Room) -> None:
    written, reason, quoted, advice = SAID[what]
    room.declare(tiny={"recipe": written, "on": room.hosts[0].name})
    await room.until(f"{what}, explained", lambda: room.synced("tiny")[0] == reason, FAILS)
    message = room.synced("tiny")[1]
    room.told(message)
    assert message.startswith("its container exited with status ")
    assert quoted in message
    assert advice in message
    assert room.keeper.workload("tiny")["health"] == "Degraded"
