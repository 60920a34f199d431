"""schemathesis over the whole OpenAPI document, against practice Sparks: no 5xx, and no answer that is not described.

Every operation gets the examples of the document, every boundary of its schema from both sides, and random requests,
valid and not. `SPARKKEEP_LONG=1` makes far more of the random ones. Streams are bounded: of `/api/events` and `/api/watch`
the first events are read, and `follow` of a log is not generated here, since it lasts until its container ends; that all
begin and end properly is tested beside this. Authentication does not apply: there is no login.
"""

from __future__ import annotations

import http.server
import inspect
import os
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS
from schemathesis.config import SchemathesisConfig

from api.versioned import Versioned
from reconciler.practice.faults import Faults
from tests.bad_input.corpus import corpus
from tests.bad_input.described import described
from tests.bad_input.mutations import mutant
from tests.bad_input.served import Fleet, served
from tests.gitops.conftest import git

pytestmark = [pytest.mark.xdist_group("bad-input-api"), pytest.mark.timeout(1800)]

LONG = bool(os.environ.get("SPARKKEEP_LONG"))
EXAMPLES = 300 if LONG else 5
PATIENCE = 30  # seconds for an answer
DESIRED = """\
sparks: {spark-1: {host: h}}
services:
  echo: {recipe: {image: 'python:3.13-slim', port: 18080, memory: 64MiB, probe: {kind: http, path: /}}, on: spark-1}
  both: {recipe: {image: 'python:3.13-slim', port: 18081, memory: 64MiB, probe: none}, on: [spark-1, spark-2]}
"""
LASTING = {"/api/events", "/api/workloads/{name}/logs"}
CORPUS = corpus()
LONGEST = 2**21  # characters of a desired state in a request
REFUSAL = {"reason", "message", "field", "allowed"}
TRUE = {"1", "on", "t", "true", "y", "yes"}

config = SchemathesisConfig.from_dict(
    {"seed": 4, "max-stream-events": 3, "generation": {"deterministic": True, "database": "none"}}
)
schema = schemathesis.openapi.from_dict(described(), config=config)
checks = CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
        "missing_required_header",
        "unsupported_method",
    ]
)
lenient = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


reached: Counter[tuple[str, int]] = Counter()  # (operation, status) -> answers


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "data").mkdir()
    git(folder / "data", "init", "--quiet", "--initial-branch=main", ".")
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", "hub.git")
    git(folder / "data", "remote", "add", "origin", str(folder / "hub.git"))
    with served(folder, DESIRED, versioned=Versioned(remote="origin", every=3600)) as running:
        running.settle()
        git(folder / "data", "add", "desired.yaml")
        git(folder / "data", "commit", "--quiet", "-m", "the fleet")
        yield running
        assert not running.complaints.said, "\n\n".join(running.complaints.said)


@pytest.fixture(scope="module")
def declared(fleet: Fleet) -> str:
    return fleet.room.desired.read_text()


@pytest.fixture(autouse=True)
def mended(fleet: Fleet, declared: str) -> Iterator[None]:
    """What a test broke or declared is as it was for the next."""
    yield
    fleet.mend()
    if fleet.room.desired.read_text() != declared:
        head = {"content-type": "application/yaml", "if-match": "*"}
        put = requests.put(f"{fleet.url}/api/desired", declared.encode(), headers=head, timeout=PATIENCE)
        assert put.ok, put.text
    for name in ("echo", "both"):
        requests.post(f"{fleet.url}/api/workloads/{name}/resume", timeout=PATIENCE)
    for spark in ("spark-1", "spark-2"):
        for verb in ("uncordon", "undrain"):
            requests.post(f"{fleet.url}/api/sparks/{spark}/{verb}", timeout=PATIENCE)


def bounded(case: schemathesis.Case) -> None:
    """No request that is meant to last."""
    lasting = str(case.query.get("follow", "true" if case.path == "/api/events" else "")).lower() in TRUE
    if case.path in LASTING and lasting:
        case.query["follow"] = "false"


def judged(case: schemathesis.Case, response: schemathesis.Response) -> None:
    reached[case.operation.label, response.status_code] += 1
    case.validate_response(response, checks=checks)


@schema.parametrize()
@lenient
def test_every_operation(case: schemathesis.Case, fleet: Fleet) -> None:
    bounded(case)
    judged(case, case.call(base_url=fleet.url, timeout=PATIENCE))


def test_what_one_answer_gives_another_takes(fleet: Fleet) -> None:
    """Along the links of the document: a plan is approved, a fetch looked at and cancelled, a key trusted."""

    class Walk(schema.as_state_machine()):  # type: ignore[misc]  # a class made at run time
        def before_call(self, case: schemathesis.Case) -> None:
            bounded(case)

        def get_call_kwargs(self, case: schemathesis.Case) -> dict[str, Any]:
            return {"base_url": fleet.url, "timeout": PATIENCE}

        def validate_response(self, response: schemathesis.Response, case: schemathesis.Case, **_: Any) -> None:
            judged(case, response)

    Walk.run(settings=settings(lenient, max_examples=500 if LONG else 12, stateful_step_count=8))


