import pytest

from state.load import Declaration, load, load_sources, load_text, recipe_files
from state.problems import Invalid, Problem
from state.recipes import merge_over
from state.sources import RecipeFile, Source

RECIPES = """
recipes:
  echo: {image: example/echo:1, port: 8080, env: {A: "1", TOKEN: {secret: hf}}, probe: http}
  qwen: {engine: vllm, model: a/b, image: x/y:1, port: 8000, flags: {a: 1, sc: {m: x, n: 2}}, memory: 92GiB, probe: chat}
  web: {image: web:1, network: bridge, ports: [{host: 80, container: 8080}, {host: 53, container: 53, protocol: udp}]}
"""
SPARKS = "sparks: {spark-1: {host: 192.168.1.11}, spark-2: {host: b}}\n"


def loaded(text, recipes=RECIPES):
    return load_sources([Source("desired.yaml", text.encode())], [Source("models.yaml", recipes.encode())])


def problems(text, recipes=RECIPES) -> list[Problem]:
    with pytest.raises(Invalid) as caught:
        loaded(text, recipes)
    return caught.value.problems


def one(text, recipes=RECIPES) -> Problem:
    found = problems(text, recipes)
    assert len(found) == 1, [str(p) for p in found]
    return found[0]


def test_an_empty_document_is_an_empty_state():
    for text in ("", "# nothing\n", "sparks:\nmodels:\nservices:\nsettings:\nguards:\n", "{}"):
        state = loaded(text)
        assert state.resolved == {}
        assert state.desired.sparks == {}
    assert state.desired.guards.max_destructive == 10


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{a0}", "a0"),
        ("servces:\n", "servces"),
        (SPARKS + "guards: {maxDestructiv: }\n", "guards.maxDestructiv"),
    ],
)
def test_a_key_that_nobody_knows_is_refused_though_nothing_stands_at_it(text, path):
    """`{a0}` was valid, and declared nothing."""
    found = one(text)
    assert found.field == path
    assert "not a known key" in found.message


def test_a_workload_lies_over_its_recipe():
    state = loaded(
        SPARKS
        + """
models:
  big: {recipe: qwen, on: spark-1, flags: {sc: {n: 3}, b: 2}, env: {X: 0.50}, memory: 1GiB, port: 9000, revision: abc}
services:
  echo: {recipe: echo, on: [spark-1, spark-2], env: {TOKEN: plain, A: {secret: s}}}
"""
    )
    big = state.resolved["big"]
    assert isinstance(big, Declaration)
    assert big.kind == "model"
    assert big.recipe_name == "qwen"
    assert big.recipe.flags == {"a": 1, "sc": {"m": "x", "n": 3}, "b": 2}
    assert big.recipe.env == {"X": "0.50"}
    assert (big.recipe.memory, big.recipe.port, big.recipe.revision) == (2**30, 9000, "abc")
    assert big.recipe.model == "a/b"
    echo = state.resolved["echo"]
    assert echo.kind == "service"
    assert echo.recipe.env["TOKEN"] == "plain"  # noqa: S105
    assert echo.recipe.env["A"].secret == "s"  # noqa: S105
    assert state.recipes["qwen"].port == 8000


def test_a_recipe_in_place():
    state = loaded(SPARKS + "services: {x: {recipe: {image: a:1, command: [serve]}, image: 'a:2', on: spark-1}}")
    assert state.resolved["x"].recipe.image == "a:2"
    assert state.resolved["x"].recipe_name is None


def test_run_no_means_never():
    for word in ("no", "off", "never", "'no'", "false"):
        assert (
            loaded(SPARKS + f"models: {{m: {{recipe: qwen, on: spark-1, run: {word}}}}}").resolved["m"].workload.run
            == "never"
        )


