"""Numbers for Prometheus, and for whatever else reads its text."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, Metric, generate_latest
from prometheus_client.registry import Collector

router = APIRouter(tags=["health"])
EXAMPLE: Final = """\
# HELP sparkkeep_spark_reachable 1 if the Spark answers, 0 if it is Unknown: then nothing on it is touched.
# TYPE sparkkeep_spark_reachable gauge
sparkkeep_spark_reachable{spark="spark-1"} 1.0
"""


@dataclass(frozen=True)
class Taken(Collector):
    """Metrics as they were at one moment."""

    metrics: tuple[Metric, ...]

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        return self.metrics


@router.get(
    "/metrics",
    summary="Numbers for Prometheus",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"example": EXAMPLE}}}},
)
async def metrics(request: Request) -> Response:
    """Prometheus' text format, version 0.0.4, whatever is asked for: every scraper reads it. What each number tells
    stands in docs/METRICS.md.
    """  # noqa: D205
    taken = Taken(tuple(request.app.state.metrics.collect()))  # here, where nothing changes meanwhile
    text = await asyncio.to_thread(generate_latest, taken)  # most of the work: nobody else waits for it
    return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)
