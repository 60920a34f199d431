"""The harness itself: what it builds behaves as real machines do."""

import asyncio
import json
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncssh
import pytest

from tests.hosts.fleet import Fleet
from tests.hosts.host import Host
from tests.hosts.registry import Registry
from tests.hosts.shell import HostError, wait_for


@asynccontextmanager
async def ssh(fleet: Fleet, host: Host, **options: Any) -> AsyncIterator[asyncssh.SSHClientConnection]:
    async with asyncssh.connect(
        host.address,
        host.port,
        username="root",
        client_keys=[str(fleet.key)],
        known_hosts=str(fleet.known_hosts),
        config=None,
        agent_path=None,
        **{"connect_timeout": 5, **options},
    ) as connection:
        yield connection


def serve(host: Host, name: str, *options: str, port: int = 9000, args: tuple[str, ...] = ()) -> None:
    host.docker("run", "-d", "--name", name, "--network", "host", *options, "keep/echo:1", "--port", str(port), *args)


def fetch(host: Host, path: str, port: int = 9000) -> str:
    with urllib.request.urlopen(f"http://{host.address}:{port}{path}", timeout=2) as answer:
        return str(answer.read().decode())


def healthy(host: Host, port: int = 9000) -> bool:
    try:
        return fetch(host, "/health", port) == "ok"
    except OSError:
        return False


def state(host: Host, name: str) -> str:
    return host.docker("inspect", "--format", "{{.State.Status}}", name).strip()


async def test_each_host_is_a_machine_of_its_own(fleet: Fleet, hosts: list[Host]) -> None:
    seen = []
    for host in hosts:
        async with ssh(fleet, host) as connection:
            asked = await connection.run("hostname; cat /etc/hostname; readlink /proc/self/ns/net; ls -A /root")
            seen.append(str(asked.stdout).split())
    assert [words[:2] for words in seen] == [["spark-1", "spark-1"], ["spark-2", "spark-2"]]
    assert seen[0][2] != seen[1][2]
    hosts[0].run(["sh", "-c", "mkdir /models && touch /models/one /root/two /etc/three"])
    assert "models" not in hosts[1].run(["ls", "/"])
    with pytest.raises(HostError, match="Read-only"):
        hosts[0].run(["touch", "/usr/bin/four"])


async def test_the_wrong_key_is_refused(fleet: Fleet, hosts: list[Host]) -> None:
    async with ssh(fleet, hosts[0]) as before:
        hosts[0].new_host_key()
        with pytest.raises(asyncssh.HostKeyNotVerifiable):
            async with ssh(fleet, hosts[0]):
                pass
        assert (await before.run("true")).exit_status == 0, "an open connection outlives a restart of sshd"
    hosts[0].reset()
    async with ssh(fleet, hosts[0]) as connection:
        assert (await connection.run("true")).exit_status == 0


def test_a_container_serves_on_the_hosts_address_and_dies(hosts: list[Host]) -> None:
    serve(hosts[0], "web", "-e", "COLOUR=a b", args=("it's", ""))
    serve(hosts[1], "web")
    wait_for(lambda: healthy(hosts[0]) and healthy(hosts[1]), "both to serve")
    assert json.loads(fetch(hosts[0], "/args")) == ["/bin/keep-server", "--port", "9000", "it's", ""]
    assert json.loads(fetch(hosts[0], "/env"))["COLOUR"] == "a b"
    hosts[0].docker("kill", "web")
    assert state(hosts[0], "web") == "exited"
    assert state(hosts[1], "web") == "running"


def test_the_server_does_what_its_arguments_say(hosts: list[Host]) -> None:
    host = hosts[0]
    serve(host, "first", args=("--unhealthy-after", "0.2"))
    serve(host, "second")
    serve(host, "refused", port=9001, args=("--fail-bind-exit",))
    serve(host, "brief", port=9002, args=("--exit-after", "0.1", "--exit-code", "7"))
    serve(host, "stubborn", port=9003, args=("--ignore-term",))
    serve(host, "late", port=9004, args=("--slow-start", "0.7"))
    assert not healthy(host, 9004)
    for name, code in (("second", "1"), ("refused", "1"), ("brief", "7")):
        assert host.docker("wait", name).strip() == code
    assert host.logs("second") == host.logs("refused") == "bind: Address already in use\n"
    wait_for(lambda: not healthy(host), "the first to be unhealthy")
    wait_for(lambda: healthy(host, 9004), "the late one")
    assert stop_seconds(host, "first") < 1 < stop_seconds(host, "stubborn")


def stop_seconds(host: Host, name: str) -> float:
    began = time.monotonic()
    host.docker("stop", "--time", "1", name)
    return time.monotonic() - began


def test_power_loss_and_boot(hosts: list[Host]) -> None:
    host = hosts[0]
    serve(host, "stays", "--restart", "unless-stopped")
    serve(host, "plain", port=9001)
    host.run(["touch", "/root/kept", "/tmp/lost"])
    wait_for(lambda: healthy(host), "stays to serve")
    host.crash()
    assert not host.up()
    assert not healthy(host)
    host.boot()
    wait_for(lambda: healthy(host), "stays to be back")
    assert state(host, "plain") == "exited"
    assert host.run(["ls", "/root/kept", "/tmp"]).split() == ["/root/kept", "/tmp:"]


