"""The metadata of a GGUF file in the words of a config.json, so that one piece of arithmetic serves both.

Pure. GGUF prefixes every key with the architecture: `qwen3.block_count`, `qwen3.attention.head_count_kv`.
"""

from __future__ import annotations

from typing import Any, Final

from reconciler.memory.files import Json, text, whole

KEYS: Final = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.sliding_window": "sliding_window",
    "attention.kv_lora_rank": "kv_lora_rank",
    "rope.dimension_count": "qk_rope_head_dim",
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "full_attention_interval": "full_attention_interval",
}


def config_of(metadata: Json) -> dict[str, Any]:
    """The keys of a config.json that this metadata answers; empty if it names no architecture."""
    name = text(metadata, "general.architecture")
    if not name:
        return {}
    found: dict[str, Any] = {"model_type": name.replace("-", "_")}
    for key, meaning in KEYS.items():
        value = whole(metadata, f"{name}.{key}")
        if value:
            found[meaning] = value
    return found
