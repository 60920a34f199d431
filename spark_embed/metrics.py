"""What is counted, for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """All of them, as one page."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._requests = Counter(
            "spark_embed_requests", "Answers, by page and status.", ["page", "status"], registry=self._registry
        )
        self._depth = Gauge(
            "spark_embed_queue_inputs", "Inputs that wait or are computed.", ["kind"], registry=self._registry
        )

    def counter(self, kind: str, name: str, about: str) -> Counter:
        """One counter of a kind: `embed` or `rerank`."""
        if name not in self._counters:
            self._counters[name] = Counter(f"spark_embed_{name}", about, ["kind"], registry=self._registry)
        return self._counters[name].labels(kind)

    def answered(self, page: str, status: int) -> None:
        """A request has its answer."""
        self._requests.labels(page, str(status)).inc()

    def page(self, depths: Mapping[str, int]) -> bytes:
        """The text that Prometheus reads. `depths`: inputs under way, by kind."""
        for kind, depth in depths.items():
            self._depth.labels(kind).set(depth)
        return generate_latest(self._registry)


class Counts:
    """The counters of one lane."""

    def __init__(self, metrics: Metrics, kind: str) -> None:
        self.refused = metrics.counter(kind, "refused", "Requests that were told to come back later.")
        self.dropped = metrics.counter(kind, "dropped", "Inputs that nobody waited for any more, and so not computed.")
        self.seconds = metrics.counter(kind, "batch_seconds", "Seconds from the packing of batches to their answers.")
        self._batches = metrics.counter(kind, "batches", "Batches that were computed.")
        self._inputs = metrics.counter(kind, "inputs", "Inputs that were computed.")
        self._tokens = metrics.counter(kind, "tokens", "Tokens that were computed.")
        self._padding = metrics.counter(kind, "padding_tokens", "Tokens that were only padding.")

    def batch(self, inputs: int, tokens: int, padded: int) -> None:
        """A batch was computed."""
        self._batches.inc()
        self._inputs.inc(inputs)
        self._tokens.inc(tokens)
        self._padding.inc(padded - tokens)
