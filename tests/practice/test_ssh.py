"""Through real SSH: asyncssh as the loop uses it, and the system's own ssh."""

import asyncio
import shutil
import subprocess

import asyncssh
import pytest

from reconciler import facts, shell
from reconciler.practice.fleet import PracticeFleet
from tests.practice.conftest import login

SOCKET = "/var/run/docker.sock"
PING = b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n"


async def sh(connection: asyncssh.SSHClientConnection, script: str) -> asyncssh.SSHCompletedProcess:
    return await connection.run(shell.REMOTE_SHELL, input=shell.guarded(script))


async def test_a_scan(ssh: asyncssh.SSHClientConnection, fleet: PracticeFleet) -> None:
    await sh(ssh, "docker run -d --name one --network host img:1 serve --port 18080")
    fleet["spark-1"].faults.port_taken(5432)
    answer = await sh(ssh, facts.script("n0nce", full=True, settled=True, cli=True))
    found = facts.sections(str(answer.stdout), "n0nce")
    facts.check(found, facts.REQUIRED | facts.SLOW.keys())
    read = facts.read_facts(found)
    assert read.boot_id == fleet["spark-1"].machine.boot_id
    assert (read.memory_total, read.memory_available) == (121 << 30, 115 << 30)
    assert {22, 5432} <= read.listeners
    assert read.disk_free
    assert read.disk_total
    assert read.gpus[0].name == "NVIDIA GB10"
    assert read.interfaces["enP7s7"] == (fleet["spark-1"].host,)
    assert '"Name": "/one"' in found["containers"].text
    assert '"Repository":"img"' in found["images"].text


async def test_a_scan_of_an_empty_spark(ssh: asyncssh.SSHClientConnection) -> None:
    found = facts.sections(str((await sh(ssh, facts.script("n", full=False, cli=True))).stdout), "n")
    assert found["containers"] == facts.Section("[]\n", 0)


async def test_a_scan_while_the_daemon_is_down(ssh: asyncssh.SSHClientConnection, fleet: PracticeFleet) -> None:
    fleet["spark-1"].faults.daemon_down()
    found = facts.sections(str((await sh(ssh, facts.script("n", full=False, cli=True))).stdout), "n")
    with pytest.raises(facts.ScanFailed, match="Cannot connect to the Docker daemon"):
        facts.check(found, facts.REQUIRED)
    with pytest.raises(asyncssh.ChannelOpenError):
        await ssh.open_unix_connection(SOCKET)


async def test_secrets(ssh: asyncssh.SSHClientConnection, fleet: PracticeFleet) -> None:
    value = 'it\'s \\ $(id) "x"'
    argv = ("docker", "run", "-d", "--name", "one", "--env-file", shell.home_path("$HOME/.env/one"), "img:1")
    result = await sh(ssh, shell.with_env_file("$HOME/.env", "one", {"TOKEN": value}, argv))
    assert result.exit_status == 0
    engine = fleet["spark-1"].engine
    assert engine.find("one").spec.environment["TOKEN"] == value
    assert engine.files.ever == [("/home/practice/.env/one", 0o600)]
    assert not engine.files.names("/home/practice/.env"), "it is removed"
    assert value not in repr(fleet["spark-1"].commands)
    failed = await sh(ssh, shell.with_env_file("$HOME/.env", "two", {"A": "b"}, ("docker", "run", "--bogus")))
    assert failed.exit_status == 125
    assert not engine.files.names("/home/practice/.env")


async def test_the_socket(ssh: asyncssh.SSHClientConnection) -> None:
    reader, writer = await ssh.open_unix_connection(SOCKET, encoding=None)
    for _ in range(3):
        writer.write(PING)
        assert (await reader.readuntil(b"\r\n\r\nOK")).startswith(b"HTTP/1.1 200 OK\r\n")
    writer.close()
    with pytest.raises(asyncssh.ChannelOpenError):
        await ssh.open_unix_connection("/etc/passwd")


async def test_ports(ssh: asyncssh.SSHClientConnection, fleet: PracticeFleet) -> None:
    spark = fleet["spark-1"]
    await sh(ssh, "docker run -d --name one --network host img:1 serve --port 18080")
    await spark.engine.find("one").process.ready.wait()
    request = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    reader, writer = await ssh.open_connection("127.0.0.1", 18080, encoding=None)
    writer.write(request)
    assert (await reader.read()).endswith(b"ok")
    plain_reader, plain_writer = await asyncio.open_connection(spark.host, 18080)
    plain_writer.write(request)
    assert (await plain_reader.read()).endswith(b"ok")
    plain_writer.close()
    await plain_writer.wait_closed()
    for host, port in (("127.0.0.1", 18081), ("example.org", 18080), (fleet["spark-2"].host, 18080)):
        with pytest.raises(asyncssh.ChannelOpenError):
            await ssh.open_connection(host, port)
    await sh(ssh, "docker rm -f one")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(spark.host, 18080)


