"""Reading a request that is to be said in other words: what was asked for is taken, and nothing is lost in silence.

Every refusal names the field. `InvalidRequest`: it is wrong in its own dialect. `CannotTranslate`: it is right, but the
backend's dialect has no words for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.proxies.calls import Refused
from api.proxies.dialects.json_text import loads

Json = dict[str, Any]


def invalid(field: str, why: str, allowed: Sequence[str] = ()) -> Refused:
    """It is not what the dialect that it came in wants."""
    return Refused(400, "InvalidRequest", f"`{field}` {why}", field=field, allowed=allowed)


def unsayable(field: str, why: str, allowed: Sequence[str] = ()) -> Refused:
    """It can't be put into the words of the backend."""
    return Refused(400, "CannotTranslate", f"`{field}` {why}", field=field, allowed=allowed)


class Asked:
    """One object of a request. What is taken from it is gone, so what is left was not understood. null means absent."""

    def __init__(self, value: object, place: str = "") -> None:
        if not isinstance(value, dict):
            raise invalid(place or "body", "must be an object")
        self._left: Json = {name: found for name, found in value.items() if found is not None}
        self.place = place

    @classmethod
    def body(cls, body: bytes) -> Asked:
        """A whole request. Raises Refused."""
        try:
            return cls(loads(body))
        except ValueError as error:
            raise Refused(400, "InvalidRequest", f"the body is not valid JSON: {error}") from error

    def at(self, name: str) -> str:
        """Where a field of it stands, as people write it."""
        return f"{self.place}.{name}" if self.place else name

    def seen(self) -> Json:
        """All that is there, to look at; nothing is taken."""
        return dict(self._left)

    def take(self, name: str) -> Any:
        """A field's value, None if it is absent."""
        return self._left.pop(name, None)

    def need(self, name: str) -> Any:
        """A field that must be there."""
        if name not in self._left:
            raise invalid(self.at(name), "is missing")
        return self._left.pop(name)

    def text(self, name: str) -> str | None:
        """A field that is a text."""
        found = self.take(name)
        if found is not None and not isinstance(found, str):
            raise invalid(self.at(name), "must be a text")
        return found

    def needed_text(self, name: str) -> str:
        """A text that must be there."""
        self._left[name] = self.need(name)
        return self.text(name) or ""

    def flag(self, name: str) -> bool | None:
        """A field that is true or false."""
        found = self.take(name)
        if found is not None and not isinstance(found, bool):
            raise invalid(self.at(name), "must be true or false")
        return found

    def items(self, name: str) -> list[tuple[str, Any]]:
        """The items of a list, each with its place."""
        found = self.take(name)
        if found is not None and not isinstance(found, list):
            raise invalid(self.at(name), "must be a list")
        return [(f"{self.at(name)}[{number}]", item) for number, item in enumerate(found or [])]

    def part(self, name: str) -> Asked | None:
        """An object in it."""
        found = self.take(name)
        return None if found is None else Asked(found, self.at(name))

    def drop(self, *names: str) -> None:
        """Fields without which the answer is the same (docs/DIALECTS.md has the list)."""
        for name in names:
            self._left.pop(name, None)

    def refuse(self, *names: str, why: str) -> None:
        """Fields that can't be said; an empty one asks for nothing."""
        for name in names:
            if self._left.pop(name, None) not in (None, False, [], {}, ""):
                raise unsayable(self.at(name), why)

    def rest(self) -> Json:
        """What nobody asked for: passed on at the top, where a server may know it."""
        left, self._left = self._left, {}
        return left

    def over(self) -> None:
        """Nothing may be left: inside a message or a tool an unknown word could change what is meant."""
        for name in self._left:
            raise unsayable(self.at(name), "is not known here, and can't be passed on")


def set_fields(**fields: Any) -> Json:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}
