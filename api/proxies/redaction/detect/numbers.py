"""Numbers that are somebody's: cards, accounts, documents. By their check digits, or by what is said of them.

A number whose check digits are right is found without a word. One that is made up, or mistyped, is found where words
nearby say what it is: people test with made-up numbers, and mistype real ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Final

import regex

from api.proxies.redaction.detect.page import Page, marked, words
from api.proxies.redaction.finds import Find

_CARD: Final = regex.compile(r"(?<![\w.+-])(?<!\d[ ])\d(?:[ -]?\d){11,18}(?![\w-]|\.\d|[ ]\d)")
_CARD_WORDS: Final = words(
    "card*", "credit", "debit", "cc", "visa", "mastercard", "amex", "american express", "maestro", "discover", "diners",
    "kreditkarte", "tarjeta", "carte", "carta", "cartão", "pan", "creditcard*",
)  # fmt: skip
_GROUPED: Final = regex.compile(r"\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{5}")
_SECRETS_OF_CARDS: Final = regex.compile(
    r"\b(?:exp(?:iry|ires|iration)?(?:\s+date)?|valid\s+(?:thru|until))\s*:?\s*((?:0[1-9]|1[0-2])\s?/\s?\d{2,4})",
    regex.IGNORECASE,
)

# Countries and the lengths of their accounts (ISO 13616's registry).
_IBAN_LENGTHS: Final = dict(
    pair.split(":")
    for pair in """
    AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BI:27 BR:29 BY:28 CH:21 CR:22 CY:28 CZ:24 DE:22 DJ:27
    DK:18 DO:28 EE:20 EG:29 ES:24 FI:18 FK:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 GR:27 GT:28 HN:28 HR:21 HU:28
    IE:22 IL:23 IQ:23 IS:26 IT:27 JO:30 KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 LU:20 LV:21 LY:25 MC:27 MD:24 ME:22
    MK:19 MN:20 MR:27 MT:31 MU:30 NI:28 NL:18 NO:15 OM:23 PK:24 PL:28 PS:29 PT:25 QA:29 RO:24 RS:22 RU:33 SA:24
    SC:31 SD:18 SE:24 SI:19 SK:24 SM:27 SO:23 ST:25 SV:28 TL:23 TN:24 TR:26 UA:29 VA:22 VG:24 XK:20
    """.split()
)
_IBAN: Final = regex.compile(r"(?<![\w])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}(?![A-Z0-9])", regex.IGNORECASE)
_IBAN_WORDS: Final = words("iban", "account*", "bank*", "konto*", "transfer*", "wire", "cuenta", "compte")
_BIC: Final = regex.compile(
    r"\b(?:bic|swift)(?:[\s/-]*(?:code|bic|swift))?\s*(?:is|:|=)?\s*([A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?)\b",
    regex.IGNORECASE,
)

_SSN: Final = regex.compile(r"(?<![\w-])(?!000)\d{3}-\d{2}-\d{4}(?![\w-])")
_SSN_BARE: Final = regex.compile(r"(?<![\w-])\d{3}[ .]?\d{2}[ .]?\d{4}(?![\w-])")
_SSN_WORDS: Final = words("ssn", "social security", "social", "itin", "tin", "taxpayer")

_BITCOIN: Final = regex.compile(r"\b[13][1-9A-HJ-NP-Za-km-z]{25,34}\b")
_CHAIN: Final = regex.compile(
    r"\b(?:0x[0-9a-fA-F]{40}|(?:bc1|tb1|ltc1)[02-9ac-hj-np-z]{25,87}|4[0-9AB][1-9A-HJ-NP-Za-km-z]{93}|r[1-9A-HJ-NP-Za-km-z]{24,34})\b"
)
_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

_VIN: Final = regex.compile(r"\b[A-HJ-NPR-Z0-9]{17}\b")
_VIN_VALUE: Final = dict(
    zip("ABCDEFGHJKLMNPRSTUVWXYZ", (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9), strict=True)
)
_VIN_WEIGHT: Final = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)

# What a number is called, before it: each of these words makes what follows somebody's.
_CALLED: Final = r"""
    passport | pasaporte | reisepass(?:nummer)? | passeport | passaporto
  | driv(?:er|ing)['’s]{0,2}\s*(?:licen[cs]e|permit) | dl | licen[cs]e(?:\s+plate)? | (?:number\s+)?plate | registration\s+plate | vehicle\s+registration | kennzeichen | führerschein(?:nummer)?
  | ssn | itin | social\s+security | national\s+(?:id(?:entity|entification)?|insurance) | (?:personal\s+)?identity\s+(?:card|document) | id\s+card | personalausweis | dni | nie | nif | cpf | cnpj | curp | rfc | bsn | nir | nino | pesel | aadhaar | sin
  | tax(?:payer)?\s*(?:id(?:entification)?|file|ref(?:erence)?)? | tin | ein | vat(?:\s+(?:id|reg(?:istration)?))? | ust-?id(?:nr)? | steuer(?:-?id|nummer|-?identifikationsnummer) | codice\s+fiscale
  | nhs | medicare | medicaid | (?:health\s+)?insurance | policy | (?:health|medical)\s+(?:card|record) | mrn | patient | beneficiary | member(?:ship)? | subscriber
  | (?:bank\s+)?account | acct | a/c | routing | aba | sort\s+code | konto(?:nummer)? | iban | cuenta | blz
  | (?:employee|staff|student|customer|client|payroll|personnel|badge|voter|alien|visa|case|claim|matter|loyalty|frequent\s+flyer|loan|applicant|user|person)
  | imei | imsi | iccid | vin | (?:device\s+)?serial | green\s+card
"""
_NAMED: Final = regex.compile(
    rf"""(?<![^\W_])(?:{_CALLED})(?!\p{{L}})
        (?P<what>[\s_-]*(?:identification|identifier|reference|id|number|nummer|num|no|nr|code|plate|card|licence|license|\#|№)s?(?!\p{{L}}))*+\.?["']?
        (?:\s*(?:\([^)\n]{{1,30}}\)))?
        (?P<is>\s*(?:[:=\#]|is|was|are|will\s+be|of|,)\s*){{0,2}}["'(]?\s*
        (?P<find>(?=(?:[A-Z\s./-]{{0,8}}\d){{1}})[A-Z0-9](?:[A-Z0-9]|[-./ ](?=(?-i:[A-Z]{{0,4}})\d)|(?<=\d)[-/. ](?=(?-i:[A-Z]{{1,3}})\b)){{3,27}})(?![\w])""",
    regex.VERBOSE | regex.IGNORECASE,
)
_WEAK: Final = regex.compile(
    r"\b(?:license|licence|account|acct|a/c|policy|insurance|patient|member|membership|tax|vat|case|claim|matter|user|person|client|customer|serial|plate|dl|sin|rfc|nie|loan|code)\b",
    regex.IGNORECASE,
)


def luhn(number: str) -> bool:
    """The check digit of cards and IMEIs."""
    digits = [int(char) for char in reversed(number)]
    return sum(digits[::2] + [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]) % 10 == 0


def cards(page: Page) -> Iterator[Find]:
    """Numbers of payment cards."""
    for found in _CARD.finditer(page.text):
        digits = regex.sub(r"\D", "", found[0])
        context = page.near(found.start(), found.end(), _CARD_WORDS, 60)
        if len(set(digits)) < 2:
            continue
        if digits[0] in "23456" and luhn(digits):
            sure = len(digits) in (14, 15, 16) and digits[0] in "3456"
            grouped = found[0] == digits or _GROUPED.fullmatch(found[0])
            if context or (sure and grouped):
                yield marked(found, 0, "CARD", 0.95 if context else 0.85)
        elif context or (_GROUPED.fullmatch(found[0]) and digits[0] in "3456"):
            yield marked(found, 0, "CARD", 0.7)
    for found in _SECRETS_OF_CARDS.finditer(page.text):
        if page.near(found.start(), found.end(), _CARD_WORDS, 80):
            yield marked(found, 1, "DATE", 0.7)


def _mod97(account: str) -> bool:
    return int("".join(str(int(char, 36)) for char in account[4:] + account[:4])) % 97 == 1


def accounts(page: Page) -> Iterator[Find]:
    """International numbers of accounts."""
    for found in _IBAN.finditer(page.text):
        country = found[0][:2].upper()
        length = int(_IBAN_LENGTHS.get(country, "0"))
        if not length:
            continue
        # What follows after a space may be another word: as much as this country's accounts have.
        end, seen = found.start(), 0
        while seen < length and end < found.end():
            seen += page.text[end].isalnum()
            end += 1
        if seen < length or page.text[end : end + 1].isalnum():
            continue
        account = regex.sub(r"[ -]", "", page.text[found.start() : end]).upper()
        if _mod97(account):
            yield Find(found.start(), end, "IBAN", 0.98)
        elif page.near(found.start(), end, _IBAN_WORDS) or sum(map(str.isdigit, account)) >= length // 2:
            yield Find(found.start(), end, "IBAN", 0.7)
    for found in _BIC.finditer(page.text):
        yield marked(found, 1, "ID", 0.75)


def social(page: Page) -> Iterator[Find]:
    """The number of US social security."""
    for found in _SSN.finditer(page.text):
        yield marked(found, 0, "SSN", 0.85)
    for found in _SSN_BARE.finditer(page.text):
        if page.before(found.start(), _SSN_WORDS, 40):
            yield marked(found, 0, "SSN", 0.8)


def _base58(address: str) -> bool:
    number = 0
    for char in address:
        number = number * 58 + _ALPHABET.index(char)
    raw = number.to_bytes(25, "big") if number.bit_length() <= 200 else b""
    return bool(raw) and sha256(sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:]


def wallets(page: Page) -> Iterator[Find]:
    """Addresses of coins."""
    for found in _BITCOIN.finditer(page.text):
        if _base58(found[0]) or page.near(found.start(), found.end(), words("bitcoin", "btc", "wallet", "crypto*")):
            yield marked(found, 0, "CRYPTO", 0.9)
    for found in _CHAIN.finditer(page.text):
        strong = not found[0].startswith("r")
        if strong or page.near(found.start(), found.end(), words("xrp", "ripple", "wallet", "crypto*")):
            yield marked(found, 0, "CRYPTO", 0.85)


def _vin(number: str) -> bool:
    total = sum(w * (int(c) if c.isdigit() else _VIN_VALUE[c]) for c, w in zip(number, _VIN_WEIGHT, strict=True))
    return number[8] == ("X" if total % 11 == 10 else str(total % 11))


def documents(page: Page) -> Iterator[Find]:
    """Numbers of documents, of cars and of people at some office: by what they are called."""
    for found in _VIN.finditer(page.text):
        if regex.search(r"[A-Z]", found[0]) and regex.search(r"\d{4}$", found[0]) and _vin(found[0]):
            yield marked(found, 0, "ID", 0.7)
    for found in _NAMED.finditer(page.text):
        said = found["find"].rstrip(" .-/")
        digits = sum(map(str.isdigit, said))
        named = bool(found.captures("what")) or any(
            mark.strip() in (":", "=", "#", "is", "was") for mark in found.captures("is")
        )
        weak = _WEAK.match(found[0]) is not None
        if digits < (4 if weak else 3) or len(said) < 5 or (weak and not named) or not _whole(said):
            continue
        if not page.prose(found.start()) and weak and digits < 6:
            continue
        yield Find(found.start("find"), found.start("find") + len(said), "ID", 0.75 if named else 0.65)


def _whole(said: str) -> bool:
    """No date, no decimal, no text that goes on in words."""
    return not regex.fullmatch(r"\d{4}-\d\d-\d\d.*|\d{1,2}[/.]\d{1,2}[/.]\d{2,4}|\d+\.\d+|(?:19|20)\d\d", said)
