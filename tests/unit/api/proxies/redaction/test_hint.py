"""One line for the model, where its dialect has a place for it."""

from __future__ import annotations

from typing import Any

import pytest

from api.proxies.redaction.hint import HINT, with_hint

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
USER = {"role": "user", "content": "hi"}
PART = {"type": "text", "text": HINT}


@pytest.mark.parametrize(
    ("path", "body", "appended", "inserted"),
    [
        (CHAT, {"messages": [USER]}, None, {"messages": [{"role": "system", "content": HINT}, USER]}),
        *(
            (CHAT, {"messages": [{"role": role, "content": "be kind"}, USER]},
             {"messages": [{"role": role, "content": f"be kind\n\n{HINT}"}, USER]}, ...)
            for role in ("system", "developer")
        ),
        (CHAT, {"messages": [{"role": "system", "content": [{"type": "text", "text": "a"}]}]},
         {"messages": [{"role": "system", "content": [{"type": "text", "text": "a"}, PART]}]}, ...),
        (RESPONSES, {"input": "hi"}, None, {"input": "hi", "instructions": HINT}),
        (RESPONSES, {"instructions": "be kind"}, {"instructions": f"be kind\n\n{HINT}"}, ...),
        (MESSAGES, {"messages": [USER]}, None, {"messages": [USER], "system": HINT}),
        (MESSAGES, {"system": "be kind"}, {"system": f"be kind\n\n{HINT}"}, ...),
        (MESSAGES, {"system": [{"type": "text", "text": "a"}]}, {"system": [{"type": "text", "text": "a"}, PART]}, ...),
        ("/v1/completions", {"prompt": "hi"}, None, None),
        (CHAT, {"messages": "none"}, None, None),
    ],
)  # fmt: skip
def test_where_it_stands(path: str, body: Any, appended: Any, inserted: Any) -> None:
    """None: as it was; ...: as appended."""
    assert with_hint(path, body, "never") == body
    assert with_hint(path, body, "append") == (appended or body)
    assert with_hint(path, body, "insert") == ((appended if inserted is ... else inserted) or body)
