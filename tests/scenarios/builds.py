"""Images that a Spark builds for itself."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from reconciler.model import BUILD
from tests.keeper import Keeper
from tests.scenarios.play import calm, did, echo, nothing_done, passes, reason, scenario, settled
from tests.scenarios.stage import Stage

WEB = "sparkkeep-web"
DOCKERFILE = """ARG BASE
FROM ${BASE}
ARG GREETING
COPY . /site/
RUN test ! -e /site/private && test -x /site/bin/tool && grep -q "$GREETING" /site/page
"""


def write_context(folder: Path, *, page: str, more: str = "") -> None:
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    (folder / "Dockerfile").write_text(DOCKERFILE + more)
    (folder / "page").write_text(page)
    (folder / "bin" / "tool").write_text("#!/bin/sh\n")
    (folder / "bin" / "tool").chmod(0o755)
    (folder / ".dockerignore").write_text("private\n**/*.log\n")
    (folder / "private").write_text("nobody's business")
    (folder / "private").chmod(0o600)
    (folder / "bin" / "old.log").write_text("long ago")


def built(on: str, **more: Any) -> dict[str, Any]:
    build = {"context": "site", "base": "keep/echo:1", "args": {"GREETING": "hello"}, **more}
    return echo(on, image="keep/site", build=build)


async def clean(stage: Stage, spark: str, images: set[str]) -> None:
    for image in images:
        with suppress(Exception):  # it was never built, or something runs from it
            await stage.docker(spark, "rmi", image)


@scenario()
async def builds_its_image(stage: Stage, keeper: Keeper) -> None:
    """A folder is sent and built; another content is another image; what fails is explained, and what runs runs on."""
    one, two = stage.sparks
    folder = keeper.file.parent / "site"
    images = set[str]()
    try:
        write_context(folder, page="hello, you")
        seen = await settled(stage, keeper, {"web": built(one)})
        assert await did(stage, one) == ["build", "run"]
        assert await did(stage, two) == []
        first = seen[one][WEB]
        name, _, tag = first.image.partition(":")
        images.add(first.image)
        assert (name, first.labels[BUILD]) == ("keep/site", tag)

        stage.clear()
        (folder / "bin" / "old.log").write_text("longer ago")  # left out of the build: nothing of it has changed
        await keeper.loop.read_folders()
        await passes(keeper)
        await nothing_done(stage)

        write_context(folder, page="hello, all of you")
        await keeper.loop.read_folders()
        await calm(keeper)
        assert await did(stage, one) == ["build", "stop", "rm", "run"]
        second = (await stage.containers(one))[WEB]
        images.add(second.image)
        assert second.image not in {first.image, name}
        assert second.labels[BUILD] == second.image.partition(":")[2]

        stage.clear()
        write_context(folder, page="hello, nobody", more="RUN echo it is broken; exit 3\n")
        await keeper.loop.read_folders()
        await reason(keeper, "web", "BuildFailed")
        told = keeper.workload("web")["message"]
        assert "returned a non-zero code: 3" in told
        assert "echo it is broken" in told
        found = (await stage.containers(one))[WEB]
        assert (found.id, found.started, found.running) == (second.id, second.started, True)
        assert set(await did(stage, one)) == {"build"}

        stage.clear()
        write_context(folder, page="hello, you")  # as it was at first: that image is there still
        await keeper.loop.read_folders()
        await calm(keeper)
        assert await did(stage, one) == ["stop", "rm", "run"]
        assert (await stage.containers(one))[WEB].image == first.image

        stage.clear()
        (folder / "Dockerfile").unlink()
        await keeper.loop.read_folders()
        await passes(keeper)
        await nothing_done(stage)
        assert "build context site: it has no Dockerfile" in keeper.workload("web")["message"]
        await settled(stage, keeper, {"web": echo(one)})  # an image can be removed when nothing runs from it
    finally:
        await clean(stage, one, images)
