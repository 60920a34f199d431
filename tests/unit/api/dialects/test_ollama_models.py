"""What Ollama's dialect says of models, read by the client's own types."""

from __future__ import annotations

import json

import pytest
from ollama import ListResponse, ProcessResponse, ShowResponse

from api.proxies.calls import Refused
from api.proxies.dialects import ollama_models
from api.proxies.dialects.ollama_models import Card

CARDS = [
    Card(name="qwen", since=1_700_000_000, context=32768),
    Card(name="gpt-4o-mini", since=1_700_000_000),
    Card(name="bge", kind="embedding", ready=False),
]


def test_tags() -> None:
    found = ListResponse.model_validate_json(ollama_models.tags(CARDS))
    assert [model.model for model in found.models] == ["qwen", "gpt-4o-mini", "bge"]
    assert found.models[0].modified_at is not None
    assert found.models[0].modified_at.timestamp() == 1_700_000_000
    assert len({model.digest for model in found.models}) == 3


def test_running() -> None:
    found = ProcessResponse.model_validate_json(ollama_models.running(CARDS))
    assert [(model.name, model.context_length) for model in found.models] == [("qwen", 32768), ("gpt-4o-mini", 0)]


def test_shown() -> None:
    found = ShowResponse.model_validate_json(ollama_models.shown(CARDS[0]))
    assert found.capabilities == ["completion", "tools"]
    assert found.modelinfo is not None
    assert found.modelinfo[f"{found.modelinfo['general.architecture']}.context_length"] == 32768
    assert ShowResponse.model_validate_json(ollama_models.shown(CARDS[2])).capabilities == ["embedding"]


def test_asked_for() -> None:
    assert ollama_models.asked_for(b'{"model": "qwen"}') == "qwen"
    assert ollama_models.asked_for(b'{"name": "qwen"}') == "qwen"
    with pytest.raises(Refused):
        ollama_models.asked_for(b"{}")


def test_version() -> None:
    assert [part.isdecimal() for part in json.loads(ollama_models.version())["version"].split(".")] == [True] * 3
