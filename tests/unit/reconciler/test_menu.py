"""The menu: what was found, and the recipes that would run it."""

from __future__ import annotations

import pytest

from reconciler.disks.found import CachedFile, CachedModel, DiskSurvey, GgufFile, NimEntry, Revision
from reconciler.disks.where import Layout, Place, places
from reconciler.menu import Entry, Presence, State, menu
from reconciler.menu_recipes import Subject, Wanted, nim_name, speaks_of, subject
from reconciler.shell import Home
from state.recipes import Recipe

QWEN = Recipe.model_validate({"engine": "vllm", "image": "v:1", "model": "Qwen/Qwen3-8B", "port": 8000})
PLAIN = Recipe.model_validate({"image": "v:1", "gpus": "all", "command": ["vllm", "serve", "Qwen/Qwen3-8B"]})
NIM = Recipe.model_validate(
    {"engine": "nim", "image": "nvcr.io/nim/meta/llama-3.1-8b-instruct-dgx-spark:latest", "port": 8000}
)
LLAMA = Recipe.model_validate(
    {"engine": "llamacpp", "image": "l:1", "model": "o/G-GGUF", "quant": "Q4_K_M", "port": 8000}
)
FILES = (CachedFile("model.safetensors", 10),)


def cached(repo: str, *revisions: Revision, **more: object) -> CachedModel:
    return CachedModel(repo=repo, path=f"/hub/{repo}", revisions=revisions, size_on_disk=10, **more)


def revision(commit: str = "c1", complete: bool | None = True, **more: object) -> Revision:
    return Revision(commit=commit, files=FILES, size=10, complete=complete, **more)


def survey(*models: CachedModel, **more: object) -> DiskSurvey:
    return DiskSurvey(taken_at=1.0, spark_time=1000.0, models=models, **more)


def wanted(**recipes: Recipe) -> Wanted:
    return Wanted(recipes=recipes, declared={})


def states(entries: tuple[Entry, ...]) -> dict[str, str]:
    return {entry.repository or str(entry.file): entry.state.value for entry in entries}


def test_a_model_on_two_sparks_with_recipes_and_a_workload() -> None:
    whole = survey(cached("Qwen/Qwen3-8B", revision(refs=("main",))))
    part = survey(cached("Qwen/Qwen3-8B", revision(complete=False, missing=("x",)), incomplete_bytes=5))
    (entry,) = menu({"s2": part, "s1": whole}, Wanted(recipes={"q": QWEN, "p": PLAIN}, declared={"chat": QWEN}))
    assert entry == Entry(
        repository="Qwen/Qwen3-8B",
        kind="model",
        state=State.READY,
        size=10,
        sparks={
            "s1": Presence(
                revision="c1", refs=("main",), size=10, size_on_disk=10, complete=True, path="/hub/Qwen/Qwen3-8B"
            ),
            "s2": Presence(
                revision="c1",
                size=10,
                size_on_disk=15,
                complete=False,
                incomplete_bytes=5,
                missing=("x",),
                path="/hub/Qwen/Qwen3-8B",
            ),
        },
        recipes=("p", "q"),
        workloads=("chat",),
    )


def test_the_states() -> None:
    found = survey(
        cached("a/ready", revision()),
        cached("a/setup", revision()),
        cached("a/part", revision(complete=False), incomplete_bytes=3, changed_at=100.0),
        cached("a/grows", incomplete_bytes=3, changed_at=900.0),
        cached("a/closed", readable=False),
        cached("a/unsure", revision(complete=None)),
    )
    ready = QWEN.model_copy(update={"model": "a/ready"})
    absent = QWEN.model_copy(update={"model": "a/absent"})
    assert states(menu({"s": found}, wanted(ready=ready, absent=absent))) == {
        "a/absent": "not_downloaded",
        "a/closed": "unknown",
        "a/grows": "downloading",
        "a/part": "incomplete",
        "a/ready": "ready_to_run",
        "a/setup": "needs_setup",
        "a/unsure": "unknown",
    }


def test_nothing_is_called_absent_while_a_disk_was_not_seen() -> None:
    assert states(menu({"s1": survey(), "s2": None}, wanted(q=QWEN))) == {"Qwen/Qwen3-8B": "unknown"}
    assert states(menu({"s1": survey(problems=("x",))}, wanted(q=QWEN))) == {"Qwen/Qwen3-8B": "unknown"}
    assert states(menu({"s1": survey()}, wanted(q=QWEN))) == {"Qwen/Qwen3-8B": "not_downloaded"}


