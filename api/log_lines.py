"""How `serve` writes its log: lines for people, or with `--log json` one object a line for programs.

An object has `time`, `level`, `logger` and `message`; `spark`, `workload` and `reconcile` where the line is about one
(`state.log_context`); and `exception`, the traceback, where something failed. In JSON every event is a line as well, so
that one stream holds all that happens. Neither form ever holds a secret: none is handed to the log, and the users and
passwords of URLs in what others say (git, SSH) are masked here once more.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Final

from state.git import masked
from state.log_context import current

EVENTS: Final = "sparkkeep.events"
OURS: Final = ("sparkkeep", "state")
LOUD: Final = ("httpx2",)  # writes whole URLs, and those of notifications may be secrets


class Text(logging.Formatter):
    """A line for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return masked(super().format(record))


class Json(logging.Formatter):
    """An object for programs, on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        here = current()
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": masked(record.getMessage()),
            "spark": getattr(record, "spark", "") or here.spark,
            "workload": getattr(record, "workload", "") or here.workload,
            "reconcile": here.reconcile,
            "exception": masked(self.formatException(record.exc_info)) if record.exc_info else "",
        }
        told = {key: value for key, value in said.items() if value or key == "message"}
        return json.dumps(told | {"time": said["time"].replace("+00:00", "Z")}, ensure_ascii=False)


def begin(form: str, *, verbose: bool) -> None:
    """Write the log to standard error from now on."""
    handler = logging.StreamHandler()
    handler.setFormatter(Json() if form == "json" else Text())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # warns of every connection that went away
    for name in OURS:
        logging.getLogger(name).setLevel(logging.DEBUG if verbose else logging.INFO)
    # For people the events have a verb of their own (`sparkkeep events -f`).
    logging.getLogger(EVENTS).setLevel(logging.INFO if verbose or form == "json" else logging.CRITICAL)
    for name in LOUD:
        logging.getLogger(name).setLevel(logging.WARNING)
