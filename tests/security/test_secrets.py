"""Secrets through the API: set and forgotten by name; what they hold goes in, and never comes out."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from api.cli import main
from state.secrets import MAX_VALUE
from tests.security.door import Door

VALUE = "nvapi-c4nary-6a1f0e"


@pytest.fixture
def folder(door: Door):
    assert door.stage.context.secrets is not None
    kept = door.stage.context.secrets.folder
    yield kept
    for path in kept.iterdir() if kept.exists() else ():
        path.unlink()


def test_a_secret_is_set_listed_and_forgotten(door: Door, folder: Path) -> None:
    answer = door.ask("PUT", "/api/secrets/hf", json={"value": f"{VALUE}\n"})
    assert answer.status_code == 200
    assert set(answer.json()) == {"since", "usedBy", "problem"}
    kept = folder / "hf"
    assert kept.read_text() == VALUE
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    listed = door.ask("GET", "/api/secrets")
    assert listed.json()["secrets"]["hf"] == {
        "since": kept.stat().st_mtime,
        "usedBy": ["fetching weights", "gated (HF_TOKEN)"],
        "problem": "",
    }
    assert VALUE not in listed.text + answer.text
    assert door.ask("GET", "/api/secrets/hf").status_code == 405, "there is no way to read one"
    gone = door.ask("DELETE", "/api/secrets/hf")
    assert gone.json() == {"name": "hf", "removed": True}
    assert not kept.exists()
    again = door.ask("DELETE", "/api/secrets/hf")
    assert (again.status_code, again.json()["reason"]) == (404, "NoSuchSecret")


def test_what_a_workload_names_is_listed_before_it_is_set(door: Door, folder: Path) -> None:
    listed = door.ask("GET", "/api/secrets").json()["secrets"]
    assert listed["other"]["since"] is None
    assert listed["other"]["usedBy"] == ["gated (KEY)"]
    assert "sparkkeep secret set other" in listed["other"]["problem"]
    assert "ngc" not in listed, "nobody here uses it"
    door.ask("PUT", "/api/secrets/ngc", json={"value": VALUE})
    assert door.ask("GET", "/api/secrets").json()["secrets"]["ngc"]["usedBy"] == ["images of nvcr.io"]


def test_a_file_that_others_can_read_is_shown_as_a_problem(door: Door, folder: Path) -> None:
    door.ask("PUT", "/api/secrets/hf", json={"value": VALUE})
    (folder / "hf").chmod(0o644)
    shown = door.ask("GET", "/api/secrets").json()["secrets"]["hf"]
    assert "chmod 600" in shown["problem"]
    door.ask("PUT", "/api/secrets/hf", json={"value": VALUE})
    assert stat.S_IMODE((folder / "hf").stat().st_mode) == 0o600, "setting it mends that"


def test_the_command_line_and_the_api_write_the_same(
    door: Door, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    door.ask("PUT", "/api/secrets/both", json={"value": VALUE})
    monkeypatch.setenv("SPARKKEEP_SECRETS", str(folder))
    monkeypatch.setenv("SPARKKEEP_DATA", str(folder.parent / "data"))
    with pytest.raises(SystemExit):
        main(["secret", "list"])
    assert capsys.readouterr().out == "both\n"
    with pytest.raises(SystemExit):
        main(["secret", "remove", "both"])
    assert "both" not in door.ask("GET", "/api/secrets").json()["secrets"]


@pytest.mark.parametrize(
    "value",
    [
        *("", "\n", "two\nlines", "a\rb", "a\x00b", "a\x1b[2Jb", "a\tb", "a\x7fb", "a\x85b"),
        *("x" * (MAX_VALUE + 1), "\u00e9" * (MAX_VALUE // 2 + 1)),
    ],
)
def test_a_value_that_is_not_one_line_of_text_is_refused_in_words(door: Door, folder: Path, value: str) -> None:
    answer = door.ask("PUT", "/api/secrets/odd", json={"value": value})
    assert answer.status_code == 422
    assert answer.json()["field"] == "value"
    assert answer.json()["message"]
    assert not (folder / "odd").exists()


@pytest.mark.parametrize(
    "body",
    [
        f'{{"value": "{VALUE}\\ud800"}}',
        f'{{"value": ["{VALUE}"]}}',
        f'{{"value": {{"{VALUE}": 1}}}}',
        f'{{"valeu": "{VALUE}"}}',
        f'{{"value": "{VALUE}", "more": "{VALUE}"}}',
        f'"{VALUE}"',
        f'{{"value": "{VALUE}"',
        f"{VALUE}",
    ],
)
def test_a_refusal_repeats_nothing_of_it(door: Door, folder: Path, body: str) -> None:
    before = len(door.heard.lines)
    answer = door.ask("PUT", "/api/secrets/odd", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in {400, 422}
    assert VALUE not in answer.text
    assert not [line for line in door.heard.lines[before:] if VALUE in line]
    assert not (folder / "odd").exists()


@pytest.mark.parametrize("name", ["HF", "a_b", "-a", "a" * 64, ".new-x", "a%20b", "hf%0a"])
def test_a_name_that_is_none_is_refused(door: Door, folder: Path, name: str) -> None:
    for method, options in (("PUT", {"json": {"value": VALUE}}), ("DELETE", {})):
        answer = door.ask(method, f"/api/secrets/{name}", **options)
        assert answer.status_code in {400, 422}
        assert answer.json()["message"]
    assert list(folder.iterdir() if folder.exists() else []) == []


def test_a_folder_that_can_not_be_written_is_a_sentence(door: Door, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "dir").mkdir()
    try:
        answer = door.ask("PUT", "/api/secrets/dir", json={"value": VALUE})
        assert (answer.status_code, answer.json()["reason"]) == (503, "NotWritten")
        answer = door.ask("DELETE", "/api/secrets/dir")
        assert (answer.status_code, answer.json()["reason"]) == (503, "NotRemoved")
    finally:
        (folder / "dir").rmdir()


def test_it_is_told_who_set_what(door: Door, folder: Path) -> None:
    door.ask("PUT", "/api/secrets/told", json={"value": VALUE}, headers={"sparkkeep-actor": "ann@desk"})
    door.ask("DELETE", "/api/secrets/told", headers={"sparkkeep-actor": "ann@desk"})
    lines = [line for line in door.heard.lines if "secret told" in line]
    assert len(lines) == 2
    assert all("ann@desk (127.0.0.1)" in line for line in lines)
    assert not [line for line in door.heard.lines if VALUE in line]
