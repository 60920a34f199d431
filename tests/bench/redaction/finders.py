"""Who is measured: Presidio as it comes, and ours with and without names."""

from __future__ import annotations

import logging
from collections.abc import Callable

import tldextract
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NlpEngineProvider

from api.proxies.redaction.detect import DetectionSettings
from api.proxies.redaction.detect.local import Finder
from api.proxies.redaction.detect.ner import MODEL
from api.proxies.redaction.detect.settings import QUASI

Span = tuple[int, int, str]
Look = Callable[[str], list[Span]]
VANILLA, OURS, PATTERNS, NARROW = (
    "Presidio as it comes",
    "ours",
    "ours, ner: false",
    "ours, without dates, ages, titles, nationalities",
)
THRESHOLD = (
    0.35  # what presidio-research's own notebooks use; the analyzer's default of 0 finds more and is less precise
)


def _vanilla() -> Look:
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)  # it would ask the network
    made = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": MODEL}]}
    engine = AnalyzerEngine(nlp_engine=NlpEngineProvider(nlp_configuration=made).create_engine())

    def look(text: str) -> list[Span]:
        return [
            (each.start, each.end, each.entity_type) for each in engine.analyze(text, "en", score_threshold=THRESHOLD)
        ]

    return look


def _ours(settings: DetectionSettings) -> Look:
    finder = Finder(settings)
    return lambda text: [(find.start, find.end, find.type) for find in finder.find(text)]


def all_of_them() -> dict[str, Look]:
    return {
        VANILLA: _vanilla(),
        OURS: _ours(DetectionSettings()),
        NARROW: _ours(DetectionSettings(skip_types=QUASI)),
        PATTERNS: _ours(DetectionSettings(ner=False)),
    }
