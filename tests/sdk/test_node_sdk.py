"""OpenAI's SDK for JavaScript, unmodified. It is installed once, into a cache outside the repository.

Without node, npm or a registry these are skipped; with SPARKKEEP_REQUIRE_NODE set they fail.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from api.proxies.calls import Refused
from tests.sdk.front import NAME, Front
from tests.sdk.test_openai_sdk import PNG

HERE = Path(__file__).parent / "node"
REQUIRED = bool(os.environ.get("SPARKKEEP_REQUIRE_NODE"))


def _missing(reason: str) -> None:
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def programs() -> Path:
    """The folder in which the programs lie beside the SDK that they import."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        _missing("node or npm is not on this machine")
    lock = HERE / "package-lock.json"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sparkkeep-tests"
    folder = cache / f"node-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if not (folder / "installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        argv = [str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        try:
            done = subprocess.run(argv, cwd=folder, check=False, capture_output=True, text=True, timeout=50)
        except subprocess.TimeoutExpired:
            _missing("npm could not install the SDK within 50 seconds")
        if done.returncode != 0:
            _missing(f"npm could not install the SDK: {done.stderr[-300:]}")
        (folder / "installed").touch()
    return folder


async def run(programs: Path, name: str, *words: str) -> Any:
    shutil.copy(HERE / name, programs / name)
    environ = {**os.environ, "PICTURE": f"data:image/png;base64,{PNG}"}
    process = await asyncio.create_subprocess_exec(
        "node", name, *words, cwd=programs, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, error = await process.communicate()
    assert process.returncode == 0, error.decode()
    return json.loads(out)


async def test_it_talks(programs: Path, address: str) -> None:
    told = await run(programs, "talk.mjs", address, NAME)
    assert told["chat"].endswith("to: how are you")
    assert told["streamed"] == told["chat"]
    assert (told["tool"], set(told["arguments"])) == ("weather", {"city"})
    assert set(told["form"]) == {"city"}
    assert "[image/png, 70 bytes]" in told["seen"]
    assert told["response"] == told["events"] == told["completed"] == told["chat"]
    assert told["afterTool"].endswith("to: rain")
    assert told["missing"] == {"kind": "NotFoundError", "status": 404, "code": "NoSuchModel", "param": "model"}
    assert told["stored"]["kind"] == "BadRequestError"
    assert told["stored"]["param"] == "previous_response_id"


async def test_errors_and_retries(programs: Path, address: str, front: Front) -> None:
    kinds = {
        400: "BadRequestError",
        401: "AuthenticationError",
        403: "PermissionDeniedError",
        404: "NotFoundError",
        409: "ConflictError",
        422: "UnprocessableEntityError",
        429: "RateLimitError",
        503: "InternalServerError",
    }
    front.refusals += [Refused(status, "BecauseISaySo", "not now") for status in kinds]
    front.refusals += [Refused(503, "Starting", "not yet", retry_after=0.01)]
    told = await run(programs, "errors.mjs", address, NAME, str(len(kinds)))
    assert told["kinds"] == list(kinds.values())
    assert told["retried"].endswith("to: hi")
    assert front.asked == len(kinds) + 2


async def test_timeouts_and_streams_that_break(programs: Path, address: str, front: Front) -> None:
    front.breaks_after = 4
    told = await run(programs, "breaks.mjs", address, NAME, "breaks")
    assert told["said"]
    assert told["kind"] == "APIError"
    assert "broke off" in told["message"]
    front.hangs = True
    told = await run(programs, "breaks.mjs", address, NAME, "hangs")
    assert told["kind"] == "APIConnectionTimeoutError"
