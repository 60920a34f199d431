"""The reading of an answer: whatever a disk holds, the frame holds; and nothing half-read is called missing."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.disks import read as reading
from reconciler.disks.found import CachedFile
from reconciler.disks.read import escaped, read, repository
from reconciler.disks.where import Layout, Place
from reconciler.facts import ScanFailed
from tests.unit.reconciler.disks.trees import NONCE, ONE

HUB = (Place(Layout.HUB, "/hub"),)
FILE, FOLDER = "81a4", "41ed"


def part(name: str, text: str, status: int = 0) -> str:
    return f"\n={NONCE} {name}\n{text}\n={NONCE} {name} {status}\n"


def said(skip: str = "", **parts: str) -> str:
    """An answer about one hub, in which each part is empty unless given."""
    names = ("where", "entries", "links", "dangling", "closed", "refs", "texts", "picked")
    told = {"where": "/hub//1:2//\n", **parts}
    body = "".join(part(f"{name}0", told.get(name, "")) for name in names if name != skip)
    return part("clock", "1700000000\n") + body + f"\n={NONCE} end\n"


def stat(name: str, mode: str = FILE, size: int = 1, inode: int = 9) -> str:
    return f"{name}//{mode} {size} 1700000000 1:{inode}//\n"


HOLDS = stat(".", FOLDER) + stat("./models--a--b", FOLDER) + stat("./models--a--b/snapshots", FOLDER)
names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda name: name not in {".", ".."} and NONCE not in name
)


@given(st.lists(names, max_size=6, unique=True))
def test_any_name_survives_the_frame(found: list[str]) -> None:
    entries = HOLDS + "".join(stat(f"./models--a--b/snapshots/{ONE}/{name}", inode=at) for at, name in enumerate(found))
    survey = read(said(entries=entries), NONCE, HUB, 1.0)
    (model,) = survey.models
    files = [file for revision in model.revisions for file in revision.files]
    assert files == [CachedFile(name, 1) for name in sorted(found)]


@given(names)
def test_any_name_in_a_hub_is_a_repository_or_shown_in_one_printable_line(name: str) -> None:
    survey = read(said(entries=HOLDS + stat(f"./{name}", FOLDER)), NONCE, HUB, 1.0)
    assert len(survey.models) + len(survey.others) == (1 if name in {"models--a--b", *reading.QUIET} else 2)
    assert all(other.name.isascii() and other.name.isprintable() and len(other.name) <= 200 for other in survey.others)


def gathered(files: dict[str, bytes]) -> str:
    """Files as the script sends them."""
    text = base64.encodebytes(b"".join(files.values())).decode().replace("/", "_")
    return "".join(f"{name}//{len(data)}//\n" for name, data in files.items()) + f"=//{text}//\n"


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=5), st.binary(max_size=60))
def test_any_content_survives_the_frame(contents: list[bytes], ref: bytes) -> None:
    paths = [f"./models--a--b/snapshots/{at:040}/config.json" for at in range(len(contents))]
    files = {
        path: b'{"hex": "' + data.hex().encode() + b'"}' if at % 2 else data
        for at, (path, data) in enumerate(zip(paths, contents, strict=True))
    }
    answer = said(
        entries=HOLDS + "".join(stat(path) for path in paths),
        texts=gathered(files),
        refs=gathered({"./models--a--b/refs/main": ref}),
    )
    survey = read(answer, NONCE, HUB, 1.0)
    (model,) = survey.models
    assert survey.problems == ()
    for at, revision in enumerate(model.revisions):
        if at % 2:
            assert revision.configs == {"config.json": {"hex": contents[at].hex()}}


def test_files_that_changed_while_they_were_read_are_left_out() -> None:
    path = f"./models--a--b/snapshots/{ONE}/config.json"
    texts = gathered({path: b'{"a": 1}'}).replace("//8//", "//9//")
    survey = read(said(entries=HOLDS + stat(path), texts=texts), NONCE, HUB, 1.0)
    assert survey.problems == ("/hub: its texts changed while they were read",)
    assert survey.models[0].revisions[0].configs == {}


def test_of_files_that_were_cut_off_those_that_are_whole_count(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [f"./models--a--b/snapshots/{at:040}/config.json" for at in range(2)]
    texts = gathered(dict.fromkeys(paths, b'{"a": 1}'))[:-8]
    monkeypatch.setitem(reading.LIMITS, "texts", len(texts))
    survey = read(said(entries=HOLDS + "".join(map(stat, paths)), texts=texts), NONCE, HUB, 1.0)
    assert [revision.configs for revision in survey.models[0].revisions] == [{"config.json": {"a": 1}}, {}]
    assert survey.problems == ("/hub: too much is in there: its texts are listed in part only",)


@given(st.integers(0, len(said(entries=HOLDS)) - 1))
def test_no_part_of_an_answer_passes_for_the_whole(at: int) -> None:
    with pytest.raises(ScanFailed):
        read(said(entries=HOLDS)[:at], NONCE, HUB, 1.0)


@given(st.text(max_size=200))
def test_noise_in_a_list_is_left_out(noise: str) -> None:
    survey = read(said(entries=f"{noise}//\n" + HOLDS, links=noise, dangling=noise), NONCE, HUB, 1.0)
    assert "a/b" in {model.repo for model in survey.models}


@pytest.mark.parametrize("name", ["entries", "links", "dangling", "closed"])
def test_what_was_cut_off_is_not_known(name: str) -> None:
    entries = HOLDS + stat(f"./models--a--b/snapshots/{ONE}/model-00001-of-00002.safetensors")
    survey = read(said(entries="" if name == "entries" else entries, skip=name), NONCE, HUB, 1.0)
    assert survey.problems == (f"/hub: its {name} were cut off: the answer was longer than is kept",)
    assert all(r.complete is None and r.missing == () for model in survey.models for r in model.revisions)


def test_a_list_that_is_as_long_as_it_may_be_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = HOLDS + stat(f"./models--a--b/snapshots/{ONE}/model.safetensors")
    monkeypatch.setitem(reading.LIMITS, "entries", len(entries) - 5)
    survey = read(said(entries=entries[: len(entries) - 5]), NONCE, HUB, 1.0)
    assert survey.problems == ("/hub: too much is in there: its entries are listed in part only",)
    (model,) = survey.models
    assert (model.readable, model.revisions) == (False, ())


def test_a_folder_that_can_not_be_entered() -> None:
    answer = part("clock", "1\n") + part("where0", "", 5) + f"\n={NONCE} end\n"
    assert read(answer, NONCE, HUB, 1.0).problems == ("/hub: not looked at: it can't be entered",)


def test_an_answer_without_a_clock_is_no_answer() -> None:
    with pytest.raises(ScanFailed, match="did not tell its time"):
        read(f"\n={NONCE} end\n", NONCE, HUB, 1.0)


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("models--Qwen--Qwen3-8B", "Qwen/Qwen3-8B"),
        ("models--gpt2", "gpt2"),
        ("models--o--a.b_c-d", "o/a.b_c-d"),
        ("models--o--_a", "o/_a"),
        ("models--o--a--b", None),
        ("models--o--..", None),
        ("models--o--a..b", None),
        ("models----o", None),
        ("models--", None),
        ("models--_o--a", None),
        ("models---o--a", None),
        ("models--o--a\n", None),
        ("models--o--\N{ARABIC-INDIC DIGIT ONE}", None),
        ("datasets--o--a", None),
        ("models--" + "x" * 200, None),
    ],
)
def test_which_folders_are_repositories(folder: str, expected: str | None) -> None:
    assert repository(folder) == expected


def test_hostile_names_are_shown_escaped() -> None:
    assert escaped("a\nb'$(x)\x1b[0m\u202e") == "a\\nb'$(x)\\x1b[0m\\u202e"
    assert escaped("x" * 300) == "x" * 197 + "..."
