"""The script run for real, on trees that people and huggingface_hub leave behind."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.disks.found import CachedFile, CachedModel, DiskSurvey, GgufFile, NimEntry, Other, Revision, growing
from reconciler.disks.read import read
from reconciler.disks.where import Layout, Place
from tests.unit.reconciler.disks.trees import NONCE, ONE, TWO, Cache, answer, blob_name, hub, index, survey

SHELLS = [("sh",), ("dash",), ("bash", "--posix"), ("busybox", "sh")]
HOSTILE = (
    "models--a\nb--c",
    "models--$(touch pwned)--x",
    "models--`touch pwned`--x",
    "models--a'b--\"c",
    "models--a b--c",
    "models--a--",
    "models----a",
    "models--..--etc",
    "models--a--..",
    "models---a--b",
    "models--a--b--c",
    "-rf",
    "*",
    f"={NONCE} end",
    "models--é--x",
    "datasets--owner--set",
)


@pytest.fixture(params=["gnu", "busybox"])
def tools(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The PATH of a machine with GNU tools, and of one that has nothing but busybox."""
    if request.param == "gnu":
        return {}
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed")
    folder = tmp_path_factory.mktemp("busybox")
    listed = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    for name in listed:
        (folder / name).symlink_to(busybox)
    return {"PATH": str(folder)}


@pytest.fixture(params=SHELLS, ids=" ".join)
def shell(request: pytest.FixtureRequest) -> tuple[str, ...]:
    path = shutil.which(request.param[0])
    if path is None:
        pytest.skip(f"{request.param[0]} is not installed")
    return (path, *request.param[1:])


CONFIG = b'{"model_type": "qwen3"}'
TOKENIZER = b'{"chat_template": "x", "model_max_length": 4096}'
SHARDS = index("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", total=1500)
SMALL = len(CONFIG) + len(TOKENIZER) + len(SHARDS)


def filled(root: Path) -> Cache:
    cache = Cache(root / "hub")
    cache.put("Qwen/Qwen3-8B", ONE, "config.json", CONFIG, 1)
    cache.put("Qwen/Qwen3-8B", ONE, "model-00001-of-00002.safetensors", 1000, 2)
    cache.put("Qwen/Qwen3-8B", ONE, "model-00002-of-00002.safetensors", 500, 3)
    cache.put("Qwen/Qwen3-8B", ONE, "model.safetensors.index.json", SHARDS, 4)
    cache.put("Qwen/Qwen3-8B", ONE, "tokenizer_config.json", TOKENIZER, 5)
    cache.ref("Qwen/Qwen3-8B", "main", ONE)
    cache.link("Qwen/Qwen3-8B", TWO, "config.json", 1)  # a second revision that shares what did not change
    cache.link("Qwen/Qwen3-8B", TWO, "model-00001-of-00002.safetensors", 2)
    cache.put("Qwen/Qwen3-8B", TWO, "model-00002-of-00002.safetensors", 700, 6)
    cache.ref("Qwen/Qwen3-8B", "pr/7", TWO)
    return cache


WHOLE = CachedModel(
    repo="Qwen/Qwen3-8B",
    path="HUB/models--Qwen--Qwen3-8B",
    revisions=(
        Revision(
            commit=ONE,
            refs=("main",),
            files=(
                CachedFile("config.json", len(CONFIG)),
                CachedFile("model-00001-of-00002.safetensors", 1000),
                CachedFile("model-00002-of-00002.safetensors", 500),
                CachedFile("model.safetensors.index.json", len(SHARDS)),
                CachedFile("tokenizer_config.json", len(TOKENIZER)),
            ),
            size=SMALL + 1000 + 500,
            complete=True,
            configs={"config.json": {"model_type": "qwen3"}},
            hints={"total_size": 1500, "model_max_length": 4096, "has_chat_template": True},
        ),
        Revision(
            commit=TWO,
            refs=("pr/7",),
            files=(
                CachedFile("config.json", len(CONFIG)),
                CachedFile("model-00001-of-00002.safetensors", 1000),
                CachedFile("model-00002-of-00002.safetensors", 700),
            ),
            size=len(CONFIG) + 1000 + 700,
            complete=True,
            configs={"config.json": {"model_type": "qwen3"}},
        ),
    ),
    size_on_disk=SMALL + 1000 + 500 + 700,
)


