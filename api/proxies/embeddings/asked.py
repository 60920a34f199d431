"""What an app asks of `/v1/embeddings`. Strict, as what is wrong is to be named with its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from api.proxies.calls import Refused
from api.proxies.embeddings.job import invalid
from api.proxies.embeddings.way import Way

MOST: Final = 100_000
"""Inputs in one request; OpenAI takes 2,048."""
SAME: Final = {
    "search_query": ("query",),
    "query": ("search_query",),
    "search_document": ("passage", "document"),
    "document": ("passage", "search_document"),
    "passage": ("document", "search_document"),
}
"""What other dialects call the prompts that most models have."""

Input = str | list[int]


@dataclass(slots=True, kw_only=True)
class Wanted:
    """`inputs`: what is to be asked, None where one is wrong by itself (`wrong` says how). `single`: it was no list.

    `dimensions`: to be cut to here. `checked`: what the answer has to have. `rest`: all other fields.
    """

    inputs: list[Input | None]
    wrong: dict[int, Refused]
    single: bool
    as_base64: bool
    dimensions: int | None
    checked: int | None
    prompt: str
    rest: dict[str, Any]


def named_prompt(model: str, way: Way) -> str | None:
    """The prompt that a model's name ends with, if it has such."""
    name = model.rpartition("@")[2] if "@" in model else ""
    return dict(way.prompts).get(name)


def wanted(said: object, way: Way) -> Wanted:
    """Raises Refused for what is wrong as a whole."""
    if not isinstance(said, dict):
        raise invalid("body", "must be an object")
    rest = {name: value for name, value in said.items() if value is not None}
    model = rest.pop("model", "")
    if "input" not in rest:
        raise invalid("input", "is missing")
    given = rest.pop("input")
    single = isinstance(given, str) or _is_tokens(given)
    each = [given] if single else given
    if not isinstance(each, list) or not each:
        raise invalid("input", "must be a text, a list of tokens, or a list of some of either")
    if len(each) > MOST:
        raise invalid("input", f"has {len(each)} inputs; one request may have {MOST}")
    prompt = _prompt(model if isinstance(model, str) else "", rest, way)
    inputs, wrong = list[Input | None](), dict[int, Refused]()
    for at, one in enumerate(each):
        refused = _fault(one, "input" if single else f"input[{at}]", way, prompt=prompt)
        if refused is not None:
            wrong[at] = refused
        inputs.append(None if refused is not None else f"{prompt}{one}" if isinstance(one, str) else one)
    dimensions, checked = _dimensions(rest, way)
    return Wanted(
        inputs=inputs,
        wrong=wrong,
        single=single,
        as_base64=_as_base64(rest),
        dimensions=dimensions,
        checked=checked,
        prompt=prompt,
        rest=rest,
    )


def _is_tokens(given: object) -> bool:
    return isinstance(given, list) and bool(given) and type(given[0]) is int


def _fault(one: object, place: str, way: Way, *, prompt: str) -> Refused | None:
    """What is wrong with one input."""
    if isinstance(one, str):
        return None
    if not isinstance(one, list) or not one or not all(type(token) is int and token >= 0 for token in one):
        return invalid(place, "must be a text or a list of tokens, which are whole numbers")
    if not way.family.tokens:
        message = f"is a list of tokens, and the model's server ({way.server}) takes texts only"
        return Refused(400, "CannotTakeTokens", f"{place} {message}", field=place)
    if prompt:
        message = "is a list of tokens, before which no prompt can be put"
        return Refused(400, "CannotTakeTokens", f"{place} {message}", field=place)
    return None


def _prompt(model: str, rest: dict[str, Any], way: Way) -> str:
    """By the model's name, else by `input_type`, which is left to the server where no prompts are declared."""
    if not way.prompts:
        return ""
    kind = rest.pop("input_type", None)
    by_name = named_prompt(model, way)
    if by_name is not None or kind is None:
        return by_name or ""
    known = dict(way.prompts)
    found = [known[word] for word in (kind, *SAME.get(kind, ())) if word in known] if isinstance(kind, str) else []
    if not found:
        raise Refused(
            400, "NoSuchPrompt", "input_type names no prompt of this model", field="input_type", allowed=[*known]
        )
    return found[0]


def _as_base64(rest: dict[str, Any]) -> bool:
    wanted_format = rest.get("encoding_format", "float")
    if wanted_format not in ("float", "base64"):
        message = "encoding_format is none that is known"
        raise Refused(400, "InvalidRequest", message, field="encoding_format", allowed=["float", "base64"])
    return bool(wanted_format == "base64")


def _dimensions(rest: dict[str, Any], way: Way) -> tuple[int | None, int | None]:
    given = rest.get("dimensions")
    if given is None:
        return None, None
    if type(given) is not int or given < 1:
        raise invalid("dimensions", "must be a whole number, at least 1")
    if not way.matryoshka:
        return None, given
    del rest["dimensions"]
    return given, given
