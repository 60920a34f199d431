"""What the hub says is not believed beyond its use, and the choice of files follows rules that a person can read."""

from __future__ import annotations

import json
import posixpath
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.weights.repo_files import (
    Listing,
    ListingRefused,
    RepoFile,
    check_path,
    check_repository,
    check_revision,
    commit_url,
    file_url,
    listing_of,
    next_cursor,
    read_commit,
    read_page,
    tree_url,
)
from reconciler.weights.selection import SelectionRefused, select

COMMIT = "a" * 40
SHA1 = "b" * 40
SHA256 = "c" * 64


def listing(*paths: str) -> Listing:
    return listing_of("o/m", "main", COMMIT, [RepoFile(p, 5, f"{n:040x}", "git") for n, p in enumerate(paths)])


def chosen(*paths: str, files: tuple[str, ...] = (), quant: str = "") -> list[str]:
    return [f.path for f in select(listing(*paths), files=files, quant=quant)]


def left_out(*paths: str, quant: str = "") -> list[str]:
    return sorted(set(paths) - set(chosen(*paths, quant=quant)))


def test_addresses() -> None:
    hub = "https://huggingface.co"
    assert commit_url(hub, "o/m", "refs/pr/1") == "https://huggingface.co/api/models/o/m/revision/refs%2Fpr%2F1"
    assert tree_url(hub, "o/m", COMMIT) == f"{hub}/api/models/o/m/tree/{COMMIT}?recursive=true&limit=1000"
    assert tree_url(hub, "m", COMMIT, "a/b=&c").endswith("&cursor=a%2Fb%3D%26c")
    file = RepoFile("a b/?#[1]%41é.json", 1, SHA1, "git")
    assert file_url(hub, listing(), file) == f"{hub}/o/m/resolve/{COMMIT}/a%20b/%3F%23%5B1%5D%2541%C3%A9.json"


@pytest.mark.parametrize(
    "name", ["", "a/b/c", "../a", "a/..", "a..b/c", "a--b", "-a", ".a", "a/", "/a", "a b", "a/$(id)", "a.", "é", "a\n"]
)
def test_repositories_that_could_not_be_folders(name: str) -> None:
    with pytest.raises(ListingRefused):
        check_repository(name)


@pytest.mark.parametrize("name", ["", "../../x", "a/../b", "a//b", "-x", "a\n", "a b", "x.lock", "/a", "a" * 129])
def test_revisions_that_could_not_be_files(name: str) -> None:
    with pytest.raises(ListingRefused):
        check_revision(name)


def test_the_answers_of_the_hub() -> None:
    assert read_commit(json.dumps({"sha": COMMIT, "gated": "auto"})) == COMMIT
    small = {"type": "file", "oid": SHA1, "size": 12, "path": "config.json"}
    large = {"type": "file", "oid": SHA1, "size": 9, "path": "m.safetensors", "xetHash": "d" * 64}
    large["lfs"] = {"oid": SHA256, "size": 7_000_000_000, "pointerSize": 135}
    folder = {"type": "directory", "oid": SHA1, "size": 0, "path": "sub"}
    assert read_page(json.dumps([folder, small, large])) == (
        RepoFile("config.json", 12, SHA1, "git"),
        RepoFile("m.safetensors", 7_000_000_000, SHA256, "sha256"),
    )
    link = '<https://huggingface.co/api/models/o/m/tree/x?recursive=true&cursor=ZXl%3D&limit=1000>; rel="next"'
    assert next_cursor(link) == "ZXl="
    assert next_cursor('<https://evil/?cursor=1>; rel="prev"') == next_cursor("") == next_cursor("<x>") == ""


