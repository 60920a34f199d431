"""Texts and exit codes of the docker command, as measured with docker 28.2 against real engines."""

import json
import shlex

import pytest

from reconciler.practice.memory import MemoryConnection, Result
from reconciler.practice.spark import Settings, Spark

HELP = "\n\nRun 'docker run --help' for more information\n"
USAGE = f"\n\nUsage:  docker run [OPTIONS] IMAGE [COMMAND] [ARG...]{HELP}"
RUN = "docker run --detach --network host --name"

REFUSED = {  # after `docker run --detach --network host`: what docker says
    "--bogus img:1": f"unknown flag: --bogus{USAGE}",
    "--bogus=1 img:1": f"unknown flag: --bogus{USAGE}",
    "-Z img:1": f"unknown shorthand flag: 'Z' in -Z{USAGE}",
    "--name": f"flag needs an argument: --name{USAGE}",
    "--shm-size 1zz img:1": f'invalid argument "1zz" for "--shm-size" flag: invalid suffix: \'zz\'{USAGE}',
    "--shm-size=-1 img:1": f'invalid argument "-1" for "--shm-size" flag: invalid size: \'-1\'{USAGE}',
    "--label =x img:1": f'invalid argument "=x" for "-l, --label" flag: invalid label \'=x\': empty name{USAGE}',
    "--env '' img:1": f'invalid argument "" for "-e, --env" flag: invalid environment variable: {USAGE}',
    "--ulimit foo img:1": f'invalid argument "foo" for "--ulimit" flag: invalid ulimit argument: foo{USAGE}',
    "--ulimit foo=1 img:1": f'invalid argument "foo=1" for "--ulimit" flag: invalid ulimit type: foo{USAGE}',
    "--ulimit nofile=20:10 img:1": (
        'invalid argument "nofile=20:10" for "--ulimit" flag: '
        f"ulimit soft limit must be less than or equal to hard limit: 20 > 10{USAGE}"
    ),
    "--mount type=bind,source=/x img:1": (
        f'invalid argument "type=bind,source=/x" for "--mount" flag: target is required{USAGE}'
    ),
    "--mount type=bind,source=/tmp,target=/y,bogus=1 img:1": (
        'invalid argument "type=bind,source=/tmp,target=/y,bogus=1" for "--mount" flag: '
        f"unexpected key 'bogus' in 'bogus=1'{USAGE}"
    ),
    "--gpus foo=bar,x img:1": (
        f"invalid argument \"foo=bar,x\" for \"--gpus\" flag: unexpected key 'foo' in 'foo=bar'{USAGE}"
    ),
    "--stop-timeout x img:1": (
        'invalid argument "x" for "--stop-timeout" flag: strconv.ParseInt: parsing "x": invalid syntax' + USAGE
    ),
    "--pull never nope:1": f"docker: Error response from daemon: No such image: nope:1{HELP}",
    "--pull bogus img:1": (
        f'docker: invalid pull option: \'bogus\': must be one of "always", "missing" or "never"{HELP}'
    ),
    "--mount type=bind,source=/nowhere,target=/x img:1": (
        'docker: Error response from daemon: invalid mount config for type "bind": '
        f"bind source path does not exist: /nowhere{HELP}"
    ),
    "--mount type=bind,source=rel,target=/x img:1": (
        'docker: Error response from daemon: invalid mount config for type "bind": '
        f"invalid mount path: 'rel' mount path must be absolute{HELP}"
    ),
    "--volume /x:rel img:1": (
        "docker: Error response from daemon: invalid volume specification: '/x:rel': invalid mount config for type "
        f"\"bind\": invalid mount path: 'rel' mount path must be absolute{HELP}"
    ),
    "--name x img:1": (
        "docker: Error response from daemon: Invalid container name (x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        + HELP
    ),
    "--restart foo img:1": f"docker: Error response from daemon: invalid restart policy 'foo'{HELP}",
    "--restart always:3 img:1": (
        f"docker: Error response from daemon: maximum retry count cannot be used with restart policy 'always'{HELP}"
    ),
    "--restart on-failure:x img:1": (
        f"docker: invalid restart policy format: maximum retry count must be an integer{HELP}"
    ),
    "--env-file /nofile img:1": f"docker: open /nofile: no such file or directory{HELP}",
    "--publish 99999:1 img:1": f"docker: invalid hostPort: 99999{HELP}",
    "--cap-add FOO img:1": (f'docker: Error response from daemon: invalid CapAdd: unknown capability: "CAP_FOO"{HELP}'),
    "--memory 1k img:1": f"docker: Error response from daemon: Minimum memory limit allowed is 6MB{HELP}",
    "--workdir rel img:1": (
        "docker: Error response from daemon: "
        f"the working directory 'rel' is invalid, it needs to be an absolute path{HELP}"
    ),
    "UPPER:1": (f"docker: invalid reference format: repository name (library/UPPER) must be lowercase{HELP}"),
}


