"""Public models as their own config.json describes them: facts, written down by hand."""

from __future__ import annotations

from typing import Any

from reconciler.memory.files import ModelFiles

GIB = 2**30
CHAT = {"chat_template": "{{ messages }}"}


def model(repository: str, size: int, config: dict[str, Any], **more: Any) -> ModelFiles:
    """A model with a safetensors index of `size` bytes."""
    index = {"metadata": {"total_size": size}}
    return ModelFiles(repository=repository, config=config, index=index, tokenizer=CHAT, **more)


LLAMA_8B = model(
    "meta-llama/Llama-3.1-8B-Instruct",
    16_060_522_496,
    {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "vocab_size": 128256,
        "max_position_embeddings": 131072,
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192},
        "torch_dtype": "bfloat16",
    },
)
LLAMA_70B = model(
    "meta-llama/Llama-3.3-70B-Instruct",
    141_107_412_992,
    {
        **LLAMA_8B.config,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "hidden_size": 8192,
        "intermediate_size": 28672,
    },
)
QWEN3_8B = model(
    "Qwen/Qwen3-8B",
    16_381_470_720,
    {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "vocab_size": 151936,
        "max_position_embeddings": 40960,
        "use_sliding_window": False,
        "sliding_window": None,
        "torch_dtype": "bfloat16",
    },
)
QWEN3_30B_A3B = model(
    "Qwen/Qwen3-30B-A3B",
    61_064_245_248,
    {
        "architectures": ["Qwen3MoeForCausalLM"],
        "model_type": "qwen3_moe",
        "num_hidden_layers": 48,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "head_dim": 128,
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "moe_intermediate_size": 768,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "vocab_size": 151936,
        "max_position_embeddings": 40960,
        "torch_dtype": "bfloat16",
    },
)
QWEN3_CODER_NEXT_INT4 = model(
    "Intel/Qwen3-Coder-Next-int4-AutoRound",
    46 * GIB,
    {
        "architectures": ["Qwen3NextForCausalLM"],
        "model_type": "qwen3_next",
        "num_hidden_layers": 48,
        "full_attention_interval": 4,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "head_dim": 256,
        "hidden_size": 2048,
        "intermediate_size": 5120,
        "moe_intermediate_size": 512,
        "num_experts": 512,
        "num_experts_per_tok": 10,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 32,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_conv_kernel_dim": 4,
        "vocab_size": 151936,
        "max_position_embeddings": 262144,
        "torch_dtype": "bfloat16",
        "quantization_config": {"quant_method": "auto-round", "bits": 4},
    },
)
QWEN35_35B = model(
    "Qwen/Qwen3.5-35B-A3B-FP8",
    37 * GIB,
    {
        "architectures": ["Qwen3_5MoeForConditionalGeneration"],
        "model_type": "qwen3_5_moe",
        "vision_config": {"depth": 27, "hidden_size": 1152},
        "quantization_config": {"quant_method": "fp8"},
        "text_config": {
            "model_type": "qwen3_5_moe_text",
            "num_hidden_layers": 40,
            "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"] * 10,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
            "head_dim": 256,
            "hidden_size": 2048,
            "moe_intermediate_size": 512,
            "num_experts": 256,
            "num_experts_per_tok": 8,
            "linear_num_key_heads": 16,
            "linear_num_value_heads": 32,
            "linear_key_head_dim": 128,
            "linear_value_head_dim": 128,
            "linear_conv_kernel_dim": 4,
            "vocab_size": 248320,
            "max_position_embeddings": 262144,
        },
    },
)
GPT_OSS_120B = model(
    "openai/gpt-oss-120b",
    65_248_815_744,
    {
        "architectures": ["GptOssForCausalLM"],
        "model_type": "gpt_oss",
        "num_hidden_layers": 36,
        "layer_types": ["sliding_attention", "full_attention"] * 18,
        "sliding_window": 128,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "hidden_size": 2880,
        "intermediate_size": 2880,
        "num_local_experts": 128,
        "num_experts_per_tok": 4,
        "vocab_size": 201088,
        "max_position_embeddings": 131072,
        "rope_scaling": {"rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096},
        "quantization_config": {"quant_method": "mxfp4"},
    },
)
DEEPSEEK_V3 = model(
    "deepseek-ai/DeepSeek-V3",
    688_586_727_753,
    {
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "deepseek_v3",
        "num_hidden_layers": 61,
        "num_attention_heads": 128,
        "num_key_value_heads": 128,
        "kv_lora_rank": 512,
        "qk_rope_head_dim": 64,
        "hidden_size": 7168,
        "intermediate_size": 18432,
        "moe_intermediate_size": 2048,
        "n_routed_experts": 256,
        "num_experts_per_tok": 8,
        "vocab_size": 129280,
        "max_position_embeddings": 163840,
        "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096},
        "quantization_config": {"quant_method": "fp8"},
        "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV3Config"},
    },
)
GLM_47_FLASH_AWQ = model(
    "cyankiwi/GLM-4.7-Flash-AWQ-4bit",
    18 * GIB,
    {
        "architectures": ["Glm4MoeLiteForCausalLM"],
        "model_type": "glm4_moe_lite",
        "num_hidden_layers": 47,
        "num_attention_heads": 20,
        "num_key_value_heads": 20,
        "kv_lora_rank": 512,
        "qk_rope_head_dim": 64,
        "hidden_size": 2048,
        "intermediate_size": 10240,
        "moe_intermediate_size": 1536,
        "n_routed_experts": 64,
        "num_experts_per_tok": 4,
        "vocab_size": 154880,
        "max_position_embeddings": 202752,
        "quantization_config": {"quant_method": "compressed-tensors", "format": "pack-quantized"},
    },
)
GEMMA3_27B = model(
    "google/gemma-3-27b-it",
    54_864_813_280,
    {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "vision_config": {"model_type": "siglip_vision_model"},
        "text_config": {
            "model_type": "gemma3_text",
            "num_hidden_layers": 62,
            "num_attention_heads": 32,
            "num_key_value_heads": 16,
            "head_dim": 128,
            "hidden_size": 5376,
            "intermediate_size": 21504,
            "sliding_window": 1024,
            "sliding_window_pattern": 6,
            "vocab_size": 262208,
            "max_position_embeddings": 131072,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        },
    },
)
GEMMA4_26B = model(
    "google/gemma-4-26B-A4B-it",
    48 * GIB,
    {
        "architectures": ["Gemma4ForConditionalGeneration"],
        "model_type": "gemma4",
        "vision_config": {"model_type": "gemma4_vision"},
        "text_config": {
            "model_type": "gemma4_text",
            "num_hidden_layers": 30,
            "layer_types": [*["sliding_attention"] * 5, "full_attention"] * 5,
            "sliding_window": 1024,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 256,
            "global_head_dim": 512,
            "num_global_key_value_heads": 2,
            "hidden_size": 2816,
            "intermediate_size": 2112,
            "moe_intermediate_size": 704,
            "num_experts": 128,
            "top_k_experts": 8,
            "vocab_size": 262144,
            "max_position_embeddings": 262144,
        },
    },
)
NEMOTRON_NANO_30B = model(
    "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-NVFP4",
    18 * GIB,
    {
        "architectures": ["NemotronHForCausalLM"],
        "model_type": "nemotron_h",
        "num_hidden_layers": 52,
        "hybrid_override_pattern": "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME",
        "num_attention_heads": 32,
        "num_key_value_heads": 2,
        "head_dim": 128,
        "hidden_size": 2688,
        "intermediate_size": 1856,
        "moe_intermediate_size": 1856,
        "n_routed_experts": 128,
        "num_experts_per_tok": 6,
        "mamba_num_heads": 64,
        "mamba_head_dim": 64,
        "ssm_state_size": 128,
        "n_groups": 8,
        "conv_kernel": 4,
        "vocab_size": 131072,
        "max_position_embeddings": 262144,
        "auto_map": {"AutoConfig": "configuration_nemotron_h.NemotronHConfig"},
    },
    quantization={
        "producer": {"name": "modelopt"},
        "quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"},
    },
)
MINIMAX_M2_AWQ = model(
    "QuantTrio/MiniMax-M2-AWQ",
    121 * GIB,
    {
        "architectures": ["MiniMaxM2ForCausalLM"],
        "model_type": "minimax_m2",
        "num_hidden_layers": 62,
        "num_attention_heads": 48,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "hidden_size": 3072,
        "intermediate_size": 1536,
        "num_local_experts": 256,
        "num_experts_per_tok": 8,
        "vocab_size": 200064,
        "max_position_embeddings": 196608,
        "quantization_config": {"quant_method": "awq", "bits": 4},
    },
)
MISTRAL_7B_V01 = model(
    "mistralai/Mistral-7B-v0.1",
    14_483_464_192,
    {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "sliding_window": 4096,
        "vocab_size": 32000,
        "max_position_embeddings": 32768,
    },
)
BGE_M3 = ModelFiles(
    repository="BAAI/bge-m3",
    config={
        "architectures": ["XLMRobertaModel"],
        "model_type": "xlm-roberta",
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "vocab_size": 250002,
        "max_position_embeddings": 8194,
        "torch_dtype": "float32",
    },
    sizes={"pytorch_model.bin": 2_271_145_830, "modules.json": 349, "onnx/model.onnx": 724_923},
)
WHISPER_LARGE_V3 = model(
    "openai/whisper-large-v3",
    3_087_130_976,
    {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "decoder_layers": 32,
        "decoder_attention_heads": 20,
        "d_model": 1280,
        "encoder_layers": 32,
        "num_hidden_layers": 32,
        "max_target_positions": 448,
        "vocab_size": 51866,
        "torch_dtype": "float16",
    },
)
ALL = (
    LLAMA_8B, LLAMA_70B, QWEN3_8B, QWEN3_30B_A3B, QWEN3_CODER_NEXT_INT4, QWEN35_35B, GPT_OSS_120B, DEEPSEEK_V3,
    GLM_47_FLASH_AWQ, GEMMA3_27B, GEMMA4_26B, NEMOTRON_NANO_30B, MINIMAX_M2_AWQ, MISTRAL_7B_V01, BGE_M3,
    WHISPER_LARGE_V3,
)  # fmt: skip
