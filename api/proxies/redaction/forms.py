r"""How a placeholder is written, and in which ways a model writes it wrongly.

The strict form is `[PERSON_1]`: a label of capitals, a number, perhaps a suffix (`[PERSON_1_FIRST]`). The lenient forms
are those in which models, markdown, HTML and URLs bring it back. Two rules keep them off natural text:

- In brackets (square, pointed, curly, guillemets, also escaped ones) everything between label and number is forgiven:
  case, spaces, hyphens, escapes. Round brackets are not counted: "(person 1)" is natural.
- Without brackets it needs an underscore before the number (`person_1`, `PERSON\_1`), or capitals in a label of at
  least five letters (`PERSON 1`, `PERSON-1`). So "person 1 of the team" is never one.

Both hold only for what the conversation issued, which is for the caller to look up: here is nothing but shape.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

LONGEST: Final = 160
"""Characters of the longest form; what is longer is none, and so never held back."""

LONGEST_LABEL: Final = 32
BARE_LABEL: Final = 5
"""Letters of a label that counts in capitals alone, without brackets and underscores."""

INVISIBLE: Final = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
LOOSE: Final = r"[ \t\r\n\u00a0\u202f\-\u2010-\u2013]"
UNDERSCORE: Final = r"(?:\\{0,2}_|%(?:25)?5[Ff]|&(?:#95|#[xX]5[fF]|lowbar|UnderBar);)"
OPEN: Final = (
    r"(?:\\?[\[<{]|[«【⟨〈\uff3b\uff1c]|%(?:25)?(?:5[Bb]|3[Cc]|7[Bb])"
    r"|&(?:lt|\#91|\#60|lbrack|lsqb|\#[xX]5[bB]|\#[xX]3[cC]);)"
)
CLOSE: Final = (
    r"(?:\\?[\]>}]|[»】⟩〉\uff3d\uff1e]|%(?:25)?(?:5[Dd]|3[Ee]|7[Dd])"
    r"|&(?:gt|\#93|\#62|rbrack|rsqb|\#[xX]5[dD]|\#[xX]3[eE]);)"
)
# What an escape may have become of when a stream was cut inside it.
CUT_ESCAPE: Final = r"(?:\\{1,2}|%(?:2(?:5(?:[357])?)?|[357])?|&(?:\#(?:[xX][35]?|[69][0-5]?)?|[A-Za-z]{1,8})?)"
PAIRS: Final = {
    "[": "]", "<": ">", "{": "}", "\\[": "\\]", "\\<": "\\>", "\\{": "\\}",
    "«": "»", "【": "】", "⟨": "⟩", "〈": "〉", "\uff3b": "\uff3d", "\uff1c": "\uff1e",
    "%5B": "%5D", "%3C": "%3E", "%7B": "%7D", "%255B": "%255D", "%253C": "%253E", "%257B": "%257D",
    "&LT;": "&GT;", "&#91;": "&#93;", "&#60;": "&#62;", "&LBRACK;": "&RBRACK;", "&LSQB;": "&RSQB;",
    "&#X5B;": "&#X5D;", "&#X3C;": "&#X3E;",
}  # fmt: skip

SHAPES: Final = {
    "Z": f"[{INVISIBLE}]{{0,2}}",
    "S": r"[ \t\r\n\u00a0\u202f]{0,2}",
    "U": UNDERSCORE,
    "ANY": rf"(?:{UNDERSCORE}|{LOOSE}|[{INVISIBLE}])",
    "WORD": f"[A-Za-z][A-Za-z{INVISIBLE}]{{0,40}}",
    "CAPITALS": f"[A-Z][A-Z{INVISIBLE}]{{0,40}}",
    "LABEL": rf"[A-Za-z](?:[A-Za-z{INVISIBLE}]|{LOOSE}|{UNDERSCORE}){{0,64}}",
    "NUMBER": r"0{0,3}[0-9]{1,9}",
    "SUFFIX": f"[A-Za-z][A-Za-z{INVISIBLE}]{{0,10}}?",  # as short as may be: an s behind it is a plural
    "WRAP": r"(?:[ \t]?\r?\n[ \t]{0,2})?",
    "CUT_WRAP": r"(?:[ \t]?\r?\n[ \t]{0,2}|[ \t]\r?|\r)?",
    "LOOSE": LOOSE,
    "OPEN": OPEN,
    "CLOSE": CLOSE,
    "CUT": CUT_ESCAPE,
    "BEFORE": r"(?<![A-Za-z0-9])(?<![A-Za-z0-9]_)(?<![A-Za-z0-9]__)",
    "AFTER": rf"(?:(?=s(?![A-Za-z0-9_]))|(?!{UNDERSCORE}{{0,2}}[A-Za-z0-9]))",
}


def _shape(text: str) -> str:
    """A pattern out of named parts: `<WORD>` stands for the part of that name."""
    return re.sub(r"<([A-Z_]+)>", lambda m: SHAPES[m[1]], text.replace("\n", "").replace(" ", ""))


WRAPPED: Final = _shape("<OPEN><S><Z><LABEL><NUMBER><Z>(?:<ANY>{0,4}<SUFFIX>)?<S><CLOSE>")
UNDERSCORED: Final = _shape("<BEFORE><WORD>(?:<U><WORD>){0,5}<U><Z><WRAP><NUMBER>(?:<Z><U><Z><SUFFIX>)?<AFTER>")
CAPITAL: Final = _shape(
    "<BEFORE>(?P<capitals><CAPITALS>(?:(?:<U>|<LOOSE>){1,3}<CAPITALS>){0,3})<Z><LOOSE>{1,3}<Z><NUMBER>"
    "(?:<Z><U><Z><SUFFIX>)?<AFTER>"
)
WHOLE: Final = re.compile(f"{WRAPPED}|{UNDERSCORED}|{CAPITAL}")
"""Every writing there is. What it finds is one only if `read` says so and it was issued."""

CUT_NUMBER: Final = "(?:(?:<NUMBER>|0{1,3})(?:<Z><U><Z>(?:<SUFFIX>)?)?(?:<Z>|s|<U>{0,2}))?"
TAIL: Final = re.compile(
    _shape(
        "(?:<OPEN><S><Z>(?:<LABEL>(?:(?:<NUMBER>|0{1,3})<Z>(?:<ANY>{0,4}(?:<SUFFIX>)?)?<S>)?)?(?:<CUT>)?"
        "|<BEFORE><WORD>(?:<U><WORD>){0,5}(?:<Z><U><Z><CUT_WRAP>" + CUT_NUMBER + ")?(?:<CUT>)?"
        "|<BEFORE><CAPITALS>(?:(?:<U>|<LOOSE>){1,3}<CAPITALS>){0,3}(?:<Z>(?:<U>|<LOOSE>){1,3}<Z>"
        + CUT_NUMBER
        + ")?(?:<CUT>)?"
        "|<CUT>)"
    )
    + r"\Z"
)
"""What stands at a text's end and may become a writing when more comes."""

