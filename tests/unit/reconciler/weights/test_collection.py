"""What nothing needs, on a real disk through a real shell; docker alone is a stand-in that prints what it is told."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.disks.script import CLOSED
from reconciler.facts import end_mark
from reconciler.lease import Fence, Identity, Place, Terms, answer, take
from reconciler.linkdown import LinkDown
from reconciler.weights import collection
from reconciler.weights.collection import Collected, Needs, SparkPlan, carry_out, digest, plan
from reconciler.weights.gc import GcRefused, Kept
from reconciler.weights.inventory import read
from state.recipes import Recipe
from tests.unit.reconciler.disks.trees import ONE, TWO, Cache, blob_name
from tests.unit.reconciler.weights.docker import container, path_with_docker, runs
from tests.unit.reconciler.weights.spark import LocalSpark, needs_tools

pytestmark = needs_tools
SOCKET = "/var/run/docker.sock"
QWEN = Recipe.model_validate({"engine": "vllm", "image": "v:1", "model": "acme/tiny", "port": 8000})
NOTHING = Needs(declared={})


@pytest.fixture
def spark(sparks: Callable[..., LocalSpark], tmp_path: Path) -> LocalSpark:
    made = sparks("spark-1", path=path_with_docker(tmp_path / "programs"))
    runs(made)
    return made


@pytest.fixture
def cache(spark: LocalSpark) -> Cache:
    """acme/tiny at two commits that share a blob, and other/lone."""
    cache = Cache(spark.hub)
    cache.put("acme/tiny", ONE, "model.safetensors", 1000, 1)
    cache.put("acme/tiny", ONE, "config.json", b"{}", 2)
    cache.put("acme/tiny", TWO, "sub/dir/model.safetensors", 3000, 3)
    cache.link("acme/tiny", TWO, "config.json", 2)
    cache.ref("acme/tiny", "main", TWO)
    cache.put("other/lone", ONE, "model.gguf", 700, 4)
    cache.ref("other/lone", "main", ONE)
    return cache


async def planned(spark: LocalSpark, needs: Needs = NOTHING) -> SparkPlan:
    return await plan(spark, "spark-1", needs, socket=SOCKET)


def gone(made: SparkPlan) -> dict[str, int]:
    assert made.refused == ""
    assert made.plan is not None
    return {deletion.what: deletion.bytes for deletion in made.plan.deletions}


def kept(made: SparkPlan) -> dict[str, str]:
    assert made.plan is not None
    return {each.what: each.why for each in made.plan.kept}


TINY_OLD, TINY_NEW = f"acme/tiny at {ONE[:12]}", f"acme/tiny at {TWO[:12]}"
LONE = "other/lone: all of it, 1 revision"


async def test_what_nothing_needs_goes_and_nothing_else(spark: LocalSpark, cache: Cache) -> None:
    needs = Needs(declared={"chat": QWEN})
    made = await planned(spark, needs)
    assert gone(made) == {TINY_OLD: 1000, LONE: 700}
    assert kept(made) == {TINY_NEW: "workload chat"}
    assert made.plan is not None
    assert made.plan.root == str(spark.hub.resolve())
    done = await carry_out(spark, made.plan)
    assert done == Collected("spark-1", 1700, (TINY_OLD, LONE))
    assert sorted(path.name for path in cache.hub.iterdir()) == ["models--acme--tiny"]
    folder = cache.repo("acme/tiny")
    assert sorted(path.name for path in (folder / "blobs").iterdir()) == [blob_name(2), blob_name(3)]
    assert [path.name for path in (folder / "snapshots").iterdir()] == [TWO]
    assert (folder / "snapshots" / TWO / "sub/dir/model.safetensors").stat().st_size == 3000
    again = await planned(spark, needs)
    assert gone(again) == {}
    assert digest([again]) == digest([]) != digest([made])


async def test_pins_drafts_and_fetches_keep(spark: LocalSpark, cache: Cache) -> None:
    draft = Recipe.model_validate(
        {
            "engine": "vllm",
            "image": "v:1",
            "model": "acme/tiny",
            "revision": ONE,
            "port": 8000,
            "flags": {"speculative-config": {"method": "eagle3", "model": "other/lone"}},
        }
    )
    assert gone(await planned(spark, Needs(declared={"chat": draft}))) == {TINY_NEW: 3000}
    assert gone(await planned(spark, Needs(declared={}, keep=("acme/tiny",)))) == {LONE: 700}
    assert gone(await planned(spark, Needs(declared={}, fetching=("other/lone",)))) == {
        "acme/tiny: all of it, 2 revisions": 4002
    }


async def test_a_pin_that_is_no_name_of_the_hub_refuses(spark: LocalSpark, cache: Cache) -> None:
    made = await planned(spark, Needs(declared={}, keep=("a/b/c",)))
    assert made.plan is None
    assert made.refused.startswith("keep refers to 'a/b/c': ")


async def test_a_container_that_reads_what_is_not_there_is_known(spark: LocalSpark, cache: Cache) -> None:
    """A declared one whose model comes from elsewhere, or has not come yet, stops nothing."""
    command = ["--model-id", "acme/soon"]
    recipe = Recipe.model_validate({"image": "tei:1", "port": 8010, "gpus": "all", "command": command})
    runs(spark, container("tei", str(spark.hub), *command))
    assert LONE in gone(await planned(spark, Needs(declared={"embed": recipe})))
    assert (await planned(spark)).plan is None


async def test_a_model_in_use_is_never_touched(spark: LocalSpark, cache: Cache, tmp_path: Path) -> None:
    """Whatever way the container sees the cache, and however it names the model."""
    (tmp_path / "way").symlink_to(spark.home / ".cache")
    everything = {"acme/tiny: all of it, 2 revisions": 4002, LONE: 700}
    for source in (
        str(spark.hub),
        str(spark.home),
        "/",
        f"{tmp_path}/way/huggingface",
        f"{spark.hub}/models--acme--tiny",
    ):
        for command in (("serve", "acme/tiny"), ("--model=acme/tiny",), (f"/c/models--acme--tiny/snapshots/{ONE}",)):
            runs(spark, container("qwen", source, *command))
            made = await planned(spark)
            assert gone(made) == {LONE: 700}
            assert kept(made) == dict.fromkeys((TINY_OLD, TINY_NEW), "the running container qwen")
        runs(spark, container("qwen", source, "serve", MODEL="acme/tiny"))
        assert gone(await planned(spark)) == {LONE: 700}
        runs(spark, container("notebook", source, "jupyter"))
        assert (await planned(spark)).refused == (
            "the container notebook on spark-1 runs, sees the cache, and it is not known what it reads there: "
            "nothing is deleted while it runs"
        )
    runs(spark, container("web", str(spark.home / "site"), "nginx"), container("db", "/nonexistent", "postgres"))
    assert gone(await planned(spark)) == everything


async def test_a_container_that_mounts_one_model_and_names_another_keeps_both(spark: LocalSpark, cache: Cache) -> None:
    """`-v .../models--acme--tiny:/model serve /model --tokenizer other/lone` lost the weights it was serving."""
    cache.put("third/one", ONE, "model.safetensors", 5, 6)
    source = f"{spark.hub}/models--acme--tiny"
    runs(spark, container("qwen", source, "serve", "/model", "--tokenizer", "other/lone"))
    assert gone(await planned(spark)) == {"third/one: all of it, 1 revision": 5}


async def test_a_container_that_sees_the_cache_through_a_volume_keeps_what_it_names(
    spark: LocalSpark, cache: Cache
) -> None:
    """A volume of docker may be a bind of the cache: its source says nothing of where it lies."""
    seen = container("qwen", "", "serve", "acme/tiny")
    volume = {"Type": "volume", "Name": "hf", "Source": "/var/lib/docker/volumes/hf/_data"}
    runs(spark, seen | {"Mounts": [volume]})
    made = await planned(spark)
    assert gone(made) == {LONE: 700}
    assert kept(made) == dict.fromkeys((TINY_OLD, TINY_NEW), "the running container qwen")


async def test_a_nim_elsewhere_does_not_stop_the_collection(spark: LocalSpark, cache: Cache) -> None:
    """Its name is none of the hub: a container with that name in its environment is of no concern to the cache."""
    nim = Recipe.model_validate({"engine": "nim", "image": "nvcr.io/nim/meta/llama-3.1-8b-instruct:1", "port": 8000})
    runs(spark, container("nim", "/srv/nim", "start", IMAGE=nim.image))
    assert LONE in gone(await planned(spark, Needs(declared={"nim": nim})))


@pytest.mark.parametrize("answer", ["", "[", "{}", "[1]", '[{"Name": "/x"}]'])
async def test_without_dockers_word_nothing_goes(spark: LocalSpark, cache: Cache, answer: str) -> None:
    (spark.home / "ids").write_text("1\n")
    (spark.home / "inspected").write_text(answer)
    made = await planned(spark)
    if answer in {"", "{}"}:  # docker itself never says so of a container that runs; nothing runs then
        assert gone(made) != {}
    else:
        assert made.refused == "it is not known which containers run: docker's answer makes no sense"
    (spark.home / "ids").unlink()
    made = await planned(spark)
    assert made.refused.startswith("it is not known which containers run there: ")
    assert made.plan is None


async def test_what_is_unclear_is_left_alone(spark: LocalSpark, cache: Cache, tmp_path: Path) -> None:
    (cache.repo("own/notes") / "notes.txt").write_text("mine")
    outside = tmp_path / "outside"
    outside.mkdir()
    (cache.hub / "models--away--all").symlink_to(outside)
    (cache.repo("away/half") / "snapshots").rmdir()
    (cache.hub / "models--away--half" / "snapshots").symlink_to(outside)
    (cache.repo("uses/lone") / "snapshots" / ONE).mkdir()
    os.link(cache.repo("other/lone") / "blobs" / blob_name(4), cache.repo("uses/lone") / "blobs" / blob_name(5))
    leads = cache.repo("leads/tiny") / "snapshots" / ONE
    leads.mkdir()
    (leads / "x").symlink_to(cache.repo("acme/tiny") / "blobs" / blob_name(1))
    made = await planned(spark)
    assert {what for what in gone(made) if not what.startswith(("uses", "leads", "other"))} == set()
    assert kept(made)["own/notes"] == "holds something that is not of a cache (notes.txt): left alone"
    assert kept(made)["away/all"] == kept(made)["away/half"] == "a link to somewhere outside the cache: left alone"
    assert kept(made)["acme/tiny"] == "leads/tiny uses files of it: left alone"
    assert made.plan is not None
    await carry_out(spark, made.plan)
    assert outside.is_dir()
    assert (leads / "x").exists() is False
    assert (cache.repo("acme/tiny") / "blobs" / blob_name(1)).exists()


async def test_blobs_in_a_shared_store_stay(spark: LocalSpark, cache: Cache) -> None:
    store = cache.hub / "blobs"
    store.mkdir()
    folder = cache.repo("acme/shared")
    (store / blob_name(9)).write_bytes(b"9" * 90)
    (folder / "blobs" / blob_name(9)).symlink_to(store / blob_name(9))
    cache.link("acme/shared", ONE, "model.safetensors", 9)
    made = await planned(spark, Needs(declared={}, keep=("acme/tiny", "other/lone")))
    assert gone(made) == {"acme/shared: all of it, 1 revision": 0}
    assert made.plan is not None
    await carry_out(spark, made.plan)
    assert (store / blob_name(9)).read_bytes() == b"9" * 90
    assert not folder.exists()


async def test_a_file_that_is_being_fetched_by_somebody(spark: LocalSpark, cache: Cache) -> None:
    part = cache.incomplete("other/lone", 7, 50)
    assert LONE not in gone(await planned(spark))
    os.utime(part, (time.time() - 2 * 86400,) * 2)
    assert gone(await planned(spark))[LONE] == 750


async def test_no_cache_and_no_answer(spark: LocalSpark) -> None:
    assert await planned(spark) == SparkPlan("spark-1")

    class Gone:
        async def run(self, script: str, *, timeout: float, reserved: bool = False) -> object:
            raise LinkDown("ConnectionLost", "spark-1 went away")

    made = await plan(Gone(), "spark-1", NOTHING, socket=SOCKET)  # type: ignore[arg-type]  # that is all it needs
    assert made == SparkPlan("spark-1", None, "spark-1 went away", "ConnectionLost")


async def test_an_answer_that_is_not_whole_deletes_nothing(
    spark: LocalSpark, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = collection.inventory.question
    for spoiled, said in (
        (lambda text: text.replace("s refs0 inside", "s refs0 false #"), "the branches in the cache"),
        (lambda text: text.replace("s links0", "s nothing0"), "holds more than can be listed"),
        (lambda text: text[: text.rindex("printf")], "the answer of the scan ends before its end mark"),
    ):
        monkeypatch.setattr(collection.inventory, "question", lambda nonce, spoiled=spoiled: spoiled(whole(nonce)))
        made = await planned(spark)
        assert made.plan is None
        assert said in made.refused


async def test_a_plan_of_long_ago_is_not_carried_out(spark: LocalSpark, cache: Cache) -> None:
    made = await planned(spark)
    assert made.plan is not None
    done = await carry_out(spark, made.plan, clock=lambda: time.monotonic() + 61)
    assert done.deleted == ()
    assert "look again first" in done.problems[0]
    assert cache.repo("other/lone").exists()


def test_unreadable_is_kept() -> None:
    """As root nothing is unreadable to `sh`, so this reads what another user would be told."""

    def answer(closed: str, status: int = 0) -> str:
        parts = {"clock": "100", "where0": "/hub//1:1//", "entries0": "./models--a--b//41ed 1 1 1:2//\n",
                 "links0": "", "dangling0": "", "closed0": closed, "refs0": ""}  # fmt: skip
        of = {"where0": status}
        body = "".join(f"\n=n {name}\n{text}\n=n {name} {of.get(name, 0)}\n" for name, text in parts.items())
        return f"{body}\n{end_mark('n')}"

    seen = read(answer("./models--a--b/blobs//\n"), "n", "spark-1", 5.0)
    assert seen.unclear == (Kept("a/b", "not all of it can be read: left alone"),)
    assert seen.survey is not None
    assert seen.survey.cached == ()
    with pytest.raises(GcRefused, match="can't be read"):
        read(answer(".//\n"), "n", "spark-1", 5.0)
    with pytest.raises(GcRefused, match="can't be entered"):
        read(answer("", CLOSED), "n", "spark-1", 5.0)


async def test_nothing_goes_where_the_lease_is_somebody_else_s(spark: LocalSpark, cache: Cache, tmp_path: Path) -> None:
    leases = tmp_path / "leases"
    leases.mkdir(mode=0o755)
    place = Place(folders=(str(leases), str(leases)))
    for me in (Identity(holder="1@a", life="one"), Identity(holder="2@b", life="two", terms=Terms(lasts=0))):
        said = answer((await spark.run(take("sparkkeep", me, floor=0, place=place), timeout=30.0)).stdout)
        assert said is not None
        assert said.word == ("took" if me.life == "one" else "held")
    made = await planned(spark, NOTHING)
    assert made.plan is not None
    assert made.plan.deletions
    before = sorted(cache.hub.rglob("*"))
    stale = Fence(owner="sparkkeep", token=1, holder="2@b", life="two", place=place)
    done = await carry_out(spark, made.plan, fence=stale)
    assert done == Collected("spark-1", problems=("its lease is not ours any more: nothing was deleted",))
    assert sorted(cache.hub.rglob("*")) == before
    ours = Fence(owner="sparkkeep", token=1, holder="1@a", life="one", place=place)
    assert (await carry_out(spark, made.plan, fence=ours)).problems == ()
    assert sorted(cache.hub.rglob("*")) != before
