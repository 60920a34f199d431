"""The plan of a desired state that is not in force: with all that this server knows, and nothing stored or done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from api.context import Context
from api.preview import preview, recipes_of
from reconciler.infer_menu import known_files
from reconciler.knowledge import context_names, mod_names
from reconciler.memory.files import ModelFiles
from reconciler.model import World
from reconciler.status import plan_json
from reconciler.target import Known, Overrides
from state.load import Loaded
from state.repository_commit import Commit


async def candidate_plan(
    context: Context, loaded: Loaded, *, overrides: Overrides | None = None, world: World | None = None
) -> dict[str, Any]:
    """What would be done if `loaded` came into force now, or with other overrides, or in another world."""
    recipes, learnt = recipes_of(loaded), context.loop.knowledge
    known = Known(
        mods=await learnt.mods.of(mod_names(recipes)),
        contexts=await learnt.contexts.of(context_names(recipes)),
        files=_files(context, loaded),
        peaks=context.loop.history.peaks(),
    )
    loop = context.loop
    generations = loop.store.generations_of()
    in_force = loop.store.current.loaded.spec_digests
    changed = {name for name, digest in loaded.spec_digests.items() if in_force.get(name) != digest}
    now_on = {i.workload: spark for spark, found in loop.target().instances.items() for i in found}
    _, plan = preview(
        loaded,
        world or loop.world(),
        revision=f"sha256:{loaded.digest[:12]}",
        generations={name: generations.get(name, 0) + (name in changed) for name in loaded.resolved},
        overrides=overrides or loop.overrides(),
        before=now_on,
        known=known,
    )
    return plan_json(plan)


@dataclass(kw_only=True)
class Outcome:
    """What a change to the desired state comes to, or would.

    Its plan is made before the change is in force: a moment later the loop has begun to carry it out, and what is
    left to do is no longer what the change does.
    """

    context: Context
    dry: bool
    plan: dict[str, Any] = field(default_factory=dict)

    async def foresee(self, loaded: Loaded) -> None:
        """Plan it: `loaded` is what the desired state will mean."""
        self.plan = await candidate_plan(self.context, loaded)

    def told(self, loaded: Loaded, commit: Commit | None) -> dict[str, Any]:
        """For the answer."""
        if not self.dry and self.context.follow is not None:
            self.context.follow.poke()
        return {
            "dryRun": self.dry,
            "revision": f"sha256:{loaded.digest[:12]}",
            "commit": commit.revision if commit is not None else None,
            "plan": self.plan,
        }


def _files(context: Context, loaded: Loaded) -> dict[tuple[str, str], ModelFiles]:
    """The files of its models, as far as the disks were looked through: from them memory is estimated."""
    seen = context.disks.seen() if context.disks is not None else {}
    surveys = [each.survey for _, each in sorted(seen.items()) if each.survey is not None]
    recipes = [d.recipe for d in loaded.resolved.values()]
    return known_files([r for r in recipes if r.model and r.memory is None], surveys)
