"""The bounded building blocks of every declaration.

Each string that a person may write has a pattern and a maximum length here, so that the floors above
never meet a value they would have to distrust. Patterns are whitelists: what is not named is refused. Every
pattern is kept with the words that say what it allows (`WORDS`), since a refusal must be readable.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, StringConstraints

UNITS: Final = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
BINARY_UNITS: Final = {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40, "K": 2**10, "M": 2**20, "G": 2**30}
SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
MAX_BYTES: Final = 2**50
MAX_SECONDS: Final = 30 * 86400.0
MAX_TEXT: Final = 32_768
MAX_JSON_DEPTH: Final = 16
MAX_JSON_NODES: Final = 2_000
MAX_JSON_INT: Final = 2**63

WORDS: dict[str, str] = {}  # pattern -> what it allows, in words

SIZE: Final = r"^\d{1,18}(\.\d{1,6})?\s*[A-Za-z]{0,3}$"
DURATION: Final = r"^(\d{1,9}(\.\d{1,6})?(ms|s|m|h|d)?){1,8}$"


def parse_size(value: object) -> int:
    """Bytes from `512MiB`, `92GiB`, `1.5GB` or a plain number of bytes. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("must be a size such as 512MiB or 92GiB")  # noqa: TRY004  # pydantic wants ValueError
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
        raise ValueError("must be a duration such as 30s, 20m or 1h30m")  # noqa: TRY004  # pydantic wants it
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


def written_size(size: int) -> str:
    """As a person would write it; `parse_size` gives the number back."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        scale = BINARY_UNITS[unit.upper()]
        if size >= scale and size % scale == 0:
            return f"{size // scale}{unit}"
    return str(size)


def written_duration(seconds: float) -> str:
    """As a person would write it; `parse_duration` gives the number back, to the microsecond."""
    whole, rest = divmod(round(seconds * 10**6), 10**6)
    if rest:
        return f"{whole}.{rest:06d}".rstrip("0") + "s"
    parts = []
    for unit in ("d", "h", "m", "s"):
        count, whole = divmod(whole, int(SECONDS[unit]))
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0s"


@dataclass(frozen=True, slots=True)
class Steers:
    """Stands in the annotation of a setting: which part of the product it steers, in words (`state.settings`)."""

    what: str


def text(pattern: str, words: str, *, longest: int) -> StringConstraints:
    """A whitelist for a string; `words` is what a person reads when theirs does not fit."""
    WORDS[pattern] = words
    return StringConstraints(pattern=pattern, max_length=longest)


def as_input(accept: Callable[[object], object], written: object) -> BeforeValidator:
    """Accept more than the field holds; `written` is what the JSON schema tells an editor may stand there."""
    return BeforeValidator(accept, json_schema_input_type=written)


def no_control(value: str) -> str:
    """NUL can't travel in an argv, lone surrogates can't travel at all."""
    if "\0" in value:
        raise ValueError("must not contain NUL")
    if re.search("[\ud800-\udfff]", value):
        raise ValueError("must be valid Unicode (it holds a lone surrogate)")
    return value


def _safe_path(value: str) -> str:
    if ".." in value.split("/"):
        raise ValueError("must not contain '..'")
    return value


def _env_line(value: object) -> object:
    """YAML reads `8` as a number; an environment holds text. A boolean is a trap, so it is refused.

    A number keeps the digits it was written with (`state.yaml_read` remembers them): 1.10 must not become 1.1.
    """
    if isinstance(value, bool):
        raise ValueError('must be a string: write "true" or "false" in quotes')  # noqa: TRY004  # pydantic wants it
    if isinstance(value, (int, float)):
        return getattr(value, "written", str(value))
    return value


def _bounded_json(value: JsonValue) -> JsonValue:
    """A flag's value may be any JSON, of a size that fits on a command line."""
    left = MAX_JSON_NODES
    stack = [(value, 0)]
    while stack:
        node, depth = stack.pop()
        left -= 1
        if left < 0 or depth > MAX_JSON_DEPTH:
            raise ValueError(f"must hold at most {MAX_JSON_NODES} values, nested at most {MAX_JSON_DEPTH} deep")
        if isinstance(node, str):
            if len(node) > MAX_TEXT:
                raise ValueError(f"must be at most {MAX_TEXT} characters")
            no_control(node)
        elif isinstance(node, dict):
            stack += ((part, depth + 1) for pair in node.items() for part in pair)
        elif isinstance(node, list):
            stack += ((part, depth + 1) for part in node)
        elif isinstance(node, float) and not math.isfinite(node):
            raise ValueError("must be a finite number")
        elif isinstance(node, int) and abs(node) > MAX_JSON_INT:
            raise ValueError("must be a number of at most 64 bits; a longer one goes in quotes")
    return value


