"""All tiers over one text, in this process. It takes milliseconds: `pool` keeps it off the event loop."""

from __future__ import annotations

from collections.abc import Iterator

import regex

from api.proxies.redaction.detect import addresses, companies, numbers, people, phones, secrets, web
from api.proxies.redaction.detect.merge import merged
from api.proxies.redaction.detect.national import National
from api.proxies.redaction.detect.ner import Names, firms_in_blocks
from api.proxies.redaction.detect.page import Page, marked, words
from api.proxies.redaction.detect.settings import PATIENCE, DetectionSettings
from api.proxies.redaction.finds import Find

_PATTERNS = (
    web.mail, web.links, web.machines, secrets.secrets, numbers.cards, numbers.accounts, numbers.social, numbers.wallets, numbers.documents,
    addresses.addresses, people.titles, people.ages, people.dates, people.usernames, people.keyed, companies.companies,
)  # fmt: skip


class Finder:
    """Finds, as the settings say. What it loads, it loads when it is made."""

    def __init__(self, settings: DetectionSettings) -> None:
        self._settings = settings
        self._national = National()
        self._names = Names() if settings.ner else None
        self._own = [
            (each, each.compiled(), words(*(word.lower() for word in each.context))) for each in settings.recognizers
        ]
        self._allowed = frozenset(text.casefold() for text in settings.allow)
        denied = sorted(settings.deny, key=lambda text: (-len(text), text))
        self._denied = (
            regex.compile("|".join(rf"(?<!\w){regex.escape(text)}(?!\w)" for text in denied), regex.IGNORECASE)
            if denied
            else None
        )
        self._denied_types = {text.casefold(): kind for text, kind in settings.deny.items()}

    def find(self, text: str) -> list[Find]:
        """Sorted and disjoint. Raises TimeoutError where a recogniser of the settings takes too long."""
        if not text.strip():
            return []
        page = Page(self._names.capitalised(text) if self._names else text)
        found = list(self._all(page))
        found += firms_in_blocks(page, found)
        wanted = [find for find in found if self._settings.wants(find.type, find.score)]
        kept = [find for find in wanted if text[find.start : find.end].strip(" .,;:").casefold() not in self._allowed]
        return [find for find in merged(kept, text) if find.start < find.end]

    def _all(self, page: Page) -> Iterator[Find]:
        for recognizer in _PATTERNS:
            yield from recognizer(page)
        yield from self._national.find(page)
        yield from phones.phones(page, self._settings.regions)
        if self._names:
            yield from self._names.find(page)
        for own, pattern, said in self._own:
            for found in pattern.finditer(page.text, timeout=PATIENCE):
                group = "find" if "find" in pattern.groupindex else 0
                span = found.start(group), found.end(group)
                if span[0] < span[1] and (not own.context or page.near(span[0], span[1], said)):
                    yield Find(span[0], span[1], own.type, own.score)
        if self._denied:
            for found in self._denied.finditer(page.text):
                yield marked(found, 0, self._denied_types.get(found[0].casefold(), "CUSTOM"), 1.0)
