"""SGLang, TensorRT-LLM, llama.cpp, NIM and plain containers on one Spark."""

from __future__ import annotations

import shlex

import pytest
import yaml

from reconciler.engines import launch, scripts, served_name
from tests.unit.reconciler.engines.launched import ALONE, line, recipe, shown, words

SGLANG = "engine: sglang, model: o/n, image: 'lmsysorg/sglang:latest-cu130'"
TRTLLM = "engine: trtllm, model: nvidia/Q-FP4, image: 'nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc13'"
LLAMA = "engine: llamacpp, model: ggml-org/gpt-oss-20b-GGUF, image: 'ghcr.io/ggml-org/llama.cpp:server-cuda'"
NIM = "engine: nim, image: 'nvcr.io/nim/meta/llama-3.1-8b-instruct-dgx-spark:latest'"

COMMON = "docker run --detach --name sparkkeep-m --restart no --pull never --stop-timeout 30 --network host"
SERVER = f"{COMMON} --ipc host --gpus all --shm-size 17179869184 --ulimit memlock=-1 --ulimit stack=67108864"
HF = (
    " --env HF_HOME=/root/.cache/huggingface"
    ' --mount type=bind,source="$HOME"/.cache/huggingface,target=/root/.cache/huggingface'
)
KERNELS = (
    ' --mount type=bind,source="$HOME"/.cache/flashinfer,target=/root/.cache/flashinfer'
    ' --mount type=bind,source="$HOME"/.triton/cache,target=/root/.triton/cache'
)


def test_sglang() -> None:
    made = launch(
        recipe(f"{SGLANG}, revision: main, flags: {{mem-fraction-static: 0.75, trust-remote-code: true}}"), ALONE
    )
    told = line(made)
    assert told == (
        f"{SERVER}{HF}{KERNELS} lmsysorg/sglang:latest-cu130 python3 -m sglang.launch_server --host 0.0.0.0"
        " --mem-fraction-static 0.75 --model-path o/n --port 30000 --revision main --served-model-name m"
        " --trust-remote-code"
    )
    assert shlex.split(told)[-1] == "--trust-remote-code"
    assert (made.probe.path, made.probe.port, made.probe.model) == ("/health", 30000, "m")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SGLANG, ["python3", "-m", "sglang.launch_server"]),
        (SGLANG.replace("lmsysorg", "nvcr.io/nvidia"), ["python3", "-m", "sglang.launch_server"]),
        (
            SGLANG.replace("lmsysorg/", "scitrera/dgx-spark-"),
            ["--entrypoint", "python3", "|", "-m", "sglang.launch_server"],
        ),
        (
            f"{SGLANG}, entrypoint: [python, -m, sglang.launch_server]",
            ["--entrypoint", "python -m sglang.launch_server", "|"],
        ),
    ],
)
def test_images_of_sglang(text: str, expected: list[str]) -> None:
    found = words(text)
    assert found[: len(expected)] == expected
    assert found[len(expected)] == "--host"


def test_trtllm() -> None:
    options = "extra_llm_api_options: {kv_cache_config: {free_gpu_memory_fraction: 0.9}, print_iter_log: false}"
    made = launch(recipe(f"{TRTLLM}, port: 8355, flags: {{max_batch_size: 64, {options}}}"), ALONE)
    told = line(made)
    yaml_line = "{kv_cache_config: {free_gpu_memory_fraction: 0.9}, print_iter_log: false}"
    assert told == (
        f"{SERVER}{HF}{KERNELS} nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc13 sh -c {shlex.quote(scripts.OPTIONS)}"
        f" sparkkeep-options '{yaml_line}' /tmp/sparkkeep-options.yaml trtllm-serve nvidia/Q-FP4"
        " --extra_llm_api_options /tmp/sparkkeep-options.yaml --host 0.0.0.0 --max_batch_size 64 --port 8355"
    )
    assert yaml_line in shlex.split(told)
    assert made.probe.model == "nvidia/Q-FP4"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", ["trtllm-serve", "nvidia/Q-FP4", "--host", "0.0.0.0", "--port", "8000"]),
        (
            "config: /mnt/o.yaml",
            ["trtllm-serve", "nvidia/Q-FP4", "--config", "/mnt/o.yaml", "--host", "0.0.0.0", "--port", "8000"],
        ),
        (
            "custom_module_dirs: [/a, /b]",
            [
                *("trtllm-serve", "nvidia/Q-FP4", "--custom_module_dirs", "/a", "--custom_module_dirs", "/b"),
                *("--host", "0.0.0.0", "--port", "8000"),
            ],
        ),
    ],
)
def test_flags_of_trtllm(flags: str, expected: list[str]) -> None:
    assert words(f"{TRTLLM}, flags: {{{flags}}}") == expected


def test_options_keep_their_kinds_on_the_way_through_yaml() -> None:
    written = {
        "a": 1e-05,
        "b": "1e-05",
        "c": "yes",
        "d": True,
        "e": None,
        "f": "two\nlines: x",
        "g": [1, {"h": "ü😀\x7f"}],
    }
    made = launch(recipe(TRTLLM).model_copy(update={"flags": {"config": written}}), ALONE)
    text = made.spec.command[4]
    assert yaml.safe_load(text) == written


