"""Edits of a commented YAML file that keep every comment and every byte they don't concern.

The document is never dumped. The places of its values are known from the parser that reads it anyway, and text is
spliced there. PyYAML's parser does that rather than ruamel.yaml's round trip, since a round trip writes the whole file
anew: it changed indentation, spaces after colons and inside brackets, brackets over several lines, and CRLF to LF. A
splice leaves the rest alone by how it is made, has one reader's rules to follow, and needs one dependency less. How
entries and comments belong together: `yaml_edit_block`.

What comes out is believed only once it is read: it must say what the old file said, with the edits done to it.
Otherwise, or where the text is written in a way that can't be spliced, `NotEditable` says where and why. So an edit
near anchors, aliases and merge keys is done where it means what it should, and refused where it would reach further.
`apply` is a pure function: the same edits can be applied to two versions of a file.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import yaml

from state.problems import Place, Problem, dotted
from state.yaml_edit_data import GONE, Edit, Gone, Path, edited, merging, replacing, same, value_at
from state.yaml_edit_lines import Lines
from state.yaml_edit_spans import Document, Unspliceable
from state.yaml_edit_text import Unwritable
from state.yaml_read import read_tree
from state.yaml_splice import locate, put_at, remove_at
from state.yaml_tree import Node

__all__ = ["GONE", "Edit", "Gone", "NotEditable", "apply", "merge_patch", "put"]

BY_HAND: Final = "edit the file by hand"
ELSE: Final = "can't be edited here without changing something else"


class NotEditable(Exception):
    """The file is left as it is; `problem` says what is in the way, where, and what a person can do."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


def merge_patch(tree: Node, path: Path, patch: Any) -> list[Edit]:
    """An RFC 7396 merge patch of what stands at `path` as the smallest list of edits.

    What the patch says and `tree` has already is no edit: for another version of the file ask again with its tree.
    """
    return merging(path, value_at(tree.plain(), path), patch)


def put(tree: Node, path: Path, value: Any) -> list[Edit]:
    """`value` in place of what stands at `path` as the smallest list of edits: keys that stay keep their comments."""
    return replacing(path, value_at(tree.plain(), path), value)


def apply(data: bytes, edits: Sequence[Edit], file: str = "desired.yaml") -> bytes:
    """The file with the edits done, one after the other. `file` is its name in messages. Raises NotEditable."""
    tree = _readable(data, file)
    if not edits:
        return data
    try:
        return _spliced(data, tree, edits, file)
    except NotEditable:
        if len(edits) == 1:
            raise
    for edit in edits:  # which of them was it?
        data = apply(data, [edit], file)
    return data


def _spliced(data: bytes, tree: Node, edits: Sequence[Edit], file: str) -> bytes:
    bom = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    text, wanted = data.decode("utf-8-sig"), tree.plain()
    for edit in edits:
        try:
            text, wanted = _one(text, wanted, edit)
        except Unwritable as refused:
            raise NotEditable(_problem(file, tree, edit, str(refused))) from None
        except Unspliceable as refused:
            problem = Problem.at(_place(file, Lines(text), refused.at), dotted(edit.path), refused.why)
            raise NotEditable(_in_the_way(data, edit, problem)) from None
        except yaml.MarkedYAMLError as broken:
            why = f"{ELSE} (it would read: {broken.problem})"
            raise NotEditable(_in_the_way(data, edit, _problem(file, tree, edit, why))) from None
    result = bom + text.encode()
    found, problems = read_tree(result, file)
    if problems or found is None or not same(found.plain(), wanted):
        why = ELSE + (f" (it would read: {problems[0].message})" if problems else "")
        raise NotEditable(_in_the_way(data, edits[0], _problem(file, tree, edits[0], why)))
    return result


def _one(text: str, tree: Any, edit: Edit) -> tuple[str, Any]:
    """Text and data with one edit done, in the smallest steps. What stands there already is not written again."""
    was = value_at(tree, edit.path)
    steps = [edit] if edit.value is GONE else replacing(edit.path, was, edit.value)
    for step in steps:
        if step.value is GONE:
            text = remove_at(text, step.path)
        else:
            text = put_at(text, step.path, step.value, value_at(tree, step.path))
    return text, edited(tree, edit)


def _readable(data: bytes, file: str) -> Node:
    tree, problems = read_tree(data, file)
    if problems:
        first = problems[0]
        said = f"{first.message}; only a file without faults can be edited: put this right first"
        raise NotEditable(Problem(file, first.line, first.column, first.field, said))
    if tree is None or tree.map is None:
        said = "is not a map: a file that can be edited begins with keys such as models:"
        raise NotEditable(Problem(file, 1, 1, "", said))
    return tree


def _place(file: str, lines: Lines, at: int) -> Place:
    return Place(file, lines.line(at) + 1, lines.column(at) + 1)


def _problem(file: str, tree: Node, edit: Edit, why: str) -> Problem:
    return Problem.at(Place(file, *tree.position(edit.path)), dotted(edit.path), why)


def _in_the_way(data: bytes, edit: Edit, problem: Problem) -> Problem:
    """Why an edit could not be made, in words for the person who wrote the file."""
    doc = Document(data.decode("utf-8-sig"))
    at, shared = _shared(doc, edit.path)
    if shared:
        return Problem.at(_place(problem.file, doc, at), problem.field, f"{shared}, or {BY_HAND}")
    if doc.broken_off and problem.message == ELSE:
        return replace(problem, message=f"{ELSE}: end the file's last line with a line break, or {BY_HAND}")
    return replace(problem, message=f"{problem.message}; you can {BY_HAND}")


def _shared(doc: Document, path: Path) -> tuple[int, str]:
    """The anchor, alias or merge key that makes an edit reach further than its path, and where it stands."""
    spot = locate(doc, path)
    if not spot.spans:
        return 0, ""
    last = spot.spans[-1]
    if last.kind == "alias" and spot.rest:
        name = doc.text[last.start + 1 : last.end]
        return last.start, f"only *{name} stands here, and what it means is &{name}'s: write the values out here first"
    for span in spot.spans[: len(path)]:
        if span.merges:
            return span.start, "<< (a merge key) brings more keys in here: write them out here first"
    for anchor in doc.anchors:
        around = any(anchor.span is span for span in spot.spans)
        within = not spot.rest and last.start <= anchor.span.start and anchor.span.end <= last.end
        user = next((alias for alias in doc.aliases if alias.name == anchor.name), None)
        if user is not None and (around or within):
            line = doc.line(user.span.start) + 1
            shared = f"&{anchor.name} stands here and *{anchor.name} in line {line} means the same"
            return anchor.span.start, f"{shared}: write the values out there first"
    return 0, ""
