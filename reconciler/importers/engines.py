"""What the importers know of each engine's command line.

Names and abbreviations come from the engines' own help (vLLM `serve`, SGLang `launch_server`, `llama-server`,
`trtllm-serve`); which keys of a recipe without a command become which flags, from what sparkrun 0.4.2 does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from reconciler.importers.accounts import named
from reconciler.importers.flags import Grammar

VLLM: Final = Grammar(
    short={
        "-tp": "tensor-parallel-size",
        "-pp": "pipeline-parallel-size",
        "-dp": "data-parallel-size",
        "-dpn": "data-parallel-rank",
        "-dpr": "data-parallel-start-rank",
        "-dpl": "data-parallel-size-local",
        "-dpa": "data-parallel-address",
        "-dpp": "data-parallel-rpc-port",
        "-dpb": "data-parallel-backend",
        "-dph": "data-parallel-hybrid-lb",
        "-dpe": "data-parallel-external-lb",
        "-ep": "enable-expert-parallel",
        "-dcp": "decode-context-parallel-size",
        "-pcp": "prefill-context-parallel-size",
        "-n": "nnodes",
        "-r": "node-rank",
        "-q": "quantization",
        "-O": "optimization-level",
        "-cc": "compilation-config",
        "-ac": "attention-config",
        "-sc": "speculative-config",
        "-asc": "api-server-count",
    },
    bare=frozenset(
        {
            "trust-remote-code",
            "enforce-eager",
            "enable-prefix-caching",
            "no-enable-prefix-caching",
            "enable-auto-tool-choice",
            "enable-chunked-prefill",
            "no-enable-chunked-prefill",
            "async-scheduling",
            "no-async-scheduling",
            "enable-expert-parallel",
            "enable-log-requests",
            "no-enable-log-requests",
            "disable-log-requests",
            "disable-log-stats",
            "disable-custom-all-reduce",
            "enable-sleep-mode",
            "enable-lora",
            "headless",
            "language-model-only",
        }
    ),
    each=frozenset({"middleware"}),
)
SGLANG: Final = Grammar(
    short={
        "--tp": "tp-size",
        "--tensor-parallel-size": "tp-size",
        "--pp": "pp-size",
        "--pipeline-parallel-size": "pp-size",
        "--dp": "dp-size",
        "--data-parallel-size": "dp-size",
        "--ep": "ep-size",
        "--expert-parallel-size": "ep-size",
        "--model": "model-path",
        "--tokenizer": "tokenizer-path",
    },
)
LLAMACPP: Final = Grammar(
    short={
        "-m": "model",
        "-mu": "model-url",
        "-hf": "hf-repo",
        "-hfr": "hf-repo",
        "--hf": "hf-repo",
        "-hff": "hf-file",
        "-hft": "hf-token",
        "-hfd": "hf-repo-draft",
        "-hfrd": "hf-repo-draft",
        "-md": "model-draft",
        "-a": "alias",
        "-c": "ctx-size",
        "-n": "n-predict",
        "--predict": "n-predict",
        "-b": "batch-size",
        "-ub": "ubatch-size",
        "-t": "threads",
        "-tb": "threads-batch",
        "-np": "parallel",
        "-cb": "cont-batching",
        "-nocb": "no-cont-batching",
        "-ngl": "n-gpu-layers",
        "--gpu-layers": "n-gpu-layers",
        "-ngld": "n-gpu-layers-draft",
        "--gpu-layers-draft": "n-gpu-layers-draft",
        "-fa": "flash-attn",
        "-ctk": "cache-type-k",
        "-ctv": "cache-type-v",
        "-ctkd": "cache-type-k-draft",
        "-ctvd": "cache-type-v-draft",
        "-sm": "split-mode",
        "-ts": "tensor-split",
        "-mg": "main-gpu",
        "-dev": "device",
        "-devd": "device-draft",
        "-ot": "override-tensor",
        "-cmoe": "cpu-moe",
        "-ncmoe": "n-cpu-moe",
        "-nkvo": "no-kv-offload",
        "-mm": "mmproj",
        "-mmu": "mmproj-url",
        "-s": "seed",
        "-j": "json-schema",
        "-l": "logit-bias",
        "-e": "escape",
        "-to": "timeout",
        "-sps": "slot-prompt-similarity",
        "-v": "verbose",
        "-lv": "verbosity",
        "-cd": "ctx-size-draft",
        "--draft": "draft-max",
        "--draft-n": "draft-max",
        "--embeddings": "embedding",
        "--rerank": "reranking",
    },
    each=frozenset({"lora", "lora-scaled", "control-vector", "override-tensor", "override-kv", "logit-bias"}),
    repeats=True,
)
TRTLLM: Final = Grammar(short={}, bare=frozenset({"trust-remote-code"}), repeats=True)
GRAMMARS: Final[Mapping[str, Grammar]] = {"vllm": VLLM, "sglang": SGLANG, "llamacpp": LLAMACPP, "trtllm": TRTLLM}

RENDEZVOUS: Final = frozenset(
    {
        "nnodes",
        "node-rank",
        "master-addr",
        "master-port",
        "headless",
        "data-parallel-size-local",
        "data-parallel-start-rank",
        "data-parallel-address",
        "data-parallel-rpc-port",
        "data-parallel-rank",
        "dist-init-addr",
        "nccl-init-addr",
        "rpc",
    }
)
KEY_ENV: Final[Mapping[str, str]] = {
    "vllm": "VLLM_API_KEY",
    "sglang": "SGLANG_API_KEY",
    "llamacpp": "LLAMA_API_KEY",
    "trtllm": "",
    "container": "",
}

SPARKRUN_RUNTIMES: Final[Mapping[str, str]] = {
    "vllm": "vllm",
    "vllm-ray": "vllm",
    "vllm-distributed": "vllm",
    "eugr-vllm": "vllm",
    "eugr-vllm-ray": "vllm",
    "sglang": "sglang",
    "llama-cpp": "llamacpp",
    "llama_cpp": "llamacpp",
    "llamacpp": "llamacpp",
    "trtllm": "trtllm",
}
_SAME_NAME_VLLM: Final = named(
    """
