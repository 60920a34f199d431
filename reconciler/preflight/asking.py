"""Asks an image on a Spark for its flags: one question after the other, until one is answered."""

from __future__ import annotations

from reconciler.hosts import Host
from reconciler.preflight.ask import PATIENCE, questions, understand
from reconciler.preflight.tables import Table
from reconciler.shell import join

GRACE = 30.0  # seconds beyond the patience of the question itself, for Docker to make and remove the container


async def ask_image(host: Host, engine: str, image: str, *, gpus: bool) -> Table | None:
    """The flags that the image knows, None if it can't say. Raises LinkDown: then nobody knows."""
    for question in questions(engine, image, gpus=gpus):
        outcome = await host.run(join(question), timeout=PATIENCE + GRACE)
        table = understand(engine, outcome.status if outcome.status is not None else 1, outcome.stdout)
        if table is not None:
            return table
    return None
