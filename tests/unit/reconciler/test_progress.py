"""Logs of starting servers, as they are really printed, and what is read from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.progress import Progress, Stage, progress, remaining, words

# vllm-project/vllm#38820
VLLM = """\
Loading safetensors checkpoint shards:  56% Completed | 5/9 [00:13<00:11,  2.87s/it]
Loading safetensors checkpoint shards: 100% Completed | 9/9 [00:29<00:00,  3.28s/it]
(Worker_TP0 pid=34322)
(Worker_TP0 pid=34322) INFO 05-06 20:59:57 [default_loader.py:384] Loading weights took 24.84 seconds
(Worker_TP0 pid=34322) INFO 05-06 20:59:59 [gpu_model_runner.py:4879] Model loading took 12.66 GiB memory and 31.657031 seconds
(Worker_TP0 pid=34322) INFO 05-06 21:00:00 [gpu_model_runner.py:5820] Encoder cache will be initialized with a budget of 8192
(Worker_TP0 pid=34322) INFO 05-06 21:00:16 [backends.py:1069] Using cache directory: /home/b/.cache/vllm for vLLM's torch.compile
(Worker_TP0 pid=34322) INFO 05-06 21:00:16 [backends.py:1128] Dynamo bytecode transform time: 3.54 s
(EngineCore_DP0 pid=9) INFO 05-06 21:00:40 [monitor.py:34] torch.compile takes 20.17 s in total
(EngineCore_DP0 pid=9) INFO 05-06 21:00:42 [gpu_worker.py:298] Available KV cache memory: 28.74 GiB
(EngineCore_DP0 pid=9) INFO 05-06 21:00:42 [kv_cache_utils.py:1087] GPU KV cache size: 240,816 tokens
Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  45%|████▌     | 30/67 [00:05<00:06,  5.90it/s]
(EngineCore_DP0 pid=9) INFO 05-06 21:00:55 [gpu_model_runner.py:3480] Graph capturing finished in 13 secs, took 0.52 GiB
(EngineCore_DP0 pid=9) INFO 05-06 21:00:55 [core.py:210] init engine (profile, create kv cache, warmup model) took 54.1 seconds
(APIServer pid=1) INFO 05-06 21:00:56 [api_server.py:1634] Starting vLLM API server 0 on http://0.0.0.0:8000
(APIServer pid=1) INFO:     Application startup complete.
""".splitlines()


def test_a_start_of_vllm_line_by_line() -> None:
    seen = [progress(VLLM[: number + 1]) for number in range(len(VLLM))]
    weights, compiles = Progress(Stage.WEIGHTS, 100.0), Progress(Stage.COMPILE)
    assert seen == [
        Progress(Stage.WEIGHTS, 56.0, "5 of 9"),
        Progress(Stage.WEIGHTS, 100.0, "9 of 9"),
        Progress(Stage.WEIGHTS, 100.0, "9 of 9"),
        *[weights] * 3,
        *[compiles] * 2,
        Progress(Stage.COMPILE, 100.0),
        *[Progress(Stage.CACHE)] * 2,
        Progress(Stage.GRAPHS, 45.0, "30 of 67"),
        Progress(Stage.GRAPHS, 100.0),
        Progress(Stage.WARMUP),
        Progress(Stage.SERVER),
        Progress(Stage.STARTED),
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "Loading safetensors using Fastsafetensor loader:  19% Completed | 8/42 [00:00<00:02, 11.98it/s]",
            Progress(Stage.WEIGHTS, 19.0, "8 of 42"),
        ),
        (
            "Multi-thread loading shards:  50% Completed | 2/4 [00:06<00:07,  3.54s/it][2026-04-09 20:05:30 PP0 TP1] Par",
            Progress(Stage.WEIGHTS, 50.0, "2 of 4"),
        ),
        ("[2025-10-16 09:06:10 TP5] Load weight begin. avail mem=137.29 GB", Progress(Stage.WEIGHTS, 0.0)),
        (
            "[2025-07-02 07:41:58 DP0 TP0] Load weight end. type=DeepseekV3ForCausalLM, dtype=torch.bfloat16, avail mem=21 GB",
            Progress(Stage.WEIGHTS, 100.0),
        ),
        (
            "[2025-10-16 09:07:02 TP0] Capture cuda graph begin. This can take up to several minutes.",
            Progress(Stage.GRAPHS, 0.0),
        ),
        (
            "Capturing batches (bs=1 avail_mem=17.33 GB):  87%|████████▋ | 20/23 [00:04<00:00,  4.80it/s]",
            Progress(Stage.GRAPHS, 87.0, "20 of 23"),
        ),
        ("[2025-10-16 09:08:00] The server is fired up and ready to roll!", Progress(Stage.STARTED)),
        ("load_tensors: loading model tensors, this can take a while... (mmap = true)", Progress(Stage.WEIGHTS, 0.0)),
        ("." * 37, Progress(Stage.WEIGHTS, 37.0)),
        ("common_init_from_params: warming up the model with an empty run - please wait ...", Progress(Stage.WARMUP)),
        ("main: model loaded", Progress(Stage.STARTED)),
        ("main: HTTP server is listening, hostname: 127.0.0.1, port: 8080, http threads: 11", None),
        (
            "INFO 11-19 13:21:02.337 ngc_injector.py:218] Preparing model workspace. This step might download additional files",
            Progress(Stage.DOWNLOAD),
        ),
        (
            "INFO 11-19 13:25:02.337 ngc_injector.py:230] Model workspace is now ready. It took 240 s",
            Progress(Stage.DOWNLOAD, 100.0),
        ),
        (
            "Fetching 12 files:  25%|██▌       | 3/12 [00:10<00:30,  3.40s/it]",
            Progress(Stage.DOWNLOAD, 25.0, "3 of 12"),
        ),
        (
            "model-00001-of-00009.safetensors:  45%|████▌     | 2.24G/4.97G [00:20<00:25, 109MB/s]",
            Progress(Stage.DOWNLOAD, 45.0),
        ),
        (
            "Loading weights concurrently:  30%|███       | 240/800 [00:03<00:07, 78.9it/s]",
            Progress(Stage.WEIGHTS, 30.0, "240 of 800"),
        ),
        ('INFO:     127.0.0.1:41063 - "GET /health HTTP/1.1" 200 OK', None),
        ("", None),
    ],
)
def test_other_servers(line: str, expected: Progress | None) -> None:
    assert progress([line]) == expected


def test_a_bar_that_redraws_itself_is_read_at_its_end() -> None:
    drawn = (
        "\rLoading safetensors checkpoint shards:   0% Completed | 0/4 [00:00<?, ?it/s]\r"
        "Loading safetensors checkpoint shards:  25% Completed | 1/4 [00:00<00:01,  2.32it/s]\r"
    )
    assert progress([drawn]) == Progress(Stage.WEIGHTS, 25.0, "1 of 4")


@pytest.mark.parametrize(
    ("elapsed", "past", "left"),
    [
        (0.0, [], None),
        (0.0, [300.0], 300.0),
        (60.0, [300.0, 320.0, 280.0], 240.0),
        (290.0, [300.0, 320.0, 280.0], 20.0),
        (400.0, [300.0, 320.0], None),
        (10.0, [*[9000.0] * 6, *[100.0] * 5], 90.0),
    ],
)
def test_the_rest_is_known_from_earlier_starts(elapsed: float, past: list[float], left: float | None) -> None:
    assert remaining(elapsed, past) == left


@pytest.mark.parametrize(
    ("seen", "elapsed", "past", "text"),
    [
        (Progress(Stage.WEIGHTS, 56.0, "5 of 9"), 60.0, [300.0], "loads the weights, 56 % (5 of 9); about 4 min left"),
        (Progress(Stage.GRAPHS, 100.0), 290.0, [300.0], "captures graphs, 100 %; about 10 s left"),
        (Progress(Stage.COMPILE), 45.0, [], "compiles kernels; since 45 s"),
        (None, 400.0, [300.0], "starts; since 7 min, longer than ever before"),
        (Progress(Stage.STARTED, 100.0), 0.2, [], "has started; since 1 s"),
    ],
)
def test_words_for_people(seen: Progress | None, elapsed: float, past: list[float], text: str) -> None:
    assert words(seen, elapsed, past) == text


@given(st.floats(0, 1e5), st.lists(st.floats(0, 1e5), max_size=9))
def test_law_the_rest_is_never_negative_and_never_longer_than_the_longest(elapsed: float, past: list[float]) -> None:
    left = remaining(elapsed, past)
    assert left is None or 0 < left <= max(past) - elapsed


@given(st.lists(st.text(max_size=60), max_size=5))
def test_law_any_log_can_be_read(lines: list[str]) -> None:
    seen = progress(lines)
    assert seen is None or seen.percent is None or 0 <= seen.percent <= 100


def test_a_long_line_without_spaces_is_passed_over_at_once() -> None:
    """Each start in it was tried to its end: a line of a megabyte kept the loop of all Sparks busy for many minutes."""
    assert progress(["a.b" * 350_000, "model-1.safetensors:  40%|####"]) == Progress(Stage.DOWNLOAD, 40.0)
