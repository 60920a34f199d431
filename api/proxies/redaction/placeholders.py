"""The originals of one conversation, and the placeholders that stand for them.

`restore(mask(text)) == text`, whatever the text: what the masked text would give back elsewhere than at its own
placeholders is masked too, as a LITERAL, until nothing is left of that kind.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from api.proxies.redaction.finds import Find, joined
from api.proxies.redaction.forms import LONGEST, WHOLE, Written, label_of, look_alikes, names_of, paired, read
from api.proxies.redaction.people import PERSON, People

LITERAL: Final = "LITERAL"
"""The label of what a person wrote that looks like a placeholder."""

BARE_LABEL: Final = 5
"""Letters of a label that counts in capitals alone, without brackets and underscores."""

DIGITS: Final = 6
SPACES: Final = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One placeholder, and what stood there."""

    placeholder: str
    original: str
    type: str


class Conversation:
    """What was issued, in the order of its issue. Not for several threads."""

    def __init__(self, name: str = "", owner: str = "") -> None:
        self.name = name
        self.owner = owner
        self.forgotten = False  # nothing more of it is kept
        self.saved = 0  # how many of its entries are kept
        self.used = 0.0  # when it was last asked for or saved
        self._entries: list[Entry] = []
        self._originals: dict[str, str] = {}  # placeholder -> original
        self._names: dict[str, str] = {}  # PERSON_1 -> original
        self._placeholders: dict[tuple[str, str], str] = {}  # (label, original) -> placeholder
        self._bases: dict[tuple[str, str], str] = {}  # (label, normalised) -> PERSON_1
        self._variants: Counter[str] = Counter()
        self._last: Counter[str] = Counter()  # the last number of each label
        self._reserved: set[tuple[str, int]] = set()
        self._labels: dict[str, str] = {}  # a label or a translation of it -> the label
        self._label_starts: set[str] = set()
        self._name_starts: set[str] = set()
        self._people = People()
        self._counts: Counter[str] = Counter()

    @property
    def issued(self) -> Mapping[str, str]:
        """Placeholder to original."""
        return MappingProxyType(self._originals)

    def counts(self) -> Counter[str]:
        """How many places were masked so far, by type. A literal is none."""
        return Counter(self._counts)

    def mark(self) -> int:
        """Where the list of issued placeholders ends now."""
        return len(self._entries)

    def since(self, mark: int) -> list[Entry]:
        """What was issued after that."""
        return self._entries[mark:]

    def mask(self, text: str, finds: Sequence[Find]) -> str:
        """The text with a placeholder for each find. Finds that overlap are one, of the first's type."""
        wanted = joined(finds, len(text))
        self._reserve(text, {(find.start, find.end) for find in wanted})
        parts: list[str] = []
        own: set[tuple[int, int]] = set()
        at = size = 0
        for find in wanted:
            plain, placeholder = text[at : find.start], self._place(text[find.start : find.end], find.type)
            self._counts[find.type] += 1
            parts += (plain, placeholder)
            size += len(plain) + len(placeholder)
            own.add((size - len(placeholder), size))
            at = find.end
        parts.append(text[at:])
        return self._without_look_alikes("".join(parts), own)

    def look_up(self, match: re.Match[str]) -> str | None:
        """The original of a writing that `WHOLE` found, if this conversation issued its placeholder."""
        written = match[0]
        if (original := self._originals.get(written)) is not None:
            return original
        if len(written) > LONGEST or not paired(written):
            return None
        said = read(written)
        label = self._labels.get(said.label)
        bare = written[0].isalpha()
        if label is None or (bare and label != said.label) or (match["capitals"] and len(label) < BARE_LABEL):
            return None
        return self._names.get(_name(label, said.number, said.suffix))

    def may_become(self, said: Written) -> bool:
        """Whether a writing that was cut off there may become one of an issued placeholder."""
        if not self._entries:
            return False
        if not said.number:
            if said.parted and said.label:
                return said.label in self._labels or f"{said.label}_" in self._label_starts
            return said.label in self._label_starts
        name = _name(self._labels.get(said.label, ""), said.number, said.suffix)
        plural = name.removesuffix("S").removesuffix("_") if said.suffix.endswith("S") else name
        return name in self._name_starts or plural in self._names

    # What comes out of the vault

    def recall(self, entry: Entry) -> None:
        """An entry that was issued before."""
        said = read(entry.placeholder)
        base = _name(said.label, said.number, "")
        self._last[said.label] = max(self._last[said.label], int(said.number))
        self._bases.setdefault((said.label, _normal(entry.original)), base)
        if said.suffix:
            self._variants[base] += 1
        if said.label == PERSON:
            self._people.know(base, entry.original)
        self._issue(entry, said)

    # Issuing

    def _place(self, original: str, kind: str) -> str:
        label = label_of(kind)
        if found := self._placeholders.get((label, original)):
            return found
        normal = _normal(original)
        base = self._bases.get((label, normal))
        suffix = ""
        if base is not None:
            suffix = self._free(base, "")
        elif label == PERSON and (tied := self._people.tie(original)):
            base, suffix = tied
            suffix = self._free(base, suffix)
        else:
            base = _name(label, str(self._number(label)), "")
        self._bases.setdefault((label, normal), base)
        if label == PERSON:
            self._people.know(base, original)
        name = f"{base}_{suffix}" if suffix else base
        entry = Entry(f"[{name}]", original, kind)
        self._issue(entry, read(entry.placeholder))
        return entry.placeholder

    def _issue(self, entry: Entry, said: Written) -> None:
        name = _name(said.label, said.number, said.suffix)
        self._entries.append(entry)
        self._originals[entry.placeholder] = entry.original
        self._names[name] = entry.original
        self._placeholders[said.label, entry.original] = entry.placeholder
        if said.label not in self._labels or self._labels[said.label] != said.label:
            self._labels[said.label] = said.label
            for label in names_of(said.label):
                self._labels.setdefault(label, said.label)
                self._label_starts.update(label[:n] for n in range(len(label) + 1))
        shortest = len(said.label) + 2
        self._name_starts.update(name[:n] for n in range(shortest, len(name) + 1))

    def _number(self, label: str) -> int:
        """The next one that stands in no text of the conversation already."""
        words = {name.rpartition("_")[2] for name in names_of(label)}
        number = self._last[label] + 1
        while any((word, number) in self._reserved for word in words):
            number += 1
        self._last[label] = number
        return number

    def _free(self, base: str, wanted: str) -> str:
        """A suffix that this base doesn't have yet: the wanted one, else a letter."""
        if wanted and f"{base}_{wanted}" not in self._names:
            return wanted
        while True:
            self._variants[base] += 1
            suffix = _letters(self._variants[base])
            if f"{base}_{suffix}" not in self._names:
                return suffix

    # Look-alikes

    def _reserve(self, text: str, but: set[tuple[int, int]]) -> None:
        """What stands between these places. Each begins and ends a word, as a placeholder does."""
        at = 0
        for start, end in [*sorted(but), (len(text), len(text))]:
            self._reserved |= look_alikes(text[at:start])
            at = end

    def _without_look_alikes(self, text: str, own: set[tuple[int, int]]) -> str:
        """Until what is given back from it is its own placeholders and nothing else."""
        while found := self._look_alikes(text, own):
            parts: list[str] = []
            at = size = 0
            kept: set[tuple[int, int]] = set()
            for start, end in sorted(own | found):
                placeholder = text[start:end] if (start, end) in own else self._place(text[start:end], LITERAL)
                parts += (text[at:start], placeholder)
                size += start - at + len(placeholder)
                kept.add((size - len(placeholder), size))
                at = end
            text, own = "".join((*parts, text[at:])), kept
            self._reserve(text, own)
        return text

    def _look_alikes(self, text: str, own: set[tuple[int, int]]) -> set[tuple[int, int]]:
        found: set[tuple[int, int]] = set()
        at = 0
        while match := WHOLE.search(text, at):
            if match.span() in own:
                at = match.end()
            elif self.look_up(match) is None:
                at = match.start() + 1
            else:
                found.add(match.span())
                at = match.end()
        return found


def _normal(original: str) -> str:
    """The same for writings of one value: case and spaces do not count, nor what stands between a number's digits."""
    plain = SPACES.sub(" ", unicodedata.normalize("NFKC", original).strip().casefold())
    digits = sum(c.isdigit() for c in plain)
    solid = "".join(c for c in plain if c.isalnum() or c == "+")
    return solid if digits >= DIGITS and digits * 2 >= len(solid) else plain


def _name(label: str, number: str, suffix: str) -> str:
    return f"{label}_{number}_{suffix}" if suffix else f"{label}_{number}"


def _letters(number: int) -> str:
    """1: B, 25: Z, 26: AA. The one without a letter is the first."""
    found = ""
    while True:
        number, rest = divmod(number, 26)
        found = chr(ord("A") + rest) + found
        if not number:
            return found
        number -= 1
