"""tmp"""
from __future__ import annotations
import json
from typing import Any, NamedTuple, Protocol
from api.proxies.redaction.finds import Find
from api.proxies.redaction.placeholders import Conversation
class DetectorBusy(Exception):
    def __init__(self, retry_after=1.0): self.retry_after = retry_after
class DetectorDown(Exception): ...
class Detector(Protocol):
    async def find(self, texts: list[str]) -> list[list[Find]]: ...
class RestoringStream:
    def __init__(self, d, c): self.c = c; self.k = b""
    def feed(self, data):
        self.k += data
        e = self.k.rfind(b"\n\n")
        if e < 0: return b""
        out, self.k = self.k[:e+2], self.k[e+2:]
        return self.c.back(out.decode()).encode()
    def end(self): out, self.k = self.k, b""; return out
def restored_body(d, b, c): return c.back(b.decode()).encode()
def restore_text(t, c): return c.back(t)
