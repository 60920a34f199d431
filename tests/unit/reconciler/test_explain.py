"""Logs as Docker and model servers really print them, and what a person is told of each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.explain import Explanation, explain
from reconciler.signatures import SIGNATURES, Weight, table

FAILURES = Path(__file__).parents[3] / "docs" / "FAILURES.md"

# vllm-project/vllm#20305, shortened in the middle.
MEMORY_TAKEN = """\
INFO 06-30 13:52:58 [api_server.py:1395] non-default args: {'gpu_memory_utilization': 0.95, 'max_model_len': 16384}
[multiproc_executor.py:492] ValueError: Free memory on device (31.44/47.38 GiB) on startup is less than desired GPU \
memory utilization (0.95, 45.01 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.
ERROR 06-30 13:53:19 [core.py:515] EngineCore failed to start.
ERROR 06-30 13:53:19 [core.py:515] Traceback (most recent call last):
ERROR 06-30 13:53:19 [core.py:515]   File "/usr/local/lib/python3.12/dist-packages/vllm/v1/engine/core.py", line 506
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""
# The same failure as the newer versions print it: the cause stands between two echoes.
CAUSE_AMONG_ECHOES = """\
(EngineCore_DP0 pid=1094) ERROR 09-28 15:47:24 [core.py:718] EngineCore failed to start.
(EngineCore_DP0 pid=1094) ERROR 09-28 15:47:24 [core.py:718] Traceback (most recent call last):
(EngineCore_DP0 pid=1094) ValueError: To serve at least one request with the models's max seq len (262144), (24.0 GiB \
KV cache is needed, which is larger than the available KV cache memory (3.18 GiB). Based on the available memory, the \
estimated maximum model length is 34736. Try increasing `gpu_memory_utilization` or decreasing `max_model_len`.
(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""
# EvolvingLMMs-Lab/open-r1-multimodal#7
NO_INTERFACE = """\
[rank0]: torch.distributed.DistBackendError: NCCL error in: /pytorch/torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp:2588
[rank0]: ncclInternalError: Internal check failed.
[rank0]: Last error:
[rank0]: Bootstrap : no socket interface found
"""
# ollama/ollama#16925
LLAMA = """\
print_info: file size   = 7.27 GiB (5.85 BPW)
llama_model_load: error loading model: unknown model architecture: 'mllama'
llama_model_load_from_file_impl: failed to load model
srv    load_model: failed to load model, '/models/blobs/sha256-9999d473417a'
srv    operator(): operator(): cleaning up before exit...
srv  llama_server: exiting due to model loading error
"""
# NVIDIA/TensorRT-LLM#5872
TENSORRT = """\
[07/08/2025-19:47:15] [TRT-LLM] [RANK 1] [E] Failed to initialize executor on rank 1: Executor creation failed due to \
insufficient GPU memory.

The following component could not be created: KV cache
Total GPU memory (GiB): 140.06
"""
# A pydantic error wraps the cause that its second line names.
WRAPPED = """\
pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
  Value error, The checkpoint you are trying to load has model type `gemma4` but Transformers does not recognize this \
architecture. This could be because of an issue with the checkpoint [type=value_error, input_value=ArgsKwargs((),
"""
# Clarifai/clarifai-python#444, NVIDIA/NemoClaw#3333
NIM = """\
INFO 11-19 13:21:02.337 ngc_injector.py:218] Preparing model workspace. This step might download additional files.
[11-19 13:21:06.914 ERROR  nim_sdk::hub::repo  rust/nim-sdk/src/hub/repo.rs:117] One or more errors fetching files:
[11-19 13:21:06.914 ERROR  nim_sdk::hub::repo  rust/nim-sdk/src/hub/repo.rs:119] error: Request error: Authentication Error
"""
GATED = """\
  File "/usr/local/lib/python3.12/dist-packages/transformers/utils/hub.py", line 543, in cached_files
OSError: You are trying to access a gated repo.
Make sure to have access to it at https://huggingface.co/meta-llama/Llama-3.2-1B-Instruct.
401 Client Error. (Request ID: Root=1-695139c1;379c2def)
"""
SHARED_MEMORY = """\
NCCL WARN Error while attaching to shared memory segment /dev/shm/nccl-gLpQ2D (size 192814336), error: No such file
RuntimeError: NCCL error: unhandled system error (run with NCCL_DEBUG=INFO for details)
"""
RAY = """\
[2026-04-20 17:24:52,119 W 1 1] rpc_client.h:153: Failed to connect to GCS at address 172.16.11.65:41000 within 5 seconds.
(EngineCore pid=9) ValueError: Free memory on device cuda:0 (19.77/22.05 GiB) on startup is less than desired GPU memory \
utilization (0.9, 19.84 GiB).
"""


@pytest.mark.parametrize(
    ("log", "reason", "terminal", "quoted"),
    [
        (
            MEMORY_TAKEN,
            "MemoryTakenAtStart",
            False,
            "([multiproc_executor.py:492] ValueError: Free memory on device (31.44",
        ),
        (CAUSE_AMONG_ECHOES, "ContextTooLarge", True, "((EngineCore_DP0 pid=1094) ValueError: To serve at least one"),
        (NO_INTERFACE, "NoNetworkInterface", True, "([rank0]: Bootstrap : no socket interface found)"),
        (
            LLAMA,
            "ModelNotSupported",
            True,
            "(llama_model_load: error loading model: unknown model architecture: 'mllama')",
        ),
        (TENSORRT, "OutOfMemory", False, "([07/08/2025-19:47:15] [TRT-LLM] [RANK 1] [E] Failed to initialize executor"),
        (
            WRAPPED,
            "ModelNotSupported",
            True,
            "(Value error, The checkpoint you are trying to load has model type `gemma4`",
        ),
        (
            NIM,
            "NgcKeyRefused",
            True,
            "([11-19 13:21:06.914 ERROR  nim_sdk::hub::repo  rust/nim-sdk/src/hub/repo.rs:119]",
        ),
        (GATED, "ModelGated", True, "(OSError: You are trying to access a gated repo.)"),
        (SHARED_MEMORY, "SharedMemoryTooSmall", True, "(NCCL WARN Error while attaching to shared memory segment"),
        (RAY, "MemoryTakenAtStart", False, "((EngineCore pid=9) ValueError: Free memory on device cuda:0 (19.77"),
    ],
)
def test_the_first_root_cause_is_told_and_what_follows_from_it_is_not(
    log: str, reason: str, terminal: bool, quoted: str
) -> None:
    why = explain(log, otherwise="its container exited with status 1 after 40 s", reason="ContainerExited")
    assert (why.reason, why.terminal) == (reason, terminal)
    assert quoted in why.message
    assert why.advice
    assert why.advice in why.message


# One more real wording for signatures that know several; the others are held by their own examples.
OTHER_WORDINGS = [
    ("RuntimeError: CUDA error: out of memory", "OutOfMemory", False),
    ("ggml_backend_cuda_buffer_type_alloc_buffer: allocating 12288.00 MiB on device 0: cudaMalloc failed: out of memory",
     "OutOfMemory", False),
    ("llama_model_load: error loading model: unable to allocate CUDA0 buffer", "OutOfMemory", False),
    ("NVRM: nvCheckOkFailedNoLog: Check failed: Out of memory [NV_ERR_NO_MEMORY] (0x00000051)", "OutOfMemory", False),
    ("ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.", "OutOfMemory", False),
    ("RuntimeError: DataLoader worker (pid 325) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared memory.", "SharedMemoryTooSmall", True),
    ("ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine.", "NoMemoryForCache", False),
    ("ValueError: The model's max seq len (32768) is larger than the maximum number of tokens that can be stored in KV cache (7344).", "ContextTooLarge", True),
    ("ptxas fatal   : Value 'sm_121a' is not defined for option 'gpu-name'", "NoKernelForGpu", True),
    ("RuntimeError: The NVIDIA driver on your system is too old (found version 12080).", "DriverTooOld", True),
    ("docker: Error response from daemon: unknown or invalid runtime name: nvidia.", "NoGpu", True),
    ("nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown", "NoGpu", True),
    ("RuntimeError: Failed to infer device type", "NoGpu", True),
    ("ValueError: Model architectures ['Qwen3NextForCausalLM'] are not supported for now. Supported architectures: dict_keys(['AquilaModel'])", "ModelNotSupported", True),
    ("ValueError: Unknown quantization method: mxfp4. Must be one of ['aqlm', 'awq'].", "QuantizationNotSupported", True),
    (r'vllm serve: error: argument --speculative-config: Value \{\"method\":\"qwen3_next_mtp\"\} cannot be converted to <function loads at 0xe67c60da6a20>.', "BadJsonFlag", True),
    ("vllm serve: error: argument --tool-call-parser: invalid choice: 'qwen9' (choose from 'hermes')", "BadFlag", True),
    ("error: invalid argument: --no-such-flag", "BadFlag", True),
    ('invalid argument "12x" for "--shm-size" flag: invalid size: \'12x\'', "BadFlag", True),
    ("main: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8080", "PortTaken", False),
    ("torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. port: 29501, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use", "PortTaken", False),
    ("RuntimeError: [enforce fail at /pytorch/third_party/gloo/gloo/transport/tcp/device.cc:84] ifa != nullptr. Unable to find address for: enp1s0f0np0", "NoNetworkInterface", True),
    ("ncclSocketInit: connecting to address  with family 59936 is neither AF_INET(2) nor AF_INET6(10)",
     "NoNetworkInterface", True),
    ("Exception: The current node timed out during startup. This could happen because some of the Ray processes failed to startup.", "RayUnreachable", False),
    ("ValueError: loading internvl2-8b/ requires you to execute the configuration file in that repo on your local machine.", "CodeNotTrusted", True),
    ("ValueError: As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template if the tokenizer does not define one.", "ChatTemplateMissing", True),
    ("llama_model_load: error loading model: tensor 'blk.31.ffn_down.weight' data is not within the file bounds, model is corrupted or incomplete", "WeightsDamaged", True),
    ("Repository Not Found for url: https://huggingface.co/api/models/Qwen/Qwen9/revision/main.", "ModelNotFound", True),
    ("OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the cached files.", "WeightsMissing", False),
    ("Could not match a profile in manifest", "NimNoProfile", True),
    ("OSError: [Errno 30] Read-only file system: '/root/.cache'", "FolderRefused", True),
    ("OSError: [Errno 28] No space left on device", "DiskFull", False),
    ("Unexpected error: EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause.",
     "EngineDied", False),
    ("ERROR 05-01 [multiproc_executor.py:154] Worker proc VllmWorker-1 died unexpectedly, shutting down executor.",
     "WorkerDied", False),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason", "terminal"), OTHER_WORDINGS)
def test_other_real_wordings(text: str, reason: str, terminal: bool) -> None:
    why = explain(text, otherwise="it failed")
    assert (why.reason, why.terminal) == (reason, terminal)


@pytest.mark.parametrize("signature", SIGNATURES, ids=lambda s: f"{s.reason}: {s.example[:40]}")
def test_each_signature_explains_its_own_example(signature: object) -> None:
    assert isinstance(signature, type(SIGNATURES[0]))
    why = explain(signature.example, otherwise="it failed")
    expected = f"it failed: {signature.message}. {signature.advice} ({signature.example[:300]})"
    assert why == Explanation(signature.reason, expected, signature.terminal, signature.advice)


def test_the_signatures_are_many_and_worded_alike() -> None:
    assert len({s.reason for s in SIGNATURES}) >= 40
    for signature in SIGNATURES:
        assert re.fullmatch(r"[A-Z][a-zA-Z]+", signature.reason)
        assert signature.advice.endswith((".", "?"))
        assert not signature.message.endswith(".")
        assert signature.weight is not Weight.ECHO or not signature.terminal


@given(st.lists(st.sampled_from(SIGNATURES), min_size=1, max_size=6))
def test_law_an_echo_never_hides_a_cause_and_the_first_cause_wins(chosen: list[object]) -> None:
    picked = [s for s in SIGNATURES for _ in range(chosen.count(s))]  # narrows the type
    order = sorted(picked, key=chosen.index)
    why = explain("\n".join(s.example for s in order), otherwise="it failed")
    best = min(s.weight for s in order)
    assert why.message == explain(next(s.example for s in order if s.weight is best), otherwise="it failed").message


@given(st.text(max_size=400))
def test_law_any_text_is_explained_in_one_line_of_bounded_length(text: str) -> None:
    why = explain(text, otherwise="it failed", reason="ContainerExited")
    assert why.message.startswith("it failed")
    assert len(why.message) < 1000
    assert len(why.message.splitlines()) == 1


def test_information_is_no_failure() -> None:
    text = "INFO 04-27 14:16:54 [utils.py:1] retry after: address already in use\nwhat nobody knows"
    assert explain(text, otherwise="it failed") == Explanation("CommandFailed", "it failed (what nobody knows)", False)
    assert explain("", otherwise="it failed") == Explanation("CommandFailed", "it failed", False)


def test_colours_do_not_hide_a_cause() -> None:
    text = "\x1b[1;36m(EngineCore pid=9)\x1b[0;0m torch.OutOfMemoryError: \x1b[31mCUDA out of memory.\x1b[0m"
    assert explain(text, otherwise="it failed").reason == "OutOfMemory"


def test_the_page_for_people_holds_the_table() -> None:
    written = FAILURES.read_text(encoding="utf-8")
    assert written.endswith(table()), "run `make schema`"


def test_make_schema_writes_the_page_too() -> None:
    """Symptom: `make schema` was said to bring the generated pages up to date, and this one stayed as it was."""
    makefile = (FAILURES.parents[1] / "Makefile").read_text(encoding="utf-8")
    recipe = makefile.partition("\nschema:")[2].partition("\n\n")[0]
    assert "\t.venv/bin/python -m reconciler.signatures.page" in recipe


# vLLM 0.32 without network: what a file of its own says is no message. Shortened in the middle.
TRACED = """\
(APIServer pid=1) Traceback (most recent call last):
(APIServer pid=1)   File "/venv/vllm/transformers_utils/repo_utils.py", line 301, in get_model_path
(APIServer pid=1)     return hf_api().snapshot_download(
(APIServer pid=1)            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
(APIServer pid=1)   File "<string>", line 260, in __init__
(APIServer pid=1)   File "/venv/huggingface_hub/_snapshot_download.py", line 382, in snapshot_download
(APIServer pid=1)     raise LocalEntryNotFoundError(
(APIServer pid=1) huggingface_hub.errors.LocalEntryNotFoundError: Cannot find an appropriate cached snapshot folder
"""
# vLLM 0.32 for CPU, asked for Ray: no known text, between two echoes. Shortened in the middle.
UNKNOWN_AMONG_ECHOES = """\
(EngineCore pid=9) ERROR 11-23 02:44:05 [core.py:1510] EngineCore failed to start.
(EngineCore pid=9) ERROR 11-23 02:44:05 [core.py:1510] Traceback (most recent call last):
(EngineCore pid=9) ERROR 11-23 02:44:05 [core.py:1510]   File "/venv/ray_utils.py", line 574, in initialize_ray_cluster
(EngineCore pid=9) ERROR 11-23 02:44:05 [core.py:1510]     raise ValueError(
(EngineCore pid=9) ERROR 11-23 02:44:05 [core.py:1510] ValueError: current platform cpu does not support ray.
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""


def test_a_tracebacks_source_lines_are_not_quoted_in_place_of_its_error() -> None:
    why = explain(TRACED, otherwise="it exited")
    assert why.reason == "WeightsMissing"
    assert why.message.endswith(
        "((APIServer pid=1) huggingface_hub.errors.LocalEntryNotFoundError: Cannot find an appropriate cached snapshot folder)"
    )


def test_beside_an_echo_the_first_error_is_shown_though_nobody_knows_it() -> None:
    why = explain(UNKNOWN_AMONG_ECHOES, otherwise="it exited")
    assert (why.reason, why.terminal) == ("EngineDied", False)
    assert why.message.endswith("[core.py:1510] ValueError: current platform cpu does not support ray.)")


def test_where_nothing_but_echoes_was_said_the_first_is_shown() -> None:
    why = explain(
        "EngineCore failed to start.\nRuntimeError: Engine core initialization failed.", otherwise="it exited"
    )
    assert why.message.endswith("(EngineCore failed to start.)")


def test_a_long_line_without_spaces_does_not_stop_everything_while_it_is_read() -> None:
    """A server that prints a JSON schema says "minimum" often; this took hours, on the loop of all Sparks."""
    schema = '"minimum":1,"type":"int",' * 800
    told = explain(f"{schema}\nerror: Request error: Authentication Error", otherwise="it ended")
    assert told.reason == "NgcKeyRefused"


def test_a_line_of_a_megabyte_is_read_at_its_ends() -> None:
    told = explain(
        "NGC_API_KEY " * 90_000 + "RuntimeError: error: request error: authentication error", otherwise="it ended"
    )
    assert told.reason == "NgcKeyRefused"
    assert len(told.message) < 1000


def test_a_banner_on_the_driver_does_not_make_an_end_final_that_had_another_cause() -> None:
    """The image prints it on every start, and starts all the same: a network that comes back must help."""
    log = (
        "ERROR: This container was built for NVIDIA Driver Release 590.48 or later, but\n"
        "       version 580.95.05 was detected and compatibility mode is UNAVAILABLE.\n"
        "requests.exceptions.ConnectionError: Max retries exceeded with url: /api/models/a/b\n"
    )
    assert not explain(log, otherwise="it ended").terminal
    certain = f"{log}CUDA error: CUDA driver version is insufficient for CUDA runtime version"
    assert explain(certain, otherwise="it ended").terminal


@given(
    st.lists(st.sampled_from([s.example for s in SIGNATURES] + ["listening on 9000", ""]), min_size=1),
    st.integers(2, 4),
)
@settings(deadline=None)
def test_a_log_that_says_the_same_again_and_again_means_what_it_means_once(texts: list[str], times: int) -> None:
    once = "\n".join(texts)
    assert explain("\n".join([once] * times), otherwise="it ended") == explain(once, otherwise="it ended")
