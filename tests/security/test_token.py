"""With `--token-file` every call has to show the token; it is never where others could read it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from api.cli import main
from api.client import TOKEN_FILE, Client, ServerRefused
from api.folder import Unusable
from api.guard.bearer import Token, read_token
from api.routes.page import PAGE
from api.serve import Options, serve
from tests.security.conftest import WORD
from tests.security.door import Door

SHOWN = {"authorization": f"Bearer {WORD}"}
OPEN = {("GET", "/healthz"), ("GET", "/readyz")}


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(WORD + "\n")
    path.chmod(0o600)
    return path


def test_every_route_but_the_two_of_health_asks_for_it(locked: Door) -> None:
    before = locked.stands()
    paths = locked.ask("GET", "/api/openapi.json", headers=SHOWN).json()["paths"]
    for path, methods in paths.items():
        for method in map(str.upper, methods):
            answer = locked.ask(method, path.replace("{", "").replace("}", ""))
            if (method, path) in OPEN:
                assert answer.status_code == 200
                continue
            assert (answer.status_code, answer.json()["reason"]) == (401, "TokenNeeded"), (method, path)
            assert answer.headers["www-authenticate"].startswith("Bearer ")
    for path in ("/api/openapi.json", "/nothing", "/metrics", "/api", "/uix/main.js", "/healthz/x", "/v1/echo"):
        assert locked.ask("GET", path).status_code == 401, path
    assert locked.stands() == before


def test_with_it_everything_works(locked: Door) -> None:
    assert locked.ask("GET", "/api/status", headers=SHOWN).status_code == 200
    assert locked.ask("POST", "/api/plan", headers=SHOWN).status_code == 200
    assert locked.ask("GET", "/api/status", headers={"authorization": f"bearer {WORD}"}).status_code == 200


def test_the_page_loads_without_it_and_asks_for_it(locked: Door) -> None:
    for path in ("/", "/ui/any/main.js", "/ui/any/style.css"):
        answer = locked.ask("GET", path)
        assert answer.status_code == 200
        assert WORD not in answer.text
    script = locked.ask("GET", "/ui/any/core/api.js").text
    assert "sessionStorage" in script
    assert "localStorage" not in script
    for path, file in PAGE.files.items():
        assert b"document.cookie" not in file.plain, path
        assert file.plain.count(b"localStorage") == file.plain.count(b'"sparkkeep.theme"'), path


@pytest.mark.parametrize(
    "given",
    [
        *(
            "",
            "Bearer",
            "Bearer ",
            f"Basic {WORD}",
            WORD,
            f"Bearer {WORD[:-1]}",
            f"Bearer {WORD}x",
            f"Bearer {WORD.upper()}",
        ),
        *(f"Bearer Bearer {WORD}", f"Bearer {WORD}, Bearer {WORD}", "Bearer \u00e9\u00e9\u00e9", f"Token {WORD}"),
    ],
)
def test_anything_else_is_refused(locked: Door, given: str) -> None:
    answer = locked.get("/api/status", f"Authorization: {given}")
    assert (answer.status, answer.reason) == (401, "TokenNeeded")


def test_nor_is_it_taken_from_elsewhere(locked: Door) -> None:
    assert locked.get(f"/api/status?token={WORD}&access_token={WORD}").status == 401
    assert locked.get("/api/status", f"Cookie: token={WORD}").status == 401
    assert locked.get("/api/status", f"X-Api-Key: {WORD}").status == 401
    twice = f"Authorization: Bearer {WORD}"
    assert locked.get("/api/status", twice, "Authorization: Bearer other").status == 401


def test_the_token_does_not_replace_the_other_guards(locked: Door) -> None:
    foreign = {"origin": "http://evil.example", **SHOWN}
    assert locked.ask("POST", "/api/workloads/echo/suspend", headers=foreign).status_code == 403
    assert locked.ask("GET", "/api/status", headers={"host": "evil.example", **SHOWN}).status_code == 421
    assert locked.ask("POST", "/api/plan", content=b"{}", headers=SHOWN).status_code == 415


def test_it_is_compared_as_a_whole() -> None:
    token = Token(WORD)
    assert token.shown_in([f"Bearer {WORD}"])
    assert not token.shown_in([])
    assert not token.shown_in([f"Bearer {WORD}"] * 2)
    assert WORD not in repr(token)
    assert WORD not in str(vars(token))


def test_the_command_line_reads_it_from_a_file(
    locked: Door, token_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPARKKEEP_SERVER", locked.url)
    monkeypatch.delenv("SPARKKEEP_TOKEN_FILE", raising=False)

    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(words)
        said = capsys.readouterr()
        assert WORD not in said.out + said.err
        return int(ended.value.code or 0), said.out + said.err

    code, said = run("get")
    assert code == 1
    assert "--token-file or SPARKKEEP_TOKEN_FILE" in said
    assert run("--token-file", str(token_file), "get")[0] == 0
    assert run("get")[0] == 1, "it holds for one call"
    monkeypatch.setenv("SPARKKEEP_TOKEN_FILE", str(token_file))
    code, said = run("get")
    assert code == 0
    assert "echo" in said
    assert run("events")[0] == 0
    token_file.chmod(0o644)
    code, said = run("get")
    assert code == 1
    assert f"chmod 600 {token_file}" in said


def test_the_client_does_not_carry_it_elsewhere(locked: Door) -> None:
    """A file that was named for one call is not used by what comes after it."""
    assert TOKEN_FILE.get() is None
    with Client(locked.url) as client, pytest.raises(ServerRefused) as refused:
        client.get("/api/status")
    assert refused.value.status == 401


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        (WORD, 0o644, "chmod 600"),
        (WORD, 0o640, "chmod 600"),
        (WORD, 0o604, "chmod 600"),
        ("short", 0o600, "16 to 4096"),
        ("", 0o600, "16 to 4096"),
        (f"{WORD} {WORD}", 0o600, "16 to 4096"),
        (f"{WORD}\nAuthorization: x", 0o600, "16 to 4096"),
        ("\u00e9" * 20, 0o600, "16 to 4096"),
        ("x" * 5000, 0o600, "16 to 4096"),
    ],
)
async def test_a_file_that_is_not_fit_keeps_the_server_from_starting(
    tmp_path: Path, text: str, mode: int, said: str
) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(Unusable, match=said) as refused:
        await serve(Options(port=0, host="127.0.0.1", data=tmp_path / "data", token_file=path), {})
    assert not text or text not in str(refused.value)


def test_nor_one_that_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, said in (("none", "can't be read"), (".", "not a file"), ("pipe", "not a file")):
        with pytest.raises(Unusable, match=said):
            read_token(tmp_path / name)


def test_it_never_stands_in_a_log_or_an_argv(locked: Door, token_file: Path) -> None:
    """Of all that these tests have made the server say, at every level; and of the command line as a process."""
    locked.ask("GET", "/api/status", headers=SHOWN)
    locked.get("/api/status", f"Authorization: Basic {WORD}", "Broken")
    assert not [line for line in locked.heard.lines if WORD in line]
    environ = {**os.environ, "SPARKKEEP_SERVER": locked.url, "SPARKKEEP_TOKEN_FILE": str(token_file)}
    argv = [sys.executable, "-m", "api.cli", "events", "-f"]
    with subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), "it is let in"
            there = Path(f"/proc/{process.pid}")
            assert WORD.encode() not in (there / "cmdline").read_bytes() + (there / "environ").read_bytes()
        finally:
            process.kill()
