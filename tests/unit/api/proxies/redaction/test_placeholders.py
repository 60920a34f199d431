"""Which placeholder a value gets."""

import pytest

from api.proxies.redaction.finds import Find
from api.proxies.redaction.placeholders import Conversation
from api.proxies.redaction.restore import restore
from tests.unit.api.proxies.redaction.given import ADA, conversation, finds


def mask(known, value, kind="PERSON"):
    return known.mask(value, [Find(0, len(value), kind, 1.0)])


def test_the_same_value_is_the_same_placeholder_in_every_message():
    known = Conversation()
    text = f"{ADA} and Bob Smith"
    assert known.mask(text, [Find(0, 12, "PERSON", 1), Find(17, 26, "PERSON", 1)]) == "[PERSON_1] and [PERSON_2]"
    assert known.mask(f"Again {ADA}", finds(f"Again {ADA}", PERSON=ADA)) == "Again [PERSON_1]"


@pytest.mark.parametrize(
    ("part", "placeholder"),
    [("Ada", "[PERSON_1_FIRST]"), ("King", "[PERSON_1_MIDDLE]"), ("Lovelace", "[PERSON_1_LAST]"), ("ADA", "[PERSON_1_FIRST]"),
     ("Lovelace's", "[PERSON_1_LAST]"), ("Ms. Lovelace", "[PERSON_1_B]"), ("Ada Lovelace", "[PERSON_1_B]"),
     ("ADA KING LOVELACE", "[PERSON_1_B]"), ("Ada  King Lovelace", "[PERSON_1_B]"), ("Bob", "[PERSON_2]"),
     ("Ada Byron", "[PERSON_2]"), ("Lovelaceton", "[PERSON_2]")],
)  # fmt: skip
def test_a_part_of_a_name_belongs_to_its_person_and_comes_back_as_that_part(part, placeholder):
    known = conversation(PERSON="Ada King Lovelace")
    assert mask(known, part) == placeholder
    assert restore(placeholder, known) == part
    assert restore("[PERSON_1]", known) == "Ada King Lovelace"


def test_another_writing_of_a_part_is_a_variant_too():
    known = conversation(PERSON=ADA)
    wanted = ["[PERSON_1_FIRST]", "[PERSON_1_B]", "[PERSON_1_C]", "[PERSON_1_FIRST]"]
    assert [mask(known, name) for name in ("Ada", "ADA", "ada", "Ada")] == wanted


def test_a_full_name_after_its_part_is_the_same_person():
    known = conversation(PERSON="Ada")
    assert mask(known, ADA) == "[PERSON_1_FULL]"
    assert mask(known, "Lovelace") == "[PERSON_1_LAST]"
    assert restore("[PERSON_1] [PERSON_1_FULL] [PERSON_1_LAST]", known) == "Ada Ada Lovelace Lovelace"


def test_two_persons_of_one_name_are_two():
    known = conversation(PERSON="Ada Lovelace")
    assert mask(known, "Ada Byron") == "[PERSON_2]"
    assert mask(known, "Ada") == "[PERSON_2_FIRST]"  # whoever was named last
    assert mask(known, "Lovelace") == "[PERSON_1_LAST]"


def test_a_number_written_otherwise_is_a_variant():
    known = conversation(PHONE_NUMBER="+49 30 1234567")
    assert mask(known, "+49301234567", "PHONE_NUMBER") == "[PHONE_NUMBER_1_B]"
    assert restore("[PHONE_NUMBER_1] [PHONE_NUMBER_1_B]", known) == "+49 30 1234567 +49301234567"


def test_thirty_writings_of_one_value():
    known = Conversation()
    value = "abcdef"
    writings = {"".join(c.upper() if n >> i & 1 else c for i, c in enumerate(value)) for n in range(60)}
    placeholders = [mask(known, writing) for writing in sorted(writings)]
    assert len(set(placeholders)) == len(writings) == 60
    assert [restore(placeholder, known) for placeholder in placeholders] == sorted(writings)


