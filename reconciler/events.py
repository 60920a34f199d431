"""The Engine's event stream, which wakes the loop at once when a container comes, goes, or changes.

An event only says that a Spark is worth another look; what it says is not believed. So only the kind of an event
is read, and those that no scan could see (exec, attach, resize) are passed over. What the stream loses, the next
full scan finds.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Final

from reconciler.engine import Engine, EngineDown, docker_host
from reconciler.shell import join
from reconciler.ssh import Link

ACTIONS: Final = frozenset(
    {
        "create",
        "start",
        "die",
        "kill",
        "stop",
        "oom",
        "destroy",
        "pause",
        "unpause",
        "rename",
        "health_status",
        "update",
        "restart",
    }
)


async def watch(link: Link, engine: Engine, *, since: float | None, wake: Callable[[str], None]) -> None:
    """Call `wake` with the action of every event that changes what a scan would see.

    Never returns: the end of the stream raises EngineDown, LinkDown or ChannelRefused.
    """
    events = _by_cli(link, engine, since) if engine.by_cli else engine.events(since)
    async with aclosing(events) as stream:
        async for event in stream:
            action = str(event.get("Action") or event.get("status") or "").partition(":")[0]
            if action in ACTIONS and event.get("Type", "container") == "container":
                wake(action)
    raise EngineDown("the Engine ended its event stream")


async def _by_cli(link: Link, engine: Engine, since: float | None) -> AsyncGenerator[dict[str, Any], None]:
    """The same events by the docker command, where the socket can't be forwarded."""
    argv = ["docker", "events", "--format", "{{json .}}", "--filter", "type=container"]
    if since is not None:
        argv += ["--since", f"{since:.9f}"]
    async with aclosing(link.stream(docker_host(engine.socket_path) + join(argv))) as lines:
        async for line in lines:
            try:
                event = json.loads(line)
            except ValueError as error:
                raise EngineDown(f"the docker command says: {line[:300]}") from error
            if isinstance(event, dict):
                yield event
