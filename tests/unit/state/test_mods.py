"""Mods: read whole, bounded, without links, and named by what is in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from state import folders, mods
from state.mods import ModRefused, read_mod, read_mods


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "mods" / "fix"
    (place / "patches").mkdir(parents=True)
    (place / "run.sh").write_text("#!/bin/bash\npatch < patches/a.patch\n")
    (place / "run.sh").chmod(0o755)
    (place / "patches" / "a.patch").write_bytes(b"--- a\n+++ b\n\xff")
    (place / "__init__.py").touch()
    return tmp_path / "mods"


def test_a_mod_is_all_of_its_files(folder: Path) -> None:
    found = read_mod(folder, "fix")
    assert [(file.path, file.executable) for file in found.files] == [
        ("__init__.py", False),
        ("patches/a.patch", False),
        ("run.sh", True),
    ]
    assert found.files[1].data == b"--- a\n+++ b\n\xff"
    assert found.digest == "30059716bac7c9bf89aada5acf24c7bd"
    assert read_mod(folder, "mods/fix").digest == found.digest


@pytest.mark.parametrize("change", ["content", "name", "executable", "more"])
def test_any_change_is_another_mod(folder: Path, change: str) -> None:
    before = read_mod(folder, "fix").digest
    place = folder / "fix"
    match change:
        case "content":
            (place / "patches" / "a.patch").write_bytes(b"--- a\n+++ b\n\xfe")
        case "name":
            (place / "patches" / "a.patch").rename(place / "patches" / "b.patch")
        case "executable":
            (place / "run.sh").chmod(0o644)
        case "more":
            (place / "empty").touch()
    assert read_mod(folder, "fix").digest != before


def test_what_moves_from_one_file_to_the_next_is_a_change(folder: Path) -> None:
    one, two = folder / "fix" / "x1", folder / "fix" / "x2"
    one.write_bytes(b"ab")
    two.write_bytes(b"c")
    before = read_mod(folder, "fix").digest
    one.write_bytes(b"a")
    two.write_bytes(b"bc")
    assert read_mod(folder, "fix").digest != before


@pytest.mark.parametrize("name", ["../mods/fix", "/etc", "gone", "fix/run.sh"])
def test_a_name_that_leads_nowhere_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(ModRefused, match=f"^mod {name}: "):
        read_mod(folder, name)


def test_links_are_refused_wherever_they_lead(folder: Path) -> None:
    (folder / "fix" / "patches" / "own").symlink_to(folder / "fix" / "run.sh")
    with pytest.raises(ModRefused, match="mod fix: own is a link"):
        read_mod(folder, "fix")
    (folder / "alias").symlink_to(folder / "fix")
    with pytest.raises(ModRefused, match="mod alias: there is no such folder"):
        read_mod(folder, "alias")


def test_what_is_no_file_or_has_no_fit_name_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "fix" / "pipe")
    with pytest.raises(ModRefused, match="pipe is not a plain file"):
        read_mod(folder, "fix")
    (folder / "fix" / "pipe").unlink()
    (folder / "fix" / "a\nb").touch()
    with pytest.raises(ModRefused, match="is no name for a file"):
        read_mod(folder, "fix")


def test_a_mod_needs_its_script(folder: Path) -> None:
    (folder / "fix" / "run.sh").unlink()
    with pytest.raises(ModRefused, match=r"mod fix: it has no run\.sh"):
        read_mod(folder, "fix")


def test_a_mod_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sum(len(file.data) for file in read_mod(folder, "fix").files)
    monkeypatch.setattr(mods, "MAX_BYTES", whole)
    read_mod(folder, "fix")
    monkeypatch.setattr(mods, "MAX_BYTES", whole - 1)
    with pytest.raises(ModRefused, match="it has more than 0 MiB"):
        read_mod(folder, "fix")
    monkeypatch.undo()
    monkeypatch.setattr(mods, "MAX_FILES", 3)
    read_mod(folder, "fix")
    monkeypatch.setattr(mods, "MAX_FILES", 2)
    with pytest.raises(ModRefused, match="it has more than 2 files"):
        read_mod(folder, "fix")
    monkeypatch.undo()
    monkeypatch.setattr(folders, "MAX_DEPTH", 0)
    with pytest.raises(ModRefused, match="nested more than 0 deep"):
        read_mod(folder, "fix")


def test_one_bad_mod_does_not_hide_the_others(folder: Path) -> None:
    found, refused = read_mods(folder, ["fix", "gone", "fix"])
    assert list(found) == ["fix"]
    assert {name: str(error) for name, error in refused.items()} == {
        "gone": f"mod gone: there is no such folder in {folder}"
    }