async def ok(link: MemoryConnection, line: str) -> str:
    result = await link.run(line)
    assert (result.status, result.stderr) == (0, ""), line
    return result.stdout


@pytest.mark.parametrize(("flags", "text"), REFUSED.items())
async def test_run_refuses(link: MemoryConnection, flags: str, text: str, spark: Spark) -> None:
    result = await link.run(f"docker run --detach --network host {flags}")
    assert result == Result(125, "", text)
    assert not spark.engine.containers


async def test_every_flag_of_run(link: MemoryConnection, spark: Spark) -> None:
    await link.run("mkdir -p /home/practice/data; printf 'S=file\\n# no\\n\\nE=1=2 3\\n' > env")
    line = (
        "docker run --detach --name all --label a=b --label=c='d e' --restart unless-stopped --network host "
        "--pull never --gpus all --shm-size 16g --ipc host --env A='x y' -e B= --env-file env "
        "--mount type=bind,source=/home/practice/data,target=/d,readonly --volume /v:/w:ro --user 1:2 "
        "--workdir /work --ulimit memlock=-1 --ulimit nofile=10:20 --device /dev/fuse --cap-add IPC_LOCK --init "
        "--entrypoint /bin/x --stop-timeout 7 --memory 8g img:1 --flag 'a b' -- \"it's\""
    )
    identity = (await ok(link, line)).strip()
    found = json.loads(await ok(link, "docker inspect --type container all"))[0]
    assert found["Id"] == identity
    assert (found["Path"], found["Args"]) == ("/bin/x", ["--flag", "a b", "--", "it's"])
    config, host = found["Config"], found["HostConfig"]
    assert config["Labels"] == {"a": "b", "c": "d e"}
    assert config["Env"][:4] == ["S=file", "E=1=2 3", "A=x y", "B="]
    assert (config["User"], config["WorkingDir"], config["StopTimeout"]) == ("1:2", "/work", 7)
    assert config["Entrypoint"] == ["/bin/x"]
    assert host["RestartPolicy"] == {"Name": "unless-stopped", "MaximumRetryCount": 0}
    assert (host["NetworkMode"], host["IpcMode"], host["ShmSize"], host["Memory"]) == (
        "host",
        "host",
        16 << 30,
        8 << 30,
    )
    assert host["DeviceRequests"][0] == {
        "Driver": "", "Count": -1, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": {},
    }  # fmt: skip
    assert host["Ulimits"] == [
        {"Name": "memlock", "Hard": -1, "Soft": -1},
        {"Name": "nofile", "Hard": 20, "Soft": 10},
    ]
    assert host["Mounts"][0] == {"Type": "bind", "Source": "/home/practice/data", "Target": "/d", "ReadOnly": True}
    assert host["Binds"] == ["/v:/w:ro"]
    assert (host["CapAdd"], host["Init"]) == (["CAP_IPC_LOCK"], True)
    assert found["State"]["Status"] == "running"
    assert "/v" in spark.engine.files.folders, "--volume makes what is not there"


async def test_the_name_is_taken(link: MemoryConnection) -> None:
    identity = (await ok(link, f"{RUN} one img:1")).strip()
    result = await link.run(f"{RUN} one img:1")
    assert result.status == 125
    assert result.stderr == (
        'docker: Error response from daemon: Conflict. The container name "/one" is already in use by container '
        f'"{identity}". You have to remove (or rename) that container to be able to reuse that name.{HELP}'
    )


