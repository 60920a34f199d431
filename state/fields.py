"""The bounded building blocks of every declaration.

Each string that a person may write has a pattern and a maximum length here, so that the floors above
never meet a value they would have to distrust. Patterns are whitelists: what is not named is refused.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

UNITS: Final = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
BINARY_UNITS: Final = {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40, "K": 2**10, "M": 2**20, "G": 2**30}
SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
MAX_BYTES: Final = 2**50
MAX_SECONDS: Final = 30 * 86400.0


def parse_size(value: object) -> int:
    """Bytes from `512MiB`, `92GiB`, `1.5GB` or a plain number of bytes. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("must be a size such as 512MiB or 92GiB")
    match = re.fullmatch(r"(\d{1,18}(?:\.\d{1,6})?)\s*([A-Za-z]{0,3})", str(value).strip())
    scale = None if match is None else (UNITS | BINARY_UNITS).get(match[2].upper())
    if match is None or scale is None:
        raise ValueError("must be a size such as 512MiB or 92GiB")
    size = int(float(match[1]) * scale)
    if size > MAX_BYTES:
        raise ValueError("must be at most 1024TiB")
    return size


def parse_duration(value: object) -> float:
    """Seconds from `30s`, `20m`, `1h30m`, or a plain number of seconds. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("must be a duration such as 30s, 20m or 1h30m")
    text = str(value).strip()
    if re.fullmatch(r"\d{1,9}(?:\.\d{1,6})?", text):
        seconds = float(text)
    elif re.fullmatch(r"(?:\d{1,9}(?:\.\d{1,6})?(?:ms|s|m|h|d))+", text):
        seconds = sum(float(n) * SECONDS[u] for n, u in re.findall(r"([\d.]+)(ms|s|m|h|d)", text))
    else:
        raise ValueError("must be a duration such as 30s, 20m or 1h30m")
    if seconds > MAX_SECONDS:
        raise ValueError("must be at most 30d")
    return seconds


def _no_control(value: str) -> str:
    """NUL can't travel in an argv, lone surrogates can't travel at all."""
    if "\0" in value:
        raise ValueError("must not contain NUL")
    if any(0xD800 <= ord(c) <= 0xDFFF for c in value):
        raise ValueError("must be valid Unicode (it holds a lone surrogate)")
    return value


def _safe_path(value: str) -> str:
    if ".." in value.split("/"):
        raise ValueError("must not contain '..'")
    return value


def _env_line(value: object) -> object:
    """YAML reads `8` as a number; an environment holds text. A boolean is a trap, so it is refused."""
    if isinstance(value, bool):
        raise ValueError('must be a string: write "true" or "false" in quotes')
    return str(value) if isinstance(value, (int, float)) else value


NAME: Final = r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"

Name = Annotated[str, StringConstraints(pattern=NAME, max_length=63)]
Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_\[:][A-Za-z0-9_.:%\]-]{0,252}$")]
User = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,31}$")]
JumpHost = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_\[:][A-Za-z0-9_.:%@\]-]{0,299}$")]
Image = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}$")]
Repository = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$")]
Revision = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$")]
Alias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$")]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
FlagName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Argument = Annotated[str, StringConstraints(max_length=32768), AfterValidator(_no_control)]
EnvValue = Annotated[
    str,
    BeforeValidator(_env_line),
    StringConstraints(max_length=32768, pattern=r"^[^\n\r]*$"),
    AfterValidator(_no_control),
]
HostPath = Annotated[
    str,
    StringConstraints(pattern=r"^(\$HOME|/)[A-Za-z0-9._/@+ -]*$", max_length=1024),
    AfterValidator(_safe_path),
]
VolumeOrPath = Annotated[
    str,
    StringConstraints(
        pattern=r"^(\$HOME(/[A-Za-z0-9._/@+ -]*)?|/[A-Za-z0-9._/@+ -]*|[A-Za-z0-9][A-Za-z0-9_.-]*)$",
        max_length=1024,
    ),
    AfterValidator(_safe_path),
]
ContainerPath = Annotated[
    str, StringConstraints(pattern=r"^/[A-Za-z0-9._/@+ -]*$", max_length=1024), AfterValidator(_safe_path)
]
LocalPath = Annotated[str, StringConstraints(pattern=r"^[^\x00\n]+$", max_length=1024)]
UrlPath = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._~/?&=%+,:@-]{0,511}$")]
Sentence = Annotated[str, StringConstraints(max_length=500), AfterValidator(_no_control)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Size = Annotated[int, BeforeValidator(parse_size), Field(ge=0, le=MAX_BYTES)]
Duration = Annotated[float, BeforeValidator(parse_duration), Field(ge=0, le=MAX_SECONDS)]
