"""What can become of a desired.yaml: slips of an editor, of a merge, of a disk, and malice. Seeded: a number is a text.

`mutant(base, seed)` does one to three of these things to a text. The same number gives the same text for ever.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Final

Random = random.Random
Mutation = Callable[[bytes, Random], bytes]

LONG: Final = 200_000  # characters
SCALARS: Final = (
    *("", "~", "null", "true", "no", "0", "-1", "1.5", "1e400", ".nan", "-.inf", "0x1F", "0o17", "1_000", "1:30"),
    *(
        "2026-11-23",
        "9" * 40,
        "9" * 5000,
        f"-{'9' * 400}",
        f"1e{'9' * 30}",
        "[]",
        "{}",
        "[[]]",
        "{a: {b: c}}",
        "[1, x]",
    ),
    *("'", '"', '"\\x00"', '"\\ud800"', '"\\u202e"', "|", ">-", "!!binary aGk=", "!!python/object:os.system x"),
    *("!!int x", "!!float 3", "!!set {a}", "!x y", "*nobody", "&a b", "&a [*a]", "<<", "? x", "- x", "%TAG ! x", "---"),
    *(
        "any",
        "spark-1",
        "spark-9",
        "[spark-1, spark-1]",
        "64MiB",
        "9999999999999TiB",
        "-5GiB",
        "64 MiB",
        "1h",
        "99999h",
    ),
    *(
        "../../etc/passwd",
        "$(reboot)",
        "`reboot`",
        "a; rm -rf /",
        "-v/:/host",
        "--privileged",
        "😀",
        "ß" * 300,
        "x" * LONG,
    ),
)
WORDS: Final = re.compile(rb"(?<![A-Za-z0-9./_-])[A-Za-z0-9][A-Za-z0-9./_-]*+")
VALUES: Final = re.compile(rb"(?<=[:\[,{-] )[^\s,\[\]{}#][^\s,\]}]*")
KEYS: Final = re.compile(rb"(?<![A-Za-z0-9-])[A-Za-z][A-Za-z0-9-]*+(?=:)")


def mutant(base: bytes, seed: int) -> bytes:
    """The text that `base` becomes by that number."""
    rng = random.Random(seed)
    text = base
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        text = rng.choice(MUTATIONS)(text, rng)
    return text


def _flip_bits(text: bytes, rng: Random) -> bytes:
    data = bytearray(text)
    for _ in range(rng.choice((1, 1, 2, 8)) if data else 0):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _any_byte(text: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(text) + 1)
    return text[:at] + bytes([rng.randrange(256)]) + text[at + rng.randrange(2) :]


def _truncated(text: bytes, rng: Random) -> bytes:
    return text[: rng.randrange(len(text) + 1)]


def _beheaded(text: bytes, rng: Random) -> bytes:
    return text[rng.randrange(len(text) + 1) :]


def _lines(change: Callable[[list[bytes], int, Random], object]) -> Mutation:
    def mutation(text: bytes, rng: Random) -> bytes:
        lines = text.split(b"\n")
        change(lines, rng.randrange(len(lines)), rng)
        return b"\n".join(lines)

    return mutation


def _swap(lines: list[bytes], at: int, rng: Random) -> None:
    other = rng.randrange(len(lines))
    lines[at], lines[other] = lines[other], lines[at]


def _double(lines: list[bytes], at: int, rng: Random) -> None:
    lines[at:at] = lines[at : at + rng.randint(1, 4)]


def _shift(lines: list[bytes], at: int, rng: Random) -> None:
    lines[at] = b" " * rng.randint(1, 5) + lines[at] if rng.randrange(2) else lines[at][rng.randint(1, 3) :]


def _join(lines: list[bytes], at: int, rng: Random) -> None:
    lines[at : at + 2] = [rng.choice((b"", b" ")).join(lines[at : at + 2])]


def _conflict(lines: list[bytes], at: int, rng: Random) -> None:
    """As git leaves it."""
    ours = lines[at : at + 2]
    lines[at : at + 2] = [b"<<<<<<< HEAD", *ours, b"=======", *ours[::-1], b">>>>>>> theirs"]


def _tabs(lines: list[bytes], at: int, rng: Random) -> None:
    lines[at] = lines[at].replace(b"  ", b"\t", rng.randint(1, 3)) if rng.randrange(3) else b"\t" + lines[at]


def _stranger(lines: list[bytes], at: int, rng: Random) -> None:
    """A field that is not known, as deep as its neighbour."""
    deep = len(lines[at]) - len(lines[at].lstrip())
    name = rng.choice(("replicas", "image", "on", "extends", "x-note", "__proto__", "constructor", "é", "'a b'"))
    lines.insert(at, b" " * deep + f"{name}: {rng.choice(SCALARS)}".encode("utf-8", "surrogatepass"))


def _control(text: bytes, rng: Random) -> bytes:
    what = rng.choice((b"\x00", b"\x07", b"\x1b[2J", b"\x7f", b"\xc2\x85", b"\xe2\x80\xa8", b"\xef\xbf\xbe", b"\r"))
    at = rng.randrange(len(text) + 1)
    return text[:at] + what + text[at:]


def _not_utf8(text: bytes, rng: Random) -> bytes:
    what = rng.choice((b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82", "é".encode("latin-1")))
    at = rng.randrange(len(text) + 1)
    return text[:at] + what + text[at:]


def _other_encoding(text: bytes, rng: Random) -> bytes:
    return text.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-16-be", "utf-32", "cp500")), "replace")


def _marked(text: bytes, rng: Random) -> bytes:
    return rng.choice((b"\xef\xbb\xbf", b"\xef\xbb\xbf\xef\xbb\xbf", b"%YAML 1.1\n---\n", b"%YAML 9.9\n---\n")) + text


def _carriage_returns(text: bytes, rng: Random) -> bytes:
    return text.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\r", b"\n\n")))


def _in_place_of(pattern: re.Pattern[bytes], choices: tuple[str, ...]) -> Mutation:
    def mutation(text: bytes, rng: Random) -> bytes:
        found = list(pattern.finditer(text))
        if not found:
            return text
        place, what = rng.choice(found), rng.choice(choices).encode("utf-8", "surrogatepass")
        return text[: place.start()] + what + text[place.end() :]

    return mutation


def _crossed(text: bytes, rng: Random) -> bytes:
    """One word of it in another's place."""
    words = list(WORDS.finditer(text))
    if not words:
        return text
    place, other = rng.choice(words), rng.choice(words)
    return text[: place.start()] + other[0] + text[place.end() :]