@pytest.mark.parametrize(
    ("kind", "placeholder"),
    [("PERSON", "[PERSON_1]"), ("email address", "[EMAIL_ADDRESS_1]"), ("IPv4", "[IPV_1]"), ("X__1_", "[X_1]"), ("42", "[DATA_1]"),
     ("", "[DATA_1]"), ("日本", "[DATA_1]"), ("A" * 90, f"[{'A' * 32}_1]"), ("us-ssn", "[US_SSN_1]")],
)  # fmt: skip
def test_a_type_becomes_a_label(kind, placeholder):
    known = Conversation()
    assert mask(known, "value", kind) == placeholder
    assert restore(placeholder, known) == "value"
    assert known.counts() == {kind: 1}


def test_what_looks_like_a_placeholder_is_never_issued():
    known = Conversation()
    text = "In [PERSON_1], person_2, PERSON 3 and Person 4: Ada Lovelace"
    assert known.mask(text, finds(text, PERSON=ADA)).endswith("[PERSON_5]")


@pytest.mark.parametrize(
    "text",
    [
        "A\u200bIP_1",
        "A\u200bI\u200bP_1",
        "A\\IP_1",
        "%3CIP_1%3E",
        "A%5FIP_1",
        "[I\u00adP 1]",
        "IP\\_1",
        "&lt;IP&#95;1&gt;",
    ],
)
def test_a_look_alike_in_disguise_is_never_issued_either(text):
    known = Conversation()
    masked = known.mask(text, [])
    mask(known, "10.0.0.1", "IP")
    assert restore(masked, known) == text


def test_a_look_alike_that_begins_behind_a_find_is_never_issued():
    known = Conversation()
    masked = known.mask("_BxPERSON_1", [Find(0, 3, "EMAIL", 1.0)])
    assert masked == "[EMAIL_1]PERSON_1"
    mask(known, "Bob Smith")
    assert restore(masked, known) == "_BxPERSON_1"


def test_what_looks_like_an_issued_placeholder_is_masked_as_a_literal():
    known = conversation(PERSON=ADA)
    text = "Is [PERSON_1] the same as person_1, and [PERSON_2]?"
    assert known.mask(text, []) == "Is [LITERAL_1] the same as [LITERAL_2], and [PERSON_2]?"
    assert restore(known.mask(text, []), known) == text
    assert mask(known, "Bob Smith") == "[PERSON_3]"
    assert known.counts() == {"PERSON": 2}


def test_a_literal_of_a_literal():
    known = conversation(PERSON=ADA)
    text = "[PERSON_1] [LITERAL_1] LITERAL_2"
    for _ in range(3):
        assert restore(known.mask(text, []), known) == text


def test_finds_that_overlap_are_one():
    known = Conversation()
    text = "mail ada@example.com now"
    assert (
        known.mask(text, [Find(5, 20, "EMAIL", 1), Find(9, 20, "URL", 0.5), Find(18, 99, "URL", 0.5)])
        == "mail [EMAIL_1]"
    )
    assert restore("[EMAIL_1]", known) == "ada@example.com now"


def test_finds_without_characters_are_none():
    assert Conversation().mask("abc", [Find(1, 1, "X", 1), Find(3, 9, "X", 1), Find(-5, 0, "X", 1)]) == "abc"


def test_what_was_issued_since_a_mark():
    known = conversation(PERSON=ADA)
    mark = known.mark()
    mask(known, ADA)
    assert known.since(mark) == []
    mask(known, "Bob Smith")
    assert [(entry.placeholder, entry.original, entry.type) for entry in known.since(mark)] == [
        ("[PERSON_2]", "Bob Smith", "PERSON")
    ]


def test_what_is_recalled_goes_on_as_before():
    known = conversation(PERSON=ADA, EMAIL="a@b.example")
    for value in ("Ada", "ADA", "Bob Smith", "BOB SMITH"):
        mask(known, value)
    again = Conversation()
    for entry in known.since(0):
        again.recall(entry)
    assert dict(again.issued) == dict(known.issued)
    for value in (ADA, "Ada", "ADA", "Bob Smith", "BOB SMITH", "Lovelace", "bob smith", "Cleo"):
        assert mask(again, value) == mask(known, value)
