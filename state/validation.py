"""From pydantic's findings to sentences with a place.

pydantic says which rule a value broke; this module says it in words, at the line where the value stands, with
what would be allowed. Values of `env` are never repeated, since people paste secrets there.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from state.declared import Declared
from state.fields import WORDS
from state.problems import MAX_PROBLEMS, Problem, dotted, shown
from state.recipes import BRANCH, Recipe
from state.yaml_tree import Node

KEY: Final = "[key]"  # pydantic's mark for "the key itself is wrong"

_Model = TypeVar("_Model", bound=Declared)
_Path = list[str | int]


def validate(
    model: type[_Model], node: Node, *, prefix: Sequence[str | int] = ()
) -> tuple[_Model | None, list[Problem]]:
    """The model from the tree, or all that is wrong with it. `prefix` is where the tree hangs in its document."""
    try:
        return model.model_validate(node.plain()), []
    except ValidationError as error:
        found = enumerate(error.errors(include_url=False))
        return None, [_problem(model, node, list(prefix), details, helpful=n < MAX_PROBLEMS) for n, details in found]


def _problem(model: type[Declared], node: Node, prefix: _Path, error: ErrorDetails, *, helpful: bool) -> Problem:
    """One finding: the path without pydantic's own marks, the nearest place, and the sentence.

    Of more findings than are shown only the first are `helpful`: to search for what was meant takes its time.
    """
    about_key = error["loc"][-1:] == (KEY,)
    said: _Path = list(error["loc"][:-1] if about_key else error["loc"])
    keys = 1 if about_key or error["type"] == "extra_forbidden" else 0  # a person's own word, whatever it begins with
    marks = len(said) - keys
    loc: _Path = [part for at, part in enumerate(said) if at >= marks or not str(part).startswith(BRANCH)]
    message, allowed = _sentence(error, hide="env" in loc[:-1])
    place, path = node.find(loc)
    missing = loc[len(path) :]
    if error["type"] == "missing":
        path = [*path, *missing]
    elif error["type"] == "extra_forbidden" and helpful:
        message, allowed = _unknown_key(str(loc[-1]), model_at(model, path[:-1]))
    elif error["type"] == "value_error" and (named := re.match(r"(\w+): (.*)", message, re.DOTALL)):
        message = named[2]
        place, path = node.find([*path, named[1]])
        path = path if path and path[-1] == named[1] else [*path, named[1]]
    if about_key:
        message = f"as a name, {message}"
    return Problem.at(place, dotted([*prefix, *path]), message, allowed)


def _sentence(error: ErrorDetails, *, hide: bool) -> tuple[str, tuple[str, ...]]:
    """What is wrong, and what is allowed."""
    context = error.get("ctx", {})
    given = error.get("input")
    value = "this value" if hide or isinstance(given, (dict, list)) else shown(given)
    kind = error["type"]
    if kind == "string_pattern_mismatch":
        words = WORDS.get(str(context.get("pattern")))
        return f"{value} does not fit", (words or f"text that matches {context.get('pattern')}",)
    if kind in {"literal_error", "enum"}:
        return f"{value} is not one of the words known here", tuple(re.findall(r"'([^']*)'", context["expected"]))
    if kind == "string_type":
        number = isinstance(given, (int, float))
        return f"{value} is not text" + (": put it in quotes" if number else ""), ()
    if kind in _WHOLE_NUMBER:
        quoted = isinstance(given, str) and given.isdigit()
        return f"{value} is not a whole number" + (": write it without quotes" if quoted else ""), ()
    if kind == "value_error":
        return str(context.get("error", error["msg"])), ()
    said = error["msg"].replace("Input should", "should")
    unforeseen = f"{value}: {said[:1].lower()}{said[1:]}"
    sentence = _SENTENCES.get(kind)
    return (sentence(value, context) if sentence else unforeseen), ()


def _count(word: str, key: str) -> Callable[[str, dict[str, Any]], str]:
    def sentence(_: str, context: dict[str, Any]) -> str:
        has = context["actual_length"]  # None where pydantic stopped counting
        return f"must have at {word} {context[key]} entries; it has {'more' if has is None else has}"

    return sentence


def _bound(word: str, key: str) -> Callable[[str, dict[str, Any]], str]:
    def sentence(value: str, context: dict[str, Any]) -> str:
        limit = context[key]
        whole = isinstance(limit, float) and limit.is_integer()
        return f"must be {word} {int(limit) if whole else limit}; it is {value}"

    return sentence


_WHOLE_NUMBER: Final = {"int_type", "int_parsing", "int_from_float"}
_SENTENCES: Final[dict[str, Callable[[str, dict[str, Any]], str]]] = {
    "missing": lambda _, __: "is missing",
    "extra_forbidden": lambda _, __: "is not a known key",
    "string_too_long": lambda _, context: f"must be at most {context['max_length']} characters",
    "string_too_short": lambda _, context: f"must be at least {context['min_length']} characters",
    "too_short": _count("least", "min_length"),
    "too_long": _count("most", "max_length"),
    "greater_than": _bound("more than", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("less than", "lt"),
    "less_than_equal": _bound("at most", "le"),
    "bool_type": lambda value, _: f"{value} is neither true nor false",
    "bool_parsing": lambda value, _: f"{value} is neither true nor false",
    "float_type": lambda value, _: f"{value} is not a number",
    "float_parsing": lambda value, _: f"{value} is not a number",
    "finite_number": lambda value, _: f"{value} is not a finite number",
    "list_type": lambda value, _: f"{value} is not a list",
    "dict_type": lambda value, _: f"{value} is not a map (key: value)",
    "model_type": lambda value, _: f"{value} is not a map (key: value)",
    "model_attributes_type": lambda value, _: f"{value} is not a map (key: value)",
}


def _unknown_key(key: str, model: type[Declared]) -> tuple[str, tuple[str, ...]]:
    """The keys that exist, with the one that was probably meant first."""
    known = sorted(field.alias or name for name, field in model.model_fields.items())
    meant = close(key, known)
    if meant:
        return f"is not a known key; did you mean {meant[0]}?", tuple(known)
    if model is not Recipe and key in {field.alias for field in Recipe.model_fields.values()}:
        return "is not a known key here; it belongs to the recipe (under `recipe:`)", tuple(known)
    return "is not a known key", tuple(known)


def close(word: str, known: Sequence[str], *, most: int = 3) -> list[str]:
    """Those of `known` that look like `word`, whatever its case and dashes."""
    flat = {re.sub(r"[-_.]", "", name).lower(): name for name in reversed(known)}
    found = difflib.get_close_matches(re.sub(r"[-_.]", "", word).lower(), list(flat), n=most, cutoff=0.6)
    return [flat[name] for name in found]


def model_at(model: type[Declared], path: Sequence[str | int]) -> type[Declared]:
    """The model that rules the map at `path`."""
    inside_map = False
    for part in path:
        if inside_map or isinstance(part, int):
            inside_map = False  # the part is a name that a person chose
            continue
        field = next((f for name, f in model.model_fields.items() if (f.alias or name) == part), None)
        if field is None:
            continue
        model = next(_models(field.annotation), model)
        inside_map = any(get_origin(kind) is dict for kind in _kinds(field.annotation))
    return model


def _kinds(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _kinds(part)


def _models(annotation: Any) -> Iterator[type[Declared]]:
    return (kind for kind in _kinds(annotation) if isinstance(kind, type) and issubclass(kind, Declared))
