"""llama-swap's macros: `${NAME}` in any text of a model, and the ports that `${PORT}` counts up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from reconciler.importers.accounts import Json

START_PORT: Final = 5800
_MACRO: Final = re.compile(r"\$\{([A-Za-z0-9_-]+)\}")
MAX_TEXT: Final = 100_000


def ports(data: Json) -> dict[str, int]:
    """A port for each model whose command asks for one, in the order of their names."""
    first = data.get("startPort", START_PORT)
    port = first if isinstance(first, int) and not isinstance(first, bool) else START_PORT
    found: dict[str, int] = {}
    for model in sorted(data["models"]):
        settings = data["models"][model]
        command = settings.get("cmd") if isinstance(settings, dict) else None
        macros = macros_of(data, model)
        if isinstance(command, str) and "${PORT}" in expand(no_comments(command), macros):
            found[model] = port
            port += 1
    return found


def macros_of(data: Json, model: str) -> dict[str, str]:
    """MODEL_ID, the file's macros, the model's own over them."""
    settings = data["models"][model]
    own = settings.get("macros") if isinstance(settings, dict) else None
    shared = data.get("macros")
    maps = [found for found in (shared, own) if isinstance(found, dict)]
    made = {"MODEL_ID": model}
    for found in maps:
        made |= {key: _word(value) for key, value in found.items() if not isinstance(value, dict | list)}
    return made


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def expand(text: str, macros: Mapping[str, str]) -> str:
    """A macro may hold macros that were defined before it, so a few rounds do."""
    for _ in range(len(macros) + 1):
        filled = _MACRO.sub(lambda found: macros.get(found[1], found[0]), text)
        if filled == text:
            break
        text = filled[:MAX_TEXT]
    return text


def no_comments(command: str) -> str:
    """Without lines that are comments; a backslash at the end of a line is a blank."""
    lines = [line for line in command.split("\n") if not line.strip().startswith("#")]
    return "\n".join(line.rstrip()[:-1] + " " if line.rstrip().endswith("\\") else line for line in lines)
