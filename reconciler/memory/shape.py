"""What each layer of a model keeps of the text it has read, from its config.json.

Pure. Four kinds of memory: full attention keeps a key and a value of every token, sliding attention only of the
last ones, latent attention (MLA) one small vector of every token, and recurrent layers (mamba, gated delta) one
state for each sequence, however long. What a config does not say, or says in words unknown here, goes into
`doubts`; unknown layers count as full attention, the dearest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from reconciler.memory.files import Json, language_config, numbers, table, text, whole, words

Kind = Literal["full", "sliding", "latent", "recurrent"]

FLOAT32: Final = 4
HALF: Final = 2
MOST_STRETCH: Final = 1024  # a larger factor of rope scaling is a mistake
WHISPER_SOUND: Final = 1500  # positions of 30 seconds of sound, which every decoder layer looks at
LAYER_WORDS: Final[dict[str, Kind | None]] = {
    "full_attention": "full",
    "attention": "full",
    "global_attention": "full",
    "hybrid": "full",
    "*": "full",
    "sliding_attention": "sliding",
    "chunked_attention": "sliding",
    "linear_attention": "recurrent",
    "mamba": "recurrent",
    "mamba2": "recurrent",
    "conv": "recurrent",
    "recurrent": "recurrent",
    "M": "recurrent",
    "moe": None,
    "mlp": None,
    "E": None,
    "-": None,
}
ENCODERS: Final = (
    "albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "eurobert", "modernbert",
    "mpnet", "new", "nomic_bert", "roberta", "siglip", "clip", "xlm-roberta", "xlm-roberta-xl",
)  # fmt: skip
COMPRESSED: Final = ("deepseek_v4",)  # keep several tokens in one entry: no arithmetic here yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """Layers of one kind. `heads` is how far tensor parallel can divide them (1: every rank holds the whole)."""

    kind: Kind
    count: int
    heads: int = 1
    values: int = 0  # numbers kept of one token in one layer and head (keys and values); not for recurrent layers
    window: int = 0  # tokens; only for sliding
    state: int = 0  # bytes a sequence and layer; only for recurrent
    words: str = ""  # the product, for people


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A model's memory of text, and the widths that decide about its scratch memory. `context` in tokens."""

    layers: tuple[Layers, ...] = ()
    known: bool = False  # whether the layers could be read at all
    encoder: bool = False  # reads a text in one go and keeps nothing
    context: int = 0  # the longest that it was made for; 0 if unknown
    hidden: int = 0
    widest: int = 0  # of the feed-forward part, for one token
    vocabulary: int = 0
    experts: bool = False
    sees: bool = False  # takes images, sound or video as well
    dtype_bytes: int = HALF
    doubts: tuple[str, ...] = ()


def read_shape(config: Json) -> Shape:
    """The shape that a config.json describes. Never raises: what is missing or malformed is said in `doubts`."""
    model = language_config(config)
    doubts: list[str] = []
    encoder = text(model, "model_type") in ENCODERS
    layers = () if encoder else tuple(_layers(model, doubts))
    experts = whole(model, "num_experts", "num_local_experts", "n_routed_experts", "num_moe_experts") or 0
    active = whole(model, "num_experts_per_tok", "num_experts_per_token", "top_k_experts", "experts_per_token") or 1
    narrow = whole(model, "moe_intermediate_size") or whole(model, "intermediate_size", "d_ff", "ffn_hidden_size") or 0
    wide = whole(model, "intermediate_size", "d_ff", "ffn_hidden_size") or narrow
    return Shape(
        layers=layers,
        known=encoder or bool(layers),
        encoder=encoder,
        context=_context(model),
        hidden=whole(model, "hidden_size", "d_model", "n_embd") or 0,
        widest=max(wide, narrow * active) if experts > 1 else wide,
        vocabulary=whole(model, "vocab_size") or 0,
        experts=experts > 1,
        sees=any(
            key in config for key in ("vision_config", "audio_config", "visual", "vision_tower", "thinker_config")
        ),
        dtype_bytes=FLOAT32 if "float32" in text(model, "dtype", "torch_dtype") else HALF,
        doubts=tuple(doubts),
    )