def test_restart_no_is_the_policy():
    state = loaded(SPARKS + "models: {m: {recipe: {image: a, restart: no, gpus: all}, on: spark-1}}")
    assert state.resolved["m"].recipe.restart == "no"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "models:\n  qwen:\n    recipe: qwen\n    on: spark-9\n",
            "desired.yaml:5:5: models.qwen.on: 'spark-9' is not a Spark of this file; allowed: spark-1, spark-2",
        ),
        (
            "models:\n  m: {recipe: qwn, on: spark-1}\n",
            "desired.yaml:3:7: models.m.recipe: 'qwn' is not a known recipe; allowed: qwen, and 2 more",
        ),
        (
            "models:\n  m: {recipe: qwen, on: [spark-1, nope]}\n",
            "desired.yaml:3:35: models.m.on[1]: 'nope' is not a Spark of this file; allowed: spark-1, spark-2",
        ),
        (
            "models:\n  m: {recipe: qwen, across: [spark-1, nope]}\n",
            "desired.yaml:3:39: models.m.across[1]: 'nope' is not a Spark of this file; allowed: spark-1, spark-2",
        ),
        (
            "models:\n  m: {recipe: qwen, across: [spark-1, any]}\n",
            "desired.yaml:3:39: models.m.across[1]: 'any' is not a Spark of this file; allowed: spark-1, spark-2",
        ),
        (
            "models:\n  m: {recipe: qwen, on: spark-1, run: sometimes}\n",
            (
                "desired.yaml:3:34: models.m.run: 'sometimes' is not one of the words known here; "
                "allowed: always, on-demand, never"
            ),
        ),
        (
            "models:\n  M_1: {recipe: qwen, on: spark-1}\n",
            (
                "desired.yaml:3:3: models.M_1: as a name, 'M_1' does not fit; allowed: lower-case letters, digits, "
                "'-' and '.', at most 63, with a letter or digit at both ends"
            ),
        ),
        (
            "models:\n  m: {recipe: qwen, on: spark-1, revision: 1234567}\n",
            "desired.yaml:3:34: models.m.revision: 1234567 is not text: put it in quotes",
        ),
        (
            "models:\n  m: {recipe: qwen, on: spark-1, port: '80'}\n",
            "desired.yaml:3:34: models.m.port: '80' is not a whole number: write it without quotes",
        ),
        ("models:\n  m: {on: spark-1}\n", "desired.yaml:3:3: models.m.recipe: is missing"),
        ("models:\n  m:\n", "desired.yaml:3:3: models.m: nothing is not a map (key: value)"),
        ("models: [a]\n", "desired.yaml:2:1: models: this value is not a map (key: value)"),
        (
            "models:\n  m: {recipe: qwen, on: []}\n",
            "desired.yaml:3:21: models.m.on: must have at least 1 entries; it has 0",
        ),
        (
            "models:\n  m: {recipe: qwen, on: [spark-1, spark-1]}\n",
            "desired.yaml:3:21: models.m.on: names a Spark twice",
        ),
        ("models:\n  m: {recipe: qwen, on: [any, spark-1]}\n", "desired.yaml:3:21: models.m.on: `any` stands alone"),
        (
            "models:\n  m: {recipe: qwen, on: spark-1, across: [spark-1, spark-2]}\n",
            "desired.yaml:3:34: models.m.across: give either `on` or `across`, not both",
        ),
        (
            "models:\n  m: {recipe: {image: a, probe: cat}, on: spark-1}\n",
            (
                "desired.yaml:3:26: models.m.recipe.probe: 'cat' is not one of the words known here; allowed: chat, "
                "completion, embedding, rerank, transcription, diarization, speech, http, none"
            ),
        ),
        (
            "models:\n  m: {recipe: {image: a, probe: chat}, on: spark-1}\n",
            "desired.yaml:3:7: models.m.recipe.port: a probe of kind chat needs the port that it asks",
        ),
        (
            "models:\n  m: {recipe: qwen, on: spark-1, memory: lots}\n",
            "desired.yaml:3:34: models.m.memory: must be a size such as 512MiB or 92GiB",
        ),
        (
            "models:\n  m: {recipe: qwen, on: spark-1, env: {A: true}}\n",
            'desired.yaml:3:40: models.m.env.A: must be a string: write "true" or "false" in quotes',
        ),
        (
            "models:\n  m: {recipe: qwen, on: spark-1, env: {A: {secret: X}}}\n",
            (
                "desired.yaml:3:44: models.m.env.A.secret: this value does not fit; allowed: lower-case letters, digits, "
                "'-' and '.', at most 63, with a letter or digit at both ends"
            ),
        ),
        (
            "models:\n  m: {recipe: qwen, on: spark-1, commnd: [a]}\n",
            (
                "desired.yaml:3:34: models.m.commnd: is not a known key; allowed: across, aliases, concurrency, description, env, "
                "flags, idle, image, memory, on, port, priority, recipe, revision, run, suspend"
            ),
        ),
        ("guards: {unreachableFreeze: 2}\n", "desired.yaml:2:10: guards.unreachableFreeze: must be at most 1; it is 2"),
        (
            "settings: {scanInterval: 0.2s}\n",
            "desired.yaml:2:12: settings.scanInterval: must be at least 1; it is 0.2",
        ),
        (
            "apiVersion: v2\n",
            "desired.yaml:2:1: apiVersion: 'v2' is not one of the words known here; allowed: sparkkeep/v1",
        ),
    ],
)
def test_one_mistake_one_sentence(text, said):
    assert str(one(SPARKS + text)) == said


