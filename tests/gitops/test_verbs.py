"""`run`, `stop`, `history`, `diff` and `rollback` against a real server: what they print, do and exit with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.gitops.conftest import TEXT, Said, git


def test_a_workload_is_stopped_and_run_again_as_commits(cli: Callable[..., Said], far: tuple[str, Path]) -> None:
    file = far[1]
    code, out, err = cli("stop", "echo", "-m", "too loud")
    assert (code, out) == (0, "")
    assert err.startswith("echo: run is never from now on (")
    assert err.endswith("2 steps to do: `sparkkeep plan`\n")
    assert file.read_text() == TEXT.replace("# the quiet one\n", "# the quiet one\n    run: never\n")
    assert cli("stop", "echo")[2] == "echo is declared so already, or in a hand edit that is not committed\n"
    assert cli("run", "echo")[0] == 0
    assert git(file.parent, "log", "-2", "--format=%s").splitlines() == [
        "Set services.echo.run to always",
        "Set services.echo.run to never",
    ]
    code, _, err = cli("stop", "echoo")
    assert (code, err) == (1, "no workload is named echoo; there are: echo, twice\n")


def test_history_diff_and_rollback(cli: Callable[..., Said], far: tuple[str, Path]) -> None:
    file = far[1]
    cli("stop", "echo", "-m", "too loud")
    code, out, err = cli("history")
    assert (code, err) == (0, "")
    assert "Set services.echo.run to never (too loud)" in out.splitlines()[1]
    newest, first = json.loads(cli("history", "-o", "json")[1])["commits"]
    assert newest["files"] == ["desired.yaml"]
    code, out, _ = cli("diff", first["revision"])
    assert code == 0
    assert "+    run: never\n" in out
    assert cli("diff", newest["revision"])[1] == ""
    code, _, err = cli("rollback", "nothing", "--yes")
    assert (code, "there is no commit nothing" in err) == (1, True)
    code, _, err = cli("rollback", first["revision"], "--yes", "-m", "missed it")
    assert code == 0
    assert f"back to {first['revision']}" in err
    assert file.read_text() == TEXT
    file.write_text(TEXT + "# by hand\n")
    code, _, err = cli("rollback", newest["revision"], "--yes")
    assert (code, "edited by hand and not committed" in err) == (1, True)
    assert "edited by hand and not committed: desired.yaml" in cli("history")[2]
    assert file.read_text() == TEXT + "# by hand\n"
