"""A pass-through as it is often written: a FastAPI route and httpx. Runs in the peers' environment.

    python passing_on.py PORT=UPSTREAM ...

What comes in at a port goes to its upstream, such as 8080=http://10.0.0.1:8000.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

UPSTREAMS = {int(port): upstream for port, _, upstream in (word.partition("=") for word in sys.argv[1:])}
KEPT = httpx.Limits(max_connections=None, max_keepalive_connections=None)  # its usual 100 would hold 1,000 streams up
DROPPED = {"host", "connection", "content-length", "transfer-encoding"}

app = FastAPI()
client = httpx.AsyncClient(timeout=None, limits=KEPT)  # noqa: S113  # a generation may take long


@app.post("/{path:path}")
async def forward(path: str, request: Request) -> StreamingResponse:
    upstream = UPSTREAMS[request.scope["server"][1]]
    headers = {name: value for name, value in request.headers.items() if name not in DROPPED}
    asked = client.build_request("POST", f"{upstream}/{path}", headers=headers, content=await request.body())
    answer = await client.send(asked, stream=True)
    said = {name: value for name, value in answer.headers.items() if name not in DROPPED}
    return StreamingResponse(answer.aiter_raw(), answer.status_code, said, background=BackgroundTask(answer.aclose))


if __name__ == "__main__":
    listening = [socket.create_server(("127.0.0.1", port), backlog=2048) for port in UPSTREAMS]
    config = uvicorn.Config(app, access_log=False, log_level="error")
    asyncio.run(uvicorn.Server(config).serve(sockets=listening))
