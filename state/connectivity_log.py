"""The connectivity log: a file with a line for each change between answering and not, for who reads it elsewhere.

The same is in the journal, for the API; this is the file that the first system kept (`CONNECTIVITY_LOG`). A line is one
JSON object. At its bound the file is renamed to `NAME.1`, over the one before, and begun anew. A thread writes, so that
nothing waits for a disk; a disk that refuses is told once, until it takes lines again.
"""

from __future__ import annotations

import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from state.journal_rows import MAX_MESSAGE, head

log = logging.getLogger(__name__)

BOUND: Final = 2**20  # bytes


class ConnectivityLog:
    """One file. `close` waits until all is written."""

    def __init__(self, path: Path | str, *, bound: int = BOUND) -> None:
        self.path = Path(path)
        self._bound = bound
        self._refused = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="connectivity-log")

    def add(self, *, at: float, spark: str, state: str, reason: str, message: str) -> None:
        """From then on a Spark is `reachable` or `unknown`, and why."""
        time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        said = {"time": time, "spark": spark, "state": state, "reason": reason, "message": head(message, MAX_MESSAGE)}
        self._thread.submit(self._append, f"{json.dumps(said, ensure_ascii=False)}\n".encode())

    def close(self) -> None:
        """Finish writing."""
        self._thread.shutdown()

    def _append(self, line: bytes) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and self.path.stat().st_size + len(line) > self._bound:
                self.path.replace(self.path.with_name(f"{self.path.name}.1"))
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.write(file, line)
            finally:
                os.close(file)
            self._refused = False
        except OSError as error:
            if not self._refused:
                log.warning("the connectivity log %s can't be written: %s", self.path, error.strerror)
            self._refused = True
