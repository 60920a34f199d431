"""What the tests here share: the vLLM of this machine as an image, a tiny model on every host, and a way to ask."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.hosts import images
from tests.hosts.fleet import Fleet
from tests.hosts.host import Host
from tests.keeper import Keeper, keeping

PYTHON = os.environ.get("SPARKKEEP_VLLM", "")
IMAGE = "vllm/vllm-openai:v0.32.0"  # begins as upstream's does, with `vllm serve`; its vLLM is the CPU build
MODEL = "tiny/llama"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PORT = 8000
HERE = Path(__file__).parent

# A CPU build on two cores. On a Spark none of this is needed.
ENV = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}
FLAGS = {"dtype": "bfloat16", "enforce-eager": True, "max-model-len": 512}


def recipe(**more: Any) -> dict[str, Any]:
    """vLLM with the tiny model; `flags` in `more` come to the usual ones."""
    flags = {**FLAGS, **more.pop("flags", {})}
    return {
        "engine": "vllm",
        "model": MODEL,
        "image": IMAGE,
        "gpus": "none",
        "memory": "3GiB",
        "env": ENV,
        "flags": flags,
        "probe": "chat",
        "startTimeout": "15m",
        "stopTimeout": "10s",
        **more,
    }


def interpreter() -> tuple[Path, Path]:
    """The environment's folder, and the folder of the Python that it was made from."""
    asked = [PYTHON, "-c", "import sys; print(sys.prefix); print(sys.base_prefix)"]
    prefix, base = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    return Path(prefix), Path(base)


def image(folders: tuple[Path, Path]) -> images.Image:
    """The image whose programs are this machine's."""
    outside = [folder for folder in folders if not folder.is_relative_to("/usr")]
    env = {"PATH": f"{folders[0]}/bin:/usr/bin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
    return images.borrowed(IMAGE, ("vllm", "serve"), env, outside)


def make_model(folder: Path) -> None:
    """Write the model as `huggingface-cli download tiny/llama` would leave it: a hub cache."""
    repository = folder / "hub/models--tiny--llama"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(COMMIT)
    subprocess.run([PYTHON, str(HERE / "tiny_llama.py"), str(snapshot)], check=True, capture_output=True, timeout=240)


def give_model(host: Host, folder: Path) -> None:
    """Put the cache where the SSH user of a host keeps it."""
    shutil.copytree(folder, host.folder / "root/root/.cache/huggingface", dirs_exist_ok=True)


def ask(host: Host, page: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the server on a host answers, as any app would hear it."""
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(f"http://{host.address}:{PORT}{page}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as reply:  # noqa: S310  # the scheme is ours
        answer: dict[str, Any] = json.load(reply)
    return answer


@dataclass(frozen=True)
class Room:
    """A fleet, a running sparkkeep over it, and a clock for what is told about it."""

    fleet: Fleet
    keeper: Keeper
    told: Callable[[str], None]

    @property
    def hosts(self) -> list[Host]:
        return self.fleet.hosts

    def declare(self, **models: dict[str, Any]) -> None:
        self.keeper.declare(desired(self.fleet, models))

    async def until(self, what: str, true: Callable[[], Any], seconds: float) -> None:
        """Wait for what sparkkeep knows to be so, and tell how long it took."""
        began = time.monotonic()
        await self.keeper.until(true, seconds, what)
        self.told(f"{what}: {time.monotonic() - began:.1f} s")

    async def eventually(self, what: str, look: Callable[[], bool], seconds: float) -> None:
        """The same of the hosts: `look` may take its time, sparkkeep goes on meanwhile."""
        began = time.monotonic()
        while not await asyncio.to_thread(look):
            if time.monotonic() - began > seconds:
                raise AssertionError(f"not within {seconds} s {what}: {self.keeper.picture()}")
            await asyncio.sleep(0.1)
        self.told(f"{what}: {time.monotonic() - began:.1f} s")

    def synced(self, workload: str) -> tuple[str, str]:
        """Reason and message of the condition that tells why a workload is not as declared."""
        found = self.keeper.workload(workload).get("conditions", ())
        return next(((c["reason"], c["message"]) for c in found if c["type"] == "Synced"), ("", ""))

    async def gone(self) -> None:
        """Declare nothing more, and wait until no container is left."""
        self.declare()

        def left() -> list[str]:
            return [host.docker("ps", "--all", "--quiet") for host in self.hosts]

        await self.eventually("declared away to gone", lambda: not any(left()), 60.0)

    async def asked(self, host: Host, page: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        began = time.monotonic()
        answer = await asyncio.to_thread(ask, host, page, body)
        self.told(f"{page} answered in {time.monotonic() - began:.1f} s")
        return answer


def desired(fleet: Fleet, models: dict[str, dict[str, Any]]) -> str:
    """A desired.yaml over the fleet; JSON is YAML."""
    sparks = {host.name: {"host": host.address, "user": "root", "reserve": 0} for host in fleet.hosts}
    guards = {"allowEmpty": True}
    return json.dumps({"apiVersion": "sparkkeep/v1", "sparks": sparks, "models": models, "guards": guards})


@asynccontextmanager
async def kept(fleet: Fleet, folder: Path, told: Callable[[str], None]) -> AsyncIterator[Room]:
    """A sparkkeep over the fleet, with nothing declared yet."""
    async with keeping(folder, desired(fleet, {}), key=fleet.key, known_hosts=fleet.known_hosts) as keeper:
        await keeper.until(keeper.quiet)
        yield Room(fleet, keeper, told)