gpu_memory_utilization max_model_len max_num_batched_tokens max_num_seqs served_model_name dtype quantization
enforce_eager enable_prefix_caching trust_remote_code distributed_executor_backend kv_cache_dtype otlp_traces_endpoint
api_key attention_backend load_format reasoning_parser tool_call_parser chat_template speculative_config tokenizer_mode
mm_encoder_tp_mode block_size seed enable_auto_tool_choice enable_chunked_prefill async_scheduling generation_config
hf_overrides compilation_config attention_config model_loader_extra_config default_chat_template_kwargs
limit_mm_per_prompt mm_processor_cache_gb kv_cache_memory_bytes max_cudagraph_capture_size
long_prefill_token_threshold mamba_cache_mode mamba_cache_dtype mamba_ssm_cache_dtype reasoning_parser_plugin
media_io_kwargs video_pruning_rate allowed_local_media_path prefix_match_unit enable_mamba_shared_prefix_checkpoint
safetensors_load_strategy moe_backend enable_prompt_tokens_details enable_force_include_usage
enable_request_id_headers enable_flashinfer_autotune linear_backend gdn_prefill_backend gdn_decode_kernel
kda_prefill_backend mamba_backend recurrent_checkpoint_policy prefix_cache_retention_interval engram_config
dcp_comm_backend prefill_policy prefill_compute_share prefill_compute_half_life prefill_schedule_interval
max_parallel_prefills decode_refill_target scheduler_reserve_full_isl jit_monitor_mode disable_custom_all_reduce
port host
"""
)
_SAME_NAME_SGLANG: Final = named(
    """
port host enable_dp_attention served_model_name dtype quantization trust_remote_code kv_cache_dtype tokenizer_path
api_key attention_backend load_format revision model_type max_total_tokens random_seed reasoning_parser
tool_call_parser mm_feature_transport speculative_algorithm speculative_draft_model_path
speculative_draft_model_revision speculative_num_steps speculative_eagle_topk speculative_num_draft_tokens
speculative_dspark_block_size cuda_graph_bs cuda_graph_max_bs cuda_graph_max_bs_decode torch_compile_max_bs
num_continuous_decode_steps fp8_gemm_backend fp4_gemm_backend moe_runner_backend mamba_ssm_dtype
mamba_full_memory_ratio enable_torch_compile disable_radix_cache disable_prefill_cuda_graph
enable_decoder_swa_bounded_replay
"""
)
_SAME_NAME_LLAMACPP: Final = named(
    """
port host ctx_size n_gpu_layers parallel threads chat_template reasoning_format split_mode api_key top_p top_k min_p
presence_penalty flash_attn cont_batching no_webui jinja
"""
)


def _dashed(names: tuple[str, ...]) -> dict[str, str]:
    return {name: f"--{name.replace('_', '-')}" for name in names}


STRUCTURED: Final[Mapping[str, Mapping[str, str]]] = {
    "vllm": _dashed(_SAME_NAME_VLLM)
    | {"tensor_parallel": "-tp", "pipeline_parallel": "-pp", "data_parallel": "--data-parallel-size"},
    "sglang": _dashed(_SAME_NAME_SGLANG)
    | {
        "tensor_parallel": "--tp-size",
        "pipeline_parallel": "--pp-size",
        "expert_parallel": "--ep-size",
        "data_parallel": "--dp-size",
        "gpu_memory_utilization": "--mem-fraction-static",
        "max_model_len": "--context-length",
        "max_num_seqs": "--max-running-requests",
        "chunked_prefill": "--chunked-prefill-size",
    },
    "llamacpp": _dashed(_SAME_NAME_LLAMACPP)
    | {"served_model_name": "--alias", "temperature": "--temp", "max_model_len": "--ctx-size"},
    "trtllm": {
        "port": "--port",
        "host": "--host",
        "tensor_parallel": "--tp_size",
        "pipeline_parallel": "--pp_size",
        "expert_parallel": "--ep_size",
        "max_num_tokens": "--max_num_tokens",
        "max_batch_size": "--max_batch_size",
        "max_model_len": "--max_seq_len",
        "backend": "--backend",
        "tokenizer": "--tokenizer",
        "kv_cache_free_gpu_memory_fraction": "--kv_cache_free_gpu_memory_fraction",
        "trust_remote_code": "--trust_remote_code",
    },
}
SWITCHES: Final = frozenset(
    named(
        """
async_scheduling disable_custom_all_reduce enable_auto_tool_choice enable_chunked_prefill enable_flashinfer_autotune
enable_force_include_usage enable_mamba_shared_prefix_checkpoint enable_prefix_caching enable_prompt_tokens_details
enable_request_id_headers enforce_eager scheduler_reserve_full_isl trust_remote_code disable_prefill_cuda_graph
disable_radix_cache enable_decoder_swa_bounded_replay enable_dp_attention enable_torch_compile cont_batching no_webui
jinja
"""
    )
)
NEGATED: Final = frozenset(
    named(
        """
async_scheduling enable_chunked_prefill enable_flashinfer_autotune enable_prefix_caching scheduler_reserve_full_isl
"""
    )
)
