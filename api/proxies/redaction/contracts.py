"""tmp: r1's finds.py has these"""

from __future__ import annotations

from typing import Protocol

from api.proxies.redaction.finds import Find


class DetectorBusy(Exception):
    def __init__(self, retry_after: float = 1.0) -> None:
        super().__init__()
        self.retry_after = retry_after


class DetectorDown(Exception):
    pass


class Detector(Protocol):
    async def find(self, texts: list[str]) -> list[list[Find]]: ...