TRANSLATED: Final = {
    "PERSON": ("PERSONNE", "PERSONA", "PESSOA", "PERSOON", "OSOBA"),
    "LOCATION": ("LIEU", "ORT", "LUGAR", "LOCALIDAD", "LUOGO", "EMPLACEMENT"),
    "ORGANIZATION": ("ORGANISATION", "ORGANIZACION", "ORGANIZZAZIONE", "ORGANISATIE"),
    "ADDRESS": ("ADRESSE", "DIRECCION", "INDIRIZZO", "ADRES"),
    "PHONE": ("TELEFON", "TELEPHONE", "TELEFONO"),
}
"""Labels as models translate them. They count in brackets only, and only where no label is called so itself."""

WORDS: Final = re.compile(r"[A-Z]+|[0-9]+")
LOOK_ALIKE: Final = re.compile(rf"([A-Za-z{INVISIBLE}]+)[\s_\-\u2010-\u2013\\{INVISIBLE}]*0*([0-9]{{1,9}})")
INVISIBLES: Final = re.compile(f"[{INVISIBLE}]+")
WRAPPERS: Final = re.compile(rf"^{OPEN}|{CLOSE}$|{CUT_ESCAPE}$")
ESCAPED_UNDERSCORE: Final = re.compile(rf"[{INVISIBLE}]|\\|{UNDERSCORE}")


@dataclass(frozen=True, slots=True)
class Written:
    """What a text may be a writing of: the label as it stands there, number and suffix as far as they go."""

    label: str
    number: str = ""
    suffix: str = ""
    parted: bool = False  # whether the label has ended


def label_of(kind: str) -> str:
    """A type as the label of a placeholder: capitals and single underscores. Types without a letter are DATA."""
    label = "_".join(re.findall(r"[A-Z]+", kind.upper()))[:LONGEST_LABEL].strip("_")
    return label or "DATA"


def names_of(label: str) -> tuple[str, ...]:
    """The label and its translations."""
    return (label, *TRANSLATED.get(label, ()))


def read(text: str) -> Written:
    """What a writing says, complete or cut off. Wrappers, escapes and what can't be seen are taken away."""
    plain = WRAPPERS.sub("", _plain(text)).upper()
    words = WORDS.findall(plain)
    at = next((i for i, word in enumerate(words) if word[0].isdigit()), len(words))
    if at == len(words):
        return Written("_".join(words), parted=not plain[-1:].isalpha())
    return Written("_".join(words[:at]), words[at].lstrip("0"), "".join(words[at + 1 :]), parted=True)


def _plain(text: str) -> str:
    return ESCAPED_UNDERSCORE.sub(lambda m: "" if m[0] == "\\" or m[0] in INVISIBLE else "_", text)


def paired(text: str) -> bool:
    """Whether its brackets, if it has any, belong together."""
    opened, closed = re.match(OPEN, text), re.search(rf"{CLOSE}$", text)
    if opened is None or closed is None:
        return opened is None and closed is None
    return PAIRS.get(opened[0].upper()) == closed[0].upper()


def look_alikes(text: str) -> set[tuple[str, int]]:
    """Each word before a number, with the number: what may never be issued any more, since it stands there already.

    A word may begin after any character that can't be seen, so each end of it counts.
    """
    found: set[tuple[str, int]] = set()
    for run, number in LOOK_ALIKE.findall(re.sub(OPEN, "[", re.sub(UNDERSCORE, "_", text))):
        parts = INVISIBLES.split(run)
        found.update(("".join(parts[first:]).upper(), int(number)) for first in range(len(parts)))
    return found
