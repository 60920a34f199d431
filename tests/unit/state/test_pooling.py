"""`pooling` of a recipe: whose server it is, and what can't be kept."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from state.pooling import Pooling, server_of
from state.recipes import Recipe

TEI = "ghcr.io/huggingface/text-embeddings-inference:121-1.9"


@pytest.mark.parametrize(
    ("engine", "image", "said", "server"),
    [
        ("vllm", TEI, None, "vllm"),
        ("container", TEI, None, "tei"),
        ("container", "michaelf34/infinity:0.0.77", None, "infinity"),
        ("container", "python:3.13", None, "other"),
        ("container", "python:3.13", "tei", "tei"),
        ("vllm", "img:1", "other", "other"),
        ("trtllm", "img:1", None, "other"),
    ],
)
def test_whose_server_it_is(engine: str, image: str, said: Any, server: str) -> None:
    assert server_of(engine, image, Pooling(server=said) if said else None) == server
    assert server_of(engine, image, Pooling(batch=3) if not said else Pooling(server=said)) == server


def recipe(image: str = "img:1", **pooling: Any) -> Recipe:
    return Recipe.model_validate({"image": image, "port": 8000, "pooling": pooling})


def test_all_of_it() -> None:
    found = recipe(
        TEI, batch=64, batchBytes="2MB", parallel=2, matryoshka=True, truncate=True, prompts={"query": "q: "}
    )
    assert found.pooling is not None
    assert (found.pooling.batch_bytes, found.pooling.prompts) == (2_000_000, {"query": "q: "})


@pytest.mark.parametrize(
    ("pooling", "says"),
    [
        ({"truncate": True}, "pooling.truncate: other can't be told to"),
        ({"batch": 0}, "batch"),
        ({"batchBytes": "10"}, "at least 1KiB"),
        ({"parallel": 65}, "parallel"),
        ({"prompts": {"query": ""}}, "prompts"),
        ({"prompts": {"a b": "x"}}, "prompts"),
        ({"prompts": {"a": "x\0"}}, "NUL"),
        ({"server": "ours"}, "server"),
    ],
)
def test_what_is_refused(pooling: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        recipe(**pooling)
