"""One model over several Sparks: what each rank is told."""

from __future__ import annotations

import shlex
from itertools import pairwise

import pytest

from reconciler.engines import Fabric, NotLaunchable, launch, scripts, seats
from reconciler.engines.seat import master_port
from tests.unit.reconciler.engines.launched import FABRIC, env, line, ranks, recipe, words

NATIVE = "engine: vllm, model: o/n, image: 'vllm/vllm-openai:latest'"
RAY = "engine: vllm, model: o/n, image: 'eugr/spark-vllm:latest', distributed: ray, startTimeout: 10m"
SGLANG = "engine: sglang, model: o/n, image: 'lmsysorg/sglang:spark', port: 30000"


def test_the_whole_command_line_of_a_rank() -> None:
    seat = ranks(2)[1]
    made = launch(recipe(f"{NATIVE}, flags: {{gpu-memory-utilization: 0.85}}, devices: [/dev/fuse]"), seat)
    told = line(made, seat)
    assert told == (
        "docker run --detach --name sparkkeep-m_1 --restart no --pull never --stop-timeout 30 --network host --ipc host"
        " --gpus all --shm-size 17179869184 --ulimit memlock=-1 --ulimit stack=67108864"
        " --device /dev/fuse --device /dev/infiniband"
        " --env GLOO_SOCKET_IFNAME=enp1s0f1np1 --env HF_HOME=/root/.cache/huggingface"
        " --env MN_IF_NAME=enp1s0f1np1 --env NCCL_IB_DISABLE=0 --env NCCL_IB_GID_INDEX=5 --env NCCL_IB_HCA=rocep1s0f1"
        " --env NCCL_IGNORE_CPU_AFFINITY=1 --env NCCL_SOCKET_IFNAME=enp1s0f1np1"
        " --env OMPI_MCA_btl_tcp_if_include=enp1s0f1np1 --env TP_SOCKET_IFNAME=enp1s0f1np1"
        " --env UCX_NET_DEVICES=enp1s0f1np1 --env VLLM_HOST_IP=10.0.0.2"
        ' --mount type=bind,source="$HOME"/.cache/huggingface,target=/root/.cache/huggingface'
        ' --mount type=bind,source="$HOME"/.cache/vllm,target=/root/.cache/vllm'
        ' --mount type=bind,source="$HOME"/.cache/flashinfer,target=/root/.cache/flashinfer'
        ' --mount type=bind,source="$HOME"/.triton/cache,target=/root/.triton/cache'
        " vllm/vllm-openai:latest o/n --gpu-memory-utilization 0.85 --headless --host 0.0.0.0 --master-addr 10.0.0.1"
        " --master-port 29501 --nnodes 2 --node-rank 1 --port 8000 --served-model-name m --tensor-parallel-size 2"
    )
    assert shlex.split(told)[-2:] == ["--tensor-parallel-size", "2"]
    assert (made.probe.kind, made.spec.host_ports) == ("none", ())


def test_the_head_serves_and_is_asked() -> None:
    made = launch(recipe(f"{NATIVE}, probe: chat"), ranks(2)[0])
    assert "--headless" not in made.spec.command
    assert (made.probe.kind, made.probe.port, made.spec.host_ports) == ("chat", 8000, (8000,))


def test_every_rank_is_told_its_own_network_and_the_same_head() -> None:
    told = [env(NATIVE, seat) for seat in ranks(4)]
    assert [each["VLLM_HOST_IP"] for each in told] == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]
    assert [each.get("NCCL_IB_HCA") for each in told] == ["rocep1s0f0,roceP2p1s0f0", "rocep1s0f1", None, None]
    assert [each["NCCL_IB_DISABLE"] for each in told] == ["0", "0", "1", "1"]
    assert [each.get("NCCL_IB_GID_INDEX") for each in told] == ["3", "5", None, None]
    assert [each.get("NCCL_SOCKET_IFNAME") for each in told] == ["enp1s0f0np0", "enp1s0f1np1", "enp1s0f0np0", None]
    commands = [words(NATIVE, seat) for seat in ranks(4)]
    assert {command[command.index("--master-addr") + 1] for command in commands} == {"10.0.0.1"}
    assert [launch(recipe(NATIVE), seat).spec.devices for seat in ranks(4)] == [("/dev/infiniband",)] * 2 + [()] * 2
    assert env(f"{NATIVE}, env: {{NCCL_IB_HCA: mlx5}}", ranks(2)[0])["NCCL_IB_HCA"] == "mlx5"


