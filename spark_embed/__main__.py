"""`python -m spark_embed`: load the models, warm them, and serve."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time

import uvicorn

from spark_embed.app import App
from spark_embed.lane import Lane
from spark_embed.metrics import Counts, Metrics
from spark_embed.models import Base, Embedder, Reranker, Torch
from spark_embed.settings import Settings, Unusable

log = logging.getLogger("spark_embed")


def load(settings: Settings) -> dict[str, Base]:
    """The models, warm. Raises Unusable."""
    torch = Torch(settings)
    models: dict[str, Base] = {}
    if settings.model:
        models["embed"] = Embedder(torch, settings)
    if settings.reranker:
        models["rerank"] = Reranker(torch, settings)
    for kind, model in models.items():
        began = time.monotonic()
        model.warm(settings)
        log.info(
            "%s: %s, up to %d tokens, is warm after %.1f s", kind, model.name, model.longest, time.monotonic() - began
        )
    return models


async def serve(settings: Settings) -> None:
    """Answer the health page at once, and everything else when the models are warm. Raises Unusable."""
    metrics = Metrics()
    app = App(metrics)
    config = uvicorn.Config(
        app, host=settings.host, port=settings.port, log_level="warning", access_log=False, lifespan="off"
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    loading = asyncio.create_task(asyncio.to_thread(load, settings))
    try:
        await asyncio.wait((serving, loading), return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            models = loading.result()
            app.dimensions = models["embed"].dimensions if "embed" in models else 0
            app.lanes = {kind: lane(kind, model, metrics, settings) for kind, model in models.items()}
            app.ready = True
            log.info("ready on port %d", settings.port)
        await serving
    finally:
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)
        for each in app.lanes.values():
            each.close()


def lane(kind: str, model: Base, metrics: Metrics, settings: Settings) -> Lane:
    """A model's queue and threads."""
    tokens = max(settings.batch_tokens, model.longest)
    most = {"inputs": settings.batch_inputs, "most": settings.queue_inputs}
    return Lane(model, Counts(metrics, kind), tokens=tokens, **most)


def main() -> int:
    """Ends with status 2 if it can't run as it is told to."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        asyncio.run(serve(Settings.of(os.environ)))
    except Unusable as unusable:
        sys.stderr.write(f"spark_embed: {unusable}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
