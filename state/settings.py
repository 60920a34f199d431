"""The one list of settings: every field of `settings:` and `guards:`, taken from the models that the files are read by.

Name, type, bounds, default and help are the schema's own; the part of the product that a setting steers stands beside
it in its annotation (`fields.Steers`). The API, the form, the command line, the environment and docs/SETTINGS.md are
made from this list, so a field that a model gains is everywhere at once. A nested model is a level of names; a list or
a map is one setting, with JSON for its value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic.fields import FieldInfo

from state.declared import Declared
from state.desired import Desired
from state.fields import DURATION, SIZE, WORDS, Steers, written_duration, written_size
from state.problems import Place, Problem
from state.yaml_read import read_tree
from state.yaml_tree import Node

Json = dict[str, Any]

SECTIONS: Final = ("settings", "guards")
PREFIX: Final = "SPARKKEEP_"
SPELT: Final[Mapping[str, Callable[[Any], str]]] = {"duration": written_duration, "size": written_size}
UNITS: Final = {"duration": "seconds", "size": "bytes"}
BOUNDS: Final = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}
COUNTS: Final = {"minItems": "at least", "maxItems": "at most", "minProperties": "at least", "maxProperties": "at most"}
WORDED: Final = {
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "array": "list",
    "object": "map",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One of them. `default` is written as in YAML; `unit` is what a plain number counts, where it counts something."""

    path: tuple[str, ...]
    type: str
    unit: str
    schema: Json
    default: Any
    help: str
    allowed: tuple[str, ...]
    steers: str

    @property
    def name(self) -> str:
        """As it is named everywhere: `settings.scanInterval`."""
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        """The environment variable of its base: SPARKKEEP_, and its name in capitals."""
        words = (re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", part) for part in self.path)
        return PREFIX + "_".join(words).upper()

    def written(self, value: Any) -> Any:
        """A value as the models hold it, in the way that it is written in YAML."""
        return SPELT[self.type](value) if self.type in SPELT and isinstance(value, (int, float)) else value

    def within(self, dumped: Json) -> Any:
        """What it is in a desired state that was dumped to JSON, as it is written."""
        return self.written(_at(dumped, self.path))

    def read(self, text: str, place: str) -> tuple[Node | None, list[Problem]]:
        """A value from text, as YAML would read it; where only text is allowed, the text itself."""
        if self.type in {"text", "word"}:
            return Node(Place(place), value=text), []
        node, problems = read_tree(text, place)
        return node, [replace(problem, field=self.name) for problem in problems]


def _listed(model: type[Declared], above: tuple[str, ...], defaults: Any) -> Iterator[Setting]:
    schema = model.model_json_schema(by_alias=True, mode="validation")
    for field_name, field in model.model_fields.items():
        name = field.alias or field_name
        path, default = (*above, name), _at(defaults, (name,))
        if (nested := _nested(field.annotation)) is not None:
            yield from _listed(nested, path, default)
            continue
        spec = _inlined(schema["properties"][name], schema.get("$defs", {}))
        yield _setting(path, field, spec, default, model)


def _setting(path: tuple[str, ...], field: FieldInfo, schema: Json, default: Any, model: type[Declared]) -> Setting:
    kind = _type(schema)
    text = schema.pop("description", "") or field.description or ""
    marks = [mark for mark in (*field.metadata, *_metadata(field.annotation)) if isinstance(mark, Steers)]
    shown: Callable[[Any], str] = SPELT.get(kind, _number)
    written = SPELT[kind](default) if kind in SPELT and default is not None else default
    return Setting(
        path=path,
        type=kind,
        unit=UNITS.get(kind, ""),
        schema={**{key: value for key, value in schema.items() if key not in {"default", "title"}}, "default": written},
        default=written,
        help=" ".join(text.split()),
        allowed=tuple(dict.fromkeys(_allowed(schema, shown))),
        steers=marks[0].what if marks else " ".join((model.__doc__ or "").split()),
    )


def _nested(annotation: Any) -> type[Declared] | None:
    """The model that a field holds by itself (or nothing): a level of names, and no value."""
    held = [kind for kind in (get_args(annotation) or (annotation,)) if kind is not type(None)]
    only = held[0] if len(held) == 1 and get_origin(annotation) not in {list, dict, tuple, set} else None
    return only if isinstance(only, type) and issubclass(only, Declared) else None


def _metadata(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        yield from annotation.__metadata__
    for part in get_args(annotation):
        yield from _metadata(part)


def _inlined(node: Any, shared: Json) -> Any:
    """A schema that stands by itself."""
    if isinstance(node, list):
        return [_inlined(item, shared) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        own = {key: value for key, value in node.items() if key != "$ref"}
        return _inlined({**shared[node["$ref"].rsplit("/", 1)[-1]], **own}, shared)
    return {key: _inlined(value, shared) for key, value in node.items()}


def _branches(schema: Json) -> list[Json]:
    """What a value may be, without `null`: that is how a setting is taken back."""
    return [branch for branch in schema.get("anyOf", [schema]) if branch.get("type") != "null"]


def _type(schema: Json) -> str:
    branches = _branches(schema)
    patterns = {branch.get("pattern") for branch in branches}
    if patterns & {DURATION, SIZE}:
        return "duration" if DURATION in patterns else "size"
    if any("enum" in branch or "const" in branch for branch in branches):
        return "word"
    return " or ".join(dict.fromkeys(WORDED.get(str(branch.get("type")), "JSON") for branch in branches))


def _allowed(schema: Json, shown: Callable[[Any], str]) -> Iterator[str]:
    """What the schema says of values, in words."""
    for branch in _branches(schema):
        yield from (str(word) for word in branch.get("enum", [branch["const"]] if "const" in branch else ()))
        if branch.get("type") == "boolean":
            yield from ("true", "false")
        yield from (f"{word} {shown(branch[key])}" for key, word in BOUNDS.items() if key in branch)
        pattern = branch.get("pattern")
        if pattern not in {None, DURATION, SIZE}:
            yield WORDS.get(pattern, f"text that matches {pattern}")
        elif "maxLength" in branch and pattern is None:
            yield f"at most {branch['maxLength']} characters"
        yield from (f"{word} {branch[key]} entries" for key, word in COUNTS.items() if key in branch)
        if isinstance(branch.get("items"), dict):
            yield from (f"each {words}" for words in _allowed(branch["items"], _number))


def _number(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def _all() -> Iterator[Setting]:
    defaults = Desired().model_dump(mode="json")
    for name in SECTIONS:
        model = Desired.model_fields[name].annotation
        assert isinstance(model, type)  # noqa: S101  # a law of this code
        assert issubclass(model, Declared)  # noqa: S101  # as above
        yield from _listed(model, (name,), defaults[name])


SETTINGS: Final[Mapping[str, Setting]] = {setting.name: setting for setting in _all()}


def setting_at(field: str) -> Setting | None:
    """The setting that a problem's field belongs to: `settings.keep[1]` is about `settings.keep`."""
    found = [s for name, s in SETTINGS.items() if field == name or field.startswith((f"{name}.", f"{name}["))]
    return max(found, key=lambda setting: len(setting.path), default=None)


def helped(problems: Iterable[Problem]) -> list[Problem]:
    """The problems, those of settings with what is allowed in words."""
    found = []
    for problem in problems:
        setting = None if problem.allowed else SETTINGS.get(problem.field)
        found.append(replace(problem, allowed=setting.allowed) if setting is not None else problem)
    return found


def unknown(name: str, known: Iterable[str], *, place: str) -> Problem:
    """No setting is called so; perhaps another one was meant."""
    names = list(known)
    flat = {_bare(each): each for each in reversed(names)}
    close = [flat[each] for each in get_close_matches(_bare(name), list(flat), n=1)]
    hint = f"; did you mean {close[0]}?" if close else ""
    return Problem(place, 0, 0, name[:200], f"is no setting{hint}", tuple(names))


def _bare(name: str) -> str:
    """What tells it from the others, whatever its case and dashes."""
    flat = re.sub(r"[-_.]", "", name).lower()
    return re.sub(rf"^({PREFIX[:-1].lower()})?({'|'.join(SECTIONS)})", "", flat)
