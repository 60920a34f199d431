"""Weights: what lies on the Sparks and who needs it, fetching them, and deleting what nothing needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from api.context import Actor, Context, Ctx
from api.errors import Refused, answers, no_such
from api.schemas.base import answer, link
from api.schemas.weights import CollectedAll, FetchShape, GcPlanChanged, GcPlanShape, WeightsShape
from reconciler.disks.found import CachedModel, DiskSurvey
from reconciler.surveyor import Seen
from reconciler.weights import collection, needed
from reconciler.weights.cache import Want
from reconciler.weights.collection import Collected, PlanChanged, SparkPlan
from reconciler.weights.fetches import Fetching
from reconciler.weights.gc import Reference
from reconciler.weights.keeper import Weights
from reconciler.weights.repo_files import ListingRefused, check_repository, check_revision
from state.fields import Quant, Repository, Revision, text

router = APIRouter(prefix="/api/weights", tags=["weights"])

Pattern = Annotated[
    str,
    text(
        r"^!?[A-Za-z0-9_*?\[][A-Za-z0-9._/@+*?!\[\]-]{0,254}$",
        "a file of the repository, or a pattern of files such as *.json; with ! in front those are left out",
        longest=256,
    ),
]
SparkName = Annotated[str, Path(max_length=200, description="a Spark", examples=["spark-1"])]
FETCH = {
    "progress": link("fetching_api_weights_fetches__id__get", id="$response.body#/id"),
    "cancel": link("cancel_api_weights_fetches__id__delete", id="$response.body#/id"),
}
AGREE = {"apply": link("collect_api_weights_gc_apply_post", body={"digest": "$response.body#/digest"})}
FetchId = Annotated[int, Path(ge=1, le=2**53, description="the `id` of a fetch", examples=[3])]
OneSpark = Annotated[str | None, Query(max_length=200, description="only of this Spark")]


class FetchRequest(BaseModel):
    """What to fetch."""

    model_config = ConfigDict(extra="forbid")

    repository: Repository = Field(examples=["Qwen/Qwen3-8B"])
    revision: Revision = "main"
    files: list[Pattern] = Field(
        default=[], max_length=100, description="only these (patterns); otherwise what an engine needs"
    )
    quant: Quant | None = Field(default=None, description="which of several GGUF variants", examples=["Q4_K_M"])


class CollectRequest(BaseModel):
    """The plan that was agreed to."""

    model_config = ConfigDict(extra="forbid")

    digest: str = Field(pattern=r"^[0-9a-f]{16}$", examples=["9f86d081884c7d65"])
    spark: str | None = Field(default=None, max_length=200, description="as it was asked for")


def _weights(context: Ctx) -> Weights:
    if context.weights is None:
        raise Refused(503, "NoWeights", "this server does not handle weights")
    return context.weights


Keeper = Annotated[Weights, Depends(_weights)]


@router.get("", summary="What lies where, and who needs it", responses=answer(WeightsShape) | answers(503))
async def weights(context: Ctx, keeper: Keeper) -> dict[str, Any]:
    """The repositories in each Spark's cache as last surveyed, with their revisions, whether those are complete, and
    what refers to them; and the fetches under way, in line, and ended.
    """  # noqa: D205
    seen = context.disks.seen() if context.disks is not None else {}
    return {
        "sparks": {name: _spark_json(context, seen.get(name, Seen())) for name in sorted(context.loop.workers)},
        "fetches": [fetching_json(each) for each in keeper.fetches.all()],
    }


@router.post(
    "/{spark}/fetch",
    summary="Fetch a revision",
    status_code=202,
    responses=answer(FetchShape, 202, links=FETCH) | answers(404, 503),
)
async def fetch(context: Ctx, keeper: Keeper, actor: Actor, spark: SparkName, request: FetchRequest) -> dict[str, Any]:
    """Have the Spark fetch a repository at a revision into its cache, or get in line for that: one at a time goes on.
    The same again is the same fetch. Answers at once; `GET /api/weights` tells how far it is.
    """  # noqa: D205
    context.worker(spark)
    for field, check, value in (
        ("repository", check_repository, request.repository),
        ("revision", check_revision, request.revision),
    ):
        try:
            check(value)
        except ListingRefused as error:
            raise Refused(422, "InvalidRequest", str(error), field=field) from error
    want = Want(request.repository, request.revision, tuple(request.files), request.quant or "")
    return fetching_json(keeper.fetches.start(spark, want, by=actor))


@router.get("/fetches/{id}", summary="How far a fetch is", responses=answer(FetchShape) | answers(404, 503))
async def fetching(keeper: Keeper, id: FetchId) -> dict[str, Any]:  # noqa: A002  # as it stands in the address
    """One fetch: under way, in line, or among the last fifty that ended."""
    found = next((each for each in keeper.fetches.all() if each.id == id), None)
    if found is None:
        raise _no_fetch(keeper, id)
    return fetching_json(found)


@router.delete("/fetches/{id}", summary="End a fetch", responses=answer(FetchShape) | answers(404, 503))
async def cancel(keeper: Keeper, id: FetchId) -> dict[str, Any]:  # noqa: A002  # as above
    """What came so far stays on the disk, and the next fetch goes on from there. One that has ended stays as it is."""
    try:
        return fetching_json(await keeper.fetches.cancel(id))
    except KeyError:
        raise _no_fetch(keeper, id) from None


def _no_fetch(keeper: Weights, number: int) -> Refused:
    return no_such("fetch", str(number), (str(each.id) for each in keeper.fetches.all()))


@router.get("/gc", summary="What nothing needs", responses=answer(GcPlanShape, links=AGREE) | answers(404, 503))
async def plan(context: Ctx, keeper: Keeper, spark: OneSpark = None) -> dict[str, Any]:
    """Looks at the caches and at the running containers now, which takes some seconds, and says what would be deleted,
    what is kept, and why. Nothing is done by this.
    """  # noqa: D205
    if spark is not None:
        context.worker(spark)
    return _plans_json(await keeper.plans(spark))


@router.post(
    "/gc/apply",
    summary="Delete exactly that",
    responses=answer(CollectedAll) | answer(GcPlanChanged, 409) | answers(404, 503),
)
async def collect(context: Ctx, keeper: Keeper, actor: Actor, request: CollectRequest) -> dict[str, Any]:
    """Looks again, and deletes what the plan with this digest says. If it is not the plan any more, 409 with the new
    one in `plan`, and nothing is deleted. Answers when it is done.
    """  # noqa: D205
    if request.spark is not None:
        context.worker(request.spark)
    try:
        done = await keeper.collect(request.digest, spark=request.spark, by=actor)
    except PlanChanged as changed:
        now = _plans_json(changed.now)
        raise Refused(409, "PlanChanged", str(changed), field="digest", extra={"plan": now}) from changed
    return {"sparks": {each.spark: _collected_json(each) for each in done}}


def _spark_json(context: Context, seen: Seen) -> dict[str, Any]:
    survey = seen.survey
    return {
        "surveyedAt": survey.taken_at if survey else None,
        "reason": seen.reason,
        "message": seen.message,
        "repositories": _repositories(context, survey) if survey else [],
    }


def _repositories(context: Context, survey: DiskSurvey) -> list[dict[str, Any]]:
    loaded = context.loop.store.current.loaded
    declared = {name: declaration.recipe for name, declaration in loaded.resolved.items()}
    found = needed.references(declared, loaded.desired.settings.keep, {model.repo for model in survey.models})
    return [_repository_json(model, [r for r in found if r.repository == model.repo]) for model in survey.models]


def _repository_json(model: CachedModel, references: Iterable[Reference]) -> dict[str, Any]:
    return {
        "repository": model.repo,
        "path": model.path,
        "bytes": model.size_on_disk,
        "incompleteBytes": model.incomplete_bytes,
        "referencedBy": list(dict.fromkeys(reference.why for reference in references)),
        "revisions": [
            {"commit": r.commit, "refs": list(r.refs), "bytes": r.size, "complete": r.complete} for r in model.revisions
        ],
    }


def fetching_json(fetching: Fetching) -> dict[str, Any]:
    """A fetch as the API shows it."""
    outcome, progress, why = fetching.outcome, fetching.progress, fetching.why
    return {
        "id": fetching.id,
        "spark": fetching.spark,
        "repository": fetching.want.repository,
        "revision": fetching.want.revision,
        "files": list(fetching.want.files),
        "quant": fetching.want.quant or None,
        "state": fetching.state.value,
        "askedAt": fetching.asked_at,
        "startedAt": fetching.started_at,
        "endedAt": fetching.ended_at,
        "nextAt": fetching.next_at,
        "attempts": fetching.attempts,
        "reason": why.reason if why else "",
        "message": why.message if why else "",
        "progress": {
            "bytes": progress.done,
            "total": progress.total,
            "filesDone": progress.files_done,
            "files": progress.files,
            "rate": progress.rate,
            "eta": progress.eta,
            "source": progress.source,
        }
        if progress
        else None,
        "commit": outcome.commit if outcome else "",
        "notes": list(outcome.notes) if outcome else [],
    }


def _plans_json(plans: tuple[SparkPlan, ...]) -> dict[str, Any]:
    return {
        "digest": collection.digest(plans),
        "bytes": sum(each.plan.bytes for each in plans if each.plan),
        "sparks": {each.spark: _plan_json(each) for each in plans},
    }


def _plan_json(each: SparkPlan) -> dict[str, Any]:
    plan = each.plan
    return {
        "root": plan.root if plan else None,
        "bytes": plan.bytes if plan else 0,
        "reason": each.reason,
        "message": each.refused,
        "delete": [
            {"what": d.what, "why": d.why, "bytes": d.bytes, "paths": list(d.paths)}
            for d in (plan.deletions if plan else ())
        ],
        "keep": [{"what": kept.what, "why": kept.why} for kept in (plan.kept if plan else ())],
    }


def _collected_json(done: Collected) -> dict[str, Any]:
    return {"deleted": list(done.deleted), "bytes": done.bytes, "problems": list(done.problems)}
