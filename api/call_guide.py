"""`docs/API.md`: what each call takes and answers, made from the OpenAPI document, between words written by people.

A section of the page is headed by its call (``### `GET /api/status` ``). Right below the heading stands what the route
says of itself, between two marks; all else on the page belongs to people and is never touched. A call without a section
gets one, with an example, after its like. `python -m api.call_guide` writes the page; a test fails while the committed
one is not what this makes.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from textwrap import wrap
from types import SimpleNamespace
from typing import Any, Final, cast

from api.app import build
from api.version import VERSION

FILE: Final = Path(__file__).resolve().parent.parent / "docs" / "API.md"
BEGIN: Final = "<!-- made of the route: make schema -->"
END: Final = "<!-- by hand -->"
WIDTH: Final = 120
HEADING: Final = re.compile(r"^### `([A-Z]+ /\S*)`\n", re.MULTILINE)
MADE: Final = re.compile(rf"{re.escape(BEGIN)}\n.*?{re.escape(END)}\n", re.DOTALL)
NEXT: Final = re.compile(r"^##", re.MULTILINE)
EXAMPLE: Final = re.compile(r"^    curl ", re.MULTILINE)
JSON_TYPE: Final = "application/json"

Json = Mapping[str, Any]


def document() -> dict[str, Any]:
    """What `sparkkeep serve --practice` gives at /api/openapi.json: all calls that there are."""
    context = cast("Any", SimpleNamespace(practice=True))  # routes are described without being called
    return build(context, version=VERSION).openapi()


def text(page: str, described: Json | None = None) -> str:
    """The page with what the calls say of themselves now."""
    described = described or document()
    for name, operation in _operations(described).items():
        if name not in HEADING.findall(page):
            page = _with_section(page, name, operation["tags"][0], described)
    return _filled(page, described)


def _filled(page: str, described: Json) -> str:
    operations, every = _operations(described), _common(described)
    parts, end = [], 0
    for found in HEADING.finditer(page):
        body_end = _end_of_section(page, found)
        words = MADE.sub("", page[found.end() : body_end])
        parts.append(page[end : found.end()])
        if operation := operations.get(found[1]):
            lines = _told(operation, described, every)
            if not EXAMPLE.search(words):
                lines += ["", f"    {_curl(found[1], operation, described)}"]
            parts.append("\n".join([BEGIN, *lines, END, "", ""]))
        parts.append(words.lstrip("\n"))
        end = body_end
    return "".join([*parts, page[end:]])


def _end_of_section(page: str, heading: re.Match[str]) -> int:
    found = NEXT.search(page, heading.end())
    return found.start() if found else len(page)


def _with_section(page: str, name: str, tag: str, described: Json) -> str:
    """The page with an empty section for a call: after the last of its kind, or in a part of its own."""
    operations = _operations(described)
    like = [
        found for found in HEADING.finditer(page) if found[1] in operations and operations[found[1]]["tags"][0] == tag
    ]
    if not like:
        return f"{page.rstrip()}\n\n## {tag.capitalize()}\n\n### `{name}`\n"
    at = _end_of_section(page, like[-1])
    return f"{page[:at].rstrip()}\n\n### `{name}`\n\n{page[at:]}".rstrip() + "\n"


def _operations(described: Json) -> dict[str, Any]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }


def _common(described: Json) -> set[str]:
    """The refusals that every call can come to: said once, on top of the page."""
    return set.intersection(*({*each["responses"]} for each in _operations(described).values()))


def _told(operation: Json, described: Json, every: set[str]) -> list[str]:
    about = " ".join(operation.get("description", "").split())
    given = [*_parameters(operation), *_fields(operation, described)]
    return [
        *_wrapped(f"**{operation['summary']}.** {about}"),
        "",
        *(line for each in given for line in _wrapped(f"- {each}", "  ")),
        *([""] if given else []),
        *_wrapped(" ".join(_answers(operation, described, every))),
    ]


def _wrapped(told: str, indent: str = "") -> list[str]:
    return wrap(told, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _parameters(operation: Json) -> Iterator[str]:
    for parameter in operation.get("parameters", ()):
        schema, name = parameter["schema"], parameter["name"]
        shown = {"path": f"`{{{name}}}`", "query": f"`?{name}=`", "header": f"header `{name.title()}`"}[parameter["in"]]
        about = parameter.get("description") or schema.get("description", "")
        named = parameter["in"] == "path"
        yield _line(
            shown,
            about,
            {} if named and "enum" not in schema else schema,
            required=not named and parameter.get("required", False),
        )


def _fields(operation: Json, described: Json) -> Iterator[str]:
    body = _resolved(_body(operation), described)
    for name, schema in body.get("properties", {}).items():
        required = name in body.get("required", ())
        yield _line(f"body `{name}`", schema.get("description", ""), _resolved(schema, described), required=required)


def _body(operation: Json) -> Json:
    content = operation.get("requestBody", {}).get("content", {})
    return next(iter(content.values()))["schema"] if content else {}


def _line(shown: str, about: str, schema: Json, *, required: bool) -> str:
    said = [" ".join(about.split()), _range(schema), "required" if required else _default(schema)]
    told = "; ".join(each for each in said if each)
    return f"{shown}: {told}" if told else shown


def _range(schema: Json) -> str:
    for option in (schema, *schema.get("anyOf", ())):
        if words := option.get("enum"):
            return " or ".join(f"`{word}`" for word in words)
        if {"minimum", "maximum"} <= {*option}:
            return f"from {option['minimum']:,} to {option['maximum']:,}"
        if "maxLength" in option:
            return f"at most {option['maxLength']:,} characters"
    return ""


def _default(schema: Json) -> str:
    value = schema.get("default")
    return "" if value in (None, "", [], {}) else f"default `{json.dumps(value).strip(chr(34))}`"


def _answers(operation: Json, described: Json, every: set[str]) -> Iterator[str]:
    good = {status: each for status, each in operation["responses"].items() if status.startswith("2")}
    refused = [(s, each) for s, each in sorted(operation["responses"].items()) if s not in good]
    for status, each in good.items():
        yield f"Answers {status}{_shape(each, described)}"
    told = [
        f"{status}{_beside(each, described)}"
        for status, each in refused
        if status not in every or _beside(each, described)
    ]
    if told:
        yield f"Refused: {', '.join(told)}."


def _shape(response: Json, described: Json) -> str:
    content = response.get("content", {})
    shape = _resolved(content.get(JSON_TYPE, {}).get("schema", {}), described)
    kinds = list(content) if [*content] != [JSON_TYPE] else []
    keys = shape.get("properties", {})
    said = f" `{{{', '.join(keys)}}}`" if keys else ""
    said += f" ({' or '.join(kinds)})" if kinds else ""
    notes = [f"`{key}`: {about}" for key, each in keys.items() if (about := _about(each))]
    return f"{said}. {'; '.join(notes)}.".replace(". .", ".") if notes else f"{said}."


def _about(schema: Json) -> str:
    return " ".join(schema.get("description", "").split()).rstrip(".")


def _beside(response: Json, described: Json) -> str:
    """What a refusal has beside the keys that each has."""
    shape = _resolved(response.get("content", {}).get(JSON_TYPE, {}).get("schema", {}), described)
    usual = described["components"]["schemas"]["Refusal"]["properties"]
    more = [key for key in shape.get("properties", {}) if key not in usual]
    return f" (with {', '.join(f'`{key}`' for key in more)})" if more else ""


def _resolved(schema: Json, described: Json) -> Json:
    """A schema with what it refers to; of several, the first that is not null."""
    beside = {key: schema[key] for key in ("default", "examples") if key in schema}
    if "$ref" in schema:
        there = described["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return {**_resolved(there, described), **beside}
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    return {**_resolved(options[0], described), **beside} if options and "$ref" in options[0] else schema


def _curl(name: str, operation: Json, described: Json) -> str:
    """An example that a person can paste, from the examples of the document."""
    method, _, path = name.partition(" ")
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(_example(parameter["schema"], parameter)))
    argv = ["curl", *(() if method == "GET" else ("-X", method)), f"$S{path}"]
    told = " ".join(argv)
    body = _resolved(_body(operation), described)
    if not body:
        return told
    value = next(iter(body.get("examples", ())), None) or {
        field: _example(_resolved(schema, described))
        for field, schema in body.get("properties", {}).items()
        if field in body.get("required", ())
    }
    return f"{told} -H 'content-type: {JSON_TYPE}' -d {shlex.quote(json.dumps(value))}"


def _example(*described: Json) -> Any:
    def found(schemas: Iterable[Json]) -> Iterator[Any]:
        for schema in schemas:
            yield from schema.get("examples", ())
            yield from schema.get("enum", ())

    return next(found(described), "1")


if __name__ == "__main__":
    FILE.write_text(text(FILE.read_text(encoding="utf-8")), encoding="utf-8")