async def test_power_loss_is_silent(fleet: Fleet, hosts: list[Host]) -> None:
    async with ssh(fleet, hosts[0], keepalive_interval=0.2, keepalive_count_max=2) as connection:
        hosts[0].crash()
        began = time.monotonic()
        await asyncio.wait_for(connection.wait_closed(), 5)
        assert time.monotonic() - began > 0.3, "noticed by its own keepalive only, as no peer said goodbye"
    hosts[0].boot()


async def test_cut_and_heal(fleet: Fleet, hosts: list[Host]) -> None:
    async with ssh(fleet, hosts[0]) as connection:
        hosts[0].cut()
        hosts[0].cut()
        with pytest.raises(TimeoutError):
            async with ssh(fleet, hosts[0], connect_timeout=0.5):
                pass
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection.run("true"), 0.3)
        assert hosts[0].docker("ps", "-q") == "", "the engine is seen from outside even so"
        hosts[0].heal()
        hosts[0].heal()
        assert (await asyncio.wait_for(connection.run("true"), 5)).exit_status == 0
    async with ssh(fleet, hosts[1]) as other:
        assert (await other.run("true")).exit_status == 0


async def test_a_hung_host_accepts_and_says_nothing(fleet: Fleet, hosts: list[Host]) -> None:
    hosts[0].hang()
    with pytest.raises(TimeoutError):
        async with ssh(fleet, hosts[0], connect_timeout=0.5):
            pass
    hosts[0].resume()
    async with ssh(fleet, hosts[0]) as connection:
        assert (await connection.run("true")).exit_status == 0


@pytest.mark.parametrize("kill", [False, True])
def test_an_engine_restart_treats_containers_as_docker_does(hosts: list[Host], kill: bool) -> None:
    host = hosts[0]
    serve(host, "always", "--restart", "always")
    serve(host, "plain", port=9001)
    host.stop_daemon(kill=kill)
    assert not host.daemon_answers()
    host.start_daemon()
    host.start_daemon()
    wait_for(lambda: healthy(host), "always to be back")
    assert state(host, "plain") == "exited"


def test_the_registry(hosts: list[Host], registry: Registry) -> None:
    host, wanted = hosts[0], registry.reference("keep/echo:2")
    host.docker("pull", "--quiet", wanted)
    ids = host.docker("image", "inspect", "--format", "{{.Id}}", wanted, "keep/echo:2", "keep/echo:1").split()
    assert ids[0] == ids[1] != ids[2]
    with pytest.raises(HostError, match="manifest unknown"):
        host.docker("pull", registry.reference("keep/echo:9"))
    registry.stop()
    with pytest.raises(HostError, match="refused"):
        host.docker("pull", registry.reference("keep/echo:1"))
    registry.start()
    host.docker("image", "rm", wanted)


async def test_docker_commands_through_ssh_are_written_down(fleet: Fleet, hosts: list[Host]) -> None:
    odd = ["a b", "", "it's", '"', "$HOME", "`id`", "*", "\\", "é", "two\nlines", "--x=1;y"]
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in odd)
    async with ssh(fleet, hosts[0]) as connection:
        began = time.time()
        printed = await connection.run(f"docker run --rm --network none keep/argv:1 {quoted}", check=True)
        await connection.run("docker ps -q && docker nonsense")
    hosts[0].docker("ps")
    assert json.loads(str(printed.stdout)) == ["/bin/keep-argv", *odd]
    assert hosts[0].commands() == [
        ["docker", "run", "--rm", "--network", "none", "keep/argv:1", *odd],
        ["docker", "ps", "-q"],
        ["docker", "nonsense"],
    ]
    assert began - 1 < hosts[0].timed_commands()[0][0] < time.time() + 1
    hosts[0].clear_commands()
    assert hosts[0].commands() == hosts[1].commands() == []


async def test_the_engine_answers_on_a_forwarded_socket(fleet: Fleet, hosts: list[Host]) -> None:
    async with ssh(fleet, hosts[0]) as connection:
        reader, writer = await connection.open_unix_connection("/var/run/docker.sock")
        writer.write(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"OK")
        writer.close()
    hosts[0].sshd_option("AllowStreamLocalForwarding no")
    async with ssh(fleet, hosts[0]) as connection:
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_unix_connection("/var/run/docker.sock")
        assert (await connection.run("docker ps -q")).exit_status == 0


async def test_another_login_shell(fleet: Fleet, hosts: list[Host]) -> None:
    hosts[0].set_login_shell("/bin/dash")
    for host, shell in zip(hosts, ("/bin/dash", "/bin/bash"), strict=True):
        async with ssh(fleet, host) as connection:
            assert (await connection.run("readlink -f $SHELL")).stdout == f"/usr{shell}\n"


async def test_the_gpu_is_a_gb10(fleet: Fleet, hosts: list[Host]) -> None:
    async with ssh(fleet, hosts[0]) as connection:
        asked = await connection.run(
            "nvidia-smi --query-gpu=name,utilization.gpu,temperature.gpu,power.draw,memory.total --format=csv,noheader,nounits",
        )
    assert asked.stdout == "NVIDIA GB10, 3, 41, 12.34, [N/A]\n"
    limits = ("--privileged", "--ulimit", "memlock=-1", "--ulimit", "stack=67108864", "--ipc", "host")
    assert (
        hosts[0].docker("run", "--rm", "--gpus", "all", *limits, "--network", "host", "keep/argv:1")
        == '["/bin/keep-argv"]\n'
    )