def _context(model: Json) -> int:
    """The longest text that the model was made for, stretched by its rope scaling as engines do."""
    keys = ("max_position_embeddings", "max_target_positions", "model_max_length", "seq_length", "n_positions")
    plain = whole(model, *keys, "max_seq_len", "max_sequence_length") or 0
    scaling = table(model, "rope_scaling", "rope_parameters")
    kind, factor = text(scaling, "rope_type", "type"), scaling.get("factor")
    stretches = kind in {"yarn", "linear", "dynamic"} and not text(model, "model_type").startswith("gemma3")
    if (
        not stretches
        or isinstance(factor, bool)
        or not isinstance(factor, (int, float))
        or not 1 <= factor <= MOST_STRETCH
    ):
        return plain
    original = whole(scaling, "original_max_position_embeddings") if kind == "yarn" else None
    return round((original or plain) * factor)


def _layers(model: Json, doubts: list[str]) -> Iterator[Layers]:
    """The layers, grouped by kind. Yields nothing where the config does not say how many there are."""
    if text(model, "model_type") in COMPRESSED:
        doubts.append(f"how much {text(model, 'model_type')} keeps of a token is not known here")
        return
    if text(model, "model_type") == "whisper":
        yield from _whisper(model, doubts)
        return
    kinds = _kinds(model, doubts)
    shared = min(whole(model, "num_kv_shared_layers") or 0, max(0, len(kinds) - 1))
    counts = Counter(kinds[: len(kinds) - shared])  # the last layers may read the memory of earlier ones
    latent = whole(model, "kv_lora_rank")
    if latent and counts["full"]:
        yield _latent(model, latent, counts.pop("full"))
    heads, size = _heads(model, doubts) if counts["full"] or counts["sliding"] else (0, 0)
    if counts["full"] and heads and size:
        wide = whole(model, "global_head_dim") or size
        few = whole(model, "num_global_key_value_heads") or heads
        yield _attention("full", counts["full"], few, wide)
    if counts["sliding"] and heads and size:
        window = whole(model, "sliding_window", "attention_chunk_size", "window_size") or 0
        yield _attention("sliding", counts["sliding"], heads, size, window)
    if counts["recurrent"]:
        yield from _recurrent(model, counts["recurrent"], doubts)


def _kinds(model: Json, doubts: list[str]) -> list[Kind]:
    """The kind of each layer that keeps anything, first to last."""
    listed = words(model, "layer_types") or words(model, "layers_block_type")
    listed = listed or tuple(text(model, "hybrid_override_pattern"))
    if listed:
        unknown = sorted({word for word in listed if word not in LAYER_WORDS})
        if unknown:
            doubts.append(f"layers of the kind {', '.join(unknown)[:80]} are not known here; counted as full attention")
        return [kind for word in listed if (kind := LAYER_WORDS.get(word, "full")) is not None]
    count = whole(model, "num_hidden_layers", "n_layer", "num_layers", "n_layers")
    if not count or count > 4096:  # noqa: PLR2004  # no model is near it: a larger number is a mistake
        doubts.append("config.json does not say how many layers the model has")
        return []
    return _by_rule(model, count)


def _by_rule(model: Json, count: int) -> list[Kind]:
    """Kinds from the older ways to say which layers differ: every so many, or a list of numbers."""
    listed = numbers(table(model, "linear_attn_config"), "full_attn_layers")
    if listed:
        return ["full" if at + 1 in listed else "recurrent" for at in range(count)]
    every = whole(model, "full_attention_interval", "attn_layer_period") or 0
    if every > 1:
        offset = whole(model, "attn_layer_offset")
        at_full = every - 1 if offset is None else offset
        return ["full" if at % every == at_full else "recurrent" for at in range(count)]
    if not whole(model, "sliding_window") or model.get("use_sliding_window") is False:
        return ["full"] * count
    pattern = whole(model, "sliding_window_pattern", "_sliding_window_pattern") or 0
    if not pattern and text(model, "model_type").startswith(("gemma2", "gpt_oss")):
        pattern = 2
    if not pattern and text(model, "model_type").startswith("gemma3"):
        pattern = 6
    return ["full" if pattern and at % pattern == pattern - 1 else "sliding" for at in range(count)]


def _heads(model: Json, doubts: list[str]) -> tuple[int, int]:
    """Key-value heads, and the numbers in one head. (0, 0) if the config does not say."""
    queries = whole(model, "num_attention_heads", "n_head", "num_heads") or 0
    heads = whole(model, "num_key_value_heads", "num_kv_heads", "multi_query_group_num") or queries
    size = whole(model, "head_dim", "kv_channels", "attention_head_dim") or 0
    if not size and queries:
        size = (whole(model, "hidden_size", "d_model", "n_embd") or 0) // queries
    if not heads or not size:
        doubts.append("config.json does not say how many key-value heads the model has, or how wide they are")
        return 0, 0
    return heads, size