def test_what_is_absent_is_listed_once_with_all_that_want_it() -> None:
    (entry,) = menu({"s": survey()}, Wanted(recipes={"q": QWEN, "p": PLAIN}, declared={"chat": QWEN}))
    assert (entry.recipes, entry.workloads, entry.sparks, entry.size) == (("p", "q"), ("chat",), {}, 0)


def test_the_revision_that_a_recipe_asks_for_is_the_one_that_counts() -> None:
    model = cached("Qwen/Qwen3-8B", revision("old", refs=("main",)), revision("new", complete=False))
    asks = QWEN.model_copy(update={"revision": "new"})
    assert [menu({"s": survey(model)}, wanted(q=recipe))[0].state for recipe in (QWEN, asks)] == [
        State.READY,
        State.INCOMPLETE,
    ]
    gone = QWEN.model_copy(update={"revision": "gone"})
    (entry,) = menu({"s": survey(model)}, wanted(q=gone))
    assert (entry.state, entry.sparks["s"].revision, entry.sparks["s"].size_on_disk) == (State.INCOMPLETE, None, 10)
    (entry,) = menu({"s": survey(model)}, wanted(q=gone, other=QWEN))  # they do not agree: main counts
    assert entry.sparks["s"].revision == "old"


def test_the_same_model_in_two_caches_counts_where_it_is_complete() -> None:
    half = cached("a/b", revision("c0", complete=False))
    (entry,) = menu({"s": survey(half, cached("a/b", revision()), half)}, wanted())
    assert entry.sparks["s"].complete is True


def test_gguf_files_are_entries_of_their_own() -> None:
    files = tuple(
        GgufFile(path=f"/hub/{name}", name=name, size=5, repo="o/G-GGUF", commit="c1")
        for name in ("g-Q4_K_M.gguf", "g-Q8_0.gguf")
    )
    loose = GgufFile(path="/models/own.gguf", name="own.gguf", size=7)
    growing = GgufFile(path="/m/new.gguf.part", name="new.gguf", size=2, present=0, complete=False, changed_at=990.0)
    own = Recipe.model_validate({"image": "l:1", "command": ["llama-server", "-m", "/models/own.gguf"]})
    gguf_only = CachedModel(
        repo="o/G-GGUF",
        path="/hub/g",
        revisions=(Revision(commit="c1", files=(CachedFile("g-Q8_0.gguf", 5),), complete=True),),
    )
    entries = menu({"s": survey(gguf_only, ggufs=(*files, loose, growing))}, wanted(llama=LLAMA, own=own))
    assert [(e.repository, e.file, e.state.value, e.recipes) for e in entries] == [
        ("", "new.gguf", "downloading", ()),
        ("", "own.gguf", "ready_to_run", ("own",)),
        ("o/G-GGUF", "g-Q4_K_M.gguf", "ready_to_run", ("llama",)),
        ("o/G-GGUF", "g-Q8_0.gguf", "needs_setup", ()),
    ]


def test_a_gguf_that_only_another_quantization_of_is_there() -> None:
    file = GgufFile(path="/x", name="g-Q8_0.gguf", size=5, repo="o/G-GGUF")
    entries = menu({"s": survey(ggufs=(file,))}, wanted(llama=LLAMA))
    assert [(e.file, e.state.value) for e in entries] == [("Q4_K_M", "not_downloaded"), ("g-Q8_0.gguf", "needs_setup")]


def test_a_nim_meets_its_image() -> None:
    entry = NimEntry(name="nim/meta/llama-3.1-8b-instruct", path="/n", profiles=("p",), size=9)
    (found,) = menu({"s": survey(nims=(entry,))}, wanted(nim=NIM))
    assert (found.kind, found.state, found.recipes, found.size) == ("nim", State.READY, ("nim",), 9)
    (absent,) = menu({"s": survey()}, wanted(nim=NIM))
    assert (absent.repository, absent.state) == ("nim/meta/llama-3.1-8b-instruct", State.NOT_DOWNLOADED)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("nvcr.io/nim/meta/llama-3.1-8b-instruct-dgx-spark:latest", "nim/meta/llama-3.1-8b-instruct"),
        ("nvcr.io/nim/qwen/qwen3-32b:1.0@sha256:" + "0" * 64, "nim/qwen/qwen3-32b"),
        ("registry:5000/nim/a/b:1", "registry:5000/nim/a/b"),
    ],
)
def test_the_name_of_a_nim(image: str, name: str) -> None:
    assert nim_name(image) == name


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (QWEN, Subject("model", "Qwen/Qwen3-8B")),
        (PLAIN, Subject("model", "Qwen/Qwen3-8B")),
        (LLAMA, Subject("gguf", "o/G-GGUF", "Q4_K_M")),
        (
            Recipe.model_validate({"image": "x:1", "command": ["--model-id=BAAI/bge-m3"]}),
            Subject("model", "BAAI/bge-m3"),
        ),
        (
            Recipe.model_validate({"image": "x:1", "command": ["openai/gpt-oss-20b", "--port", "1"], "gpus": "all"}),
            Subject("model", "openai/gpt-oss-20b"),
        ),
        (Recipe.model_validate({"image": "x:1", "command": ["bin/server", "--port", "1"]}), None),
        (Recipe.model_validate({"image": "x:1", "command": ["--model", "/models/x"]}), None),
        (Recipe.model_validate({"image": "x:1"}), None),
    ],
)
def test_what_a_recipe_wants(recipe: Recipe, expected: Subject | None) -> None:
    assert subject(recipe) == expected


