"""Conversations and ways in which models spoil a placeholder."""

from __future__ import annotations

from collections.abc import Callable

from api.proxies.redaction.finds import Find
from api.proxies.redaction.placeholders import Conversation

Mangling = Callable[[str], str]

ADA = "Ada Lovelace"
MAIL = "ada@example.com"


def finds(text: str, **values: str) -> list[Find]:
    """Every place of each value: `finds(text, PERSON="Ada")`."""
    found = []
    for kind, value in values.items():
        at = text.find(value)
        while at >= 0:
            found.append(Find(at, at + len(value), kind, 1.0))
            at = text.find(value, at + len(value))
    return sorted(found, key=lambda find: find.start)


def conversation(**values: str) -> Conversation:
    """One in which each of these was masked."""
    made = Conversation()
    for kind, value in values.items():
        made.mask(value, [Find(0, len(value), kind, 1.0)])
    return made


def known() -> Conversation:
    """`[PERSON_1]`, `[PERSON_1_FIRST]`, `[EMAIL_ADDRESS_1]`, and persons up to 12."""
    made = conversation(PERSON=ADA, EMAIL_ADDRESS=MAIL)
    made.mask("Ada", [Find(0, 3, "PERSON", 1.0)])
    for number in range(2, 13):
        name = f"Person{'abcdefghijklmn'[number]} Numbered"
        made.mask(name, [Find(0, len(name), "PERSON", 1.0)])
    return made


def inner(placeholder: str) -> str:
    return placeholder[1:-1]


MANGLINGS: dict[str, tuple[Mangling, str]] = {
    "as it is": (lambda p: p, "{}"),
    "lower case": (lambda p: p.lower(), "{}"),
    "title case": (lambda p: p.title(), "{}"),
    "pointed brackets": (lambda p: f"<{inner(p)}>", "{}"),
    "pointed brackets in lower case": (lambda p: f"<{inner(p).lower()}>", "{}"),
    "curly brackets": (lambda p: f"{{{inner(p)}}}", "{}"),
    "guillemets": (lambda p: f"«{inner(p)}»", "{}"),
    "brackets lost": (inner, "{}"),
    "brackets lost in lower case": (lambda p: inner(p).lower(), "{}"),
    "round brackets": (lambda p: f"({inner(p)})", "({})"),
    "markdown escape": (lambda p: p.replace("_", "\\_"), "{}"),
    "markdown escape of all": (lambda p: p.replace("_", "\\_").replace("[", "\\[").replace("]", "\\]"), "{}"),
    "markdown escape, brackets lost": (lambda p: inner(p).replace("_", "\\_"), "{}"),
    "bold": (lambda p: f"**{p}**", "**{}**"),
    "bold, brackets lost": (lambda p: f"**{inner(p)}**", "**{}**"),
    "underlined, brackets lost": (lambda p: f"__{inner(p)}__", "__{}__"),
    "code": (lambda p: f"`{p}`", "`{}`"),
    "code, brackets lost": (lambda p: f"`{inner(p)}`", "`{}`"),
    "code fence": (lambda p: f"```\n{p}\n```", "```\n{}\n```"),
    "spaces": (lambda p: p.replace("_", " "), "{}"),
    "spaces inside brackets": (lambda p: f"[ {inner(p)} ]", "{}"),
    "spaces in lower case": (lambda p: p.replace("_", " ").lower(), "{}"),
    "hyphens": (lambda p: p.replace("_", "-"), "{}"),
    "a line's end inside": (lambda p: p.replace("_", "_\n", 1), "{}"),
    "nothing between": (lambda p: p.replace("_1", "1", 1), "{}"),
    "leading zero": (lambda p: p.replace("_1", "_01", 1), "{}"),
    "possessive": (lambda p: f"{p}'s", "{}'s"),
    "possessive, brackets lost": (lambda p: f"{inner(p)}'s", "{}'s"),
    "possessive with a curved mark": (lambda p: f"{inner(p)}\u2019s", "{}\u2019s"),
    "plural": (lambda p: f"{p}s", "{}s"),
    "plural, brackets lost": (lambda p: f"{inner(p)}s", "{}s"),
    "HTML escape": (lambda p: f"&lt;{inner(p)}&gt;", "{}"),
    "HTML escape of square brackets": (lambda p: f"&#91;{inner(p)}&#93;", "{}"),
    "HTML escape of underscores": (lambda p: p.replace("_", "&#95;"), "{}"),
    "URL escape": (lambda p: p.replace("[", "%5B").replace("]", "%5D"), "{}"),
    "URL escape of all": (lambda p: p.replace("[", "%5b").replace("]", "%5d").replace("_", "%5F"), "{}"),
    "URL escape twice": (lambda p: p.replace("[", "%255B").replace("]", "%255D"), "{}"),
    "zero width in the label": (lambda p: f"{p[:3]}\u200b{p[3:]}", "{}"),
    "zero width around the number": (lambda p: p.replace("_1", "_\u200b1\u2060", 1), "{}"),
    "soft hyphen": (lambda p: f"{p[:4]}\u00ad{p[4:]}", "{}"),
    "a letter of another script behind": (lambda p: f"{inner(p)}さん", "{}さん"),
    "in quotes": (lambda p: f'"{inner(p)}"', '"{}"'),
    "a full stop behind": (lambda p: f"{inner(p)}.", "{}."),
}  # fmt: skip
