"""Commented YAML files made at random, which know what each of their lines and comments belongs to.

Nothing of the editor is used here: the text is written line by line, and what is noted down beside it is the measure
for the laws in test_yaml_edit_laws.py. Every comment and nearly every value is unique, so that it can be found again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

NAMES = ["on", "qwen3-8b", "recipe", "flags", "models", "x", "naïve", "spark-1", "max-model-len", "日本", "a b", "n0de"]


@dataclass
class Comment:
    """`owner` is the path it stands at. `kind`: "own" goes with the entry, "inside" with its value, "item" may go."""

    tag: str
    owner: tuple[str, ...]
    kind: str


@dataclass
class Commented:
    """A text, what it says, and what is known of it."""

    rng: Random
    step: int = 2
    lines: list[str] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    ranges: dict[tuple[str, ...], tuple[int, int]] = field(default_factory=dict)
    braces: set[tuple[str, ...]] = field(default_factory=set)  # the maps that are not written in lines
    data: dict[str, Any] = field(default_factory=dict)
    newline: str = "\n"
    bom: bool = False
    final: bool = True
    count: int = 0

    @property
    def text(self) -> str:
        return self.newline.join(self.lines) + (self.newline if self.final else "")

    @property
    def bytes(self) -> bytes:
        return (b"\xef\xbb\xbf" if self.bom else b"") + self.text.encode()

    def chance(self, of: float) -> bool:
        return self.rng.random() < of

    def fresh(self) -> int:
        self.count += 1
        return self.count

    def comment(self, owner: tuple[str, ...], kind: str, words: str = "note") -> str:
        tag = f"<{self.fresh()}>"
        self.comments.append(Comment(tag, owner, kind))
        return f"# {words} {tag}"

    def trailing(self, owner: tuple[str, ...], kind: str = "own") -> str:
        return " " * self.rng.randint(1, 6) + self.comment(owner, kind) if self.chance(0.3) else ""


def commented(rng: Random) -> Commented:
    """A file with its root map."""
    doc = Commented(rng, step=rng.choice([2, 2, 4, 3]), newline=rng.choice(["\n", "\n", "\r\n"]))
    doc.bom, doc.final = doc.chance(0.1), doc.chance(0.85)
    if doc.chance(0.3):
        doc.lines.append(doc.comment((), "inside", "head: of the file"))
        if doc.chance(0.3):
            doc.lines.append("---")
    doc.data = _map(doc, (), 0, 0)
    if doc.chance(0.3):
        doc.lines += ["", doc.comment((), "inside", "the end")]
    if doc.lines[-1] == "" or "|" in "".join(doc.lines[-4:]) or ">" in "".join(doc.lines[-4:]):
        doc.final = True  # a block of lines that ends a file without a break is a case of its own
    return doc


def _map(doc: Commented, path: tuple[str, ...], column: int, depth: int) -> dict[str, Any]:
    pad, found = " " * column, {}
    blank = doc.chance(0.3)
    for number, key in enumerate(doc.rng.sample(NAMES, doc.rng.randint(1, 4))):
        if blank and number:
            doc.lines.append("")
        if doc.chance(0.1) and doc.lines:
            doc.lines += ["", pad + doc.comment(path, "inside", "a word on all"), ""]
        first = _above(doc, path, key, pad)
        found[key] = _entry(doc, (*path, key), column, depth)
        doc.ranges[(*path, key)] = (first, len(doc.lines) - 1)
    return found


def _above(doc: Commented, path: tuple[str, ...], key: str, pad: str) -> int:
    if doc.chance(0.1):
        doc.lines.append(pad + doc.comment(path, "inside", "was: {out: of-use}"))
    first = len(doc.lines)
    heads = all(line.startswith("#") for line in doc.lines)
    for _ in range(doc.rng.choice([0, 0, 0, 1, 2])):
        doc.lines.append(pad + doc.comment(*(((), "inside") if heads else ((*path, key), "own"))))
    return len(doc.lines) if heads else first


def _entry(doc: Commented, path: tuple[str, ...], column: int, depth: int) -> Any:
    key = doc.rng.choice([path[-1], path[-1], path[-1], f"'{path[-1]}'", f'"{path[-1]}"'])
    start = " " * column + key + doc.rng.choice([":", ":", ":", " :"])
    kinds = [_scalar, _scalar, _scalar, _flow, _flow, _flow_lines, _items, _literal, _quoted_lines, _next_line]
    kinds += [_block_map] * (4 - depth)
    value = doc.rng.choice(kinds)(doc, path, start, column, depth)
    if doc.chance(0.12):
        doc.lines.append(" " * (column + 1) + doc.comment(path, "inside", "below"))
    return value


def _word(doc: Commented) -> tuple[str, Any]:
    """A scalar as text, and what it means."""
    number = doc.fresh()
    return doc.rng.choice(
        [
            (f"w{number}", f"w{number}"),
            (f"'it''s {number} # no comment'", f"it's {number} # no comment"),
            (f'"tab\\t{number}: é"', f"tab\t{number}: é"),
            (f"{number}000", number * 1000),
            (f"{number}.25", number + 0.25),
            (f"http://h:{number}/x#y", f"http://h:{number}/x#y"),
            (f"'{number}'", str(number)),
            ("true", True),
            ("no", "no"),
        ]
    )


def _scalar(doc: Commented, path: tuple[str, ...], start: str, column: int, depth: int) -> Any:
    written, value = doc.rng.choice([_word(doc), _word(doc), _word(doc), ("", None), ("~", None), ("null", None)])
    gap = " " * doc.rng.choice([1, 1, 1, 3]) if written else ""
    doc.lines.append(start + gap + written + doc.trailing(path))
    return value


def _flow(doc: Commented, path: tuple[str, ...], start: str, column: int, depth: int) -> Any:
    size = doc.rng.randint(0, 3)
    words = [_word(doc) for _ in range(size)]
    space, comma = doc.rng.choice(["", "", " "]), doc.rng.choice(["", "", ","]) if size else ""
    if doc.chance(0.5):
        written = f"[{space}{', '.join(word for word, _ in words)}{comma}{space}]"
        value: Any = [value for _, value in words]
    else:
        keys = doc.rng.sample(NAMES, size)
        written = f"{{{space}{', '.join(f'{key}: {word}' for key, (word, _) in zip(keys, words, strict=True))}{comma}{space}}}"
        value = {key: meant for key, (_, meant) in zip(keys, words, strict=True)}
    doc.lines.append(f"{start} {written}" + doc.trailing(path))
    if isinstance(value, dict):
        doc.braces.add(path)
        for key in value:
            doc.ranges[(*path, key)] = (len(doc.lines) - 1, len(doc.lines) - 1)
    return value


def _flow_lines(doc: Commented, path: tuple[str, ...], start: str, column: int, depth: int) -> Any:
    """`{` and a line for each key."""
    doc.lines.append(f"{start} {{" + doc.trailing(path, "inside"))
    doc.braces.add(path)
    pad, value = " " * (column + doc.step), {}
    keys = doc.rng.sample(NAMES, doc.rng.randint(1, 3))
    comma = doc.chance(0.3)
    for key in keys:
        first = len(doc.lines)
        if doc.chance(0.2):
            doc.lines.append(pad + doc.comment((*path, key), "own"))
        written, value[key] = _word(doc)
        end = "," if comma or key != keys[-1] else ""
        doc.lines.append(f"{pad}{key}: {written}{end}" + doc.trailing((*path, key)))
        doc.ranges[(*path, key)] = (first, len(doc.lines) - 1)
    doc.lines.append(" " * (column + 1) + "} " + doc.comment(path, "own"))  # no two lines are the same
    return value


def _items(doc: Commented, path: tuple[str, ...], start: str, column: int, depth: int) -> Any:
    doc.lines.append(start + doc.trailing(path))
    pad = " " * (column + doc.rng.choice([0, doc.step]))
    value: list[Any] = []
    for _ in range(doc.rng.randint(1, 3)):
        if doc.chance(0.2):
            doc.lines.append(pad + doc.comment(path, "item"))
        first, second = _word(doc), _word(doc)
        if doc.chance(0.5):
            value.append(first[1])
            doc.lines.append(f"{pad}- {first[0]}" + doc.trailing(path, "item"))
        else:
            value.append({"source": first[1], "target": second[1]})
            doc.lines.append(f"{pad}- source: {first[0]}" + doc.trailing(path, "item"))
            doc.lines.append(f"{pad}  target: {second[0]}" + doc.trailing(path, "item"))
    return value


def _literal(doc: Commented, path: tuple[str, ...], start: str, column: int, depth: int) -> Any:
    style, chomp = doc.rng.choice("||>"), doc.rng.choice(["", "", "-", "+"])
    words = [f"line {doc.fresh()} # not a comment" for _ in range(doc.rng.randint(1, 3))]
    pad = " " * (column + doc.step)
    doc.lines.append(f"{start} {style}{chomp}" + doc.trailing(path))
    doc.lines += [pad + word for word in words]
    empty = doc.rng.choice([0, 0, 1, 2])
    doc.lines += [""] * empty
    body = (" " if style == ">" else "\n").join(words)
    kept = empty if chomp == "+" else 0
    if chomp == "+":  # a blank line that followed would be the text's own
        doc.lines.append(" " * column + doc.comment(path[:-1], "inside", "ends the block"))
        doc.lines.append("")
    return body + {"": "\n", "-": "", "+": "\n" + "\n" * kept}[chomp]


def _quoted_lines(doc: Commented, path: tuple[str, ...], start: str, column: int, depth: int) -> Any:
    one, two, pad = f"one {doc.fresh()}", f"two {doc.fresh()}", " " * (column + doc.step)
    quote = doc.rng.choice(['"', "'", ""])
    doc.lines += [f"{start} {quote}{one}", f"{pad}{two}{quote}" + doc.trailing(path)]
    return f"{one} {two}"


def _next_line(doc: Commented, path: tuple[str, ...], start: str, column: int, depth: int) -> Any:
    """The value on the line below its key."""
    written, value = _word(doc)
    doc.lines.append(start + doc.trailing(path))
    doc.lines.append(" " * (column + doc.step) + written + doc.trailing(path))
    return value


def _block_map(doc: Commented, path: tuple[str, ...], start: str, column: int, depth: int) -> Any:
    doc.lines.append(start + doc.trailing(path))
    return _map(doc, path, column + doc.step, depth + 1)
