"""Which parts of a request are people's words, which are the protocol's, and what can't be told and is refused.

Everything is taken for words and masked, unless a table (`chat`, `responses`, `messages`) says that at this very place
stands one of the protocol's own, and it looks like one. So a field that nobody here has heard of hides nothing.
"""

from __future__ import annotations

from typing import Final

from api.proxies.dialects import names
from api.proxies.redaction.fields.chat import CHAT, COMPLETION, EMBEDDING, RERANK
from api.proxies.redaction.fields.messages import MESSAGE
from api.proxies.redaction.fields.responses import RESPONSE
from api.proxies.redaction.fields.walk import Rule

RERANKS: Final = "/v1/rerank"
TABLES: Final[dict[str, Rule]] = {
    names.CHAT: CHAT,
    names.COMPLETIONS: COMPLETION,
    names.EMBEDDINGS: EMBEDDING,
    RERANKS: RERANK,
    names.RESPONSES: RESPONSE,
    names.MESSAGES: MESSAGE,
    names.COUNT_TOKENS: MESSAGE,
}
"""By path: what may be asked through the gateway."""
