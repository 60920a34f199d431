"""What a server was started with, and a start that is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from api import serve as served
from api.cli import main
from api.started import Start, in_force, named
from tests.unit.api.conftest import DESIRED


def called(monkeypatch: pytest.MonkeyPatch, *words: str) -> dict[str, Start]:
    """The options that `serve` hands on, by name."""
    seen: list[Any] = []

    async def serve(options: Any) -> None:
        seen.append(options)

    monkeypatch.setattr(served, "serve", serve)
    with pytest.raises(SystemExit) as ended:
        main(["serve", *words])
    assert not ended.value.code
    return {start.name: start for start in seen[0].started}


def test_each_option_is_shown_with_its_value_and_whose_word_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIND_PORT", "19")
    monkeypatch.setenv("SPARKKEEP_ALLOW_HOST", "sparks.lan")
    monkeypatch.delenv("SPARKKEEP_PORT", raising=False)
    found = called(monkeypatch, "--git-every", "90", "--git-remote", "https://ann:hunter2@git.lan/fleet.git")
    assert (found["serve.port"].value, found["serve.port"].source) == (19, "environment")
    assert found["serve.port"].variables == ("SPARKKEEP_PORT", "BIND_PORT")
    assert (found["serve.allowHost"].value, found["serve.allowHost"].source) == (["sparks.lan"], "environment")
    assert (found["serve.gitEvery"].value, found["serve.gitEvery"].source) == (90, "command line")
    assert (found["serve.practice"].value, found["serve.practice"].source) == (0, "default")
    assert "hunter2" not in str(found), "a password in an address is nobody's to see"
    assert found["serve.gitRemote"].value == "https://***@git.lan/fleet.git"
    assert "serve.verbose" not in found, "only what the environment can say too"


def test_what_a_server_chose_itself_is_shown() -> None:
    told = Start(name="serve.port", help="", value=0), Start(name="serve.tokenFile", help="")
    port, token = in_force(told, port=1234, token_file=Path("/t"))
    assert (port.value, token.value) == (1234, "/t")


def test_what_only_the_environment_says_is_shown() -> None:
    found = {start.name: start for start in named({"SSH_DIR": "/keys", "MODELS_YAML": ""})}
    assert (found["serve.sshDir"].value, found["serve.sshDir"].source) == ("/keys", "environment")
    assert (found["serve.modelsYaml"].value, found["serve.modelsYaml"].source) == (None, "default")
    assert found["serve.mods"].how == "it is set when the server starts (SPARKKEEP_MODS)"


@pytest.mark.parametrize("verb", [("serve", "--port", "0", "--host", "127.0.0.1", "--data", "DATA"), ("validate",)])
def test_a_bad_variable_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: tuple[str, ...]
) -> None:
    file = tmp_path / "desired.yaml"
    file.write_text(DESIRED)
    monkeypatch.setenv("SPARKKEEP_DESIRED", str(file))
    monkeypatch.setenv("SPARKKEEP_SETTINGS_SCAN_INTERVAL", "0.1s")
    with pytest.raises(SystemExit) as ended:
        main([word.replace("DATA", str(tmp_path / "data")) for word in verb])
    said = capsys.readouterr()
    assert ended.value.code == 1
    told = "the environment: SPARKKEEP_SETTINGS_SCAN_INTERVAL: must be at least 1; it is 0.1; allowed: at least 1s, at most 1h"
    assert told in said.out + said.err