def test_a_misspelt_key_names_the_one_meant():
    assert "did you mean scanInterval?" in one("settings: {scan_interval: 30s}").message
    assert "did you mean models?" in one("modles: {}").message
    assert one("modles: {}").allowed[0] == "apiVersion"
    assert (
        "did you mean readOnly?"
        in one("models: {m: {recipe: {image: a, mounts: [{source: /a, target: /b, readonly: true}]}}}").message
    )


def test_a_key_of_the_recipe_is_sent_there():
    assert "under `recipe:`" in one("models: {m: {recipe: qwen, command: [a]}}").message


def test_names_that_look_like_fields_do_not_confuse_the_advice():
    found = one("models: {on: {recipe: qwen, flgas: {}}, recipe: {recipe: qwen}}")
    assert found.field == "models.on.flgas"
    assert "flags" in found.message


def test_secrets_pasted_into_env_are_not_repeated():
    found = problems(
        'models: {m: {recipe: qwen, env: {HF_TOKEN: [hf_secret], B: {secret: hf_secret!}, C: "hf_secret\\nx"}}}'
    )
    assert len(found) == 3
    assert all("hf_secret" not in str(problem) for problem in found)


def test_every_problem_is_reported_with_its_place():
    text = """
sparks: {spark-1: {host: "-x"}, spark-2: {host: a, prot: 3}}
models:
  q: {recipe: nope, on: spark-9, run: sometimes}
  r: {recipe: {image: 3}, across: [spark-1]}
  s: {recipe: qwen, on: spark-1, aliases: [q]}
services:
  q: {recipe: echo}
x: 1
x: 2
"""
    found = problems(text)
    assert [(p.line, p.field) for p in found] == [
        (2, "sparks.spark-1.host"),
        (2, "sparks.spark-2.prot"),
        (4, "models.q.recipe"),
        (4, "models.q.on"),
        (4, "models.q.run"),
        (5, "models.r.recipe.image"),
        (5, "models.r.across"),
        (6, "models.s.aliases[0]"),
        (8, "services.q"),
        (9, "x"),
        (10, "x"),
    ]
    assert all(p.file == "desired.yaml" and p.column > 0 for p in found)


def test_the_number_of_problems_is_bounded():
    text = "models:\n" + "".join(f"  m{i}: 3\n" for i in range(1000))
    found = problems(text)
    assert len(found) == 201
    assert "800 more" in found[-1].message


def test_a_port_clash_names_both():
    text = (
        SPARKS
        + "models:\n  a: {recipe: qwen, on: spark-1}\nservices:\n  b: {recipe: echo, on: [spark-2, spark-1], port: 8000}\n"
    )
    found = one(text)
    assert (found.line, found.field) == (5, "services.b.port")
    assert "port 8000 of spark-1" in found.message
    assert "models.a, at desired.yaml:3:3" in found.message


@pytest.mark.parametrize(
    "second",
    [
        "{recipe: qwen, on: spark-2}",
        "{recipe: qwen, on: any}",
        "{recipe: qwen}",
        "{recipe: qwen, on: spark-1, run: never}",
        "{recipe: qwen, on: spark-1, port: 8001}",
        "{recipe: {image: a, port: 8000, network: bridge}, on: spark-1}",
        "{recipe: {image: a, network: bridge, ports: [{host: 8000, container: 1, protocol: udp}]}, on: spark-1}",
        "{recipe: qwen, across: [spark-2, spark-1]}",
    ],
)
def test_ports_that_do_not_clash(second):
    loaded(SPARKS + f"models:\n  a: {{recipe: qwen, on: spark-1}}\n  b: {second}\n")