async def test_forwarding_can_be_refused(ssh: asyncssh.SSHClientConnection, fleet: PracticeFleet) -> None:
    fleet["spark-1"].faults.forwarding_refused()
    for opening in (ssh.open_unix_connection(SOCKET), ssh.open_connection("127.0.0.1", 1)):
        with pytest.raises(asyncssh.ChannelOpenError) as refused:
            await opening
        assert refused.value.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED
    assert (await sh(ssh, "docker ps")).exit_status == 0


async def test_max_sessions(ssh: asyncssh.SSHClientConnection, fleet: PracticeFleet) -> None:
    fleet["spark-1"].faults.max_sessions(3)
    held = [await ssh.create_process("cat") for _ in range(3)]
    with pytest.raises(asyncssh.ChannelOpenError):
        await ssh.create_process("true")
    await ssh.open_unix_connection(SOCKET)  # not a session
    held[0].stdin.write_eof()
    await held[0].wait()
    assert (await ssh.run("true")).exit_status == 0
    assert fleet["spark-1"].faults.counts["max_sessions"] == 1
    for process in held:
        process.close()


async def test_login(fleet: PracticeFleet) -> None:
    spark = fleet["spark-1"]
    spark.faults.auth_refused()
    with pytest.raises(asyncssh.PermissionDenied):
        await login(spark, fleet)
    spark.faults.auth_refused(False)
    other = asyncssh.generate_private_key("ssh-ed25519")
    with pytest.raises(asyncssh.PermissionDenied):
        await login(spark, fleet, client_keys=[other])
    spark.faults.new_host_key()
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        await login(spark, fleet)


async def test_cut_and_heal(ssh: asyncssh.SSHClientConnection, fleet: PracticeFleet) -> None:
    spark = fleet["spark-1"]
    spark.faults.cut()
    silent = asyncio.ensure_future(sh(ssh, "docker run -d --name late img:1"))
    with pytest.raises((TimeoutError, asyncssh.Error)):
        await login(spark, fleet, connect_timeout=0.3)
    assert not silent.done()
    assert not spark.engine.containers
    spark.faults.heal()
    assert (await silent).exit_status == 0
    (await login(spark, fleet)).close()


async def test_keepalives_notice_a_cut(fleet: PracticeFleet) -> None:
    connection = await login(fleet["spark-1"], fleet, keepalive_interval=0.1, keepalive_count_max=2)
    await asyncio.sleep(0.4)
    assert (await connection.run("true")).exit_status == 0
    fleet["spark-1"].faults.cut()
    await asyncio.wait_for(connection.wait_closed(), 3)


async def test_drop(ssh: asyncssh.SSHClientConnection, fleet: PracticeFleet) -> None:
    fleet["spark-1"].faults.drop()
    await asyncio.wait_for(ssh.wait_closed(), 3)
    again = await login(fleet["spark-1"], fleet)
    again.close()
    await again.wait_closed()


async def test_a_lost_reply(ssh: asyncssh.SSHClientConnection, fleet: PracticeFleet) -> None:
    fleet["spark-1"].faults.lose_reply()
    result = await sh(ssh, "docker run -d --name one img:1")
    assert result.exit_status is None
    assert fleet["spark-1"].engine.find("one").state == "running", "it was done"
    again = await login(fleet["spark-1"], fleet)
    assert (await sh(again, "docker run -d --name one img:1")).exit_status == 125
    again.close()
    await again.wait_closed()


async def test_output_that_breaks_off(ssh: asyncssh.SSHClientConnection, fleet: PracticeFleet) -> None:
    fleet["spark-1"].faults.cut_output(100)
    answer = await sh(ssh, facts.script("n", full=False, cli=False))
    with pytest.raises(facts.ScanFailed):
        facts.sections(str(answer.stdout), "n")
    assert fleet["spark-1"].faults.counts["cut_output"] == 1


async def test_a_command_outlives_its_connection(ssh: asyncssh.SSHClientConnection, fleet: PracticeFleet) -> None:
    engine = fleet["spark-1"].engine
    await sh(ssh, "docker run -d --name one --network host img:1 --ignore-term")
    waiting = asyncio.ensure_future(sh(ssh, "docker stop --time 1 one"))
    await asyncio.sleep(0.2)
    fleet["spark-1"].faults.drop()
    await asyncio.gather(waiting, return_exceptions=True)
    assert engine.find("one").state == "running"
    await asyncio.wait_for(engine.find("one").ended.wait(), 3)