def _anchored(text: bytes, rng: Random) -> bytes:
    """One value with an anchor, another as its alias, or a merge of it."""
    found = sorted(rng.sample(list(VALUES.finditer(text)), 2), key=lambda m: m.start()) if text.count(b": ") > 3 else []
    if len(found) < 2:
        return text
    first, second = found
    alias = rng.choice((b"*a", b"{<<: *a}", b"{<<: [*a, *a]}"))
    return (
        text[: first.start()] + b"&a " + text[first.start() : second.start()] + alias + text[second.end() :]
    )  # fmt: skip


def _bomb(text: bytes, rng: Random) -> bytes:
    """A billion laughs: nine levels of lists, maps or merges of what stands above."""
    kind = rng.randrange(3)
    levels = [b"lol0: &l0 {a: b}"]
    for n in range(1, rng.choice((9, 30))):
        several = b", ".join(b"*l%d" % (n - 1) for _ in range(9))
        if kind == 2:
            several = b", ".join(b"k%d: *l%d" % (k, n - 1) for k in range(9))
        shape = (b"lol%d: &l%d [%s]", b"lol%d: &l%d {<<: [%s]}", b"lol%d: &l%d {%s}")[kind]
        levels.append(shape % (n, n, several))
    return b"\n".join(levels) + b"\n" + text


def _deep(text: bytes, rng: Random) -> bytes:
    many = rng.choice((65, 1000, 50_000))
    shape = rng.choice((b"[" * many, b"{a: " * many, b"- " * many, b"? " * many, b"[" * many + b"]" * many))
    return text + rng.choice((b"\n", b"\nguards: ", b"\nx: ")) + shape + b"\n"


def _long(text: bytes, rng: Random) -> bytes:
    many = rng.choice((1000, 20_000))
    more = rng.choice(
        (
            b"".join(b"# a comment\n" for _ in range(many)),
            b"models:\n" + b"".join(b"  m%d: {recipe: nothing, on: spark-1}\n" % n for n in range(many)),
            b"x: [" + b"1, " * many + b"]\n",
            b"x: '" + b"y\n" * many + b"'\n",
            b"".join(b"k%d: &k%d v\n" % (n, n) for n in range(many)),
            b" " * many * 10,
            b"\n" * many,
        )
    )
    return text + b"\n" + more


def _emptied(text: bytes, rng: Random) -> bytes:
    return rng.choice(
        (b"", b"\n", b"# all gone\n", b"---\n", b"null\n", b"...\n", b"[]\n", b"{}\n", b"a\n", b"\xef\xbb\xbf")
    )


def _second_document(text: bytes, rng: Random) -> bytes:
    return text + rng.choice((b"\n---\n", b"\n...\n---\n")) + rng.choice((b"", text, b"a: 1\n"))


MUTATIONS: Final[tuple[Mutation, ...]] = (
    *(_flip_bits, _any_byte, _truncated, _beheaded, _control, _not_utf8, _other_encoding, _marked, _carriage_returns),
    *(_lines(change) for change in (_swap, _double, _shift, _join, _conflict, _tabs, _stranger)),
    *(_lines(lambda lines, at, _: lines.pop(at)), _in_place_of(VALUES, SCALARS), _in_place_of(VALUES, SCALARS)),
    *(_in_place_of(KEYS, SCALARS), _crossed, _crossed, _anchored, _bomb, _deep, _long, _emptied, _second_document),
)