def _attention(kind: Kind, count: int, heads: int, size: int, window: int = 0) -> Layers:
    said = f"{count} layers x 2 x {heads} heads x {size}"
    return Layers(kind=kind, count=count, heads=heads, values=2 * size, window=window, words=said)


def _latent(model: Json, rank: int, count: int) -> Layers:
    rope = whole(model, "qk_rope_head_dim") or 0
    index = whole(model, "index_head_dim") or 0  # sparse attention keeps a small key of every token besides
    said = f"{count} layers x ({rank} latent + {rope} rope{f' + {index} index' if index else ''})"
    return Layers(kind="latent", count=count, values=rank + rope + index, words=said)


def _whisper(model: Json, doubts: list[str]) -> Iterator[Layers]:
    """A decoder that looks at its own words and at the sound: both are kept."""
    count, heads, width = (whole(model, key) or 0 for key in ("decoder_layers", "decoder_attention_heads", "d_model"))
    if not count or not heads or not width:
        doubts.append("config.json does not say how many decoder layers the model has, or how wide they are")
        return
    yield _attention("full", count, heads, width // heads)
    yield _attention("sliding", count, heads, width // heads, WHISPER_SOUND)


def _recurrent(model: Json, count: int, doubts: list[str]) -> Iterator[Layers]:
    """The state of one sequence in one layer: a short convolution in 16 bits, the rest in 32."""
    found = _gated_delta(model) or _kimi_delta(model) or _mamba2(model) or _mamba1(model) or _convolution(model)
    if not found:
        doubts.append("config.json does not say how large the state of its recurrent layers is; counted as nothing")
        return
    state, heads = found
    said = f"{count} recurrent layers x {state / 2**20:.2f} MiB"
    yield Layers(kind="recurrent", count=count, heads=heads, state=state, words=said)


def _gated_delta(model: Json) -> tuple[int, int] | None:
    """Qwen3-Next and Qwen3.5: key and value heads with a matrix between them."""
    keys, values = whole(model, "linear_num_key_heads"), whole(model, "linear_num_value_heads")
    key_size, value_size = whole(model, "linear_key_head_dim"), whole(model, "linear_value_head_dim")
    if not keys or not values or not key_size or not value_size:
        return None
    kernel = whole(model, "linear_conv_kernel_dim") or 4
    convolution = (2 * keys * key_size + values * value_size) * (kernel - 1) * HALF
    return convolution + values * key_size * value_size * FLOAT32, keys


def _kimi_delta(model: Json) -> tuple[int, int] | None:
    linear = table(model, "linear_attn_config")
    heads, size = whole(linear, "num_heads"), whole(linear, "head_dim")
    if not heads or not size:
        return None
    kernel = whole(linear, "short_conv_kernel_size") or 4
    return 3 * heads * size * (kernel - 1) * HALF + heads * size * size * FLOAT32, heads


def _mamba2(model: Json) -> tuple[int, int] | None:
    heads = whole(model, "mamba_num_heads", "mamba_n_heads")
    size, state = whole(model, "mamba_head_dim", "mamba_d_head"), whole(model, "ssm_state_size", "mamba_d_state")
    if not heads or not size or not state:
        return None
    groups, kernel = whole(model, "n_groups", "mamba_n_groups") or 1, whole(model, "conv_kernel", "mamba_d_conv") or 4
    convolution = (heads * size + 2 * groups * state) * (kernel - 1) * HALF
    return convolution + heads * size * state * FLOAT32, heads


def _mamba1(model: Json) -> tuple[int, int] | None:
    hidden, state = whole(model, "hidden_size"), whole(model, "mamba_d_state", "state_size")
    if not hidden or not state:
        return None
    width = hidden * (whole(model, "mamba_expand", "expand") or 2)
    return width * ((whole(model, "mamba_d_conv", "conv_kernel") or 4) - 1) * HALF + width * state * FLOAT32, width


def _convolution(model: Json) -> tuple[int, int] | None:
    hidden, kernel = whole(model, "hidden_size"), whole(model, "conv_L_cache")
    return (hidden * kernel * HALF, hidden) if hidden and kernel else None
