"""The Engine's socket: the shapes that dockerd answers with."""

import asyncio
import json
import struct
from typing import Any
from urllib.parse import quote

import h11
import pytest

from reconciler.practice.memory import MemoryConnection, MemoryStream
from reconciler.practice.spark import Spark


class Client:
    """One kept-alive stream."""

    def __init__(self, stream: MemoryStream) -> None:
        self.reader, self.writer = stream
        self.http = h11.Connection(h11.CLIENT)

    async def head(self, target: str, method: str = "GET") -> h11.Response:
        if self.http.our_state is h11.DONE:
            self.http.start_next_cycle()
        self.writer.write(self.http.send(h11.Request(method=method, target=target, headers=[("Host", "docker")])))
        self.writer.write(self.http.send(h11.EndOfMessage()))
        return await self.event()

    async def event(self) -> Any:
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await asyncio.wait_for(self.reader.read(65536), 5))
        return event

    async def get(self, target: str, method: str = "GET") -> tuple[int, bytes]:
        head = await self.head(target, method)
        body = b""
        while isinstance(event := await self.event(), h11.Data):
            body += bytes(event.data)
        return head.status_code, body

    async def json(self, target: str) -> Any:
        status, body = await self.get(target)
        assert status == 200, body
        return json.loads(body)


async def dial(link: MemoryConnection) -> Client:
    return Client(await link.open_engine())


LIST_KEYS = {
    *("Id", "Names", "Image", "ImageID", "Command", "Created", "Ports", "Labels", "State", "Status"),
    *("HostConfig", "NetworkSettings", "Mounts"),
}
STATE_KEYS = {
    *("Status", "Running", "Paused", "Restarting", "OOMKilled", "Dead", "Pid", "ExitCode", "Error"),
    *("StartedAt", "FinishedAt"),
}
INSPECT_KEYS = {
    *("Id", "Created", "Path", "Args", "State", "Image", "Name", "RestartCount", "Driver", "Platform"),
    *("HostConfig", "Config", "NetworkSettings", "Mounts", "LogPath"),
}


async def test_ping_version_info(link: MemoryConnection) -> None:
    client = await dial(link)
    assert await client.get("/_ping") == (200, b"OK")
    version = await client.json("/v1.41/version")
    assert (version["Version"], version["ApiVersion"]) == ("28.2.2", "1.50")
    assert (await client.json("/info"))["Architecture"] == "aarch64"


async def test_containers(link: MemoryConnection) -> None:
    await link.run("docker run -d --name one --label k=v --publish 8080:80 img:1 'a b' c")
    await link.run("docker create --name two img:1")
    client = await dial(link)
    running = await client.json("/containers/json")
    assert [c["Names"] for c in running] == [["/one"]]
    assert running[0].keys() == LIST_KEYS
    assert running[0]["Command"] == "'a b' c"
    assert running[0]["Ports"] == [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}]
    assert [c["State"] for c in await client.json("/containers/json?all=1")] == ["created", "running"]
    wanted = quote(json.dumps({"label": ["k=v"]}))
    assert len(await client.json(f"/v1.41/containers/json?all=1&filters={wanted}")) == 1
    found = await client.json("/containers/one/json")
    assert found.keys() >= INSPECT_KEYS
    assert found["State"].keys() == STATE_KEYS
    assert found["NetworkSettings"]["Ports"] == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}
    assert found["State"]["FinishedAt"] == "0001-01-01T00:00:00Z"
    assert await client.get("/containers/no/json") == (404, b'{"message":"No such container: no"}\n')


async def test_errors(link: MemoryConnection) -> None:
    client = await dial(link)
    assert await client.get("/nosuch") == (404, b'{"message":"page not found"}\n')
    status, body = await client.get("/v9.99/info")
    assert (status, b"too new" in body) == (400, True)
    assert (await client.get("/v1.10/info"))[0] == 400
    assert (await client.get("/containers/json?filters=x"))[0] == 400
    assert (await client.get("/containers/create", "POST"))[0] == 501


async def test_images(link: MemoryConnection) -> None:
    (image,) = await (await dial(link)).json("/images/json")
    assert image["RepoTags"] == ["img:1"]
    assert image["RepoDigests"][0].startswith("img@sha256:")


async def test_logs(link: MemoryConnection) -> None:
    await link.run("docker run --name one img:1 sh -c 'echo out; echo err >&2'")
    client = await dial(link)
    status, body = await client.get("/containers/one/logs?stdout=1&stderr=1")
    assert status == 200
    assert body == struct.pack(">BxxxL", 1, 4) + b"out\n" + struct.pack(">BxxxL", 2, 4) + b"err\n"
    assert (await client.get("/containers/one/logs"))[0] == 400


async def test_events_live_and_past(link: MemoryConnection, spark: Spark) -> None:
    client = await dial(link)
    filters = quote(json.dumps({"type": ["container"]}))
    head = await client.head(f"/events?filters={filters}")
    assert head.status_code == 200
    await link.run("docker run -d --name one --label k=v img:1")
    seen = []
    while len(seen) < 2:
        event = await client.event()
        seen += [json.loads(line) for line in bytes(event.data).splitlines()]
    assert [event["Action"] for event in seen] == ["create", "start"]
    assert seen[0]["Actor"]["Attributes"] == {"image": "img:1", "k": "v", "name": "one"}
    assert seen[0]["time"] == seen[0]["timeNano"] // 10**9
    past = await (await dial(link)).get("/events?since=0&until=1.5")
    assert past == (200, b"")
    spark.faults.daemon_down()
    with pytest.raises(h11.RemoteProtocolError):  # broken off, as when a daemon ends
        await client.event()


async def test_the_ring_forgets(link: MemoryConnection, spark: Spark) -> None:
    for _ in range(140):
        await link.run("docker run --rm --network host img:1 true")
    assert len(spark.engine.events.past(0)) == 256


async def test_a_listener_that_leaves_is_forgotten(link: MemoryConnection, spark: Spark) -> None:
    client = await dial(link)
    await client.head("/events")
    await asyncio.sleep(0.01)
    client.writer.close()
    await asyncio.sleep(0.05)
    assert not spark.engine.events._listeners