def test_llamacpp() -> None:
    made = launch(recipe(f"{LLAMA}, quant: Q4_K_M, flags: {{ctx-size: 65536, jinja: true, temp: -1}}"), ALONE)
    told = line(made)
    assert told == (
        f"{COMMON} --gpus all{HF}"
        ' --mount type=bind,source="$HOME"/.cache/llama.cpp,target=/root/.cache/llama.cpp'
        " --entrypoint /app/llama-server ghcr.io/ggml-org/llama.cpp:server-cuda --alias m --ctx-size 65536"
        " --hf-repo ggml-org/gpt-oss-20b-GGUF:Q4_K_M --host 0.0.0.0 --jinja --port 8080 --temp -1"
    )
    assert shlex.split(told)[-1] == "-1"
    assert made.folders == ("$HOME/.cache/huggingface", "$HOME/.cache/llama.cpp")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("file: q/model-00001.gguf", ["--hf-file", "q/model-00001.gguf", "--hf-repo", "ggml-org/gpt-oss-20b-GGUF"]),
        ("flags: {model: /m/x.gguf}", ["--model", "/m/x.gguf"]),
        ("flags: {lora: [a.gguf, b.gguf]}", ["--lora", "a.gguf", "--lora", "b.gguf"]),
    ],
)
def test_where_llamacpp_takes_its_model_from(more: str, expected: list[str]) -> None:
    found = " ".join(words(f"{LLAMA}, {more}"))
    assert " ".join(expected) in found
    assert ("--hf-repo" in found) == ("model" not in more or "file" in more)


def test_an_image_of_llamacpp_by_somebody_else() -> None:
    text = LLAMA.replace("ghcr.io/ggml-org/llama.cpp:server-cuda", "scitrera/dgx-spark-llama-cpp:1")
    assert words(text)[:4] == ["--entrypoint", "llama-server", "|", "--alias"]


def test_nim() -> None:
    made = launch(recipe(f"{NIM}, port: 8002, probe: chat"), ALONE)
    assert line(made) == (
        f"{COMMON} --gpus all --shm-size 17179869184"
        " --env NIM_HTTP_API_PORT=8002 --env NIM_SERVED_MODEL_NAME=m --env NIM_SERVER_PORT=8002"
        ' --env-file "$HOME"/.sparkkeep/env/sparkkeep-m'
        ' --mount type=bind,source="$HOME"/.cache/nim,target=/opt/nim/.cache'
        ' --mount type=bind,source="$HOME"/.local/share/nim/workspace,target=/opt/nim/workspace'
        " nvcr.io/nim/meta/llama-3.1-8b-instruct-dgx-spark:latest"
    )
    assert made.spec.secrets == (("NGC_API_KEY", "ngc"),)
    assert (made.probe.kind, made.probe.health, made.probe.path) == ("chat", "/v1/health/ready", "/health")


def test_more_of_nim() -> None:
    assert words(f"{NIM}, flags: {{max-model-len: 8192}}") == ["nim-serve", "--max-model-len", "8192"]
    own = shown(f"{NIM}, shm: 1GiB, env: {{NGC_API_KEY: {{secret: mine}}, NIM_CACHE_PATH: /cache}}")
    assert own.shm == 2**30
    assert own.env["NGC_API_KEY"].secret == "mine"  # noqa: S105
    assert [mount.target for mount in own.mounts] == ["/cache", "/opt/nim/workspace"]
    unasked = launch(recipe(NIM), ALONE).probe
    assert (unasked.kind, unasked.path, unasked.port) == ("http", "/v1/health/ready", 8000)
    asked = launch(recipe(f"{NIM}, probe: {{kind: http, path: /mine}}"), ALONE).probe
    assert asked.path == "/mine"


def test_a_container_is_what_its_recipe_says() -> None:
    made = launch(
        recipe("image: 'a/b:1', entrypoint: [x, -y], command: [z], flags: {f: -1}, port: 80, probe: http"), ALONE
    )
    assert line(made) == f"{COMMON} --entrypoint x a/b:1 -y z --f -1"
    assert made.probe.model == ""
    nothing = launch(recipe("image: 'a/b:1'"), ALONE)
    assert (nothing.spec.canonical(), nothing.probe.kind, nothing.folders) == ('{"image":"a/b:1"}', "none", ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("engine: vllm, model: o/n, image: a, flags: {served-model-name: big}", "m"),
        (SGLANG, "m"),
        (f"{SGLANG}, flags: {{served-model-name: big}}", "big"),
        (TRTLLM, "nvidia/Q-FP4"),
        (f"{TRTLLM}, flags: {{served_model_name: big}}", "big"),
        (LLAMA, "m"),
        (f"{LLAMA}, flags: {{alias: big}}", "big"),
        (NIM, "m"),
        (f"{NIM}, env: {{NIM_SERVED_MODEL_NAME: 'x,y'}}", "x"),
        ("image: a", None),
    ],
)
def test_the_name_that_requests_are_sent_under(text: str, expected: str | None) -> None:
    assert served_name(recipe(text), "m") == expected