@pytest.mark.parametrize(
    "second",
    [
        "{recipe: qwen, across: [spark-1, spark-2]}",
        "{recipe: qwen, on: spark-1, run: on-demand}",
        "{recipe: {image: a, network: bridge, ports: [{host: 8000, container: 1}]}, on: spark-1}",
    ],
)
def test_ports_that_clash(second):
    assert "8000" in one(SPARKS + f"models:\n  a: {{recipe: qwen, on: spark-1}}\n  b: {second}\n").message


@pytest.mark.parametrize("second", ["{recipe: echo, aliases: [gpt]}", "{recipe: echo, aliases: [a]}"])
def test_an_alias_means_one_workload(second):
    found = one(f"models:\n  a: {{recipe: qwen, aliases: [gpt]}}\nservices:\n  b: {second}\n")
    assert found.field == "services.b.aliases[0]"
    assert "models.a, at desired.yaml:2" in found.message


def test_a_later_name_beats_an_earlier_alias():
    found = one("models:\n  a: {recipe: qwen, aliases: [b]}\n  b: {recipe: echo}\n")
    assert found.field == "models.a.aliases[0]"


def test_a_spark_called_any_is_refused():
    assert one("sparks: {any: {host: a}}").field == "sparks.any"


def test_a_broken_recipe_is_reported_in_its_own_file():
    found = problems(
        "models: {m: {recipe: bad}}", "recipes:\n  bad:\n    image: 3\n    prot: 1\n  Bad_Name: {image: a}\n"
    )
    assert [str(p).split(": ")[0] for p in found] == ["models.yaml:3:5", "models.yaml:4:5", "models.yaml:5:3"]
    assert found[1].field == "recipes.bad.prot"


@pytest.mark.parametrize("text", ["recpes: {}", "- a", "recipes: [a]", "recipes: {a: 3}", "recipes: {a: {}}"])
def test_a_file_of_recipes_has_one_key(text):
    assert problems("", text)[0].file == "models.yaml"


def test_merged_flags_beyond_the_bound_are_the_workloads_fault():
    many = "{" + ", ".join(f"f{i}: 1" for i in range(200)) + "}"
    more = "{" + ", ".join(f"g{i}: 1" for i in range(200)) + "}"
    found = one(f"models:\n  m:\n    recipe: r\n    flags: {more}\n", f"recipes: {{r: {{image: a, flags: {many}}}}}")
    assert (found.line, found.field) == (4, "models.m.flags")


@pytest.mark.parametrize(
    "flags",
    [
        "{x: '" + "x" * 40_000 + "'}",
        "{x: 1e999}",
        "{x: " + "9" * 30 + "}",
        "{x: " + "[" * 30 + "]" * 30 + "}",
        "{x: [" + "1," * 3000 + "]}",
        '{x: "\\0"}',
        "{--x: 1}",
        "{'a b': 1}",
        '{x: {"k\\0": 1}}',
    ],
)
def test_flags_are_bounded(flags):
    assert one(f"models: {{m: {{recipe: qwen, flags: {flags}}}}}").field.startswith("models.m.flags")


# Folders and files


def test_a_folder_is_merged(tmp_path):
    (tmp_path / "10-sparks.yaml").write_text("apiVersion: sparkkeep/v1\nsparks: {s: {host: a}}\n")
    (tmp_path / "20-models.yml").write_text("apiVersion: sparkkeep/v1\nmodels: {m: {recipe: {image: a}, on: s}}\n")
    (tmp_path / "30.yaml").write_text("models: {n: {recipe: {image: a}, on: s}}\nguards: {allowEmpty: true}\n")
    (tmp_path / "40.yaml").write_text("models:\nguards: {maxDestructive: 3}\n")
    (tmp_path / ".hidden.yaml").write_text("- no")
    (tmp_path / "README.md").write_text("- no")
    state = load(tmp_path)
    assert list(state.resolved) == ["m", "n"]
    assert state.desired.guards.allow_empty
    assert state.desired.guards.max_destructive == 3
    assert [name.rsplit("/", 1)[1] for name in state.files] == ["10-sparks.yaml", "20-models.yml", "30.yaml", "40.yaml"]


