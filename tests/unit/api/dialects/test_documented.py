"""docs/DIALECTS.md says what the code does: the table of calls, and every list of fields."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from api.proxies.calls import Backend, Refused
from api.proxies.dialects import anthropic_request, ollama_request, responses_request, translation
from api.proxies.dialects.factory import MAKERS
from state.recipes import Engine

PAGE = (Path(__file__).parents[4] / "docs" / "DIALECTS.md").read_text()
NAMES = {
    "vLLM": "vllm",
    "llama.cpp": "llamacpp",
    "SGLang": "sglang",
    "TensorRT-LLM": "trtllm",
    "NIM": "nim",
    "container": "container",
}
CHAT = b'"messages":[{"role":"user","content":"hi"}]}'
BODIES = {
    "/v1/messages": b'{"model":"m","max_tokens":9,' + CHAT,
    "/v1/messages/count_tokens": b'{"model":"m",' + CHAT,
    "/api/chat": b'{"model":"m",' + CHAT,
    "/api/generate": b'{"model":"m","prompt":"hi"}',
}


def table() -> dict[tuple[str, str], str]:
    """What the first table says of each call and engine."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]
    head, _, *rest = rows[: next(at for at, row in enumerate(rows) if row[0] == "asked")]
    return {
        (row[0].strip("`"), NAMES[name]): word for row in rest for name, word in zip(head[1:], row[1:], strict=True)
    }


def fate(path: str, engine: str) -> str:
    backend = Backend(workload="m", spark="s", host="h", port=1, model="m", engine=engine)
    made = translation(path, [], BODIES.get(path, b'{"model":"m","input":"hi"}'), backend)
    if made is None:
        return "passed"
    try:
        made.body()
    except Refused:
        return "refused"
    return "translated"


def test_the_table_of_calls() -> None:
    said = table()
    assert set(NAMES.values()) == set(get_args(Engine))
    assert {path for path, _ in said} >= set(MAKERS)
    assert said == {(path, engine): fate(path, engine) for path, engine in said}


def listed(section: str, begins: str) -> set[str]:
    """The names in the paragraph of a section that begins so, up to its first full stop or semicolon."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    [paragraph] = [part for part in text.split("\n\n") if part.startswith(begins)]
    return set(re.findall(r"`([a-z_0-9]+)`", re.split(r"[;.](?:\s|$)", paragraph)[0]))


@pytest.mark.parametrize(
    ("section", "begins", "names"),
    [
        ("Anthropic", "Dropped:", anthropic_request.DROPPED),
        ("Anthropic", "Refused:", anthropic_request.REFUSED),
        ("OpenAI Responses", "Dropped:", responses_request.DROPPED),
        ("OpenAI Responses", "Refused:", responses_request.REFUSED),
        ("Ollama", "Dropped:", ollama_request.DROPPED),
        ("Ollama", "Options of a launch, dropped:", ollama_request.LAUNCH_OPTIONS),
        ("Ollama", "Options for llama.cpp only", ollama_request.LLAMACPP_OPTIONS),
        ("Ollama", "Options of the same meaning:", {*ollama_request.OPTIONS, "repetition_penalty"}),
        (
            "Ollama",
            "Refused:",
            {"suffix", "template", "context", *ollama_request.LOGPROBS, *ollama_request.PICTURES},
        ),
    ],
)
def test_the_lists_of_fields(section: str, begins: str, names: object) -> None:
    assert listed(section, begins) == set(names)  # type: ignore[call-overload]
