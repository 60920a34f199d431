"""The question to an image, and what becomes of its answer."""

from __future__ import annotations

import argparse

import pytest

from reconciler.preflight.ask import KEPT, PROGRAMS, Answers, questions, understand
from reconciler.preflight.tables import Table
from reconciler.shell import join, split

IMAGE = "sha256:" + "ab" * 32


def test_the_exact_question() -> None:
    first, *_ = questions("vllm", IMAGE)
    assert join(first) == (
        "docker run --rm --name sparkkeep-flags-abababababab --label sparkkeep.preflight=flags --network none "
        "--pull never --gpus all --memory 8g --env COLUMNS=400 --env HF_HUB_OFFLINE=1 --env NO_COLOR=1 "
        f"--entrypoint timeout {IMAGE} --kill-after=5 120 vllm serve --help=all"
    )


@pytest.mark.parametrize("engine", PROGRAMS)
def test_every_engine_is_asked_in_its_own_words(engine: str) -> None:
    asked = questions(engine, IMAGE)
    assert [argv[-len(program) :] for argv, program in zip(asked, PROGRAMS[engine], strict=True)] == list(
        PROGRAMS[engine]
    )
    assert all(split(join(argv)) == argv for argv in asked)


def test_engines_without_flags_are_not_asked() -> None:
    assert questions("nim", IMAGE) == ()
    assert questions("container", IMAGE) == ()


@pytest.mark.parametrize("image", ["", "vllm/vllm-openai:latest", "sha256:xyz", "--privileged", IMAGE + " x"])
def test_only_an_id_can_be_asked(image: str) -> None:
    with pytest.raises(ValueError, match="is not an image id"):
        questions("vllm", image)


def test_an_answer_counts_only_with_its_status() -> None:
    parser = argparse.ArgumentParser()
    for number in range(30):
        parser.add_argument(f"--flag{number}")
    page = parser.format_help()
    table = understand("vllm", 0, page)
    assert table is not None
    assert len(table.flags) == 31
    assert understand("vllm", 2, page) is None
    assert understand("vllm", 0, "vllm: command not found") is None


def test_answers_are_kept_by_image_and_bounded() -> None:
    answers = Answers()
    assert answers.known == {}
    table = Table("vllm", "", "", {})
    answers.keep("vllm", IMAGE, table)
    assert answers.known == {("vllm", IMAGE): table}
    for number in range(KEPT):
        answers.keep("vllm", f"{number:064x}", None)
    assert answers.known == {("vllm", f"{number:064x}"): None for number in range(KEPT)}
