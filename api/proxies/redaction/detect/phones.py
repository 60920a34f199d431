"""Telephone numbers: of known regions by `phonenumbers`, of others by their form and by what is said of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import phonenumbers
import regex

from api.proxies.redaction.detect.page import Page, words
from api.proxies.redaction.finds import Find

_CANDIDATE: Final = regex.compile(
    r"(?<![\w.,:/=#$€£@-])(?<!\d[ -])(?:\+|00)?[ ]?\(?\d(?:[ ]?[-./()][ ]?|[ ]{0,2})?(?:\d(?:[ ]?[-./][ ]?|[ ]?[()][ -]?|[ ])?){4,15}\d"
    r"(?:\s?(?:x|ext\.?|extension|#)\s?\d{1,6})?(?![\w@]|[-.:,/]\d|[ ]?%)",
    regex.IGNORECASE,
)
_SAID: Final = words(
    "phone*", "tel", "telephone*", "telefon*", "teléfono", "téléphone", "mobile*", "mob", "cell*", "call*", "fax*", "whatsapp", "signal", "sms", "text",
    "texted", "dial*", "ring", "reach*", "contact*", "landline", "desk", "direct", "handy", "móvil", "portable", "hotline", "pager", "voicemail", "answering", "extension", "registered",
    "office", "home", "work", "number", "messages to", "message to", "ph", "t", "m", "f", "p",
)  # fmt: skip
_PLAIN: Final = frozenset(
    {
        "number",
        "text",
        "home",
        "work",
        "office",
        "t",
        "m",
        "f",
        "p",
        "signal",
        "direct",
        "call",
        "calls",
        "called",
        "registered",
    }
)
_AMERICAN: Final = regex.compile(
    r"(?:\+?1[ .-]?)?(?:\([2-9]\d\d\)[ ]?|[2-9]\d\d([-. ]))[2-9]?\d\d[-. ]\d{4}(?:\s?(?:x|ext\.?)\s?\d+)?",
    regex.IGNORECASE,
)
_DATE: Final = regex.compile(
    r"(?:19|20)\d\d[-./ ]\d{1,2}[-./ ]\d{1,2}.*|\d{1,2}[-./ ]\d{1,2}[-./ ](?:19|20)\d\d.*|(?:19|20)\d\d ?- ?(?:19|20)\d\d|\d+\.\d+|\d{1,3}(?: \d{3})+"
)
_SHORTEST, _LONGEST = 6, 15


def phones(page: Page, regions: Sequence[str]) -> Iterator[Find]:
    """Numbers to call."""
    for found in _CANDIDATE.finditer(page.text):
        raw = found[0]
        start = found.start() + len(raw) - len(raw.lstrip())
        raw = raw.strip()
        if raw.count("(") != raw.count(")"):
            continue
        score = _score(page, start, raw, regions)
        if score:
            yield Find(start, start + len(raw), "PHONE", score)


def _score(page: Page, start: int, raw: str, regions: Sequence[str]) -> float:
    digits = sum(map(str.isdigit, regex.split(r"x|ext|#", raw, maxsplit=1, flags=regex.IGNORECASE)[0]))
    if not _SHORTEST <= digits <= _LONGEST:
        return 0
    said = _said(page, start)
    if raw.startswith("+"):
        return 0.95 if said or _possible(raw, None) else 0.6
    if _DATE.fullmatch(raw):
        return 0.55 if said and regex.fullmatch(r"\d{1,3}(?: \d{3})+", raw) else 0
    if said:
        return 0.8
    if not page.prose(start):
        return 0.7 if _AMERICAN.fullmatch(raw) and "-" in raw else 0
    if _AMERICAN.fullmatch(raw):
        return 0.75
    if raw.startswith("00") and _possible(f"+{raw[2:]}", None):
        return 0.7
    grouped = len(regex.findall(r"\d+", raw)) > 1
    if raw.startswith(("0", "(0")) and grouped and digits >= 9:
        return 0.65
    if grouped and digits >= 9 and any(_possible(raw, region) for region in regions):
        return 0.6
    return 0.55 if raw.startswith("0") and digits >= 10 and any(_possible(raw, region) for region in regions) else 0


def _said(page: Page, start: int) -> bool:
    for word in _SAID.finditer(page.lower, max(0, start - 45), start):
        gap = page.lower[word.end() : start]
        # A word such as `number` speaks only of what it stands at, and not past the end of a sentence.
        if word[0] not in _PLAIN or regex.fullmatch(
            r"[\s:#.()-]*(?:(?:is|was|at|on|no|me|us|him|her|them|number|us at|me on|me at)[\s:.]*){0,3}", gap
        ):
            return True
    return False


def _possible(raw: str, region: str | None) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(raw, region))
    except phonenumbers.NumberParseException:
        return False