NAME: Final = r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"
_PATH: Final = "letters, digits and ._/@+- and spaces"

Name = Annotated[
    str,
    text(
        NAME,
        "lower-case letters, digits, '-' and '.', at most 63, with a letter or digit at both ends",
        longest=63,
    ),
]
Host = Annotated[
    str,
    text(
        r"^[A-Za-z0-9_\[:][A-Za-z0-9_.:%\]-]{0,252}$",
        "a host name or an address: letters, digits and ._:-, at most 253",
        longest=253,
    ),
]
User = Annotated[
    str,
    text(
        r"^[A-Za-z_][A-Za-z0-9_.-]{0,31}$",
        "letters, digits and ._-, at most 32, beginning with a letter",
        longest=32,
    ),
]
ContainerUser = Annotated[
    str,
    text(
        r"^([A-Za-z_][A-Za-z0-9_.-]{0,31}|\d{1,7}(:\d{1,7})?)$",
        "a user's name, a number, or numbers of user and group such as 1000:1000",
        longest=32,
    ),
]
JumpHost = Annotated[
    str,
    text(
        r"^[A-Za-z0-9_\[:][A-Za-z0-9_.:%@\]-]{0,299}$",
        "a host, or user@host, or user@host:port: letters, digits and ._:@-, at most 300",
        longest=300,
    ),
]
Interface = Annotated[
    str, text(r"^[A-Za-z0-9_.:-]{1,15}$", "an interface's name: letters, digits and _.:-, at most 15", longest=15)
]
Image = Annotated[
    str,
    text(
        r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}$",
        "an image such as ghcr.io/owner/name:tag: letters, digits and ._:/@-, at most 255",
        longest=255,
    ),
]
Registry = Annotated[
    str,
    text(
        r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:\d{1,5})?$",
        "a registry as images name it, such as nvcr.io or registry.lan:5000: letters, digits and .-",
        longest=259,
    ),
]
RegistryUser = Annotated[
    str,
    text(
        r"^[A-Za-z0-9$_][A-Za-z0-9$_.+@-]{0,127}$",
        "a registry's user such as $oauthtoken: letters, digits and $_.+@-, at most 128",
        longest=128,
    ),
]
Repository = Annotated[
    str,
    text(
        r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$",
        "a repository such as owner/name: letters, digits and ._/-, at most 200",
        longest=200,
    ),
]
Revision = Annotated[
    str,
    text(
        r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$",
        "a commit, branch or tag: letters, digits and ._/-, at most 128",
        longest=128,
    ),
]
Alias = Annotated[
    str,
    text(
        r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$",
        "letters, digits and ._:/@-, at most 128, beginning with a letter or digit",
        longest=128,
    ),
]
EnvName = Annotated[
    str,
    text(
        r"^[A-Za-z_][A-Za-z0-9_]{0,127}$",
        "a variable's name: letters, digits and _, at most 128, not beginning with a digit",
        longest=128,
    ),
]
FlagName = Annotated[
    str,
    text(
        r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        "a flag's name without its dashes: letters, digits and ._-, at most 64",
        longest=64,
    ),
]
FlagValue = Annotated[JsonValue, AfterValidator(_bounded_json)]
Argument = Annotated[str, StringConstraints(max_length=MAX_TEXT), AfterValidator(no_control)]
EnvValue = Annotated[
    str,
    text(r"^[^\n\r]*$", f"one line of text, at most {MAX_TEXT} characters", longest=MAX_TEXT),
    AfterValidator(no_control),
    as_input(
        _env_line,
        Annotated[str, Field(pattern=r"^[^\n\r]*$", max_length=MAX_TEXT)]
        | Annotated[int, Field(ge=-MAX_JSON_INT, le=MAX_JSON_INT)]
        | Annotated[float, Field(ge=-1e308, le=1e308)],
    ),
]
HostPath = Annotated[
    str,
    text(
        r"^(\$HOME|/)[A-Za-z0-9._/@+ -]*$",
        f"a path of the Spark beginning with / or $HOME: {_PATH}",
        longest=1024,
    ),
    AfterValidator(_safe_path),
]
VolumeOrPath = Annotated[
    str,
    text(
        r"^(\$HOME(/[A-Za-z0-9._/@+ -]*)?|/[A-Za-z0-9._/@+ -]*|[A-Za-z0-9][A-Za-z0-9_.-]*)$",
        f"a path of the Spark beginning with / or $HOME ({_PATH}), or a volume's name",
        longest=1024,
    ),
    AfterValidator(_safe_path),
]
ContainerPath = Annotated[
    str,
    text(
        r"^/[A-Za-z0-9._/@+ -]*$",
        f"a path inside the container, beginning with /: {_PATH}",
        longest=1024,
    ),
    AfterValidator(_safe_path),
]
LocalPath = Annotated[str, text(r"^[^\x00\n]+$", "a path of this machine, on one line", longest=1024)]
UrlPath = Annotated[
    str,
    text(
        r"^/[A-Za-z0-9._~/?&=%+,:@-]{0,511}$",
        "a path beginning with /, such as /health, at most 512 characters",
        longest=512,
    ),
]
Limit = Annotated[str, text(r"^[a-z]{2,12}$", "a limit's name such as memlock: 2 to 12 lower-case letters", longest=12)]
Capability = Annotated[
    str, text(r"^[A-Z_]{2,32}$", "a capability such as IPC_LOCK: 2 to 32 capital letters and _", longest=32)
]
SecurityOption = Annotated[
    str,
    text(
        r"^[a-z][a-z-]{1,31}([=:][A-Za-z0-9_./-]{1,200})?$",
        "an option such as no-new-privileges or seccomp=unconfined",
        longest=256,
    ),
]
ModName = Annotated[
    str,
    text(
        r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9][A-Za-z0-9._-]{0,99}){0,4}$",
        "a folder inside the mods folder: letters, digits and ._-, with / between at most 5 parts",
        longest=300,
    ),
]
ContextName = Annotated[
    str,
    text(
        r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}(/[A-Za-z0-9][A-Za-z0-9._-]{0,59}){0,3}$",
        "a folder beside the desired state: letters, digits and ._-, with / between at most 4 parts",
        longest=240,
    ),
]
Quant = Annotated[
    str,
    text(
        r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        "a quantization such as Q4_K_M: letters, digits and ._-, at most 64",
        longest=64,
    ),
]
RepositoryFile = Annotated[
    str,
    text(
        r"^[A-Za-z0-9_][A-Za-z0-9._/@+-]{0,254}$",
        "a file of the repository: letters, digits and ._/@+-, at most 255",
        longest=255,
    ),
    AfterValidator(_safe_path),
]
Sentence = Annotated[str, StringConstraints(max_length=500), AfterValidator(no_control)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]


