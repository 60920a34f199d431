"""National numbers of many countries: Presidio's recognisers, which know their forms and check digits.

A check digit of ten digits is right for one random number in ten, so being right is not enough for a number that is
digits only: words nearby must say what it is. One with letters at their places and right check digits is enough.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Final, cast

import regex
from presidio_analyzer import PatternRecognizer, predefined_recognizers

from api.proxies.redaction.detect.page import Page, marked, words
from api.proxies.redaction.finds import Find

# Known better here, or not anybody's: postcodes and plates alone are found by their addresses and names.
_LEFT: Final = frozenset(
    """
    CreditCardRecognizer CryptoRecognizer DateRecognizer EmailRecognizer IbanRecognizer IpRecognizer
    MacAddressRecognizer PhoneRecognizer UrlRecognizer UsSsnRecognizer CaPostalCodeRecognizer DePlzRecognizer
    UkPostcodeRecognizer
    """.split()
)
_CANDIDATE: Final = regex.compile(r"[A-Z0-9][A-Z0-9 ./+-]{3,30}[A-Z0-9]", regex.IGNORECASE)
_SURE: Final = 0.999
_LETTERS: Final = regex.compile(r"(?=.*[A-Z])(?=(?:.*\d){5})[A-Z0-9][A-Z0-9 .-]{8,}")
_BROAD: Final = frozenset(
    {
        "number",
        "id",
        "license",
        "code",
        "card",
        "no",
        "account",
        "tax",
        "identification",
        "identity",
        "bank",
        "check",
        "save",
        "debit",
    }
)


def _recognizers() -> Iterator[tuple[Any, regex.Pattern[str] | None]]:
    for name in sorted(predefined_recognizers.__all__):
        kind = getattr(predefined_recognizers, name)
        if name in _LEFT or not inspect.isclass(kind) or not issubclass(kind, PatternRecognizer):
            continue
        if getattr(kind, "COUNTRY_CODE", None) is None:
            continue
        made: Any = cast("Any", kind)()
        said = [word.lower() for word in made.context or [] if word.lower() not in _BROAD and len(word) > 1]
        # Many say `aadhaar` where people write `aadhaar number`: whole words, with or without an end.
        yield made, words(*(f"{word}*" for word in said)) if said else None


class National:
    """All of them, made once."""

    def __init__(self) -> None:
        self._all = list(_recognizers())

    def find(self, page: Page) -> Iterator[Find]:
        """Numbers that are valid and named, or valid and unlike anything else."""
        for made, said in self._all:
            named = bool(said and said.search(page.lower))
            for pattern in made.patterns:
                if not named and not _may_be_sure(made):
                    continue
                compiled = pattern.compiled_regex or regex.compile(pattern.regex, made.global_regex_flags)
                pattern.compiled_regex = compiled
                for found in compiled.finditer(page.text, timeout=5):
                    if (score := self._score(page, made, said, found)) and found[0].strip():
                        yield marked(found, 0, "ID", score)

    @staticmethod
    def _score(page: Page, made: Any, said: regex.Pattern[str] | None, found: regex.Match[str]) -> float:
        if not any(map(str.isdigit, found[0])):
            return 0
        valid = made.validate_result(found[0])
        if valid is False or made.invalidate_result(found[0]):
            return 0
        if said is not None and page.near(found.start(), found.end(), said, 60):
            return 0.85 if valid else 0.65
        return 0.7 if valid and _LETTERS.fullmatch(found[0]) else 0


def _may_be_sure(made: Any) -> bool:
    """Whether it has check digits at all."""
    return type(made).validate_result is not PatternRecognizer.validate_result