def test_a_name_in_two_files_names_both_places(tmp_path):
    (tmp_path / "a.yaml").write_text("models:\n  m: {recipe: {image: a}}\nguards: {allowEmpty: true}\n")
    (tmp_path / "b.yaml").write_text("\nmodels:\n  m: {recipe: {image: b}}\nguards: {allowEmpty: true}\n")
    with pytest.raises(Invalid) as caught:
        load(tmp_path)
    first, second = caught.value.problems
    assert (first.file, first.line, first.field) == (str(tmp_path / "b.yaml"), 3, "models.m")
    assert f"{tmp_path / 'a.yaml'}:2:3" in first.message
    assert second.field == "guards.allowEmpty"


def test_a_model_and_a_service_of_one_name_in_two_files(tmp_path):
    (tmp_path / "a.yaml").write_text("models: {m: {recipe: {image: a}}}")
    (tmp_path / "b.yaml").write_text("services: {m: {recipe: {image: a}}}")
    with pytest.raises(Invalid, match=r"b\.yaml:1:12: services\.m: .*a\.yaml:1:10"):
        load(tmp_path)


def test_problems_of_every_file_of_a_folder(tmp_path):
    (tmp_path / "a.yaml").write_text("models: [")
    (tmp_path / "b.yaml").write_text("models: {m: {")
    with pytest.raises(Invalid) as caught:
        load(tmp_path)
    assert [p.file for p in caught.value.problems] == [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]


def test_a_missing_file_and_an_empty_folder(tmp_path):
    with pytest.raises(Invalid, match="there is no such file"):
        load(tmp_path / "no.yaml")
    with pytest.raises(Invalid, match=r"holds no \.yaml file"):
        load(tmp_path)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(Invalid, match="is not a file"):
        load(tmp_path / "pipe.yaml")


def test_recipe_files(tmp_path):
    shipped = recipe_files({})
    assert all(file.path.name == "models.yaml" and not file.required for file in shipped)
    files = recipe_files({"MODELS_YAML": "/m.yaml", "MODELS_OVERRIDES": "/o.yaml", "SERVICES_OVERRIDES": ""})
    assert files == (RecipeFile(files[0].path), RecipeFile(files[1].path, required=False))
    assert [str(file.path) for file in files] == ["/m.yaml", "/o.yaml"]


def test_overrides_lie_over_recipes_and_may_be_absent(tmp_path):
    base, over, absent = (
        tmp_path / "models.yaml",
        tmp_path / "over.yaml",
        RecipeFile(tmp_path / "no.yaml", required=False),
    )
    base.write_text(RECIPES)
    over.write_text("recipes: {qwen: {flags: {sc: {n: 9}}, port: 1234}, new: {image: n}}")
    state = load_text("models: {m: {recipe: qwen}}", "<body>", [base, over, absent])
    assert state.resolved["m"].recipe.flags == {"a": 1, "sc": {"m": "x", "n": 9}}
    assert state.resolved["m"].recipe.port == 1234
    assert "new" in state.recipes
    over.write_text("recipes:\n  qwen:\n    port: x\n")
    with pytest.raises(Invalid, match=r"over\.yaml:3:5: recipes\.qwen\.port"):
        load_text("", "<body>", [base, over])
    with pytest.raises(Invalid, match="there is no such file"):
        load_text("", "<body>", [RecipeFile(absent.path)])


def test_no_recipes_at_all():
    assert "no recipes are loaded" in one("models: {m: {recipe: x}}", "").message


def test_merge_over():
    assert merge_over({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 3}, "d": [2], "e": 1}) == {
        "a": {"b": 3, "c": 2},
        "d": [2],
        "e": 1,
    }


def test_a_problem_as_json():
    problem = one(SPARKS + "models: {m: {recipe: qwen, on: spark-9}}")
    said = problem.as_dict()
    assert said["allowed"] == ["spark-1", "spark-2"]
    assert said["line"] == 2
    assert said["text"] == str(problem)
    assert str(Problem("f", 0, 0, "", "m")) == "f: m"
