"""Keys, tokens and passwords: by the prefixes their makers gave them, and by what is said before them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import regex

from api.proxies.redaction.detect.page import Page, marked
from api.proxies.redaction.finds import Find

_KNOWN: Final = regex.compile(
    r"""(?<![\w])(?:
        (?:AKIA|ASIA|AROA|AIDA)[0-9A-Z]{16}
      | gh[pousr]_[A-Za-z0-9]{30,255} | github_pat_\w{22,255} | glpat-[\w-]{20,}
      | sk-ant-[\w-]{20,} | sk-(?:proj-|svcacct-|or-v1-)?[\w-]{20,}
      | xox[abeoprs]-[\w-]{10,} | xapp-\d-[\w-]{10,}
      | hf_[A-Za-z]{30,} | npm_[A-Za-z0-9]{36} | pypi-[\w-]{50,} | nvapi-[\w-]{30,}
      | AIza[\w-]{35} | ya29\.[\w-]{20,} | GOCSPX-[\w-]{20,}
      | (?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,} | whsec_[A-Za-z0-9]{20,} | SG\.[\w-]{16,}\.[\w-]{16,}
      | dop_v1_[0-9a-f]{64} | shpat_[0-9a-f]{32} | dckr_pat_[\w-]{20,} | sq0(?:atp|csp)-[\w-]{20,}
      | AC[0-9a-f]{32} | key-[0-9a-f]{32} | \d{8,10}:AA[\w-]{33}
      | eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*
      | AGE-SECRET-KEY-1[0-9A-Z]{58}
    )(?![\w])""",
    regex.VERBOSE,
)
_PEM: Final = regex.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    regex.DOTALL,
)
_URL_PASSWORD: Final = regex.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@]*:([^\s/@]{3,})@", regex.IGNORECASE)
_BEARER: Final = regex.compile(r"\b(?:Bearer|Basic|token)\s+([A-Za-z0-9+/._~-]{16,}={0,2})")
_SAID: Final = regex.compile(
    r"""(?<![^\W_])(?:[\w-]{0,30}?)
        (?:pass(?:word|wd|phrase|code|wort)|pwd|contraseña|mot\ de\ passe|secret(?:[\s_-]?(?:access)?[\s_-]?key)?|api[\s_-]?key
          |access[\s_-]?(?:key|token)|auth[\s_-]?token|client[\s_-]?secret|private[\s_-]?key|(?:bot|refresh|session|id)[\s_-]?token
          |accountkey|credentials?|token)
        ["']?(?:\s{0,3}(?:[:=]|:=|=>)\s{0,3}|\s+(?:is|was|to|of)\s*:?\s*)
        (?:"(?P<d>[^"\n]{4,200})"|'(?P<s>[^'\n]{4,200})'|`(?P<b>[^`\n]{4,200})`|(?P<p>[^\s"'`,;)}\]]{4,200}))""",
    regex.VERBOSE | regex.IGNORECASE,
)
_PIN: Final = regex.compile(
    r"\b(?:pin(?:\s?(?:code|number))?|otp|cvv2?|cvc2?|security\s+code|verification\s+code|one[- ]time\s+(?:code|password))"
    r"(?:\s+(?:is|was)|\s?[:=#])?\s{0,2}:?(\d{3,8})\b",
    regex.IGNORECASE,
)
_NOT_SAID: Final = regex.compile(
    r"""(?:[$%<{\[(*.].*|.*[(){}<>\[\]].*|\*+|x+|\.{3}|none|null|nil|true|false|undefined|required|optional|secret|password|token|string|str|bytes
        |(?:self|os|env|config|settings|process|this|request|args|data|params|ctx)[.\[].*|your[\w-]*|my[\w-]*|changeme|placeholder|example|redacted|hidden|[A-Z_]+)""",
    regex.VERBOSE | regex.IGNORECASE,
)
_TALKED: Final = 4


def secrets(page: Page) -> Iterator[Find]:
    """What opens something."""
    for found in _KNOWN.finditer(page.text):
        yield marked(found, 0, "SECRET", 0.97)
    if "-----BEGIN" in page.text:
        for found in _PEM.finditer(page.text):
            yield marked(found, 0, "SECRET", 0.99)
    if "://" in page.text:
        for found in _URL_PASSWORD.finditer(page.text):
            if not _NOT_SAID.fullmatch(found[1]):
                yield marked(found, 1, "SECRET", 0.9)
    for found in _BEARER.finditer(page.text):
        if _mixed(found[1]):
            yield marked(found, 1, "SECRET", 0.9)
    for found in _SAID.finditer(page.text):
        value = next(name for name in ("d", "s", "b", "p") if found[name] is not None)
        said = found[value]
        plain = said.rstrip(".?:") if value == "p" else said
        if not _NOT_SAID.fullmatch(plain) and (_mixed(plain) or _assigned(page, found, value, plain)):
            yield Find(found.start(value), found.start(value) + len(plain), "SECRET", 0.85)
    for found in _PIN.finditer(page.text):
        yield marked(found, 1, "SECRET", 0.8)


def _mixed(said: str) -> bool:
    """Letters with digits or signs, as a password and no word is."""
    if said.startswith(("/", "./", "~", "--")):
        return False
    if regex.fullmatch(
        r"[\w-]+(?:\.[\w-]+)+|[\d.,:%/-]+|[\w./-]+/[\w./-]+|[a-z]+(?:[_-][a-z]+)*", said
    ) and not regex.search(r"[a-z]\d|\d[a-z]", said):
        return False
    kinds = [any(map(str.isdigit, said)), any(map(str.isalpha, said)), bool(regex.search(r"[^\w\s.,-]", said))]
    return sum(kinds) > 1 and len(said) >= _TALKED and (" " not in said.strip())


def _assigned(page: Page, found: regex.Match[str], value: str, said: str) -> bool:
    """A password that is a plain word, in quotes or after a colon at the end of a line."""
    key = regex.search(r"pass(?:word|wd|phrase|code)|pwd", found[0].lower()[: found.start(value) - found.start()])
    if not key or " " in said or len(said) < 6:
        return False
    after = page.text[found.end() : found.end() + 1]
    return value in "ds" or (
        after in ("", "\n") and page.text[found.start(value) - 2 : found.start(value)].strip() in (":", "=")
    )
