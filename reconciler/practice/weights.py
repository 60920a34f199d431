"""What lies on a practice Spark's disk: models as downloads leave them, whole and half, GGUF, and a NIM's cache.

Sizes are those of the real things; the weights themselves are only claimed, and nothing reads them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from reconciler.practice.files import Files

LONG_AGO: Final = 1_760_000_000.0  # Unix seconds: no download goes on
HUB: Final = "/.cache/huggingface/hub"
NIM_HUB: Final = "/.cache/nim/ngc/hub"
MIB: Final = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """One repository. `present` of its shards are there; the next one is half-way if any is missing."""

    repo: str
    commit: str
    config: dict[str, Any]
    shards: int = 1
    shard_size: int = 4000 * MIB
    present: int | None = None


QWEN: Final = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "torch_dtype": "bfloat16"}
QWEN_8B: Final = Download(
    repo="Qwen/Qwen3-8B",
    commit="b968826d9c46dd6066d109eabc6255188de91218",
    config={
        **QWEN,
        "hidden_size": 4096,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 40960,
        "vocab_size": 151936,
    },
    shards=5,
    shard_size=3276382412,
)
GPT_OSS: Final = Download(
    repo="openai/gpt-oss-20b",
    commit="6cee5e81ee83917806bbde320786a8fb61efebee",
    config={
        "architectures": ["GptOssForCausalLM"],
        "model_type": "gpt_oss",
        "hidden_size": 2880,
        "num_hidden_layers": 24,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "max_position_embeddings": 131072,
        "vocab_size": 201088,
        "quantization_config": {"quant_method": "mxfp4"},
    },
    shards=3,
    shard_size=4586000000,
    present=2,
)
PHI_4: Final = Download(
    repo="microsoft/phi-4",
    commit="187ef0342fff0eb3333be9f00389385e95ef0b61",
    config={
        "architectures": ["Phi3ForCausalLM"],
        "model_type": "phi3",
        "hidden_size": 5120,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
        "num_key_value_heads": 10,
        "max_position_embeddings": 16384,
        "vocab_size": 100352,
        "torch_dtype": "bfloat16",
    },
    shards=6,
    shard_size=4886529000,
)
BGE_M3: Final = Download(
    repo="BAAI/bge-m3",
    commit="5617a9f61b028005a4858fdac845db406aefb181",
    config={"architectures": ["XLMRobertaModel"], "model_type": "xlm-roberta", "hidden_size": 1024},
    shard_size=2271064456,
)
NIM: Final = "nim/meta/llama-3.1-8b-instruct"


def stock(files: Files, number: int = 1) -> None:
    """Fill a Spark's disk. The first has most; the others hold a part of it, so that the Sparks differ."""
    for download in (QWEN_8B, GPT_OSS, PHI_4) if number == 1 else (QWEN_8B, BGE_M3):
        _put(files, download)
    if number == 1:
        _put_nim(files)
        folder = f"{files.home}/models"
        files.make_folder(folder)
        _claim(files, f"{folder}/Qwen3-4B-Instruct-2507-Q4_K_M.gguf", 2497281120)


def _put(files: Files, download: Download) -> None:
    folder = f"{files.home}{HUB}/models--{download.repo.replace('/', '--')}"
    files.make_folder(f"{folder}/refs")
    files.make_folder(f"{folder}/blobs")
    files.make_folder(f"{folder}/snapshots/{download.commit}")
    files.content[f"{folder}/refs/main"] = download.commit.encode()
    names = [f"model-{at:05}-of-{download.shards:05}.safetensors" for at in range(1, download.shards + 1)]
    small: dict[str, object] = {
        "config.json": download.config,
        "tokenizer_config.json": {"chat_template": "{{ messages }}", "model_max_length": 40960},
    }
    if download.shards == 1:
        names = ["model.safetensors"]
    else:
        weights = {f"model.layers.{at}.weight": name for at, name in enumerate(names)}
        total = {"total_size": download.shards * download.shard_size}
        small["model.safetensors.index.json"] = {"metadata": total, "weight_map": weights}
    for name, value in small.items():
        blob = hashlib.sha1(f"{download.repo}/{name}".encode(), usedforsecurity=False).hexdigest()
        _link(files, folder, download.commit, name, blob)
        files.content[f"{folder}/blobs/{blob}"] = json.dumps(value, indent=2).encode()
    for at, name in enumerate(names):
        blob = hashlib.sha256(f"{download.repo}/{name}".encode()).hexdigest()
        if download.present is None or at < download.present:
            _link(files, folder, download.commit, name, blob)
            _claim(files, f"{folder}/blobs/{blob}", download.shard_size)
        elif at == download.present:
            _claim(files, f"{folder}/blobs/{blob}.incomplete", download.shard_size // 2)


def _put_nim(files: Files) -> None:
    folder = f"{files.home}{NIM_HUB}/models--{NIM.replace('/', '--')}"
    profile = f"{folder}/snapshots/hf-8c22764-nim1.3b"
    files.make_folder(f"{folder}/blobs")
    files.make_folder(profile)
    _claim(files, f"{folder}/blobs/model", 16060556288)
    files.links[f"{profile}/model.safetensors"] = "../../blobs/model"


def _link(files: Files, folder: str, commit: str, name: str, blob: str) -> None:
    files.links[f"{folder}/snapshots/{commit}/{name}"] = f"../../blobs/{blob}"


def _claim(files: Files, path: str, size: int) -> None:
    """A file of this size that holds nothing."""
    files.content[path] = b""
    files.sizes[path] = size
    files.changed[path] = LONG_AGO