async def test_absent_containers(link: MemoryConnection) -> None:
    none = "Error response from daemon: No such container: no\n"
    assert await link.run("docker stop no") == Result(1, "", none)
    assert await link.run("docker rm no") == Result(1, "", none)
    assert await link.run("docker rm --force no") == Result(0, "", none), "docker 28 forgives that"
    assert await link.run("docker logs no") == Result(1, "", none)
    assert await link.run("docker start no") == Result(1, "", f"{none}Error: failed to start containers: no\n")
    assert await link.run("docker inspect --type container no") == Result(1, "[]\n", none)
    assert await link.run("docker inspect no") == Result(1, "[]\n", "Error: No such object: no\n")
    killed = "Error response from daemon: Cannot kill container: no: No such container: no\n"
    assert await link.run("docker kill no") == Result(1, "", killed)
    renamed = f"{none}Error: failed to rename container named no\n"
    assert await link.run("docker rename no ab") == Result(1, "", renamed)


async def test_a_running_container_is_not_removed(link: MemoryConnection) -> None:
    await ok(link, f"{RUN} one img:1")
    result = await link.run("docker rm one")
    assert result == Result(
        1,
        "",
        'Error response from daemon: cannot remove container "/one": container is running: '
        "stop the container before removing or force remove\n",
    )
    assert await ok(link, "docker rm -f one") == "one\n"


async def test_old_words() -> None:
    spark = Spark("spark-1", settings=Settings(serve=False, version="20.10.24", load_seconds=0))
    spark.engine.images.add("img:1")
    link = await MemoryConnection.connect(spark)
    identity = (await ok(link, f"{RUN} one img:1")).strip()
    assert (await link.run("docker rm one")).stderr == (
        f"Error response from daemon: You cannot remove a running container {identity}. "
        "Stop the container before attempting removal or force remove\n"
    )
    assert await ok(link, "docker stop --time 5 one") == "one\n"
    await spark.close()


async def test_stop_and_start(link: MemoryConnection) -> None:
    await ok(link, f"{RUN} one img:1 serve --port 8000")
    out = await ok(link, "docker stop --time 5 one")
    assert out == "Flag --time has been deprecated, use --timeout instead\none\n"
    assert json.loads(await ok(link, "docker inspect --format '{{json .State}}' one"))["ExitCode"] == 0
    assert await ok(link, "docker start one") == "one\n"
    assert await ok(link, "docker restart one") == "one\n"
    assert await ok(link, "docker pause one") == "one\n"
    refused = await link.run("docker start one")
    assert "cannot start a paused container, try unpause instead" in refused.stderr
    assert await ok(link, "docker unpause one") == "one\n"
    assert await ok(link, "docker update --restart=always one") == "one\n"
    assert await ok(link, "docker rename one two") == ""
    assert await ok(link, "docker kill two") == "two\n"
    assert await ok(link, "docker inspect --format '{{.State.ExitCode}} {{.RestartCount}}' two") == "137 0\n"


async def test_published_ports(link: MemoryConnection, spark: Spark) -> None:
    await ok(link, "docker run -d --name one --publish 127.0.0.1:8080:80 img:1")
    result = await link.run("docker run -d --name two -p 8080:80/tcp img:1")
    assert result.status == 125
    assert len(result.stdout.strip()) == 64, "the id is printed all the same"
    assert "port is already allocated" in result.stderr
    assert (await ok(link, "docker inspect --format '{{.State.Status}}' two")) == "created\n"
    spark.faults.port_taken(9090)
    result = await link.run("docker run -d --name three -p 9090:80 img:1")
    assert "address already in use" in result.stderr
    assert await ok(link, "docker ps --format '{{.Names}} {{.Ports}}'") == "one 127.0.0.1:8080->80/tcp\n"


async def test_a_taken_port_on_the_host_network(link: MemoryConnection, spark: Spark) -> None:
    spark.faults.port_taken(9000)
    await ok(link, f"{RUN} one img:1 serve --port 9000")
    assert await ok(link, "docker wait one") == "1\n"
    assert (await link.run("docker logs one")).stderr == "bind: Address already in use\n"