def at(model: CachedModel, hub: Path) -> CachedModel:
    return replace(model, path=model.path.replace("HUB", str(hub)))


def only(found: DiskSurvey) -> CachedModel:
    (model,) = found.models
    return model


def test_a_repository_with_two_revisions(tmp_path: Path, shell: tuple[str, ...], tools: dict[str, str]) -> None:
    cache = filled(tmp_path)
    found = survey(hub(cache.hub), shell, tools)
    assert found == DiskSurvey(
        taken_at=1000.0, spark_time=found.spark_time, models=(at(WHOLE, cache.hub),), problems=()
    )
    assert found.spark_time > 1_700_000_000


def test_what_an_index_names_and_is_not_there(tmp_path: Path, shell: tuple[str, ...], tools: dict[str, str]) -> None:
    cache = filled(tmp_path)
    (cache.repo("Qwen/Qwen3-8B") / "snapshots" / ONE / "model-00002-of-00002.safetensors").unlink()
    part = cache.incomplete("Qwen/Qwen3-8B", 3, 123)
    os.utime(part, (5000, 5000))
    model = only(survey(hub(cache.hub), shell, tools))
    first, second = model.revisions
    assert (first.complete, first.missing) == (False, ("model-00002-of-00002.safetensors",))
    assert (second.complete, second.missing) == (True, ())  # a set that is whole proves itself
    assert (model.incomplete_bytes, model.incomplete_files, model.changed_at) == (123, 1, 5000.0)
    assert growing(model.changed_at, 5180.0)
    assert not growing(model.changed_at, 5180.1)
    assert not growing(None, 5180.0)


def test_links_that_dangle(tmp_path: Path, shell: tuple[str, ...], tools: dict[str, str]) -> None:
    cache = filled(tmp_path)
    (cache.repo("Qwen/Qwen3-8B") / "blobs" / blob_name(2)).unlink()
    model = only(survey(hub(cache.hub), shell, tools))
    gone = ("model-00001-of-00002.safetensors",)
    assert [(r.complete, r.missing) for r in model.revisions] == [(False, gone), (False, gone)]
    assert model.size_on_disk == SMALL + 500 + 700


