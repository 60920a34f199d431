"""Fields of a recipe as they are filled from elsewhere: each value is checked before it is taken.

What does not fit a field is lost, with the words that say what would fit. Values that are secrets are never taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import PurePath
from typing import Annotated, Any, Final

from pydantic import TypeAdapter, ValidationError

from reconciler.importers.accounts import Account, Json
from reconciler.importers.masks import is_secret
from state.fields import NAME, WORDS, EnvName, EnvValue
from state.problems import Invalid, Problem, shown
from state.recipes import Recipe

_CONFIG: Final = re.compile(r"\{config\.([A-Za-z0-9_.]+)\}")
_LAUNCH: Final = re.compile(r"\{(?:launch|config)\.[^{}]*\}")
ALIAS: Final = r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}"  # as state.fields.Alias has it
_SNAKE: Final = {info.alias or name: name for name, info in Recipe.model_fields.items()}


@cache
def _adapter(field: str) -> TypeAdapter[Any]:
    info = Recipe.model_fields[_SNAKE[field]]
    kind: Any = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
    return TypeAdapter(kind)


def unfit(field: str, value: object) -> str | None:
    """Why a value does not fit the recipe's field (as it is written in YAML), None if it does."""
    return _why(_adapter(field), value)


def _why(adapter: TypeAdapter[Any], value: object) -> str | None:
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        pattern = str(first.get("ctx", {}).get("pattern", ""))
        return WORDS.get(pattern) or first["msg"].removeprefix("Value error, ")
    return None


class Draft:
    """The fields of one recipe so far, by their names in YAML."""

    def __init__(self, account: Account) -> None:
        self.fields: Json = {}
        self._account = account

    def put(self, *key: str | int, field: str, value: object) -> bool:
        """Take the value of the input's key for a field, if it fits; the account says which."""
        wrong = unfit(field, value)
        if wrong is not None:
            self._account.lose(*key, why=f"{shown(value)} does not fit `{field}`: {wrong}")
            return False
        self.fields[field] = value
        self._account.carry(*key, to=field)
        return True

    def add(self, *key: str | int, field: str, value: object) -> bool:
        """The same for one entry of a list, or some entries of a map."""
        there = self.fields.get(field)
        added = (
            {**(there or {}), **value} if isinstance(value, dict) and field == "ulimits" else [*(there or []), value]
        )
        return self.put(*key, field=field, value=added)

    def env(self, variables: Mapping[str, Any]) -> None:
        """Variables that `environment` has looked at."""
        if variables:
            self.fields["env"] = {**self.fields.get("env", {}), **variables}

    def recipe(self) -> Json:
        """The fields in the order of the documentation. Raises Invalid if they don't go together."""
        made = {name: self.fields[name] for name in _SNAKE if self.fields.get(name) not in (None, {}, "")}
        for empty in ("command", "mounts", "mods", "ports"):
            if made.get(empty) == []:
                del made[empty]
        try:
            Recipe.model_validate(made)
        except ValidationError as error:
            details = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in details["loc"] if not str(part).startswith("<"))
            message = f"does not become a recipe: {details['msg'].removeprefix('Value error, ')}"
            raise Invalid([Problem(self._account.file, 0, 0, where, message)]) from None
        return made


def environment(
    variables: Mapping[str, Any],
    account: Account,
    key: tuple[str | int, ...],
    *,
    values: Mapping[str, Any] | None = None,
) -> Json:
    """Variables for `env`. `values` fill sparkrun's `{config.NAME}`. Secrets become names; their values stay behind."""
    made: Json = {}
    for name, given in variables.items():
        at = (*key, name) if key[-1:] == ("env",) else key
        text = _filled(_text(given), values or {})
        wrong = _why(TypeAdapter(EnvName), name) or _why(TypeAdapter(EnvValue), text)
        left = _LAUNCH.search(text) if values is not None else None
        if given is None:
            account.lose(*at, why=f"{name} has no value: name it as a secret, or write one")
        elif isinstance(given, dict | list):
            account.lose(*at, why=f"{name} must be text")
        elif text and is_secret(name, text):
            secret = secret_name(name)
            made[name] = {"secret": secret}
            account.lose(*at, why=f"the value is a secret and was not copied: `sparkkeep secret set {secret}`")
        elif wrong is not None or left is not None:
            account.lose(*at, why=f"{name}: {wrong or f'{left[0]} is known only to sparkrun' if left else wrong}")
        else:
            made[name] = text
            account.carry(*at, to=f"env {name}")
    if not variables and key[-1:] == ("env",):
        account.consume(*key, why="there is none")
    return made


def secret_name(variable: str) -> str:
    """The name of a secret for a variable: HF_TOKEN is hf-token."""
    return re.sub(r"[^a-z0-9]+", "-", variable.lower()).strip("-")[:63].strip("-") or "secret"


def _text(value: object) -> str:
    """As the other tools write it: Python's own words, so true is `True`."""
    return repr(float(value)) if isinstance(value, float) else "" if value is None else str(value)


def _filled(text: str, values: Mapping[str, Any]) -> str:
    def one(found: re.Match[str]) -> str:
        value = values.get(found[1])
        return found[0] if value is None else _text(value)

    return _CONFIG.sub(one, text)


def workload_name(text: str) -> str:
    """A name as sparkkeep allows it, from a file's or a model's: `Qwen3/Coder:Q4` becomes `qwen3-coder-q4`."""
    stem = PurePath(text).name if text.endswith((".yaml", ".yml")) else text
    stem = stem.removesuffix(".yaml").removesuffix(".yml")
    name = re.sub(r"[^a-z0-9.]+", "-", stem.lower())[:63].strip("-.")
    return name if re.fullmatch(NAME, name) else "imported"


def mount(text: str) -> Json | None:
    """`source:target[:ro]` as Docker's -v has it; a home folder is the Spark's. None if it is something else."""
    source, colon, rest = text.partition(":")
    target, _, options = rest.partition(":")
    if not colon or not target:
        return None
    for home in ("~", "${HOME}"):
        if source == home or source.startswith(f"{home}/"):
            source = f"$HOME{source.removeprefix(home)}"
    made: Json = {"source": source, "target": target}
    flags = [option for option in options.split(",") if option not in {"", "rw", "z", "Z"}]
    if flags == ["ro"]:
        made["readOnly"] = True
    elif flags:
        return None
    return made