BAD = [
    "not json", "[", "3", '{"sha": "main"}', '{"sha": null}', "{}", json.dumps({"sha": COMMIT + "\n"}), "[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("body", BAD)
def test_answers_that_name_no_commit(body: str) -> None:
    with pytest.raises(ListingRefused):
        read_commit(body)


GOOD = {"type": "file", "oid": SHA1, "size": 1, "path": "a"}
LFS = {"oid": SHA256, "size": 1, "pointerSize": 1}
ENTRIES: list[object] = [
    5, {}, GOOD | {"path": None}, GOOD | {"size": -1}, GOOD | {"size": True}, GOOD | {"size": "1"}, GOOD | {"size": 2**51},
    GOOD | {"oid": "../../../etc/passwd"}, GOOD | {"oid": SHA1 + "\n"}, GOOD | {"oid": SHA256}, GOOD | {"oid": SHA1.upper()},
    GOOD | {"lfs": []}, GOOD | {"lfs": LFS | {"oid": SHA1}}, GOOD | {"lfs": LFS | {"size": None}}, GOOD | {"lfs": {}},
]  # fmt: skip


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_entries_that_are_refused(entry: object) -> None:
    with pytest.raises(ListingRefused):
        read_page(json.dumps([GOOD, entry]))


PATHS: list[object] = [
    "", "/etc/passwd", "../x", "a/../../x", "a/..", "..", ".", "./a", "a/./b", "a//b", "a/", "a\nb", "a\rb", "a\0b", "a\\b",
    "\x1b[2J", "a\x7f", "a\u2028b", "a\ud800", "a" * 256, "/".join(["abcdefghi"] * 103), None, 3, ["a"],
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=ascii)
def test_paths_that_are_refused(path: object) -> None:
    with pytest.raises(ListingRefused):
        check_path(path)


@given(st.text(st.sampled_from("ab./-$ \\\n\0~*é%#?"), max_size=30) | st.text(max_size=30))
def test_a_path_that_passes_stays_in_its_folder(path: str) -> None:
    try:
        check_path(path)
    except ListingRefused:
        return
    assert posixpath.normpath(f"/cache/{path}") == f"/cache/{path}"
    assert path.isprintable() or not any(ord(c) < 32 for c in path)
    url = urlsplit(file_url("https://hub", listing(), RepoFile(path, 0, SHA1, "git")))
    assert (url.netloc, url.query, url.fragment) == ("hub", "", "")
    assert unquote(url.path) == f"/o/m/resolve/{COMMIT}/{path}"


def test_listings_that_no_disk_could_hold() -> None:
    with pytest.raises(ListingRefused, match="twice"):
        listing("a", "a")
    with pytest.raises(ListingRefused, match=r"'a/b/c' inside something"):
        listing("a/b", "a/b/c", "z")
    with pytest.raises(ListingRefused, match="another size"):
        listing_of("o/m", "main", COMMIT, [RepoFile("a", 1, SHA1, "git"), RepoFile("b", 2, SHA1, "git")])
    assert [f.path for f in listing("a.b", "a/b").files] == ["a.b", "a/b"]


# Which files


def test_what_safetensors_repeat_is_left_out() -> None:
    assert left_out(
        "config.json", "README.md", "tokenizer.model", "model-00001-of-00002.safetensors", "model.safetensors.index.json",
        "pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json", "consolidated.00.pth", "tf_model.h5", "flax_model.msgpack",
        "rust_model.ot", "original/params.json", "original/consolidated.00.pth", "onnx/model.onnx", "metal/model.bin",
        "model-Q4_K_M.gguf", "spiece.bin", "training_args.bin", "consolidated.safetensors", "2_Dense/pytorch_model.bin",
    ) == [
        "consolidated.00.pth", "flax_model.msgpack", "metal/model.bin", "model-Q4_K_M.gguf", "onnx/model.onnx",
        "original/consolidated.00.pth", "original/params.json", "pytorch_model-00001-of-00002.bin", "rust_model.ot", "tf_model.h5",
    ]  # fmt: skip


def test_nothing_is_left_out_where_nothing_repeats_it() -> None:
    for paths in (
        ("config.json", "pytorch_model.bin"),
        ("kokoro-v1_0.pth", "voices/af.pt"),
        ("original/a.pth", "params.json"),
        ("onnx/model.onnx", "config.json"),
        ("2_Dense/model.safetensors", "2_Dense/config.json", "pytorch_model.bin"),
    ):
        assert left_out(*paths) == []


GGUF = (
    "README.md", "m-Q4_K_M.gguf", "m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf", "m-IQ4_K_M.gguf", "mmproj-F16.gguf",
)  # fmt: skip


def test_one_gguf_variant_is_taken() -> None:
    assert chosen(*GGUF, quant="q4_k_m") == ["README.md", "m-Q4_K_M.gguf", "mmproj-F16.gguf"]
    assert chosen(*GGUF, quant="Q8_0") == [
        "README.md", "m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf", "mmproj-F16.gguf"
    ]  # fmt: skip
    assert chosen("m.gguf", "config.json") == ["config.json", "m.gguf"]
    with pytest.raises(SelectionRefused, match=r"there are 3: m-IQ4_K_M.gguf, m-Q4_K_M.gguf, m-Q8_0.gguf. Say which"):
        chosen(*GGUF)
    with pytest.raises(SelectionRefused, match="for Q2_K: none"):
        chosen(*GGUF, quant="Q2_K")
    with pytest.raises(SelectionRefused, match="no GGUF files, so no Q2_K"):
        chosen("config.json", quant="Q2_K")
    assert "a.gguf" in chosen("a.gguf", "model.safetensors", quant="a")


def test_patterns_of_a_person_override_the_rules() -> None:
    paths = ("config.json", "model.safetensors", "original/a.pth", "m-Q4.gguf", "m-Q8.gguf", "we[i]rd.json")
    assert chosen(*paths, files=("original/*", "config.json")) == ["config.json", "original/a.pth"]
    assert chosen(*paths, files=("!*.gguf", "!original/*")) == ["config.json", "model.safetensors", "we[i]rd.json"]
    with pytest.raises(SelectionRefused, match=r"'\*.onnx' fits no file of o/m at main"):
        chosen(*paths, files=("config.json", "*.onnx"))
    with pytest.raises(SelectionRefused, match="leave nothing"):
        chosen(*paths, files=("config.json", "!config.*"))
    with pytest.raises(SelectionRefused, match="no files"):
        chosen()
