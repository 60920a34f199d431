"""vLLM on one Spark: images, flags, caches, names."""

from __future__ import annotations

import shlex

import pytest

from reconciler.engines import Fabric, NotLaunchable, launch, solo
from tests.unit.reconciler.engines.launched import ALONE, CACHES, argv, env, line, recipe, shown, words

OTHER = "engine: vllm, model: o/n, image: 'ghcr.io/spark-arena/dgx-vllm-eugr-nightly:latest'"
UPSTREAM = "engine: vllm, model: o/n, image: 'vllm/vllm-openai:cu130-nightly'"
NVIDIA = "engine: vllm, model: o/n, image: 'nvcr.io/nvidia/vllm:26.02-py3'"
END = ["--host", "0.0.0.0", "--port", "8000", "--served-model-name", "m"]


def test_the_whole_command_line() -> None:
    made = launch(
        recipe(
            "engine: vllm, model: Intel/Qwen3-Coder-Next-int4-AutoRound, revision: abc123, port: 8005,"
            "image: 'ghcr.io/spark-arena/dgx-vllm-eugr-nightly-tf5:latest', env: {VLLM_MARLIN_USE_ATOMIC_ADD: '1',"
            " HF_TOKEN: {secret: hf}},"
            "flags: {gpu-memory-utilization: 0.7, enable-prefix-caching: true, enforce-eager: false,"
            " speculative-config: {method: mtp, num_speculative_tokens: 2}}"
        ),
        ALONE,
    )
    told = line(made)
    assert told == (
        "docker run --detach --name sparkkeep-m --restart no --pull never --stop-timeout 30 --network host --ipc host"
        " --gpus all --shm-size 17179869184 --ulimit memlock=-1 --ulimit stack=67108864"
        " --env HF_HOME=/root/.cache/huggingface --env VLLM_MARLIN_USE_ATOMIC_ADD=1"
        ' --env-file "$HOME"/.sparkkeep/env/sparkkeep-m'
        ' --mount type=bind,source="$HOME"/.cache/huggingface,target=/root/.cache/huggingface'
        ' --mount type=bind,source="$HOME"/.cache/vllm,target=/root/.cache/vllm'
        ' --mount type=bind,source="$HOME"/.cache/flashinfer,target=/root/.cache/flashinfer'
        ' --mount type=bind,source="$HOME"/.triton/cache,target=/root/.triton/cache'
        " --entrypoint vllm ghcr.io/spark-arena/dgx-vllm-eugr-nightly-tf5:latest serve"
        " Intel/Qwen3-Coder-Next-int4-AutoRound --enable-prefix-caching --gpu-memory-utilization 0.7 --host 0.0.0.0"
        " --port 8005 --revision abc123 --served-model-name m"
        """ --speculative-config '{"method":"mtp","num_speculative_tokens":2}'"""
    )
    assert shlex.split(told)[-1] == '{"method":"mtp","num_speculative_tokens":2}'
    assert made.folders == (
        *("$HOME/.cache/huggingface", "$HOME/.cache/vllm", "$HOME/.cache/flashinfer", "$HOME/.triton/cache"),
    )
    assert (made.probe.kind, made.probe.path, made.probe.port, made.probe.model) == ("http", "/health", 8005, "m")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (OTHER, ["--entrypoint", "vllm", "|", "serve", "o/n", *END]),
        (UPSTREAM, ["o/n", *END]),
        (UPSTREAM.replace("vllm/vllm-openai:cu130-nightly", "docker.io/vllm/vllm-openai@sha256:aa"), ["o/n", *END]),
        (UPSTREAM.replace("vllm/vllm-openai:", "mirror.lan:5000/vllm/vllm-openai-gemma:"), ["o/n", *END]),
        (UPSTREAM.replace("vllm/", "my", 1), ["--entrypoint", "vllm", "|", "serve", "o/n", *END]),
        (NVIDIA, ["vllm", "serve", "o/n", *END]),
        (f"{NVIDIA}, entrypoint: []", ["--entrypoint", "", "|", "vllm", "serve", "o/n", *END]),
        (
            f"{UPSTREAM}, entrypoint: [/opt/wrap, -x]",
            ["--entrypoint", "/opt/wrap -x", "|", "vllm", "serve", "o/n", *END],
        ),
        (f"{OTHER}, entrypoint: [/v/bin/vllm, serve]", ["--entrypoint", "/v/bin/vllm serve", "|", "o/n", *END]),
    ],
)
def test_each_family_of_images_is_started_past_its_entrypoint(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("seed: 1", ["--host", "0.0.0.0", "--port", "8000", "--seed", "1", "--served-model-name", "m"]),
        ("seed: -1", ["--host", "0.0.0.0", "--port", "8000", "--seed=-1", "--served-model-name", "m"]),
        ("a: true, b: false, c: null", ["--a", *END]),
        ("no-enable-prefix-caching: true", [*END[:2], "--no-enable-prefix-caching", *END[2:]]),
        ("a: '--privileged'", ["--a=--privileged", *END]),
        ("a: two words", ["--a", "two words", *END]),
        ("a: [x, '-1', y]", ["--a", "x", "-1", "y", *END]),
        ("a: {k: [1, {'x': 'ü'}]}", ["--a", '{"k":[1,{"x":"ü"}]}', *END]),
        ("a.b_c: 'True'", ["--a.b_c", "True", *END]),
        ("host: 127.0.0.1", ["--host", "127.0.0.1", *END[2:]]),
        ("port: 9000", ["--host", "0.0.0.0", "--port", "9000", "--served-model-name", "m"]),
        ("served-model-name: big", [*END[:4], "--served-model-name", "big", "m"]),
        ("served_model_name: [m, big]", [*END[:4], "--served-model-name", "m", "big"]),
    ],
)
def test_flags(flags: str, expected: list[str]) -> None:
    assert words(f"{UPSTREAM}, flags: {{{flags}}}")[1:] == expected


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("a: ['--b']", "flags: a has an item that begins with '-': the engine would take it for a flag"),
        ("served-model-name: 5", "flags: served-model-name must be a name or a list of names"),
        ("served-model-name: ['']", "flags: served-model-name must be a name or a list of names"),
        ("served-model-name: []", "flags: served-model-name must be a name or a list of names"),
    ],
)
def test_flags_that_can_not_be_told_are_refused(flags: str, said: str) -> None:
    with pytest.raises(NotLaunchable) as caught:
        words(f"{UPSTREAM}, flags: {{{flags}}}")
    assert str(caught.value) == said