def ask(
    fleet: Fleet, method: str, path: str, body: object = None, *, status: int = 200, query: Any = None, **names: str
) -> Any:
    """One request by hand, judged as all are. Gives what the answer says."""
    sent = {} if body is None else {"body": body, "media_type": "application/json"}
    case = schema[path][method].Case(path_parameters=names, query=query or {}, **sent)
    response = case.call(base_url=fleet.url, timeout=PATIENCE)
    judged(case, response)
    assert response.status_code == status, response.text
    return response.json()


def test_refusals_that_say_more_than_others(fleet: Fleet) -> None:
    """What is there instead stands in them."""
    assert ask(fleet, "GET", "/api/events", status=410, query={"since": 10**30})["latestSeq"] > 0
    assert ask(fleet, "GET", "/api/watch", status=410, query={"since": f"{'0' * 16}.1.1"})["latest"]
    nothing = "0" * 16
    assert ask(fleet, "POST", "/api/plans/{id}/apply", status=409, id=nothing)["plan"]["id"] != nothing
    waste = ask(fleet, "POST", "/api/weights/gc/apply", {"digest": nothing}, status=409)
    assert waste["plan"]["digest"] != nothing
    invalid = ask(fleet, "POST", "/api/plan", {"desired": "sparks: 3"}, status=422)
    assert [problem["line"] for problem in invalid["problems"]] == [1]


def test_what_was_shown_can_be_agreed_to(fleet: Fleet) -> None:
    """The three agreements that the walk above meets only with luck."""
    key = ask(fleet, "GET", "/api/sparks/{name}/hostkey", name="spark-1")
    ask(fleet, "POST", "/api/sparks/{name}/trust", {"fingerprint": key["fingerprint"]}, name="spark-1")
    waste = ask(fleet, "GET", "/api/weights/gc")
    ask(fleet, "POST", "/api/weights/gc/apply", {"digest": waste["digest"]})
    fleet.settle()
    plan = ask(fleet, "POST", "/api/plan")
    assert plan["candidate"] is False
    ask(fleet, "POST", "/api/plans/{id}/apply", id=plan["id"])


def test_a_secret_is_set_and_forgotten(fleet: Fleet) -> None:
    """Made-up names are hardly ever those of secrets that are there."""
    ask(fleet, "PUT", "/api/secrets/{name}", {"value": "x"}, name="made-up")
    assert "made-up" in ask(fleet, "GET", "/api/secrets")["secrets"]
    ask(fleet, "DELETE", "/api/secrets/{name}", name="made-up")


def test_the_desired_state_is_changed_and_taken_back(fleet: Fleet) -> None:
    """Made-up changes are hardly ever valid ones."""
    there = schema["/api/desired"]["GET"].Case(headers={"accept": "application/json"})
    answer = there.call(base_url=fleet.url, timeout=PATIENCE)
    judged(there, answer)
    ask(fleet, "PUT", "/api/desired", answer.json())
    ask(fleet, "PATCH", "/api/desired/{single}", {"scanInterval": "45s"}, single="settings")
    assert ask(fleet, "GET", "/api/desired/{single}", single="settings")["scanInterval"] == "45s"
    changed = ask(fleet, "POST", "/api/settings", {"values": {"settings.scanInterval": "50s"}})
    assert changed["values"]["settings.scanInterval"] == "50s"
    part = {"section": "services", "name": "more"}
    recipe = {"image": "python:3.13-slim", "memory": "64MiB", "probe": "none"}
    ask(fleet, "PUT", "/api/desired/{section}/{name}", {"recipe": recipe, "on": "spark-1", "run": "never"}, **part)
    ask(fleet, "PATCH", "/api/desired/{section}/{name}", {"on": "spark-2"}, **part)
    assert ask(fleet, "GET", "/api/desired/{section}/{name}", **part)["on"] == "spark-2"
    ask(fleet, "DELETE", "/api/desired/{section}/{name}", **part)
    last = ask(fleet, "GET", "/api/history")["commits"][1]["revision"]
    assert "more" in ask(fleet, "GET", "/api/history/{revision}/diff", revision=last)["diff"]
    ask(fleet, "POST", "/api/rollback", {"revision": last})
    assert ask(fleet, "GET", "/api/desired/{section}/{name}", **part)["on"] == "spark-2"


def test_a_push_elsewhere_is_told(fleet: Fleet) -> None:
    """Only who knows the secret is heard, and no made-up word is it."""
    ask(fleet, "PUT", "/api/secrets/{name}", {"value": "of-the-hook"}, name="git-webhook")
    hook = schema["/api/hooks/git"]["POST"].Case(headers={"x-gitlab-token": "of-the-hook"})
    response = hook.call(base_url=fleet.url, timeout=PATIENCE)
    judged(hook, response)
    assert response.status_code < 300, response.text
    ask(fleet, "POST", "/api/sync")
    ask(fleet, "DELETE", "/api/secrets/{name}", name="git-webhook")


