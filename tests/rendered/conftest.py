"""Real proxies of Debian on loopback, with a rendered configuration."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from api.proxies.calls import Backend
from api.proxies.render.haproxy import haproxy
from api.proxies.render.nginx import nginx
from api.proxies.render.site import Pool, Site, ordered
from tests.hosts.shell import HostError, wait_for
from tests.rendered.servers import Server

PACKAGES = {"haproxy": "haproxy", "nginx": "nginx-light"}
NGINX = """
pid {folder}/pid;
error_log {folder}/log;
events {{ }}
http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
        fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
        include {folder}/sparkkeep.conf; }}
"""


def program(name: str) -> str:
    found = shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
    if found is None and os.environ.get("SPARKKEEP_REQUIRE_HOSTS") == "1":
        pytest.fail(f"SPARKKEEP_REQUIRE_HOSTS=1, but {name} is not installed")
    if found is None:
        pytest.skip(f"{name} is not installed (apt-get install {PACKAGES[name]})")
    return found


class Proxy:
    """One that runs, and takes a new configuration as its manual says."""

    def __init__(self, kind: str, folder: Path, port: int) -> None:
        self.kind, self.port, self.url = kind, port, f"http://127.0.0.1:{port}"
        self._folder, self._program = folder, program(kind)
        self.file = folder / ("sparkkeep.cfg" if kind == "haproxy" else "sparkkeep.conf")
        (folder / "main.conf").write_text(NGINX.format(folder=folder))
        (folder / "house.cfg").write_text("global\n    maxconn 200\n")
        self._process: subprocess.Popen[bytes] | None = None

    def text(self, site: Site) -> str:
        return haproxy(site) if self.kind == "haproxy" else nginx(site)

    def check(self) -> str:
        """What it says of its configuration. Raises if it does not like it."""
        done = subprocess.run(
            [*self._argv(), "-c" if self.kind == "haproxy" else "-t"], capture_output=True, check=True
        )
        return (done.stdout + done.stderr).decode()

    def begin(self, site: Site) -> None:
        self.file.write_text(self.text(site))
        self.check()
        more = ["-W"] if self.kind == "haproxy" else ["-g", "daemon off;"]
        with (self._folder / "out").open("wb") as out:
            self._process = subprocess.Popen([*self._argv(), *more], stdout=out, stderr=out)
        wait_for(self._listens, f"{self.kind} to listen")

    def reload(self, site: Site) -> None:
        """Told as systemd tells it. HAProxy's master is deaf in its first moments, and says when it has heard."""
        self.file.write_text(self.text(site))
        assert self._process is not None
        if self.kind == "nginx":
            self._process.send_signal(signal.SIGHUP)
            return
        for _ in range(50):
            self._process.send_signal(signal.SIGUSR2)
            with suppress(HostError):
                wait_for(self._reloading, "HAProxy to hear it", seconds=0.2)
                return
        raise HostError("HAProxy does not hear")

    def _reloading(self) -> bool:
        return b"Reloading" in (self._folder / "out").read_bytes()

    def end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)

    def _argv(self) -> list[str]:
        if self.kind == "haproxy":
            return [self._program, "-f", str(self._folder / "house.cfg"), "-f", str(self.file)]
        return [self._program, "-p", str(self._folder), "-c", str(self._folder / "main.conf")]

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False


@dataclass
class Stage:
    """A proxy with sparkkeep and two Sparks behind it, all of which the test holds in its hand."""

    proxy: Proxy
    keeper: Server
    sparks: list[Server]
    apps: httpx2.AsyncClient

    def site(self, sparks: Sequence[Server], *, by_body: bool = False, most: int | None = None) -> Site:
        backends = tuple(
            Backend(workload="qwen3", spark=each.name, host="127.0.0.1", port=each.port, model="qwen3")
            for each in sparks
        )
        return Site(
            pools=ordered([Pool(name="qwen3", model="qwen3", backends=backends, page="/health", most=most)]),
            keeper=f"127.0.0.1:{self.keeper.port}",
            listen=f"127.0.0.1:{self.proxy.port}",
            by_body=by_body,
        )

    async def ask(self, path: str = "/m/qwen3/v1/chat/completions", **body: object) -> str:
        """Who answered."""
        answer = await self.apps.post(path, json={"model": "qwen3", **body})
        assert answer.status_code == 200, answer.text
        name: str = answer.json()["by"]
        return name

    async def until(self, true: Callable[[], bool | Awaitable[bool]], what: str) -> None:
        async with asyncio.timeout(15):
            while True:
                found = true()
                if found if isinstance(found, bool) else await found:
                    return
                await asyncio.sleep(0.02)


@pytest.fixture(params=["haproxy", "nginx"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def stage(kind: str, tmp_path: Path) -> AsyncIterator[Stage]:
    proxy = Proxy(kind, tmp_path, free_port())
    async with AsyncExitStack() as stack:
        keeper, *sparks = [
            await stack.enter_async_context(Server(name)) for name in ("sparkkeep", "spark-1", "spark-2", "spark-3")
        ]
        apps = await stack.enter_async_context(
            httpx2.AsyncClient(
                base_url=proxy.url, trust_env=False, timeout=20, limits=httpx2.Limits(max_connections=50)
            )
        )
        try:
            yield Stage(proxy, keeper, sparks, apps)
        finally:
            proxy.end()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