def test_the_port_among_the_flags_is_the_port() -> None:
    made = launch(recipe(f"{UPSTREAM}, flags: {{port: '9001'}}"), ALONE)
    assert (made.spec.port, made.probe.port, made.spec.host_ports) == (9001, 9001, (9001,))


def test_what_a_recipe_says_wins_over_what_the_engine_brings() -> None:
    full = shown(
        f"{UPSTREAM}, gpus: none, ipc: private, shm: 1GiB, ulimits: {{memlock: 5, nofile: 9}}, probe: chat,"
        "env: {HF_HOME: /models}, mounts: [{source: /fast/compiled, target: /root/.cache}]"
    )
    assert (full.gpus, full.ipc, full.shm) == ("none", "private", 2**30)
    assert full.ulimits == {"memlock": 5, "stack": 67_108_864, "nofile": 9}
    assert full.env == {"HF_HOME": "/models"}
    assert [(m.source, m.target) for m in full.mounts] == [
        ("/fast/compiled", "/root/.cache"),
        ("$HOME/.cache/huggingface", "/models"),
        ("$HOME/.triton/cache", "/root/.triton/cache"),
    ]
    assert full.probe is not None
    assert full.probe.kind == "chat"


def test_a_mount_of_the_cache_itself_says_where_it_is_looked_for() -> None:
    text = f"{UPSTREAM}, mounts: [{{source: $HOME/.cache/huggingface, target: /hf}}]"
    assert env(text) == {"HF_HOME": "/hf"}
    assert [m.target for m in shown(text).mounts if m.source.endswith("huggingface")] == ["/hf"]


def test_who_is_not_root_finds_the_caches_outside_of_roots_home() -> None:
    full = shown(f"{UPSTREAM}, user: '1000:1000'")
    assert full.env == {
        "HF_HOME": "/cache/huggingface",
        "VLLM_CACHE_ROOT": "/cache/vllm",
        "FLASHINFER_WORKSPACE_BASE": "/cache",
        "TRITON_CACHE_DIR": "/cache/triton",
    }
    assert [m.target for m in full.mounts] == [
        *("/cache/huggingface", "/cache/vllm", "/cache/.cache/flashinfer", "/cache/triton")
    ]
    assert next(m.target for m in shown(f"{UPSTREAM}, user: root").mounts) == "/root/.cache/huggingface"


def test_a_cache_that_can_not_be_mounted_where_it_is_looked_for_is_refused() -> None:
    with pytest.raises(NotLaunchable, match="env: HF_HOME is not a path"):
        shown(f"{UPSTREAM}, env: {{HF_HOME: 'models,readonly'}}")


def test_no_gpus_are_asked_for_where_there_are_none_unless_a_recipe_insists() -> None:
    without = solo("m", Fabric(gpus=False))
    assert "--gpus" not in argv(UPSTREAM, without)
    assert "--gpus all" in " ".join(argv(f"{UPSTREAM}, gpus: all", without))


def test_rights_and_security_options() -> None:
    told = argv(f"{UPSTREAM}, privileged: true, securityOpt: [no-new-privileges, seccomp=unconfined], init: true")
    at = told.index("--privileged")
    options = ["--security-opt", "no-new-privileges", "--security-opt", "seccomp=unconfined"]
    assert told[at : at + 6] == ["--privileged", *options, "--init"]


def test_all_caches_are_in_the_order_of_the_engine() -> None:
    told = argv(UPSTREAM)
    at = told.index("--mount")
    assert tuple(told[at : at + 8]) == CACHES


def test_the_effective_recipe_is_one_that_could_have_been_written() -> None:
    full = shown(f"{OTHER}, flags: {{a: 1}}")
    again = type(full).model_validate(full.model_dump(by_alias=True))
    assert launch(again, ALONE).spec == launch(recipe(f"{OTHER}, flags: {{a: 1}}"), ALONE).spec
    assert full.engine == "container"
