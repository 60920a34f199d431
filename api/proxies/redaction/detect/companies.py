"""Firms: by what stands behind their names in law, and by what is said before them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import regex

from api.proxies.redaction.detect.page import Page, marked
from api.proxies.redaction.detect.products import PRODUCTS
from api.proxies.redaction.finds import Find

_CAP: Final = r"[\p{Lu}\d][\p{L}\p{M}\d&'’.-]*+"
_FORM: Final = (
    r"(?:Inc|Incorporated|Ltd|Limited|LLC|L\.L\.C|LLP|L\.P|PLC|Plc|plc|Corp|Corporation|Company|Co|GmbH(?:\s&\sCo\.?\sKG)?|AG|KG|OHG|UG|mbH|e\.V|SE|S\.A|SA|SAS|SARL|S\.à\.?r\.l|S\.r\.l|SRL|Srl|S\.p\.A|SpA|"
    r"B\.V|BV|N\.V|NV|A/S|ApS|AB|ASA|AS|Oy|Oyj|Kft|Zrt|d\.o\.o|s\.r\.o|a\.s|Sp\.\sz\so\.o|S\.L|SL|Ltda|Lda|Pty(?:\sLtd)?|Pvt(?:\.?\sLtd)?|Bhd|Sdn\sBhd|K\.K|Holdings?|Group|Partners|Associates|Bank|Insurance|Industries|Enterprises|Consulting|Solutions|Technologies|Ventures|Capital|Pharmaceuticals|University|College|Hospital|Clinic|Institute|Foundation|Investments?|Orchestra|Bancorp|Trust|and\sSons|&\sSons|Brothers)"
)
_FIRM: Final = regex.compile(rf"(?<![\w.])(?:{_CAP},?[ ](?:(?:&|and|of|de|et|und|y)[ ])?){{1,4}}{_FORM}\b\.?(?![\w])")
_LEGAL: Final = regex.compile(
    r"(?:Inc|Ltd|LLC|L\.L\.C|LLP|PLC|plc|Corp|GmbH.*|AG|KG|S\.A|SARL|S\.r\.l|S\.p\.A|SpA|B\.V|BV|N\.V|A/S|ApS|AB|ASA|Oy|Oyj|Kft|Pty.*|Pvt.*|Corporation|Incorporated|Limited|Bancorp|University|Hospital|Orchestra|and\sSons|&\sSons)\.?"
)
_THREE: Final = regex.compile(
    r"(?<![\w])(\p{Lu}[\p{L}'’-]+,[ ]\p{Lu}[\p{L}'’-]+,?[ ](?:and|&)[ ]\p{Lu}[\p{L}'’-]+)(?!\w)"
)
_SAID: Final = regex.compile(
    rf"\b(?:(?:work(?:s|ed|ing)?|job|employed|hired|position|internship|interview(?:ed)?|founder|ceo|cto|cfo|employee|shareholder|director|manager)\s+(?:for|at|by|with|of)|(?:year|years|months|time|career|role)\s+at|(?:later\s+)?became|joined|acquired(?:\s+by)?|renamed(?:\s+to)?|formerly|(?:[Mm]y|[Hh]is|[Hh]er|[Tt]heir)\s+(?:employer|company)(?:,|\s+is)?)\s+(?:the\s+)?"
    rf"({_CAP}(?:[ ](?:(?:&|and|of)[ ])?{_CAP}){{0,3}})"
)
_OF_FIRM: Final = regex.compile(
    rf"\b(?:[Tt]he|[Aa]t|[Oo]ur|[Hh]er|[Hh]is)\s+({_CAP}(?:[ ](?:(?:&|and|of)[ ])?{_CAP}){{0,3}})(?:['’]s)?\s+(?:offices?|headquarters|branch|employees?|staff|shareholders|ceo|CEO|board|team|store|resignation|account\s+manager)\b"
)
_IS_FIRM: Final = regex.compile(
    rf"(?<![\w.])({_CAP}(?:[ ](?:(?:&|and|of)[ ])?{_CAP}){{0,3}})\s+(?:is|was|became)\s+(?:an?|the|our)\s+(?:[\w-]+\s+){{0,3}}?(?:company|firm|startup|start-up|agency|brainchild|corporation|manufacturer|supplier|vendor|retailer|provider\s+of|bank|charity|subsidiary|consultancy)\b"
)
_BEFORE: Final = frozenset(
    {
        "The",
        "A",
        "An",
        "At",
        "In",
        "From",
        "By",
        "For",
        "With",
        "Our",
        "My",
        "His",
        "Her",
        "Their",
        "This",
        "That",
        "Dear",
        "And",
        "Of",
        "On",
        "To",
    }
)


def companies(page: Page) -> Iterator[Find]:
    """Names of firms."""
    for found in _FIRM.finditer(page.text):
        if not page.prose(found.start()):
            continue
        start, said = found.start(), found[0]
        while (word := said.split(" ", 1)[0]) in _BEFORE and " " in said:
            start += len(word) + 1
            said = said[len(word) + 1 :]
        if " " not in said:
            continue
        legal = any(_LEGAL.fullmatch(" ".join(said.split(" ")[-n:])) for n in (1, 2, 3))
        yield Find(start, found.end(), "ORGANIZATION", 0.75 if legal else 0.5)
    for pattern, score in ((_SAID, 0.6), (_OF_FIRM, 0.55), (_IS_FIRM, 0.6), (_THREE, 0.7)):
        for found in pattern.finditer(page.text):
            if page.prose(found.start()) and found[1].split(" ")[0] not in _BEFORE and found[1].lower() not in PRODUCTS:
                yield marked(found, 1, "ORGANIZATION", score)