def test_a_question_is_answered(fleet: Fleet) -> None:
    """Made-up names are hardly ever those of workloads that serve."""
    fleet.settle()
    assert (
        "ping" in ask(fleet, "POST", "/api/workloads/{name}/try", {"kind": "chat", "text": "ping"}, name="echo")["text"]
    )


class Taker(http.server.BaseHTTPRequestHandler):
    """Takes whatever is posted."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_notification_is_sent(fleet: Fleet) -> None:
    """Nobody is told of anything unless an address is declared."""
    before = fleet.room.desired.read_text()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taker) as taker:
        serving = threading.Thread(target=taker.serve_forever)
        serving.start()
        url = f"http://127.0.0.1:{taker.server_address[1]}/"
        try:
            fleet.room.desired.write_text(f"{before}settings: {{notifications: [{{name: hook, url: '{url}'}}]}}\n")
            fleet.call(fleet.parts.store.reload)
            ask(fleet, "POST", "/api/notifications/{name}/test", name="hook")
        finally:
            fleet.room.desired.write_text(before)
            fleet.call(fleet.parts.store.reload)
            taker.shutdown()
            serving.join()


def test_every_operation_was_reached() -> None:
    """None of this was answered with refusals alone."""
    every = {operation.ok().label for operation in schema.get_all_operations()}
    if {label for label, _ in reached} != every:
        pytest.skip("only after the others")
    assert {label for label, status in reached if status < 300} == every


@pytest.mark.parametrize("name", CORPUS)
def test_a_plan_for_a_spoilt_document(name: str, fleet: Fleet) -> None:
    """Whatever text it is: a plan, or all that is wrong with it. Nothing comes into force."""
    before = ask(fleet, "GET", "/api/status")
    for number in range(1000 if LONG else 25):
        text = mutant(CORPUS[name].encode(), number).decode("utf-8", "replace")
        if len(text) <= LONGEST:
            case = schema["/api/plan"]["POST"].Case(body={"desired": text}, media_type="application/json")
            response = case.call(base_url=fleet.url, timeout=PATIENCE)
            judged(case, response)
            assert response.status_code == 200 or response.json()["reason"] == "Invalid", (number, response.text)
    after = ask(fleet, "GET", "/api/status")
    assert (after["revision"], after["generation"]) == (before["revision"], before["generation"])


FAULTS = {name: inspect.signature(f) for name, f in inspect.getmembers(Faults, inspect.isfunction) if name[0] != "_"}
NUMBERS = st.sampled_from([0, 1, -1, 0.5, 2**31, 2**63, -(2**64), 10**30, 1e308, -1e308, 5e-324])
ODD = st.one_of(NUMBERS, st.none(), st.booleans(), st.text(max_size=20), st.just("sparkkeep-echo"), st.just([{}]))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_takes_any_arguments(fault: str, fleet: Fleet) -> None:
    """Each fault with arguments of its own name and any value: done or refused, and the API goes on."""
    own = st.fixed_dictionaries({}, optional=dict.fromkeys(list(FAULTS[fault].parameters)[1:], ODD))

    @settings(lenient, max_examples=100 if LONG else 5)
    @given(own | st.dictionaries(st.text(max_size=5), ODD, max_size=2))
    def run(arguments: dict[str, Any]) -> None:
        answer = requests.post(f"{fleet.url}/api/practice/spark-2/{fault}", json=arguments, timeout=PATIENCE)
        reached["POST /api/practice/{spark}/{fault}", answer.status_code] += 1
        assert answer.status_code in {200, 422}, answer.text
        assert set(answer.json()) == ({"spark", "fault", "result"} if answer.ok else REFUSAL), answer.text
        assert requests.get(f"{fleet.url}/api/status", timeout=PATIENCE).status_code == 200
        fleet.mend()

    run()


@given(seen=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=33), spark=st.text(max_size=8))
@settings(lenient, max_examples=300 if LONG else 30)
def test_streams_begin_and_end(fleet: Fleet, seen: str, spark: str) -> None:
    """The three that last: refused, or begun with the right type and ended by the client, whatever it sent."""
    for path in ("/api/events?follow=true", "/api/watch?events=true", "/api/workloads/echo/logs?follow=true"):
        with requests.get(
            f"{fleet.url}{path}",
            params={"spark": spark} if spark else {},
            headers={"Last-Event-ID": seen},
            stream=True,
            timeout=PATIENCE,
        ) as answer:
            if answer.status_code == 200:
                kind = "text/event-stream" if "events" in path else "text/plain"
                assert answer.headers["content-type"].startswith(kind)
                assert next(answer.iter_content(1))
            else:
                assert answer.status_code in {404, 410, 422}
                assert answer.json().keys() >= REFUSAL
