"""What models do to placeholders, whole and cut at every place."""

import itertools

import pytest

from api.proxies.redaction.placeholders import Conversation
from api.proxies.redaction.restore import Restorer, restore
from tests.unit.api.proxies.redaction.given import ADA, MAIL, MANGLINGS, conversation, finds, known

PLACEHOLDERS = {"[PERSON_1]": ADA, "[PERSON_1_FIRST]": "Ada", "[EMAIL_ADDRESS_1]": MAIL}


def in_parts(text: str, cuts: list[int], known: Conversation) -> str:
    restorer = Restorer(known)
    edges = [0, *cuts, len(text)]
    return "".join(restorer.feed(text[a:b]) for a, b in itertools.pairwise(edges)) + restorer.end()


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
@pytest.mark.parametrize("mangling", MANGLINGS)
def test_a_spoilt_placeholder_comes_back_as_what_stood_there(mangling, placeholder):
    spoil, around = MANGLINGS[mangling]
    text = f"Say hello to {spoil(placeholder)}, and go."
    wanted = f"Say hello to {around.format(PLACEHOLDERS[placeholder])}, and go."
    found = known()
    assert restore(text, found) == wanted
    for cut in range(len(text) + 1):
        assert in_parts(text, [cut], found) == wanted, cut
    assert in_parts(text, list(range(len(text))), found) == wanted


@pytest.mark.parametrize("mangling", MANGLINGS)
def test_a_spoilt_placeholder_at_the_very_end(mangling):
    spoil, around = MANGLINGS[mangling]
    text = spoil("[PERSON_1]")
    assert in_parts(text, list(range(len(text))), known()) == around.format(ADA)


@pytest.mark.parametrize(
    "text",
    [
        "person 1 of the team", "Person 1 and person 2", "(person 1)", "the first person, 1st of all", "PERSONS 1",
        "MY_PERSON_1", "PERSON_1A", "PERSON_1st", "XPERSON_1", "PERSON_99", "[PERSON_99]", "PERSON_13", "PERSON_0",
        "[PERSON_1_LAST]", "PERSON_1_BIRTHDAY", "[PERSON_A]", "email address 1", "<person>", "[1]", "PERSON", "PERSON_",
        "a[person][1]", "[PERSONNE_99]", "personne_1", "PERSONNE_1", "[STEP_1]", "PERSON_1000000", "row[PERSON_1X]",
    ],
)  # fmt: skip
def test_natural_text_is_left_alone(text):
    found = known()
    assert restore(text, found) == text
    assert in_parts(text, list(range(len(text))), found) == text


def test_one_is_not_ten():
    found = known()
    text = "PERSON_10 PERSON_1 [PERSON_11] [PERSON_1]0 PERSON_12"
    names = found.issued
    wanted = f"{names['[PERSON_10]']} {ADA} {names['[PERSON_11]']} {ADA}0 {names['[PERSON_12]']}"
    assert restore(text, found) == wanted
    for cut in range(len(text)):
        assert in_parts(text, [cut], found) == wanted


@pytest.mark.parametrize("label", ["PERSONNE", "PERSONA", "PESSOA", "Personne"])
def test_a_translated_label_counts_in_brackets(label):
    text = f"Bonjour [{label}_1] !"
    assert restore(text, known()) == f"Bonjour {ADA} !"
    assert in_parts(text, list(range(len(text))), known()) == f"Bonjour {ADA} !"


def test_a_label_of_three_letters_needs_an_underscore_or_brackets():
    found = conversation(URL="http://example.com")
    assert restore("URL 1, URL_1, [url 1]", found) == "URL 1, http://example.com, http://example.com"


def test_an_original_that_holds_a_placeholder_is_not_restored_again():
    found = Conversation()
    tricky = "[PERSON_2] & PERSON_1"
    masked = found.mask(f"{tricky} and Bob Smith", finds(f"{tricky} and Bob Smith", NOTE=tricky, PERSON="Bob Smith"))
    assert restore(masked, found) == f"{tricky} and Bob Smith"
    assert restore("[NOTE_1]", found) == tricky


def test_an_original_beside_a_bracket_keeps_it():
    text = "[Ada Lovelace] <Ada Lovelace> \\Ada Lovelace \\[Ada Lovelace\\] {Ada Lovelace} %5BAda Lovelace%5D"
    found = Conversation()
    masked = found.mask(text, finds(text, PERSON=ADA))
    assert ADA not in masked
    assert restore(masked, found) == text


@pytest.mark.parametrize(
    "text",
    ["Hello", "a word of it. ", "no [brackets", "x < y", "it costs 100 ", "the pen", "Zeit", "{ }", "[x", "and/or"],
)
def test_ordinary_text_is_not_delayed(text):
    restorer = Restorer(known())
    assert restorer.feed(text) == text


@pytest.mark.parametrize(
    ("text", "held"),
    [("Hi [", "["), ("Hi [PER", "[PER"), ("Hi [PERSON", "[PERSON"), ("a p", "p"), ("PERSON_1", "PERSON_1"),
     ("a <", "<"), ("50%", "%"), ("&l", "&l"), ("[PERSON_9", "[PERSON_9"), ("[PERSON_99", ""), ("[PERSON_1]", ""),
     ("[PERSONA", "[PERSONA"), ("[PERSONAL", ""), ("Person ", ""), ("PERSON ", "PERSON "), ("[EMAIL ", "[EMAIL ")],
)  # fmt: skip
def test_only_what_may_still_become_a_placeholder_waits(text, held):
    restorer = Restorer(known())
    assert restorer.feed(text) == text.replace("[PERSON_1]", ADA)[: -len(held) or None]


def test_what_waits_is_short():
    restorer = Restorer(known())
    given = "[" + "person " * 1000
    assert len(given) - len(restorer.feed(given)) <= 160


def test_a_conversation_without_placeholders_restores_nothing():
    assert restore("[PERSON_1] PERSON_1", Conversation()) == "[PERSON_1] PERSON_1"


def test_no_placeholder_of_another_conversation_is_restored():
    mine, other = conversation(PERSON="Bob Smith"), known()
    assert restore("[PERSON_1] [PERSON_2] [EMAIL_ADDRESS_1]", mine) == "Bob Smith [PERSON_2] [EMAIL_ADDRESS_1]"
    assert restore("[PERSON_1]", other) == ADA