async def test_images_and_pulls(link: MemoryConnection, spark: Spark) -> None:
    out = await ok(link, "docker pull ghcr.io/some/model:2")
    assert out.splitlines()[-2:] == ["Status: Downloaded newer image for ghcr.io/some/model:2", "ghcr.io/some/model:2"]
    rows = [json.loads(line) for line in (await ok(link, "docker images --digests --format '{{json .}}'")).splitlines()]
    assert {(row["Repository"], row["Tag"]) for row in rows} == {("img", "1"), ("ghcr.io/some/model", "2")}
    assert all(row["Digest"].startswith("sha256:") for row in rows)
    assert await link.run("docker pull foo:missing") == Result(
        1, "", "Error response from daemon: manifest for foo:missing not found: manifest unknown: manifest unknown\n"
    )
    assert (
        await link.run("docker pull ghcr.io/foo:missing")
    ).stderr == "Error response from daemon: manifest unknown\n"
    missing = await link.run("docker run -d foo:missing")
    assert missing.status == 125
    assert missing.stderr.startswith("Unable to find image 'foo:missing' locally\ndocker: Error response from daemon: ")
    await ok(link, "docker rmi ghcr.io/some/model:2")
    spark.faults.pull_fails("unauthorized")
    assert "pull access denied for foo" in (await link.run("docker pull foo:1")).stderr
    assert "unauthorized: authentication required" in (await link.run("docker pull nvcr.io/foo:1")).stderr
    spark.faults.pull_fails("network")
    assert "i/o timeout" in (await link.run("docker pull foo:1")).stderr
    spark.faults.pull_fails("")
    spark.faults.disk_full()
    assert "no space left on device" in (await link.run("docker pull foo:1")).stderr


async def test_build(link: MemoryConnection) -> None:
    out = await ok(link, "printf 'FROM img:1\\nRUN true\\n' | docker build --tag mine:1 -")
    assert out.splitlines()[-1] == "Successfully tagged mine:1"
    await ok(link, f"{RUN} one mine:1")
    assert (await link.run("docker build -t x - < /dev/null")).stderr == (
        "Error response from daemon: the Dockerfile (Dockerfile) cannot be empty\n"
    )


async def test_logs(link: MemoryConnection) -> None:
    result = await link.run("docker run --network host --name six img:1 sh -c 'echo a; echo b >&2; exit 4'")
    assert result == Result(4, "a\n", "b\n")
    assert await link.run("docker logs six") == Result(0, "a\n", "b\n")
    stamped = await link.run("docker logs --timestamps --tail 1 six")
    assert stamped.stderr.endswith("Z b\n")
    assert (await link.run("docker logs --follow six")).stdout == "a\n"


async def test_ps(link: MemoryConnection) -> None:
    identity = (await ok(link, f"{RUN} one --label k=v img:1")).strip()
    await ok(link, f"{RUN} two img:1 true")
    await ok(link, "docker wait two")
    assert await ok(link, "docker ps --quiet --no-trunc") == f"{identity}\n"
    assert len((await ok(link, "docker ps --all --quiet")).splitlines()) == 2
    assert await ok(link, "docker ps -a --filter label=k=v --format '{{.Names}}'") == "one\n"
    row = json.loads(await ok(link, "docker ps --format '{{json .}}'"))
    assert (row["Names"], row["State"], row["Labels"]) == ("one", "running", "k=v")
    assert (await ok(link, "docker ps")).splitlines()[0].split() == [
        "CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES",
    ]  # fmt: skip
    assert (
        await link.run("docker ps --filter bogus=1")
    ).stderr == "Error response from daemon: invalid filter 'bogus'\n"
    assert (await link.run("docker ps x")).status == 1


async def test_the_daemon_is_down(link: MemoryConnection, spark: Spark) -> None:
    spark.faults.daemon_down()
    down = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
    assert await link.run("docker ps") == Result(1, "", f"{down}\n")
    assert await link.run("docker run -d img:1") == Result(125, "", f"docker: {down}{HELP}")
    spark.faults.daemon_up()
    await ok(link, "docker ps")
    assert spark.faults.counts["daemon_down"] == 2


async def test_what_was_sent_is_kept(link: MemoryConnection, spark: Spark) -> None:
    await link.run("docker ps; docker rm 'a b'")
    assert [(command.argv, command.status) for command in spark.commands] == [
        (("docker", "ps"), 0),
        (("docker", "rm", "a b"), 1),
    ]


@pytest.mark.parametrize(
    "line", ["docker frob", "docker stop", "docker rename a", "docker ps x", "docker events --until x y"]
)
async def test_wrong_usage(link: MemoryConnection, line: str) -> None:
    result = await link.run(line)
    assert result.status == 1
    assert result.stderr.startswith("docker: ")
    assert shlex.split(line)[1] in result.stderr
