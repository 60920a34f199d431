"""`settings`: every knob with its value, where that comes from and what it does; set and taken back as one commit."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

import typer
import yaml

from api.client import Client
from api.commands.history import Why
from api.output import SERVER, Format, Output, ServerOption, dump, fail, note, server, show, table

group = typer.Typer(
    name="settings", help="Every setting: what it is, why, and what it does.", invoke_without_command=True
)

COLUMNS: Final = ("NAME", "VALUE", "SOURCE", "DEFAULT", "MESSAGE")
SHORT: Final = 10
TEXTS: Final = frozenset({"text", "word"})

Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="settings, such as settings.scanInterval")]
Dry = Annotated[bool, typer.Option("--dry-run", help="say what would come of it; change nothing")]


@group.callback()
def everything(context: typer.Context, output: Output = Format.TABLE, address: ServerOption = SERVER) -> None:
    """Every setting: what it is, why, and what it does.

    \b
    sparkkeep settings                                   all of them
    sparkkeep settings get settings.scanInterval         one, whole
    sparkkeep settings set settings.scanInterval=45s     for good, as a commit
    sparkkeep settings unset settings.scanInterval       back to what the environment says, or the default
    """  # noqa: D301  # \b is typer's
    if context.invoked_subcommand is None:
        get(None, output, address)


@group.command()
def get(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="some of them; left out: all")] = None,
    output: Output = Format.TABLE,
    address: ServerOption = SERVER,
) -> None:
    """Show settings. A source is saved, environment, default or command line; the last ones are set at the start."""
    with server(address) as client:
        answer = client.get("/api/settings")
    known = {field["name"]: field for field in answer["fields"]}
    chosen = {name: _known(name, known) for name in names or known}
    values = {name: answer["values"][name] for name in chosen}
    if output is not Format.TABLE:
        dump({**answer, "fields": list(chosen.values()), "values": values}, output)
        return
    if names:
        print("\n\n".join(_whole(field, values[name]) for name, field in chosen.items()))  # noqa: T201  # the data
        return
    rows = [
        (name, _shown(values[name]), field["source"], _shown(field["default"]), field["help"])
        for name, field in chosen.items()
    ]
    show(table(COLUMNS, rows))


@group.command("set")
def set_(
    pairs: Annotated[list[str], typer.Argument(metavar="NAME=VALUE...", help="as in YAML; lists and maps too")],
    reason: Why = "",
    dry: Dry = False,
    output: Output = Format.TABLE,
    address: ServerOption = SERVER,
) -> None:
    """Save settings, all of them or none. In force at once.

    \b
    sparkkeep settings set settings.scanInterval=45s guards.maxDestructive=3 -m "a quiet night"
    sparkkeep settings set 'settings.keep=[Qwen/Qwen3-8B]'
    """  # noqa: D301  # \b is typer's
    with server(address) as client:
        known = {field["name"]: field for field in client.get("/api/settings")["fields"]}
        values = dict(_pair(pair, known) for pair in pairs)
        _save(client, values, reason, output, dry=dry)


@group.command()
def unset(
    names: Names, reason: Why = "", dry: Dry = False, output: Output = Format.TABLE, address: ServerOption = SERVER
) -> None:
    """Take saved settings away: what the environment says counts again, or the default."""
    with server(address) as client:
        _save(client, dict.fromkeys(names), reason, output, dry=dry)


def _save(client: Client, values: dict[str, Any], reason: str, output: Format, *, dry: bool) -> None:
    answer = client.post("/api/settings", {"values": values, "reason": reason}, dryRun=dry or None)
    if output is not Format.TABLE:
        dump(answer, output)
        return
    for name in values:
        note(f"{name}: {_shown(answer['values'][name])} {'then' if dry else 'from now on'}")
    if answer["commit"] is not None:
        note(f"saved ({answer['commit'][:SHORT]})")
    elif not dry:
        note("it stands so already, or in a hand edit that is not committed")
    for step in (*answer["plan"]["steps"], *answer["plan"]["withheld"]):
        note(f"{step['verb']} {step['workload']} on {step['spark']}: {step['consequence']}")


def _pair(pair: str, known: dict[str, dict[str, Any]]) -> tuple[str, Any]:
    """Name and value. What may only be text is taken as it stands; the rest as YAML reads it."""
    name, equals, text = pair.partition("=")
    if not equals:
        fail(f"{pair}: write NAME=VALUE; to take a setting back, `sparkkeep settings unset {name}`")
    if name not in known or known[name]["type"] in TEXTS:
        return name, text
    try:
        value = yaml.safe_load(text)
        json.dumps(value, allow_nan=False)
    except (yaml.YAMLError, ValueError, TypeError) as error:
        fail(f"{name}: {text!r} can't be read: {' '.join(str(error).split())}")
    if value is None:
        fail(f"{name}: there is no value; to take a setting back, `sparkkeep settings unset {name}`")
    return name, value


def _known(name: str, known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if name not in known:
        fail(f"there is no setting {name}; there are: {', '.join(known)}")
    return known[name]


def _shown(value: Any) -> str:
    """As it would be written on one line."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _whole(field: dict[str, Any], value: Any) -> str:
    """One setting for people."""
    place = f" ({field['place']})" if field["place"] else ""
    lines = [
        (field["name"], _shown(value)),
        ("source", field["source"] + place),
        ("default", _shown(field["default"])),
        ("type", field["type"] + (f", a plain number counts {field['unit']}" if field["unit"] else "")),
        ("allowed", "; ".join(field["allowed"])),
        ("steers", field["steers"]),
        ("environment", ", ".join(field["variables"])),
        ("help", field["help"]),
        ("to change it", field["readOnly"] or ""),
    ]
    width = max(len(word) for word, _ in lines) + 2
    return "\n".join(f"{word:{width}}{text}" for word, text in lines if text)
