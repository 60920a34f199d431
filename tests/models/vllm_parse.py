"""Runs inside an environment that holds vLLM: command lines in, what its parser says against each of them out.

Standard input: JSON, {name: [arguments after `vllm serve`]}. Standard output: JSON, {name: the refusal, or null}.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys


def main() -> None:
    """Parse and validate each, as `vllm serve` does before it looks at the model."""
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))
    said = {}
    for name, arguments in json.load(sys.stdin).items():
        noise = io.StringIO()
        try:
            with contextlib.redirect_stderr(noise), contextlib.redirect_stdout(noise):
                validate_parsed_serve_args(parser.parse_args(arguments))
            said[name] = None
        except SystemExit:
            lines = [line for line in noise.getvalue().splitlines() if "error:" in line]
            said[name] = lines[-1].partition("error: ")[2] if lines else noise.getvalue()
        except Exception as error:  # noqa: BLE001  # the checks are vLLM's, and so are their exceptions
            said[name] = f"{type(error).__name__}: {error}"
    json.dump(said, sys.__stdout__)


if __name__ == "__main__":
    main()
