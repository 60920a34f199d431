"""`sparkkeep secret`: values go in, names come out."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from api.cli import main
from state.secrets import Secrets


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str, value: str = ""
) -> tuple[int, str, str]:
    monkeypatch.delenv("SPARKKEEP_SECRETS", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO(value))
    with pytest.raises(SystemExit) as ended:
        main(words)
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_a_secret_is_set_listed_and_removed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("SPARKKEEP_DATA", str(tmp_path / "data"))
    code, out, err = run(monkeypatch, capsys, "secret", "set", "hf", value="hf_s3cret\n")
    assert (code, out) == (0, "")
    assert "hf_s3cret" not in err
    kept = tmp_path / "data" / "secrets" / "hf"
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert Secrets(kept.parent).get("hf") == "hf_s3cret"
    assert run(monkeypatch, capsys, "secret", "list") == (0, "hf\n", "")
    assert run(monkeypatch, capsys, "secret", "remove", "hf")[0] == 0
    assert run(monkeypatch, capsys, "secret", "remove", "hf") == (1, "", "there is no secret hf\n")


@pytest.mark.parametrize(("name", "value"), [("hf", ""), ("hf", "two\nlines"), ("../hf", "x"), ("HF", "x")])
def test_what_can_not_be_kept_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, value: str
) -> None:
    monkeypatch.setenv("SPARKKEEP_DATA", str(tmp_path))
    code, out, err = run(monkeypatch, capsys, "secret", "set", name, value=value)
    assert (code, out) == (1, "")
    assert "secret" in err
    assert not list((tmp_path / "secrets").iterdir())
