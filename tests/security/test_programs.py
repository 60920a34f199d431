"""Programs say neither Origin nor Sec-Fetch-Site. They work as if there were no guard."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from api.cli import main
from tests.security.door import Door


@pytest.fixture
def cli(door: Door, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("SPARKKEEP_SERVER", door.url)
    monkeypatch.delenv("SPARKKEEP_TOKEN_FILE", raising=False)

    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(words)
        return int(ended.value.code or 0), capsys.readouterr().out

    return run


def test_what_curl_sends_is_answered(door: Door) -> None:
    """Its very bytes."""
    host, agent = f"Host: 127.0.0.1:{door.port}", "User-Agent: curl/8.5.0"
    assert door.raw("GET /api/status HTTP/1.1", host, agent, "Accept: */*").status == 200
    assert door.raw("POST /api/plan HTTP/1.1", host, agent, "Accept: */*").status == 200
    kind = "Content-Type: application/json"
    assert door.raw("POST /api/plan HTTP/1.1", host, agent, kind, "Content-Length: 2", body=b"{}").status == 200
    form = "Content-Type: application/x-www-form-urlencoded"
    told = door.raw("POST /api/plan HTTP/1.1", host, agent, form, "Content-Length: 2", body=b"{}")
    assert told.status == 415
    assert b"Content-Type: application/json" in told.body, "what to add to a forgetful `curl -d`"


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_curl_works(door: Door) -> None:
    def curl(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = ["curl", "--silent", "--noproxy", "*", "--max-time", "10", *arguments]
        return subprocess.run(argv, text=True, capture_output=True, timeout=20, check=True)

    assert "workloads" in json.loads(curl(f"{door.url}/api/status").stdout)
    assert "steps" in json.loads(curl("-X", "POST", f"{door.url}/api/plan").stdout)
    body = ("-H", "content-type: application/json", "-d", '{"value": "x"}')
    assert "since" in json.loads(curl("-X", "PUT", f"{door.url}/api/secrets/by-curl", *body).stdout)
    assert json.loads(curl("-X", "DELETE", f"{door.url}/api/secrets/by-curl").stdout)["removed"] is True
    assert json.loads(curl("-d", "audio", f"{door.url}/v1/echo").stdout)["body"] == "audio"


def test_the_command_line_works(door: Door, cli) -> None:
    assert "echo" in cli("get")[1]
    assert cli("suspend", "echo")[0] == 0
    assert door.ask("GET", "/api/status").json()["workloads"]["echo"]["health"] == "Suspended"
    assert cli("resume", "echo")[0] == 0
    assert cli("plan")[0] == 0
    assert door.ask("GET", "/api/status").json()["workloads"]["echo"]["health"] != "Suspended"


def test_a_program_that_posts_a_file_to_a_proxy_works(door: Door) -> None:
    """Forms, audio and the rest are the proxies' business."""
    for kind in ("multipart/form-data; boundary=x", "audio/wav", "text/plain", "application/json"):
        answer = door.ask("POST", "/v1/echo", content=b"x", headers={"content-type": kind})
        assert (answer.status_code, answer.json()["body"]) == (200, "x")
