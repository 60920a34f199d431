"""`docs/SETTINGS.md`: every setting, and every option of `serve`, for people to read; generated from the one list.

`python -m api.settings_page` writes it; a test fails while the committed page is not what this generates.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import typer

from api.commands import serving
from api.started import Start, named, options
from state.settings import SECTIONS, SETTINGS, Setting

FILE: Final = Path(__file__).resolve().parent.parent / "docs" / "SETTINGS.md"
INTRO: Final = """# Settings

Everything that can be turned, in one list: it makes the form of the dashboard, `GET` and `POST /api/settings`,
`sparkkeep settings`, the environment variables and this page.

    sparkkeep settings                                      # what each is, and why
    sparkkeep settings get settings.scanInterval            # all about one
    sparkkeep settings set settings.scanInterval=45s        # saved, as a commit; in force at once
    sparkkeep settings unset settings.scanInterval          # back to its base

A setting is what the desired state says (`settings:` and `guards:` of [desired.yaml](DESIRED.md)). Where that says
nothing, it is what its environment variable says, which is read once, when the server starts; else its default. Nothing
is written into your files unless you save it. A saved setting is in force at once, for everything that goes by it,
without a restart; so is one that you edit by hand.

A value is written as in YAML, in the environment and in `settings set` too: `45s`, `8GiB`, `true`, `[a/b, c/d]`,
`{registry.lan: {user: me, secret: lan}}`. A variable that is not fit for its setting, or belongs to none, is refused
when the server starts (exit status 1), with what is allowed.
"""
TITLES: Final = {"settings": "Settings", "guards": "Guards"}
SERVE: Final = """
## Set when the server starts

Options of `sparkkeep serve`, each also an environment variable, and what only the environment says.
`sparkkeep settings` shows them with their values; to change one, start the server anew.

| name | option | environment | default | what it says |
|---|---|---|---|---|
"""


def text() -> str:
    """The page."""
    parts = [INTRO]
    for section in SECTIONS:
        parts.append(f"\n## {TITLES.get(section, section.capitalize())}\n")
        parts += [_setting(setting) for setting in SETTINGS.values() if setting.path[0] == section]
    rows = [_row(start) for start in _starts()]
    return "".join(parts) + SERVE + "\n".join(rows) + "\n"


def _setting(setting: Setting) -> str:
    unit = f"; a plain number counts {setting.unit}" if setting.unit else ""
    allowed = f" ({'; '.join(setting.allowed)})" if setting.allowed else ""
    return f"""
### `{setting.name}`

{setting.help}

- {setting.type}{allowed}{unit}
- default: {_code(setting.default) or "nothing"}
- environment: `{setting.variable}`
- steers: {setting.steers}
"""


def _starts() -> Iterator[Start]:
    command = typer.main.get_command(serving.app)
    assert isinstance(command, typer.core.TyperGroup)  # noqa: S101  # it has several verbs
    yield from options(command.commands["serve"])
    yield from named({})


def _row(start: Start) -> str:
    flag = f"`{start.flag}`" if start.flag else ""
    variables = ", ".join(f"`{variable}`" for variable in start.variables)
    return f"| `{start.name}` | {flag} | {variables} | {_code(start.default)} | {start.help} |".replace("|  |", "| |")


def _code(value: Any) -> str:
    if value in (None, ""):
        return ""
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