def _bytes(least: int, most: int = MAX_BYTES) -> object:
    """A size as it may be written."""
    return Annotated[str, Field(pattern=SIZE, max_length=32)] | Annotated[float, Field(ge=least, le=most)]


def _seconds(least: float, most: float = MAX_SECONDS) -> object:
    """A duration as it may be written."""
    return Annotated[str, Field(pattern=DURATION, max_length=64)] | Annotated[float, Field(ge=least, le=most)]


Size = Annotated[int, Field(ge=0, le=MAX_BYTES), as_input(parse_size, _bytes(0))]
MemoryReserve = Annotated[int, Field(ge=2 * 2**30, le=2**40), as_input(parse_size, _bytes(2 * 2**30, 2**40))]
DiskReserve = Annotated[int, Field(ge=2**30, le=16 * 2**40), as_input(parse_size, _bytes(2**30, 16 * 2**40))]
Duration = Annotated[float, Field(ge=0, le=MAX_SECONDS), as_input(parse_duration, _seconds(0))]
Interval = Annotated[float, Field(ge=0.1, le=3600), as_input(parse_duration, _seconds(0.1, 3600))]
ScanInterval = Annotated[float, Field(ge=1, le=3600), as_input(parse_duration, _seconds(1, 3600))]
ScanTimeout = Annotated[float, Field(ge=5, le=120), as_input(parse_duration, _seconds(5, 120))]
SurveyInterval = Annotated[float, Field(ge=60, le=86400), as_input(parse_duration, _seconds(60, 86400))]
Backoff = Annotated[float, Field(ge=10, le=3600), as_input(parse_duration, _seconds(10, 3600))]
LongestWait = Annotated[float, Field(ge=1, le=86400), as_input(parse_duration, _seconds(1, 86400))]
Forgetting = Annotated[float, Field(ge=60, le=86400), as_input(parse_duration, _seconds(60, 86400))]