@pytest.mark.parametrize(
    ("flags", "sparks", "expected"),
    [
        ("pipeline-parallel-size: 3", 3, ["--pipeline-parallel-size", "3"]),
        (
            "tensor_parallel_size: '2', pipeline-parallel-size: 2",
            4,
            ["--pipeline-parallel-size", "2", "--tensor_parallel_size", "2"],
        ),
    ],
)
def test_the_flags_may_divide_the_model_in_another_way(flags: str, sparks: int, expected: list[str]) -> None:
    told = words(f"{NATIVE}, flags: {{{flags}}}", ranks(sparks)[0])
    sizes = [(f, v) for f, v in pairwise(told) if "parallel" in f]
    assert [part for size in sizes for part in size] == expected


def test_replicas_of_one_model_divide_the_requests() -> None:
    told = [words(f"{NATIVE}, flags: {{data-parallel-size: 2}}", seat) for seat in ranks(2)]
    shared = ["--data-parallel-address", "10.0.0.1", "--data-parallel-rpc-port", "29501", "--data-parallel-size", "2"]
    assert told[0][1:] == [*shared, "--data-parallel-size-local", "1", *END]
    own = ["--data-parallel-size-local", "1", "--data-parallel-start-rank", "1", "--headless"]
    assert told[1][1:] == [*shared, *own, *END]


END = ["--host", "0.0.0.0", "--port", "8000", "--served-model-name", "m"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            "tensor-parallel-size: 4",
            (
                "flags: tensor-parallel-size 4 x pipeline-parallel-size 1 x data-parallel-size 1 = 4, "
                "but `across` names 2 Sparks with one GPU each"
            ),
        ),
        ("tensor-parallel-size: 1", None),
        ("tensor-parallel-size: x", "flags: tensor-parallel-size must be a whole number of at least 1"),
        ("pipeline-parallel-size: 0", "flags: pipeline-parallel-size must be a whole number of at least 1"),
    ],
)
def test_numbers_that_do_not_come_to_the_number_of_sparks(flags: str, said: str | None) -> None:
    with pytest.raises(NotLaunchable) as caught:
        words(f"{NATIVE}, flags: {{{flags}}}", ranks(2)[0])
    assert said is None or str(caught.value) == said


def test_what_a_group_can_not_do_without() -> None:
    unknown = seats("m", ["a", "x"], FABRIC, grouped=True, listening=8000)
    with pytest.raises(NotLaunchable, match="the fabric address of rank 1 is not known"):
        words(NATIVE, unknown[1])
    headless = seats("m", ["x", "a"], FABRIC, grouped=True, listening=8000)
    with pytest.raises(NotLaunchable, match="the fabric address of rank 0, the head is not known"):
        words(NATIVE, headless[1])
    with pytest.raises(NotLaunchable, match="network: bridge: the ranks"):
        words(f"{NATIVE}, network: bridge", ranks(2)[0])
    both = "flags: {data-parallel-size: 2, tensor-parallel-size: 2}"
    with pytest.raises(NotLaunchable, match=r"data-parallel-size 2 together with another kind .* `distributed: ray`"):
        words(f"{NATIVE}, {both}", ranks(4)[0])


def test_by_ray_the_head_waits_for_all_and_then_serves() -> None:
    made = launch(recipe(f"{RAY}, flags: {{kv-cache-dtype: fp8}}"), ranks(2)[0])
    command = list(made.spec.command)
    assert made.spec.entrypoint == ("sh",)
    assert command[:3] == ["-c", scripts.RAY_HEAD, "sparkkeep-ray-head"]
    own = (
        '["GLOO_SOCKET_IFNAME","MN_IF_NAME","NCCL_IB_DISABLE","NCCL_IB_GID_INDEX","NCCL_IB_HCA",'
        '"NCCL_IGNORE_CPU_AFFINITY","NCCL_SOCKET_IFNAME","OMPI_MCA_btl_tcp_if_include","TP_SOCKET_IFNAME",'
        '"UCX_NET_DEVICES"]'
    )
    assert command[3:8] == [own, "2", "600", "29501", "10.0.0.1"]
    assert command[8:] == [
        *("vllm", "serve", "o/n", "--distributed-executor-backend", "ray", "--host", "0.0.0.0"),
        *("--kv-cache-dtype", "fp8", "--port", "8000", "--served-model-name", "m", "--tensor-parallel-size", "2"),
    ]
    told = dict(made.spec.env)
    assert told["VLLM_CONFIG_ROOT"] == "/tmp/sparkkeep-vllm"
    assert told["RAY_NODE_IP_ADDRESS"] == told["RAY_OVERRIDE_NODE_IP_ADDRESS"] == told["VLLM_HOST_IP"] == "10.0.0.1"
    assert made.probe.kind == "http"


