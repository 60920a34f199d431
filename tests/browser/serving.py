"""An app behind uvicorn on a listening socket, with the settings of `sparkkeep serve`, until the end of a block."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn

from api.context import Context
from api.serve import Server


@asynccontextmanager
async def served_on(config: uvicorn.Config, context: Context, listener: socket.socket) -> AsyncIterator[str]:
    server = Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        context.closing.set()
        server.should_exit = True
        await task
