"""The list of settings with what each is now: what the gear, the command line and programs see."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from api.started import Start
from state.load import Loaded
from state.problems import Place, Problem
from state.settings import SECTIONS, SETTINGS, Setting, unknown
from state.settings_base import Base, origin

REQUEST: Final = "the request"


def fields(loaded: Loaded, base: Base, started: Iterable[Start]) -> list[dict[str, Any]]:
    """Every setting, then what the server was started with. `base` is what a setting is when nothing is saved."""
    own = [_field(setting, loaded.settings_at.get(name), base) for name, setting in SETTINGS.items()]
    return [*own, *map(_fixed, started)]


def values(loaded: Loaded, started: Iterable[Start]) -> dict[str, Any]:
    """What each is, by name."""
    desired = loaded.desired.model_dump(mode="json", include=set(SECTIONS))
    return {name: s.within(desired) for name, s in SETTINGS.items()} | {start.name: start.value for start in started}


def _field(setting: Setting, place: Place | None, base: Base) -> dict[str, Any]:
    source = origin(place)
    where = {"saved": str(place), "environment": setting.variable, "default": None}[source]
    return {
        "name": setting.name,
        "type": setting.type,
        "unit": setting.unit or None,
        "schema": setting.schema,
        "default": setting.default,
        "base": base.values.get(setting.name, setting.default),
        "help": setting.help,
        "allowed": list(setting.allowed),
        "steers": setting.steers,
        "variables": [setting.variable],
        "flag": None,
        "source": source,
        "place": where,
        "live": True,
        "readOnly": None,
    }


def _fixed(start: Start) -> dict[str, Any]:
    return {
        "name": start.name,
        "type": "text",
        "unit": None,
        "schema": {},
        "default": start.default,
        "base": start.value,
        "help": start.help,
        "allowed": [],
        "steers": "the server",
        "variables": list(start.variables),
        "flag": start.flag or None,
        "source": start.source,
        "place": None,
        "live": False,
        "readOnly": start.how,
    }


def not_settable(names: Iterable[str], started: Iterable[Start]) -> list[Problem]:
    """A problem for each name that is no setting, or one that can't be changed while the server runs."""
    fixed = {start.name: start for start in started}
    found = []
    for name in names:
        if name in fixed:
            found.append(Problem(REQUEST, 0, 0, name, f"can't be changed here: {fixed[name].how}"))
        elif name not in SETTINGS:
            found.append(unknown(name, SETTINGS, place=REQUEST))
    return found
