"""A request that is answered from several. What is asked, and what is made of the answers; who asks is `parts`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

from pydantic_core import from_json

from api.proxies.calls import Refused
from api.proxies.dialects.errors import Trouble
from api.proxies.dialects.json_text import loads

TOKENS: Final = b"x-compute-tokens"
"""In which field TEI says what it has read."""
WRONG: Final = frozenset({400, 413, 422})
"""How a server refuses inputs, and not the request or its own state."""


class Part(NamedTuple):
    """One request to the server. `inputs`: which of the app's it holds."""

    path: str
    inputs: range


class Job(Protocol):
    """One request of an app."""

    @property
    def parallel(self) -> int:
        """How many parts may be under way."""

    def first(self) -> list[Part]:
        """What to ask. Raises Refused for what is wrong with the request."""

    def body(self, part: Part) -> bytes:
        """What is sent."""

    def answered(self, part: Part, names: Mapping[bytes, bytes], body: bytes) -> None:
        """One of them was. Raises ValueError for an answer that makes no sense, Refused for one that does not do."""

    def refused(self, part: Part, trouble: Trouble) -> list[Part]:
        """One of them was not: what to ask instead. Raises Refused."""

    def whole(self) -> bytes:
        """All of them were. Raises Refused."""


class Wrong:
    """A request that can't be asked."""

    parallel = 1

    def __init__(self, refused: Refused) -> None:
        self._refused = refused

    def first(self) -> list[Part]:
        """Says so."""
        raise self._refused

    def body(self, part: Part) -> bytes:  # noqa: ARG002  # as the protocol has it
        """Nothing is asked."""
        return b""

    def answered(self, part: Part, names: Mapping[bytes, bytes], body: bytes) -> None:
        """Nothing is asked."""

    def refused(self, part: Part, trouble: Trouble) -> list[Part]:  # noqa: ARG002
        """Nothing is asked."""
        return []

    def whole(self) -> bytes:
        """Nothing is asked."""
        raise self._refused


def read(body: bytes) -> Any:
    """JSON, by the fast parser; what that one does not take (half a surrogate pair) by the other. Raises ValueError."""
    try:
        return from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        return loads(body)


def invalid(field: str, message: str) -> Refused:
    """A request that says something else there than it may."""
    return Refused(400, "InvalidRequest", f"{field} {message}", field=field)


class Counted:
    """Tokens, as all parts together count them. A server that counts none leaves them at what is known otherwise."""

    def __init__(self) -> None:
        self.prompt = self.total = 0
        self.known = False

    def add(self, said: object, names: Mapping[bytes, bytes]) -> None:
        """One answer's."""
        usage = said.get("usage") if isinstance(said, dict) else None
        if isinstance(usage, dict):
            prompt, total = usage.get("prompt_tokens"), usage.get("total_tokens")
            prompt = prompt if isinstance(prompt, int) else total
            total = total if isinstance(total, int) else prompt
            if isinstance(prompt, int) and isinstance(total, int):
                self._more(prompt, total)
                return
        told = names.get(TOKENS, b"")
        if told.isdigit():
            self._more(int(told), int(told))

    def _more(self, prompt: int, total: int) -> None:
        self.known = True
        self.prompt += prompt
        self.total += total

    @property
    def usage(self) -> dict[str, int]:
        """As OpenAI says it."""
        return {"prompt_tokens": self.prompt, "total_tokens": self.total}