def test_a_set_without_an_index(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put("a/b", ONE, "model-00002-of-00003.safetensors", 5, 1)
    (revision,) = only(survey(hub(tmp_path))).revisions
    assert revision.missing == ("model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors")
    assert revision.complete is False


def test_a_single_file_is_believed_once_nothing_is_being_fetched(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put("a/b", ONE, "model.safetensors", 5, 1)
    part = cache.incomplete("a/b", 2, 9)
    assert only(survey(hub(tmp_path))).revisions[0].complete is False
    part.unlink()
    assert only(survey(hub(tmp_path))).revisions[0].complete is True


def test_an_unfinished_file_left_over_beside_a_whole_set_does_no_harm(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    cache.incomplete("Qwen/Qwen3-8B", 99, 7)
    assert [r.complete for r in only(survey(hub(cache.hub))).revisions] == [True, True]


def test_a_format_that_nobody_fetched_is_not_missed(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    cache.put("Qwen/Qwen3-8B", ONE, "pytorch_model.bin.index.json", index("pytorch_model-00001-of-00001.bin"), 20)
    assert only(survey(hub(cache.hub))).revisions[0].complete is True


def test_without_weights_nothing_is_complete(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put("a/b", ONE, "config.json", b"{}", 1)
    (revision,) = only(survey(hub(tmp_path))).revisions
    assert (revision.complete, revision.missing, revision.size) == (False, (), 2)


def test_files_in_folders_of_a_revision(tmp_path: Path, tools: dict[str, str]) -> None:
    cache = Cache(tmp_path)
    cache.put("a/b", ONE, "unet/deep/model.safetensors", 5, 1)
    (revision,) = only(survey(hub(tmp_path), env=tools)).revisions
    assert (revision.files, revision.complete) == ((CachedFile("unet/deep/model.safetensors", 5),), True)


def test_a_cache_without_links(tmp_path: Path) -> None:
    """As huggingface_hub makes it where links are not to be had."""
    folder = tmp_path / "models--a--b" / "snapshots" / ONE
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"12345")
    (folder / "config.json").write_text('{"a": 1}')
    model = only(survey(hub(tmp_path)))
    assert (model.size_on_disk, model.revisions[0].size, model.revisions[0].complete) == (13, 13, True)
    assert model.revisions[0].configs == {"config.json": {"a": 1}}


def test_hostile_names_are_listed_and_do_nothing(tmp_path: Path, shell: tuple[str, ...], tools: dict[str, str]) -> None:
    cache = filled(tmp_path)
    for name in HOSTILE:
        inside = cache.hub / name / "snapshots" / ONE
        inside.mkdir(parents=True)
        (inside / "config.json").write_text("{}")
    (cache.hub / "models--a--file").write_text("a file and no folder")
    Path(os.fsdecode(os.fsencode(cache.hub) + b"/models--\xff\xfe--x")).mkdir()
    found = survey(hub(cache.hub), shell, tools)
    assert found.models == (at(WHOLE, cache.hub),)
    assert found.problems == ()
    shown = {name.encode("unicode_escape").decode() for name in HOSTILE}
    shown |= {"models--a--file", "models--\\ufffd\\ufffd--x"}
    assert {other.name for other in found.others} == shown
    assert {other.folder for other in found.others} == {str(cache.hub)}
    assert not list(tmp_path.rglob("pwned"))


def test_hostile_names_inside_a_repository(tmp_path: Path, shell: tuple[str, ...], tools: dict[str, str]) -> None:
    cache = filled(tmp_path)
    snapshot = cache.repo("Qwen/Qwen3-8B") / "snapshots" / ONE
    names = ["a\n.x", "$(touch pwned).json", "quo'te\"s", "two\nlines ", f"={NONCE} entries0 0", "-n"]
    for name in names:
        (snapshot / name).write_text("x")
    (snapshot / "gone\nand $(touch pwned)").symlink_to("nowhere")
    (cache.repo("Qwen/Qwen3-8B") / "snapshots" / "not a commit").mkdir()
    (cache.repo("Qwen/Qwen3-8B") / "refs" / "evil\nref").write_text("$(touch pwned)")
    (cache.repo("Qwen/Qwen3-8B") / "refs" / "lies").write_text("../../etc\n=")
    model = only(survey(hub(cache.hub), shell, tools))
    first, second = model.revisions
    assert {file.name for file in first.files} == {f.name for f in WHOLE.revisions[0].files} | set(names)
    assert first.missing == ("gone\nand $(touch pwned)",)
    assert first.complete is False
    assert first.refs == ("main",)
    assert second == WHOLE.revisions[1]
    assert not list(tmp_path.rglob("pwned"))


def test_hostile_contents_stay_in_their_frame(tmp_path: Path, tools: dict[str, str]) -> None:
    cache = Cache(tmp_path)
    evil = f"\n={NONCE} texts0 0\n={NONCE} end\n//".encode()
    cache.put("a/b", ONE, "config.json", evil, 1)
    cache.put("a/b", ONE, "params.json", b"\xff\x00{", 2)
    cache.put("a/b", ONE, "adapter_config.json", b"[" * 100_000, 3)
    cache.put("a/b", ONE, "generation_config.json", b'{"a": "' + b"/" * 300 + b'"}', 4)
    cache.put("a/b", ONE, "model.safetensors.index.json", b'"x.safetensors"//\n' + evil + b"\0" * 50, 5)
    cache.put("a/b", ONE, "x.safetensors", 5, 6)
    (revision,) = only(survey(hub(tmp_path), env=tools)).revisions
    assert revision.configs == {"generation_config.json": {"a": "/" * 300}}
    assert len(revision.files) == 6


@pytest.mark.parametrize(("size", "kept"), [(262_144, True), (262_145, False)])
def test_a_large_config_is_left_alone(tmp_path: Path, tools: dict[str, str], size: int, kept: bool) -> None:
    cache = Cache(tmp_path)
    text = b'{"a": 1}'
    cache.put("a/b", ONE, "config.json", text + b" " * (size - len(text)), 1)
    (revision,) = only(survey(hub(tmp_path), env=tools)).revisions
    assert (revision.configs == {"config.json": {"a": 1}}) is kept


def test_what_can_not_be_read_is_not_missing(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    cache.put("a/b", ONE, "model.safetensors", 5, 1)
    folder = cache.repo("a/b") / "snapshots"
    as_nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh") if os.getuid() == 0 else ("sh",)
    if shutil.which(as_nobody[0]) is None:
        pytest.skip("setpriv is not installed")
    for parent in [*tmp_path.parents, tmp_path]:
        if parent.stat().st_uid == os.getuid() and str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    folder.chmod(0)
    try:
        found = survey(hub(cache.hub), as_nobody)
        others = survey(hub(folder / "hub"), as_nobody)
    finally:
        folder.chmod(0o755)
    assert others.problems == (f"{folder}/hub: not looked at: it can't be entered",)
    assert found.problems == (f"{folder}: this folder can't be read",)
    whole, closed = found.models
    assert whole == at(WHOLE, cache.hub)
    assert (closed.repo, closed.readable, closed.revisions, closed.size_on_disk) == ("a/b", False, (), 5)


def test_places_that_are_not_there_or_the_same(tmp_path: Path, shell: tuple[str, ...], tools: dict[str, str]) -> None:
    cache = filled(tmp_path)
    (tmp_path / "again").symlink_to(cache.hub)
    places = (
        Place(Layout.HUB),
        *hub(tmp_path / "absent"),
        *hub(cache.hub),
        *hub(tmp_path / "again"),
        Place(Layout.FLAT, str(cache.hub)),
        Place(Layout.FLAT, str(tmp_path)),
    )
    found = survey(places, shell, {**tools, "HF_HOME": str(tmp_path)})
    assert (found.models, found.others, found.problems) == ((at(WHOLE, cache.hub),), (), ())


def test_ggufs_in_folders_and_in_the_cache(tmp_path: Path, shell: tuple[str, ...], tools: dict[str, str]) -> None:
    cache = Cache(tmp_path / "hub")
    cache.put("o/G-GGUF", ONE, "g-Q4_K_M.gguf", 40, 1)
    cache.link("o/G-GGUF", TWO, "g-Q4_K_M.gguf", 1)
    cache.put("o/G-GGUF", ONE, "Q8/g-Q8_0-00001-of-00002.gguf", 80, 2)
    folder = tmp_path / "models"
    (folder / "deep" / ".hidden").mkdir(parents=True)
    (folder / "deep" / "one.gguf").write_bytes(b"1" * 10)
    (folder / "deep" / ".hidden" / "never.gguf").write_bytes(b"1")
    (folder / "part.gguf.part").write_bytes(b"1" * 3)
    os.utime(folder / "part.gguf.part", (7000, 7000))
    (folder / "notes.gguf.txt").write_text("no model")
    for number in (1, 2):
        (folder / f"big\n$(x)-0000{number}-of-00002.gguf").write_bytes(b"1" * number)
    (folder / "link.gguf").symlink_to(tmp_path / "hub" / "models--o--G-GGUF" / "blobs" / blob_name(1))
    (folder / "gone.gguf").symlink_to("nowhere")
    snapshot = tmp_path / "hub" / "models--o--G-GGUF" / "snapshots" / ONE
    found = survey((*hub(tmp_path / "hub"), Place(Layout.GGUF, str(folder))), shell, tools)
    cached = {"repo": "o/G-GGUF", "commit": ONE}
    later = str(snapshot).replace(ONE, TWO)
    assert found.ggufs == (
        GgufFile(
            path=f"{snapshot}/Q8/g-Q8_0-00001-of-00002.gguf",
            name="g-Q8_0-00001-of-00002.gguf",
            size=80,
            parts=2,
            complete=False,
            **cached,
        ),
        GgufFile(path=f"{later}/g-Q4_K_M.gguf", name="g-Q4_K_M.gguf", size=40, repo="o/G-GGUF", commit=TWO),
        GgufFile(
            path=f"{folder}/big\n$(x)-00001-of-00002.gguf",
            name="big\n$(x)-00001-of-00002.gguf",
            size=3,
            parts=2,
            present=2,
        ),
        GgufFile(path=f"{folder}/deep/one.gguf", name="one.gguf", size=10),
        GgufFile(
            path=f"{folder}/part.gguf.part", name="part.gguf", size=3, present=0, complete=False, changed_at=7000.0
        ),
    )


def test_nim_caches(tmp_path: Path, shell: tuple[str, ...], tools: dict[str, str]) -> None:
    cache = Cache(tmp_path)
    cache.put("nim/meta/llama-3.1-8b-instruct", "hf-8c22764-nim1.3b", "model.safetensors", 5, 1)
    cache.put("nim/meta/llama-3.1-8b-instruct", "fp8-throughput", "rank0.engine", 7, 2)
    cache.put("nim/qwen/qwen3-32b", "x", "rank0.engine", 7, 2)
    cache.incomplete("nim/qwen/qwen3-32b", 3, 11)
    places = (Place(Layout.NIM, str(tmp_path)),)
    llama, qwen = survey(places, shell, tools).nims
    assert llama == NimEntry(
        name="nim/meta/llama-3.1-8b-instruct",
        path=f"{tmp_path}/models--nim--meta--llama-3.1-8b-instruct",
        profiles=("fp8-throughput", "hf-8c22764-nim1.3b"),
        size=12,
    )
    assert (qwen.name, qwen.complete, qwen.incomplete_bytes) == ("nim/qwen/qwen3-32b", False, 11)


def test_other_things_in_a_hub_are_not_gone_into(tmp_path: Path) -> None:
    (tmp_path / "datasets--a--b" / "snapshots").mkdir(parents=True)
    (tmp_path / "models--a--b" / ".no_exist" / ONE).mkdir(parents=True)
    for number in range(50):
        (tmp_path / "datasets--a--b" / "snapshots" / f"file-{number}").write_text("x")
        (tmp_path / "models--a--b" / ".no_exist" / ONE / f"file-{number}").write_text("")
    said = answer(hub(tmp_path))
    assert "file-" not in said
    assert survey(hub(tmp_path)).others == (Other(str(tmp_path), "datasets--a--b"),)


def test_two_hundred_models_fit_and_are_all_there(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    shards = [f"model-{at:05}-of-00048.safetensors" for at in range(1, 49)]
    for number in range(200):
        repo = f"Organisation-{number:03}/A-Model-With-A-Long-Name-{number:03}"
        cache.put(repo, ONE, "config.json", b'{"architectures": ["A"], "x": "' + b"y" * 1500 + b'"}', 1)
        cache.put(repo, ONE, "model.safetensors.index.json", index(*shards, total=48), 2)
        for at, shard in enumerate(shards):
            cache.put(repo, ONE, shard, 1, 10 + at)
    said = answer(hub(tmp_path))
    assert len(said) < 7_500_000
    found = read(said, NONCE, hub(tmp_path), taken_at=1.0)
    assert found.problems == ()
    assert len(found.models) == 200
    assert {
        (m.revisions[0].complete, len(m.revisions[0].files), len(m.revisions[0].configs)) for m in found.models
    } == {(True, 50, 1)}
