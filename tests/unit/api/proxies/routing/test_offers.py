"""What apps can ask for, read from a target and a world: who answers, under which name, and in which state the rest is."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from api.proxies.calls import Call, Refused
from api.proxies.local import Local
from api.proxies.routing.offers import Offer, Offers, look
from reconciler.model import Failure, Instance, ProbeResult, World
from reconciler.place import Placements
from reconciler.target import Known, Overrides, Target, build
from tests.unit.reconciler.builders import FABRIC, IMAGES, NOW, container, loaded_from, sight, unknown
from tests.unit.reconciler.builders import world as made_world

MODEL = "{image: 'keep/echo:1', port: 8000, probe: chat, memory: 1GiB}"
VLLM = "{engine: vllm, model: o/m, image: 'keep/echo:1', memory: 1GiB, probe: chat}"


class Scene:
    """A desired state, and containers for it that answer unless they are told not to."""

    def __init__(self, yaml: str, **overrides: Any) -> None:
        self.loaded = loaded_from(yaml)
        self.target: Target = build(
            self.loaded.desired,
            self.loaded.resolved.values(),
            revision="r",
            generations={},
            overrides=Overrides(**overrides),
            placements=Placements(on={}, waiting={}),
            known=Known(fabric=FABRIC),
        )
        self.leaving: set[tuple[str, str]] = set()
        self.names: dict[str, str | None] = {}
        self.changes: dict[tuple[str, str], dict[str, Any]] = {}
        self.silent: set[tuple[str, str]] = set()
        self.gone: set[str] = set()
        self.failures: dict[tuple[str, str], Failure] = {}

    def instances(self) -> list[Instance]:
        return [i for found in self.target.instances.values() for i in found]

    def world(self) -> World:
        running, probes = dict[str, list[Any]](s1=[], s2=[]), {}
        for number, instance in enumerate(self.instances(), 1):
            key = (instance.workload, instance.spark)
            changes = self.changes.get(key, {})
            if changes.get("state") == "absent":
                continue
            found = container(instance, number, **changes)
            running[instance.spark].append(found)
            probes[key] = ProbeResult(
                container=found.id, ready=key not in self.silent, ready_at=NOW, message="so it is"
            )
        sights = {
            name: unknown(*found) if name in self.gone else sight(*found, images=IMAGES)
            for name, found in running.items()
        }
        return replace(made_world(), sights=sights, probes=probes, failures=self.failures)

    def look(self) -> Offers:
        def served(instance: Instance, _: str) -> str | None:
            return (
                self.names.get(instance.workload, instance.workload)
                if not instance.probe.model
                else instance.probe.model
            )

        return look(
            self.target,
            self.world(),
            self.loaded.resolved,
            address={"s1": "10.0.0.1", "s2": "10.0.0.2"}.__getitem__,
            served=served,
            leaving=frozenset(self.leaving),
        )

    def only(self) -> Offer:
        (offer,) = self.look().each.values()
        return offer


def keys(offer: Offer) -> list[str]:
    return [b.key for b in offer.backends]


def test_each_replica_that_is_healthy_answers() -> None:
    offer = Scene(f"models:\n  m: {{recipe: {MODEL}, on: [s1, s2], aliases: [gpt-4o]}}\n").only()
    assert keys(offer) == ["m@s1", "m@s2"]
    assert [(b.host, b.port, b.model, b.engine) for b in offer.backends] == [
        ("10.0.0.1", 8000, "m", "container"),
        ("10.0.0.2", 8000, "m", "container"),
    ]
    assert offer.state == "ready" and offer.kind == "chat" and offer.aliases == ("gpt-4o",)


@pytest.mark.parametrize(
    ("spoil", "state"),
    [
        (lambda s: s.silent.add(("m", "s1")), "failing"),
        (lambda s: s.gone.add("s1"), "unknown"),
        (lambda s: s.changes.update({("m", "s1"): {"state": "exited"}}), "failing"),
        (lambda s: s.changes.update({("m", "s1"): {"state": "absent"}}), "waiting"),
        (lambda s: s.changes.update({("m", "s1"): {"state": "created"}}), "starting"),
        (lambda s: s.names.update(m=None), "starting"),
        (lambda s: s.leaving.add(("m", "s1")), "waiting"),
        (lambda s: s.changes.update({("m", "s1"): {"labels": {}}}), "waiting"),
    ],
)
def test_nothing_is_sent_to_what_is_not_healthy(spoil: Any, state: str) -> None:
    scene = Scene(f"models:\n  m: {{recipe: {MODEL}, on: s1}}\n")
    assert keys(scene.only()) == ["m@s1"]
    spoil(scene)
    assert (keys(scene.only()), scene.only().state) == ([], state)


def test_one_replica_that_is_ill_leaves_the_other() -> None:
    scene = Scene(f"models:\n  m: {{recipe: {MODEL}, on: [s1, s2]}}\n")
    scene.silent.add(("m", "s1"))
    assert (keys(scene.only()), scene.only().state) == (["m@s2"], "ready")


def test_suspended_and_never() -> None:
    aside = Scene(f"models:\n  m: {{recipe: {MODEL}, on: s1}}\n", suspended=frozenset({"m"}))
    assert aside.only().state == "ready"  # it is left alone, and answers
    aside.silent.add(("m", "s1"))
    assert (aside.only().state, aside.only().backends) == ("suspended", ())
    offer = Scene(f"models:\n  m: {{recipe: {MODEL}, on: s1, run: never}}\n").only()
    assert (offer.state, offer.backends, offer.listed) == ("never", (), False)


def test_what_runs_on_demand_and_has_ended_is_stopped_and_not_failing() -> None:
    scene = Scene(f"models:\n  m: {{recipe: {MODEL}, on: s1, run: on-demand}}\n")
    scene.changes["m", "s1"] = {"state": "exited"}
    assert (scene.only().state, scene.only().listed) == ("stopped", True)
    scene.changes["m", "s1"] = {"state": "absent"}
    assert scene.only().state == "stopped"
    why = Failure(count=1, reason="Exited", message="it ended", spec_hash=scene.instances()[0].spec_hash, at=NOW)
    scene.failures["m", "s1"] = why
    assert scene.only().state == "failing"


def test_of_a_group_only_the_head_answers() -> None:
    scene = Scene(f"models:\n  m: {{recipe: {VLLM}, across: [s2, s1]}}\n")
    assert len(scene.instances()) == 2
    assert keys(scene.only()) == ["m@s2"]
    assert scene.only().backends[0].engine == "vllm"


def test_models_are_asked_by_the_name_that_their_server_gives_them() -> None:
    sglang = (
        "{engine: sglang, model: o/m, image: 'keep/echo:1', memory: 1GiB, flags: {served-model-name: big}, probe: chat}"
    )
    assert Scene(f"models:\n  m: {{recipe: {sglang}, on: s1}}\n").only().backends[0].model == "big"
    assert Scene(f"models:\n  m: {{recipe: {VLLM}, on: s1}}\n").only().backends[0].model == "m"


def test_services_are_offered_if_they_are_models_of_some_kind() -> None:
    offers = Scene(
        "services:\n"
        "  vectors: {recipe: {image: 'keep/echo:1', port: 8001, probe: embedding}, on: s1}\n"
        "  page: {recipe: {image: 'keep/echo:1', port: 8002, probe: {kind: http, path: /}}, on: s1}\n"
        "  quiet: {recipe: {image: 'keep/echo:1', port: 8003, probe: none}, on: s1}\n"
    ).look()
    assert [(offer.name, offer.kind) for offer in offers.each.values()] == [("vectors", "embedding")]


def test_a_model_without_a_probe_answers_while_it_runs_and_one_without_a_port_never() -> None:
    port, none = "{image: 'keep/echo:1', port: 8000, probe: none}", "{image: 'keep/echo:1', probe: none}"
    assert Scene(f"models:\n  m: {{recipe: {port}, on: s1}}\n").only().backends[0].port == 8000
    assert Scene(f"models:\n  m: {{recipe: {none}, on: s1}}\n").only().backends == ()


def said(offers: Offers, path: str, method: str = "GET", body: bytes = b"") -> Any:
    status, fields, text = Local(lambda: offers).answer(Call(method=method, path=path), body)
    assert status == 200 and dict(fields)[b"content-length"] == str(len(text)).encode()
    return json.loads(text)


def test_the_list_has_every_name_of_what_answers_or_would() -> None:
    scene = Scene(
        f"models:\n  m: {{recipe: {MODEL}, on: s1, aliases: [gpt-4o, owner/m]}}\n"
        "  later: {recipe: {image: 'keep/echo:1', port: 8001, probe: chat, memory: 1GiB}, on: s1, run: on-demand}\n"
        "  never: {recipe: {image: 'keep/echo:1', port: 8002, probe: chat, memory: 1GiB}, on: s1, run: never}\n"
    )
    scene.changes["later", "s1"] = {"state": "absent"}
    offers = scene.look()
    listed = said(offers, "/v1/models")
    assert [(e["id"], e["sparkkeep"]["state"]) for e in listed["data"]] == [
        ("m", "ready"),
        ("gpt-4o", "ready"),
        ("owner/m", "ready"),
        ("later", "stopped"),
    ]
    assert listed["object"] == "list"
    assert listed["data"][0] == {
        "id": "m",
        "object": "model",
        "created": int(NOW - 100),
        "owned_by": "sparkkeep",
        "type": "model",
        "display_name": "m",
        "created_at": "2027-01-15T07:58:20Z",
        "sparkkeep": {
            "workload": "m", "state": "ready", "run": "always", "kind": "chat",
            "sparks": ["s1"], "ready": ["s1"], "aliases": ["gpt-4o", "owner/m"],
        },
    }  # fmt: skip
    assert said(offers, "/v1/models/owner/m")["sparkkeep"]["workload"] == "m"
    assert said(offers, "/v1/models/never")["sparkkeep"]["state"] == "never"
    with pytest.raises(Refused) as refused:
        said(offers, "/v1/models/nothing")
    assert (refused.value.status, refused.value.allowed) == (404, ("gpt-4o", "later", "m", "owner/m"))


def test_ollamas_programs_are_told_the_same() -> None:
    scene = Scene(
        f"models:\n  m: {{recipe: {MODEL}, on: s1, aliases: [gpt-4o]}}\n"
        "  later: {recipe: {image: 'keep/echo:1', port: 8001, probe: chat, memory: 1GiB}, on: s1, run: on-demand}\n"
    )
    scene.changes["later", "s1"] = {"state": "absent"}
    offers = scene.look()
    assert [m["name"] for m in said(offers, "/api/tags")["models"]] == ["m", "gpt-4o", "later"]
    assert [m["name"] for m in said(offers, "/api/ps")["models"]] == ["m", "gpt-4o"]
    assert said(offers, "/api/show", "POST", b'{"model":"m:latest"}')["capabilities"] == ["completion", "tools"]
    assert said(offers, "/api/version")["version"]
    for path, method in (("/v1/models", "DELETE"), ("/api/show", "GET"), ("/api/tags", "POST")):
        with pytest.raises(Refused) as refused:
            said(offers, path, method)
        assert (refused.value.status, refused.value.reason) == (405, "MethodNotAllowed")


def test_what_a_recipe_says_of_its_pooling_and_its_names() -> None:
    pooling = "{server: tei, batch: 8, prompts: {query: 'q: '}}"
    recipe = f"{{image: 'keep/echo:1', port: 8000, probe: embedding, memory: 1GiB, pooling: {pooling}}}"
    scene = Scene(f"models: {{e: {{recipe: {recipe}, on: s1, aliases: [vectors]}}, m: {{recipe: {VLLM}, on: s2}}}}")
    offers = scene.look()
    for name in ("e", "vectors", "e@query", "vectors@query"):
        assert offers.named(name).name == "e"
    with pytest.raises(Refused):
        offers.named("e@other")
    [backend] = offers.named("e").backends
    assert backend.way is not None
    assert (backend.way.server, backend.way.batch, backend.way.prompts) == ("tei", 8, (("query", "q: "),))
    [backend] = offers.named("m").backends
    assert backend.way is not None
    assert backend.way.plain
