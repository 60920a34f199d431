"""Each recogniser with what it must find and what it must leave."""

from __future__ import annotations

import pytest

from api.proxies.redaction.detect.local import Finder

CARD, WRONG_CARD = "4111 1111 1111 1111", "4111111111111112"


def seen(finder: Finder, text: str) -> set[tuple[str, str]]:
    return {(find.type, text[find.start : find.end]) for find in finder.find(text)}


FOUND = [
    (f"Pay with {CARD} now.", "CARD", CARD),
    (f"My credit card is {WRONG_CARD}.", "CARD", WRONG_CARD),
    ("IBAN DE89 3704 0044 0532 0130 00 please", "IBAN", "DE89 3704 0044 0532 0130 00"),
    ("send it to GB82WEST12345698765432", "IBAN", "GB82WEST12345698765432"),
    ("my iban: GB82WEST12345698765433", "IBAN", "GB82WEST12345698765433"),
    ("his number is 219-09-9999", "SSN", "219-09-9999"),
    ("SSN 219099999", "SSN", "219099999"),
    ("NHS number 943 476 5919", "ID", "943 476 5919"),
    ("his DNI is 12345678Z", "ID", "12345678Z"),
    ("Codice fiscale RSSMRA85T10A562S", "ID", "RSSMRA85T10A562S"),
    ("PAN: ABCPE1234F", "ID", "ABCPE1234F"),
    ("passport no. C01X00T47", "ID", "C01X00T47"),
    ("Driver's license number: D123-4567-8901", "ID", "D123-4567-8901"),
    ("Steuer-ID: 86095742719", "ID", "86095742719"),
    ("call me at +49 30 901820", "PHONE", "+49 30 901820"),
    ("ring (212) 555-0187 ext. 12", "PHONE", "(212) 555-0187 ext. 12"),
    ("Mobile: 07700 900123", "PHONE", "07700 900123"),
    ("write to ada.lovelace+news@mail.example-host.co.uk.", "EMAIL", "ada.lovelace+news@mail.example-host.co.uk"),
    ("ada (at) lovelace (dot) org", "EMAIL", "ada (at) lovelace (dot) org"),
    ("see https://www.ada-lovelace.me/diary?day=1.", "URL", "https://www.ada-lovelace.me/diary?day=1"),
    ("https://www.linkedin.com/in/ada-l", "URL", "https://www.linkedin.com/in/ada-l"),
    ("from 84.23.11.9 to us", "IP", "84.23.11.9"),
    ("host 2a02:8070:d181:e00::5d is up", "IP", "2a02:8070:d181:e00::5d"),
    ("its MAC is 3c:22:fb:9a:10:7e", "MAC", "3c:22:fb:9a:10:7e"),
    ("key AKIAIOSFODNN7EXAMPLE in use", "SECRET", "AKIAIOSFODNN7EXAMPLE"),
    ("token ghp_" + "a1B2" * 9, "SECRET", "ghp_" + "a1B2" * 9),
    ("sk-ant-api03-" + "x9Y8" * 8, "SECRET", "sk-ant-api03-" + "x9Y8" * 8),
    ("password=hunter2!", "SECRET", "hunter2!"),
    ('"api_key": "9f8e7d6c5b4a"', "SECRET", "9f8e7d6c5b4a"),
    ("postgres://app:s3cr3t-w0rd@db/x", "SECRET", "s3cr3t-w0rd"),
    ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "CRYPTO", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"),
    ("He lives at 221 Baker Street.", "ADDRESS", "221 Baker Street"),
    ("Musterstraße 12, 10115 Berlin", "ADDRESS", "Musterstraße 12, 10115 Berlin"),
    ("12 rue de la Paix, 75002 Paris", "ADDRESS", "12 rue de la Paix, 75002 Paris"),
    ("P.O. Box 1234", "ADDRESS", "P.O. Box 1234"),
    ("zip code 94107", "ADDRESS", "94107"),
    ("Dr. Lovelace will see you", "TITLE", "Dr"),
    ("Dr. Lovelace will see you", "PERSON", "Lovelace"),
    ("she is 42 years old", "AGE", "42"),
    ("born on 10 December 1815", "DATE_OF_BIRTH", "10 December 1815"),
    ("dob: 1985-03-12", "DATE_OF_BIRTH", "1985-03-12"),
    ("username: ada_l42", "USERNAME", "ada_l42"),
    ('{"patient_name": "Ada Lovelace"}', "PERSON", "Ada Lovelace"),
    ("I work at Contoso Widgets GmbH.", "ORGANIZATION", "Contoso Widgets GmbH"),
]


@pytest.mark.parametrize(("text", "kind", "said"), FOUND, ids=[f"{kind}: {text[:30]}" for text, kind, _ in FOUND])
def test_it_is_found(patterns: Finder, text: str, kind: str, said: str) -> None:
    assert (kind, said) in {(each, piece.rstrip(".")) for each, piece in seen(patterns, text)}


@pytest.mark.parametrize(
    "text",
    [
        f"the build {WRONG_CARD} is done",
        "sha 4111111111111111a0b1c2d3e4f5",
        "the offset is 1732441234567 now",
        "XX82WEST12345698765432",
        "the id 9434765919 of a row",
        "version 10.2.3.4 of the driver",
        "listens on 127.0.0.1 and 0.0.0.0",
        "std::vector::iterator",
        "at 12:30:45 it ended",
        "see https://docs.python.org/3/library/json.html",
        "git clone git@github.com:owner/name",
        "password = os.environ['PASSWORD']",
        "password: ${PASSWORD}",
        "token = get_token(user)",
        "It takes 30 seconds and 100 retries.",
        "sizes 10 20 30 and 3.14159",
        "def find(self, text): return None",
        "2026-11-24 10:11:12,345 INFO started in 20 ms",
        "@pytest.fixture",
        "the account is closed",
        "passport control is over there",
        "from 2.2.366 to 2.2.367",
        "4 of 16 checks failed",
    ],
)
def test_it_is_left(patterns: Finder, text: str) -> None:
    assert seen(patterns, text) == set()


def test_a_private_key_is_one_find_to_its_end(patterns: Finder) -> None:
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n84.23.11.9\n-----END OPENSSH PRIVATE KEY-----"
    assert seen(patterns, f"mine:\n{key}\nkeep it") == {("SECRET", key)}


def test_an_address_of_several_lines_is_one_find(patterns: Finder) -> None:
    address = "742 Evergreen Terrace\nApt. 4\nSpringfield, OR 97477"
    assert seen(patterns, f"Ship to:\n{address}\n") == {("ADDRESS", address)}