def test_a_recipe_speaks_of_what_it_names_and_of_nothing_else() -> None:
    assert speaks_of(PLAIN, "model", "Qwen/Qwen3-8B", None)
    assert not speaks_of(PLAIN, "model", "Qwen/Qwen3", None)
    assert not speaks_of(NIM, "model", "meta/llama-3.1-8b-instruct", None)
    drafts = Recipe.model_validate(
        {"engine": "vllm", "image": "v:1", "model": "a/b", "port": 1, "env": {"DRAFT": "z-lab/draft"}}
    )
    assert speaks_of(drafts, "model", "z-lab/draft", None)


def test_a_recipe_is_inferred_where_there_is_none() -> None:
    asked: list[tuple[str, str]] = []

    def infer(repository: str, found: Revision) -> dict[str, object]:
        asked.append((repository, found.commit))
        return {"engine": "vllm", "model": repository}

    disk = survey(
        cached("a/setup", revision("c7", configs={"config.json": {"model_type": "x"}})),
        cached("a/part", revision(complete=False)),
        cached("Qwen/Qwen3-8B", revision()),
        ggufs=(GgufFile(path="/own.gguf", name="own.gguf", size=7),),
    )
    entries = {entry.repository: entry.inferred for entry in menu({"s": disk}, wanted(q=QWEN), infer=infer)}
    assert asked == [("a/setup", "c7")]
    assert entries == {
        "": None,
        "Qwen/Qwen3-8B": None,
        "a/part": None,
        "a/setup": {"engine": "vllm", "model": "a/setup"},
    }


def test_where_to_look() -> None:
    usual = places()
    assert usual == (
        Place(Layout.HUB),
        Place(Layout.HUB, Home("/.cache/huggingface/hub")),
        Place(Layout.FLAT, Home("/.cache/huggingface")),
        Place(Layout.NIM, Home("/.cache/nim/ngc/hub")),
        Place(Layout.NIM, Home("/.cache/nim/huggingface/hub")),
        Place(Layout.GGUF, Home("/models")),
        Place(Layout.GGUF, Home("/.cache/llama.cpp")),
    )
    mounts = [
        {"source": "$HOME/.cache/huggingface/", "target": "/root/.cache/huggingface"},
        {"source": "/home/other/.cache/huggingface", "target": "/data"},
        {"source": "/fast/hf", "target": "/weights"},
        {"source": "/fast/nim", "target": "/opt/nim/.cache"},
        {"source": "/srv/gguf", "target": "/models"},
        {"source": "a-volume", "target": "/root/.cache/huggingface"},
    ]
    recipe = Recipe.model_validate(
        {
            "engine": "llamacpp",
            "image": "l:1",
            "model": "a/b",
            "port": 1,
            "mounts": mounts,
            "env": {"HF_HOME": "/weights"},
        }
    )
    more = set(places([recipe])) - set(usual)
    assert more == {
        Place(Layout.HUB, "/home/other/.cache/huggingface/hub"),
        Place(Layout.FLAT, "/home/other/.cache/huggingface"),
        Place(Layout.HUB, "/fast/hf/hub"),
        Place(Layout.FLAT, "/fast/hf"),
        Place(Layout.NIM, "/fast/nim/ngc/hub"),
        Place(Layout.NIM, "/fast/nim/huggingface/hub"),
        Place(Layout.GGUF, "/fast/nim"),
        Place(Layout.GGUF, "/srv/gguf"),
    }