def test_by_ray_the_others_only_join() -> None:
    made = launch(recipe(RAY), ranks(3)[2])
    assert made.spec.command == (
        *("-c", scripts.RAY_WORKER, "sparkkeep-ray-worker", "600", "10.0.0.1", "29501", "10.0.0.1:29501", "10.0.0.3"),
    )
    assert (made.probe.kind, made.spec.host_ports) == ("none", ())
    assert "VLLM_CONFIG_ROOT" not in dict(made.spec.env)


def test_nvidias_script_stays_before_ray() -> None:
    text = RAY.replace("eugr/spark-vllm", "nvcr.io/nvidia/vllm")
    made = launch(recipe(text), ranks(2)[0])
    assert made.spec.entrypoint is None
    assert made.spec.command[:2] == ("sh", "-c")


def test_alone_ray_is_not_needed() -> None:
    made = launch(recipe(RAY), seats("m", ["a"], FABRIC, grouped=False, listening=8000)[0])
    assert made.spec.entrypoint == ("vllm",)


def test_ray_also_shares_out_replicas() -> None:
    told = words(f"{RAY}, flags: {{data-parallel-size: 2, tensor-parallel-size: 2}}", ranks(4)[0])
    assert "--data-parallel-backend ray --data-parallel-size 2 --distributed-executor-backend ray" in " ".join(told)


def test_sglang_ranks_find_their_head() -> None:
    told = [words(SGLANG, seat) for seat in ranks(2, listening=30_000)]
    start = ["python3", "-m", "sglang.launch_server", "--dist-init-addr", "10.0.0.1:27501", "--host", "0.0.0.0"]
    end = ["--port", "30000", "--served-model-name", "m", "--tp-size", "2"]
    assert told[0] == [*start, "--model-path", "o/n", "--nnodes", "2", "--node-rank", "0", *end]
    assert told[1] == [*start, "--model-path", "o/n", "--nnodes", "2", "--node-rank", "1", *end]
    assert env(SGLANG, ranks(2)[1])["SGLANG_HOST_IP"] == "10.0.0.2"
    second = launch(recipe(SGLANG), ranks(2)[1])
    assert (second.probe.kind, second.spec.host_ports) == ("none", (30000,))


def test_an_address_of_ipv6_keeps_its_port_apart() -> None:
    fabric = {"a": Fabric(address="fd00::1"), "b": Fabric(address="fd00::2")}
    second = seats("m", ["a", "b"], fabric, grouped=True, listening=8000)[1]
    told = words(SGLANG, second)
    assert told[told.index("--dist-init-addr") + 1] == "[fd00::1]:29501"
    assert words(RAY, second)[-4:] == ["fd00::1", "29501", "[fd00::1]:29501", "fd00::2"]
    native = words(NATIVE, second)
    assert native[native.index("--master-addr") + 1] == "fd00::1"


@pytest.mark.parametrize(
    ("flags", "fits"),
    [
        ("tp: 2, pp-size: 2", True),
        ("tp-size: 2, dp-size: 2", True),
        ("tp-size: 4, dp-size: 4, enable-dp-attention: true", True),
        ("tp-size: 4, dp-size: 4", False),
        ("tensor-parallel-size: 3", False),
    ],
)
def test_how_sglang_divides_a_model(flags: str, fits: bool) -> None:
    if fits:
        assert "--nnodes" in words(f"{SGLANG}, flags: {{{flags}}}", ranks(4)[0])
        return
    with pytest.raises(NotLaunchable, match="but `across` names 4 Sparks with one GPU each"):
        words(f"{SGLANG}, flags: {{{flags}}}", ranks(4)[0])


@pytest.mark.parametrize("engine", ["trtllm", "llamacpp", "nim", "container"])
def test_the_other_engines_have_no_groups_here(engine: str) -> None:
    text = f"engine: {engine}, image: 'a/b:1'" + (", model: o/n" if engine in {"trtllm", "llamacpp"} else "")
    with pytest.raises(NotLaunchable, match=f"across: engine {engine} runs on one Spark only here: "):
        launch(recipe(text), ranks(2)[0])


def test_two_groups_with_one_head_do_not_meet_on_a_port() -> None:
    assert master_port(8000) == 29_501
    assert master_port(8001) == 29_502
    assert len({master_port(port) for port in range(8000, 8000 + 12_000)}) == 12_000
    assert all(20_000 <= master_port(port) < 32_768 for port in (None, 1, 30_000, 65_535))


def test_replicas_know_nothing_of_each_other() -> None:
    first, second = seats("m", ["a", "b"], FABRIC, grouped=False, listening=8000)
    assert first == second
    assert not first.grouped
    assert seats("m", ["a"], {"a": Fabric(gpus=False)}, grouped=False, listening=None)[0].gpus is False
