"""What words around it tell of people: titles, ages, days of birth, user names, and the values of keys that name them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import regex

from api.proxies.redaction.detect.page import Page, marked
from api.proxies.redaction.finds import Find

NAME: Final = r"\p{Lu}[\p{L}\p{M}]*+(?:['’-]\p{Lu}[\p{L}\p{M}]*+)*"
PARTICLE: Final = (
    r"(?:van|de|der|den|von|zu|da|do|dos|di|del|della|la|le|el|al|bin|ben|ibn|ter|ten|af|av|y|e|du|des|st\.)"
)
FULL: Final = (
    rf"{NAME}(?:[ ]{{1,2}}(?:{PARTICLE}[ ])*(?:\p{{Lu}}\.(?=[ ])|{NAME})|[ ]{PARTICLE}(?=[ ]{NAME})|-{NAME}){{0,4}}"
)

_TITLE: Final = regex.compile(
    r"(?<![\w.])((?:Mr|Mrs|Ms|Mx|Dr|Prof|Rev|Hon|Fr|Sr|Sra|Srta|Mme|Mlle|Capt|Col|Gen|Lt|Sgt|Maj)\.?|Professor|Doctor|Miss|Madam|Sir|Dame|Lord|Lady|"
    rf"Herr|Frau|Señor|Señora|Monsieur|Madame|Signor|Signora|Don|Doña|Reverend|Father|Sister|Captain|Judge|Senator|President|Dr\.?-?med\.?)[ ]+(?={NAME})({FULL})"
)
_TITLE_LOW: Final = regex.compile(r"(?<![\w.])(mr|mrs|ms|dr|prof)\.?[ ]+(\p{L}[\p{L}'’-]+)", regex.IGNORECASE)
_NOT_TITLED: Final = frozenset({"the", "and", "or", "of", "is", "was", "to", "in", "per"})
_ALWAYS: Final = regex.compile(
    r"(?:Mr|Mrs|Ms|Mx|Dr|Prof|Rev|Miss|Mme|Mlle|Herr|Frau|Señor|Señora|Srta)\.?|Professor|Doctor"
)

_AGE: Final = tuple(
    regex.compile(pattern, regex.IGNORECASE)
    for pattern in (
        r"\b(\d{1,3})[\s-]*(?:years?|yrs?|y/o|yo|jahre|ans|años|months?)[\s/-]*(?:old|of\s+age|alt|d['’]âge)\b",
        r"\b(\d{1,3})[\s-]*(?:y/o|y\.o\.|yo|yrs?\s+old)(?!\w)",
        r"\b(?:aged?|age\s+of|age\s*[:=]|age\s+is|alter\s*:)\s*(\d{1,3})\b(?!\s*(?:ms|s\b|seconds?|days?|minutes?|hours?|%))",
        (
            r"(?:\b(?:i['’]?\s?a?m|he['’]?s|she['’]?s|he\s+is|she\s+is|who['’]?s|who\s+is|was|were|is\s+now|just\s+turned|turned|turns|turning|be)\s+(?:only\s+|just\s+|almost\s+|nearly\s+)?)"
            r"(\d{1,2})(?=\s*(?:[.,!?;]|$|and\b|but\b|when\b|years?\b|now\b|at\b))"
        ),
        r"\bwhen\s+(?:he|she|i|they)\s+(?:was|were)\s+(\d{1,2})\b",
        r"\bat\s+(?:the\s+)?age\s+(?:of\s+)?(\d{1,3})\b",
    )
)
_MONTH: Final = r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sep(?:t(?:ember)?)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\.?"
DATE: Final = (
    rf"(?:\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}(?:[T ]\d{{1,2}}:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|\s?[+-]\d\d:?\d\d)?)?|\d{{1,2}}[-/]\d{{1,2}}[-/](?:\d{{4}}|\d{{2}})(?!\d)|\d{{1,2}}\.\d{{1,2}}\.(?:19|20)\d\d(?!\d)"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?[ -](?:of[ ])?{_MONTH}(?:,?[ -]\d{{4}})?|{_MONTH}[ ]\d{{1,2}}(?:st|nd|rd|th)?(?:,?[ ]\d{{4}})?|{_MONTH}[ ]\d{{4}})"
)
_BORN: Final = regex.compile(
    rf"\b(?:born(?:\s+(?:on|in))?|d\.?o\.?b\.?|date\s+of\s+birth|birth\s?(?:date|day)|geboren(?:\s+am)?|geburtsdatum|fecha\s+de\s+nacimiento|n[ée]+\s+le|date\s+de\s+naissance)"
    rf"[\"']?(?:\s+(?:is|was|on))?\s*[:=,-]?\s*[\"']?(?:on\s+|in\s+)?({DATE}|(?:19|20)\d\d)(?!\w)",
    regex.IGNORECASE,
)
_DATE: Final = regex.compile(rf"(?<![\w./-]){DATE}(?![\w/-]|\.\d)")
_YEAR: Final = regex.compile(
    r"\b(?:in|since|from|until|till|during|before|after|by|of|and|circa|year|early|late|mid|around|to|-|–)\s(1[89]\d\d|20[0-4]\d)\b(?![\w%/.-]\w)"
)
_YEAR_A: Final = regex.compile(r"\b(?:a|the)\s(1[89]\d\d|20[0-4]\d)\s(?=\p{L})")
_WEEKDAY: Final = regex.compile(r"\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b")

_USER: Final = regex.compile(
    r"\b(?:user\s?name|user[_-]?id|login(?:\s+name)?|screen\s?name|nick(?:name)?|handle|twitter|instagram|telegram|skype|discord|github\s+(?:user|handle)|account\s+name)"
    r"(?:\s+(?:is|name|handle|id|account))?[\"']?\s*(?:[:=]|is)?\s*[\"'`]?(@?[\w][\w.-]{2,38}\w)",
    regex.IGNORECASE,
)
_CODE_VALUE: Final = regex.compile(r"(?:self|os|env|config|settings|request|user|data|args)\.")
_AT: Final = regex.compile(r"(?<![\w@/.`\"'(-])@[A-Za-z]\w{2,29}\b(?![./(-])")

_KEY: Final = regex.compile(
    r"""(?:^|(?<=[{,;|&?\s<]))["']?(?P<key>[\p{L}][\p{L}\d _-]{1,30}?)["']?\s{0,2}(?:[:=]|=>)\s{0,2}(?:"(?P<d>[^"\n]{2,100})"|'(?P<s>[^'\n]{2,100})'|(?P<p>[^\s"'{\[(][^"\n{}\[\]|;<>]{1,80}?)(?=\s*(?:[\n|;<>&]|,\s*["'\p{L}]|\}|$|\s{2})))""",
    regex.VERBOSE | regex.MULTILINE,
)
_KEYS: Final = {
    kind: regex.compile(rf"(?:.*[ _-])?(?:{names})")
    for kind, names in {
        "PERSON": r"(?:first|last|full|given|family|middle|maiden|sur|real|contact|legal|patient|customer|client|employee|guest|member|card ?holder|account holder|user full|borrower|passenger|student|doctor|spouse|mother|father)[ _-]?names?|surname|forename|patient|cardholder|beneficiary|assignee|nachname|vorname|nombre|apellidos?|prénom|nom",
        "ADDRESS": r"(?:street|home|mailing|billing|shipping|postal|delivery|residential)[ _-]?(?:address(?:es)?|street)?[ _-]?\d?|address(?:[ _-]?line)?[ _-]?\d?|adresse|anschrift|dirección|zip[ _-]?code|zip|post(?:al)?[ _-]?code|plz",
        "LOCATION": r"city|town|place of birth|birth ?place|county|hometown|stadt|ciudad|ville|wohnort",
        "DATE_OF_BIRTH": r"d\.?o\.?b|date of birth|birth[ _-]?date|birthday",
        "ORGANIZATION": r"employer|company[ _-]?name|organi[sz]ation[ _-]?name",
        "USERNAME": r"user[ _-]?name|login|screen[ _-]?name",
        "JOB_TITLE": r"job[ _-]?title|occupation|profession",
    }.items()
}
_ANY_NAME: Final = regex.compile(rf"{FULL}(?:,[ ]{FULL})?")
_NO_VALUE: Final = regex.compile(
    r"(?:none|null|true|false|str(?:ing)?|int|bool|object|optional.*|required|any|text|name|n/a|-+|\.+|[<$%{(*].*|.*[(){}<>=*`\\].*|\d{0,2})",
    regex.IGNORECASE,
)


def titles(page: Page) -> Iterator[Find]:
    """Dr., Ms. and such, and the names that follow them."""
    for found in _TITLE.finditer(page.text):
        always = bool(_ALWAYS.fullmatch(found[1]))
        if not always and not page.prose(found.start()):
            continue
        yield marked(found, 1, "TITLE", 0.7 if always else 0.5)
        yield marked(found, 2, "PERSON", 0.85 if always else 0.55)
    for found in _TITLE_LOW.finditer(page.text):
        if (
            page.prose(found.start())
            and found[2].lower() not in _NOT_TITLED
            and (found[2][0].isupper() or "." in found[0])
        ):
            yield Find(found.start(1), found.end(1) + found[0].startswith(found[1] + "."), "TITLE", 0.6)
            yield marked(found, 2, "PERSON", 0.65)


def ages(page: Page) -> Iterator[Find]:
    """How old somebody is."""
    for pattern in _AGE:
        for found in pattern.finditer(page.text):
            if 0 < int(found[1]) < 120 and page.prose(found.start()):
                yield marked(found, 1, "AGE", 0.7)


def dates(page: Page) -> Iterator[Find]:
    """Days of birth, and in prose other dates."""
    for found in _BORN.finditer(page.text):
        yield marked(found, 1, "DATE_OF_BIRTH", 0.9)
    for pattern in (_DATE, _WEEKDAY, _YEAR, _YEAR_A):
        for found in pattern.finditer(page.text):
            if page.prose(found.start()):
                yield marked(found, pattern.groups, "DATE", 0.6)


def usernames(page: Page) -> Iterator[Find]:
    """Names of accounts: what is called one."""
    for found in _USER.finditer(page.text):
        said = found[1]
        said_so = regex.search(r"[:=]|\bis\b", found[0], regex.IGNORECASE) and not _NO_VALUE.fullmatch(said)
        code = page.text[found.end() : found.end() + 1] == "(" or _CODE_VALUE.match(said)
        if said_so and not code and regex.search(r"\d|[._-]\w|[a-z][A-Z]|^@", said):
            yield marked(found, 1, "USERNAME", 0.75)
    for found in _AT.finditer(page.text):
        if page.prose(found.start()) and not regex.match(
            r"@(?:media|import|param|return|throws|override|here|channel|everyone|all|dataclass|property)\b", found[0]
        ):
            yield marked(found, 0, "USERNAME", 0.6)


def keyed(page: Page) -> Iterator[Find]:
    """Values of keys that say whose they are: forms, JSON, tables of keys, query strings."""
    for found in _KEY.finditer(page.text):
        key = regex.sub(r"[ _-]+", " ", regex.sub(r"(?<=\p{Ll})(?=\p{Lu})", " ", found["key"])).lower().strip()
        part = next(name for name in ("d", "s", "p") if found[name] is not None)
        value = found[part].rstrip(" ,.")
        if _NO_VALUE.fullmatch(value):
            continue
        for kind, keys in _KEYS.items():
            if keys.fullmatch(key) and _fits(kind, value):
                yield Find(found.start(part), found.start(part) + len(value), kind, 0.75)
        if (
            key in ("name", "contact", "attn", "attention", "to", "from", "customer", "client")
            and _ANY_NAME.fullmatch(value)
            and " " in value
        ):
            yield Find(found.start(part), found.start(part) + len(value), "PERSON", 0.6)


def _fits(kind: str, value: str) -> bool:
    match kind:
        case "PERSON":
            return bool(_ANY_NAME.fullmatch(value))
        case "ADDRESS" | "DATE_OF_BIRTH":
            return any(map(str.isdigit, value)) and not regex.match(
                r"https?:|[\w.+-]+@|(?:\d{1,3}\.){3}|0x|[\d.]+:\d+$|\d{1,3}$", value
            )
        case "USERNAME":
            return bool(regex.fullmatch(r"[\w.@-]{3,40}", value))
        case _:
            return value[0].isupper() and len(value) < 60
