"""A real model that nobody keeps running: the first request starts it, is answered, and a while later it is gone.

`sparkkeep serve` as a user starts it, a real vLLM on a real host, and OpenAI's own client.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai

from tests.hosts.fleet import Fleet
from tests.hosts.host import Host
from tests.real.stage import desired, recipe

SERVE = Path(sys.executable).with_name("sparkkeep")
PATIENCE = 900.0
IDLE = 15


def test_a_cold_request_starts_it_and_silence_stops_it(
    fleet: Fleet, tmp_path: Path, told: Callable[[str], None]
) -> None:
    fleet.each(Host.reset)
    spark = fleet.hosts[0]
    models = {"tiny": {"recipe": recipe(), "on": spark.name, "run": "on-demand", "idle": f"{IDLE}s"}}
    with serving(fleet, tmp_path, desired(fleet, models)) as url:
        until(lambda: status(url)["workloads"]["tiny"]["sync"] == "Synced", 60)
        assert not containers(spark)
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", timeout=PATIENCE, max_retries=0)
        listed = {model.id: model for model in client.models.list()}
        assert listed["tiny"].model_extra["sparkkeep"]["state"] == "stopped"

        began, heard = time.monotonic(), list[str]()
        stream = client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "ping"}], max_tokens=16, stream=True
        )
        for chunk in stream:
            if not heard:
                told(f"a cold request, to its first token: {time.monotonic() - began:.1f} s")
            heard += [choice.delta.content or "" for choice in chunk.choices]
        assert "".join(heard)
        told(f"... to its last: {time.monotonic() - began:.1f} s")
        assert len(containers(spark)) == 1
        began = time.monotonic()
        again = client.chat.completions.with_raw_response.create(
            model="tiny", messages=[{"role": "user", "content": "ping"}], max_tokens=16
        )
        assert again.headers["sparkkeep-backend"] == f"tiny@{spark.name}"
        told(f"a warm one, whole: {time.monotonic() - began:.1f} s")

        began = time.monotonic()
        until(lambda: not containers(spark), 120)
        quiet = time.monotonic() - began
        told(f"unused, to stopped and removed: {quiet:.1f} s")
        assert quiet >= IDLE - 1
        reasons = {event["reason"] for event in get(f"{url}/api/events?since=0")["events"]}
        assert {"Asked", "Unused"} <= reasons, reasons
    fleet.each(Host.reset)


def containers(host: Host) -> list[str]:
    return str(host.docker("ps", "--all", "--quiet")).split()


def get(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310  # the scheme is ours
        return json.load(answer)


def status(url: str) -> dict[str, Any]:
    found: dict[str, Any] = get(f"{url}/api/status")
    return found


def until(true: Callable[[], Any], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.2)


@contextmanager
def serving(fleet: Fleet, folder: Path, text: str) -> Iterator[str]:
    """The address of a server over these hosts."""
    (folder / "desired.yaml").write_text(text)
    options = ["--desired", str(folder / "desired.yaml"), "--data", str(folder / "data"), "--host", "127.0.0.1"]
    environment = os.environ | {"SSH_KEY_PATH": str(fleet.key), "SSH_KNOWN_HOSTS": str(fleet.known_hosts)}
    argv = [SERVE, "serve", *options, "--port", "0"]
    server = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert server.stdout is not None
    try:
        said = ""
        for line in server.stdout:
            said += line
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                yield found[0]
                break
        else:
            raise AssertionError(said)
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)