async def test_half_a_script_runs_nothing(fleet: PracticeFleet) -> None:
    """Guarded it does nothing; unguarded, a real shell runs the lines that came, and so does this one."""
    for script, made in ((shell.guarded("mkdir first\nmkdir second"), False), ("mkdir third\nmkdir fou", True)):
        connection = await login(fleet["spark-1"], fleet)
        process = await connection.create_process(shell.REMOTE_SHELL)
        process.stdin.write(script[: len(script) - 3])
        await asyncio.sleep(0.05)
        connection.abort()
        await connection.wait_closed()
        await asyncio.sleep(0.1)
        names = fleet["spark-1"].engine.files.names("/home/practice")
        assert ("first" in names, "third" in names) == (False, made)


async def test_a_signal_ends_a_command(ssh: asyncssh.SSHClientConnection) -> None:
    process = await ssh.create_process("sleep 60")
    await asyncio.sleep(0.05)
    process.send_signal("KILL")
    result = await asyncio.wait_for(process.wait(), 3)
    assert result.exit_signal is not None


async def test_power(ssh: asyncssh.SSHClientConnection, fleet: PracticeFleet) -> None:
    spark = fleet["spark-1"]
    await sh(ssh, "docker run -d --name one --restart always --network host img:1 serve --port 18080")
    await spark.faults.power_off()
    with pytest.raises((TimeoutError, asyncssh.Error)):
        await login(spark, fleet, connect_timeout=0.3)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(spark.host, 18080)
    assert not ssh.is_closed(), "nobody told it"
    await spark.faults.boot()
    await asyncio.wait_for(ssh.wait_closed(), 3)
    again = await login(spark, fleet)
    assert str((await sh(again, "docker ps --format '{{.Names}}'")).stdout) == "one\n"
    again.close()
    await again.wait_closed()


async def test_followed_logs(ssh: asyncssh.SSHClientConnection, fleet: PracticeFleet) -> None:
    await sh(ssh, "docker run -d --name one --network host img:1 serve --port 18080")
    process = await ssh.create_process("docker logs --follow one")
    lines = [await process.stdout.readline() for _ in range(2)]
    assert lines[1] == "listening on 18080\n"
    await sh(ssh, "docker stop one")
    assert (await process.wait()).exit_status == 0


async def test_many_at_once(ssh: asyncssh.SSHClientConnection) -> None:
    results = await asyncio.gather(*(sh(ssh, f"sleep 0.0{n}; echo {n}") for n in range(10)))
    assert [str(result.stdout) for result in results] == [f"{n}\n" for n in range(10)]


async def test_a_person_at_a_terminal(ssh: asyncssh.SSHClientConnection) -> None:
    result = await ssh.run(input="hostname\ndocker ps -q\nexit\n")
    assert "spark-1\n" in str(result.stdout)


@pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh here")
async def test_the_systems_ssh(fleet: PracticeFleet) -> None:
    spark = fleet["spark-2"]
    options = ["-F", "none", "-i", fleet.key_path, "-o", f"UserKnownHostsFile={fleet.known_hosts_path}"]
    options += ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-p", str(spark.port)]

    def call(*command: str, text: str = "") -> tuple[int, str, str]:
        done = subprocess.run(
            ["ssh", *options, f"{spark.user}@{spark.host}", *command],
            input=text, capture_output=True, text=True, check=False, timeout=20,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    assert await asyncio.to_thread(call, "hostname; exit 3") == (3, "spark-2\n", "")
    script = shell.guarded("docker run -d --name one img:1; nosuch")
    status, out, error = await asyncio.to_thread(call, "exec sh", text=script)
    assert (status, len(out), error) == (127, 65, "sh: 2: nosuch: not found\n")


async def test_a_fleet_keeps_its_keys(tmp_path, fleet: PracticeFleet) -> None:
    before = fleet.known_hosts_path.read_text()
    assert fleet.key_path.stat().st_mode & 0o777 == 0o600
    async with PracticeFleet(2, tmp_path, first_port=0, foreign=["grafana"]) as again:
        assert [line.split()[1:] for line in again.known_hosts.splitlines()] == [
            line.split()[1:] for line in before.splitlines()
        ]
        assert again["spark-1"].engine.find("grafana").state == "running"
        assert again.desired_sparks()["spark-2"] == {
            "host": again["spark-2"].host, "port": again["spark-2"].port, "user": "practice",
        }  # fmt: skip
