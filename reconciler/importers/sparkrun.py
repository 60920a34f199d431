"""sparkrun's recipes, version 2 and 1. Version 1 is eugr's (`run-recipe`): `recipe_version: "1"`, with a name.

The command template is filled from the defaults, taken apart, and becomes an engine with flags; without a command the
defaults themselves become flags, those that sparkrun has a flag for. What sparkrun adds to a command on its own is
added here too, where it changes what is served. How it places ranks and starts containers is ours to do.
"""

from __future__ import annotations

import re
from typing import Any, Final

from reconciler.importers.accounts import Account, Fate, Imported, Json, Outcome, named
from reconciler.importers.defaults import command_line
from reconciler.importers.engines import SPARKRUN_RUNTIMES
from reconciler.importers.executor_config import executor
from reconciler.importers.fields import ALIAS, Draft, environment, unfit, workload_name
from reconciler.importers.programs import Program, Refused, program
from reconciler.importers.serving import Serving, serving
from reconciler.importers.templates import fill, written
from state.problems import Invalid, Problem
from state.yaml_read import read

NO_SHELL: Final = "a hook of the shell: put what it does into the image, or into a mod"
ABOUT: Final = "about sparkrun itself"
_REPORTED: Final = {
    "pre_exec": NO_SHELL,
    "post_exec": NO_SHELL,
    "post_commands": NO_SHELL,
    "stop_after_post": NO_SHELL,
    "containers": "images per host: give the workload an `image` of its own",
    "layout": "where ranks go is said by the workload, `on` or `across`",
    "overrides": "settings for some layouts only: write a workload with its own `flags` and `env` for each",
    "distribution_config": "sparkkeep finds out itself which Sparks need the weights",
    "cluster_config": "sparkkeep finds out itself which Sparks need the weights",
    "runtime_config": "settings of sparkrun's runtime",
    "builder_config": "sparkkeep builds no images: name one that is built",
    "build_args": "sparkkeep builds no images: the image has to be built with these",
    "readiness": "sparkkeep asks a question of the model's kind: set `probe` and `startTimeout` if need be",
    "capabilities": "there is no such field; the engine says what it can do",
    "unsupported_capabilities": "there is no such field; the engine says what it can do",
    "volumes": "sparkrun ignores it here as well; if it is meant, write it under `mounts`",
    "benchmark": "about measuring; nothing of it is needed for serving",
}
_ABOUT_SPARKRUN: Final = {
    "recipe_version": "the recipe's format",
    "sparkrun_version": ABOUT,
    "min_sparkrun_version": ABOUT,
    "scheduler": f"{ABOUT}: sparkkeep places by memory",
    "runtime_cache": f"{ABOUT}: sparkkeep keeps compile caches on the Spark anyway",
    "stop_after_post": ABOUT,
}
_FOR_ESTIMATES: Final = frozenset(
    named(
        """
model_params model_dtype kv_dtype num_layers num_kv_heads head_dim model_vram kv_vram_per_token quantization
context_length max_model_len tensor_parallel pipeline_parallel architecture
"""
    )
)
MEMORY_SHARE: Final[Json] = {"gpu_memory_utilization": 0.8}
_FOR_PLACING: Final = ("tensor_parallel", "pipeline_parallel", "data_parallel")


def read_recipe(text: str | bytes, file: str, *, image: str | None = None) -> Outcome:
    """One recipe file; `image` is for one that names none.

    Raises Invalid where it is not YAML, or no recipe that can be understood at all.
    """
    tree = read(text, file)
    data = tree.plain()
    if not isinstance(data, dict) or not data:
        raise Invalid([Problem(file, 1, 1, "", "is not a map: a recipe begins with keys such as model:")])
    if "include" in data:
        raise _refusal(file, "include", "builds on another recipe: let sparkrun write it out first (recipe export)")
    for key in ("defaults", "env", "metadata", "executor_config"):
        if not isinstance(data.get(key), dict | None):
            raise _refusal(file, key, "must be a map")
    if not isinstance(data.get("command"), str | None):
        raise _refusal(file, "command", "must be text")
    return _Reader(data, file, image).outcome()


def _refusal(file: str, key: str, message: str) -> Invalid:
    return Invalid([Problem(file, 0, 0, key, message)])


class _Reader:
    def __init__(self, data: Json, file: str, image: str | None) -> None:
        self._data = data
        self._else_image = image
        self._file = file
        self._account = Account(file, data)
        self._draft = Draft(self._account)
        self._old = str(data.get("recipe_version", "2")) == "1"
        self._nodes = self._sparks()
        defaults = data.get("defaults") or {}
        self._defaults: Json = {key: _unescaped(value) for key, value in defaults.items()}
        self._used: set[str] = set()

    def outcome(self) -> Outcome:
        """Recipe, example workload, account."""
        for key, why in (_REPORTED | _ABOUT_SPARKRUN).items():
            if key in self._data:
                told = self._account.consume if key in _ABOUT_SPARKRUN else self._account.lose
                told(key, why=why)
        made = self._served()
        self._draft.fields.update(made.fields)
        for part, fate, message in made.said:
            self._account.say(f"command: {part}", fate, message)
        self._image()
        self._words()
        self._model()
        self._draft.env(environment(self._data.get("env") or {}, self._account, ("env",), values=self._config()))
        executor(self._data.get("executor_config") or {}, self._draft, self._account)
        self._mods()
        self._leftover_defaults(made)
        name = workload_name(self._file)
        return Outcome(
            (Imported(name=name, recipe=self._draft.recipe(), workload=self._workload(made, name)),),
            self._account.notes(),
        )

    def _config(self) -> Json:
        values = self._on_a_spark() | self._defaults
        for key in ("model", "model_revision"):
            if self._data.get(key) is not None:
                values.setdefault(key, self._data[key])
        if self._data.get("model") is not None:
            values.setdefault("resolved_model_path", self._data["model"])
        return values

    def _on_a_spark(self) -> Json:
        """What sparkrun takes for a DGX Spark where the recipe has nothing."""
        engine = SPARKRUN_RUNTIMES.get(str(self._data.get("runtime") or "vllm"))
        return dict(MEMORY_SHARE) if engine in {"vllm", "sglang"} else {}

    # The command

    def _served(self) -> Serving:
        command = self._data.get("command")
        try:
            started = program(self._filled(command.strip()) if command else self._command_from_defaults())
        except Refused as refused:
            raise _refusal(self._file, "command", f"can't be carried: {refused}") from None
        made = serving(started.argv, nodes=self._nodes)
        self._around(started)
        self._added(made)
        self._runtime(made)
        for key, share in MEMORY_SHARE.items():
            if key in self._used and key not in self._defaults:
                self._account.say(f"defaults.{key}", Fate.CARRIED, f"{share}, which sparkrun takes on a DGX Spark")
        if command:
            self._account.carry("command", to=f"engine {made.engine}")
        return made

    def _filled(self, command: str) -> str:
        filled = fill(command, self._config())
        self._used |= filled.used
        if filled.missing:
            raise Refused(f"{{{filled.missing[0]}}} has no value among the defaults")
        return filled.text

    def _around(self, started: Program) -> None:
        """What the shell line said besides the argv."""
        variables = {key: value for key, value in started.env.items() if key not in (self._data.get("env") or {})}
        self._draft.env(environment(variables, self._account, ("command",)))
        for key in started.env.keys() - variables.keys():
            self._account.say(f"command: {key}=", Fate.LOST, "`env` says it too, and that is kept")
        if started.workdir is not None:
            self._draft.put("command", field="workdir", value=started.workdir)
        for sentence in started.left_out:
            self._account.say("command", Fate.CONSUMED, sentence)

    def _command_from_defaults(self) -> str:
        runtime = str(self._data.get("runtime") or "vllm")
        engine = SPARKRUN_RUNTIMES.get(runtime)
        if engine is None:
            raise Refused(f"it is missing, and runtime {runtime} is not one with known flags")
        line, used = command_line(engine, str(self._data.get("model") or ""), self._on_a_spark() | self._defaults)
        self._used |= used
        return line

    def _added(self, made: Serving) -> None:
        """What sparkrun adds to a command that leaves it out."""
        flags: Json = made.fields.setdefault("flags", {})
        given = self._defaults.get
        ray = str(given("distributed_executor_backend", "")).lower()
        if made.engine == "vllm" and (ray == "ray" or self._data.get("runtime") in {"vllm-ray", "eugr-vllm"}):
            made.fields["distributed"] = "ray"
        elif made.engine == "vllm" and ray:
            made.fields.pop("distributed", None)
        if ray:
            self._used.add("distributed_executor_backend")
        name = {"vllm": "served-model-name", "sglang": "served-model-name", "llamacpp": "alias"}.get(made.engine)
        if given("served_model_name") is not None and name and not made.served_as:
            made.served_as = tuple(written(given("served_model_name")).split())
            flags[name] = made.served_as[0] if len(made.served_as) == 1 else list(made.served_as)
            self._used.add("served_model_name")
        replicas = given("data_parallel")
        size = {"vllm": "data-parallel-size", "sglang": "dp-size"}.get(made.engine, "")
        if size and isinstance(replicas, int) and replicas > 1 and size not in flags:
            flags[size] = replicas
            self._used.add("data_parallel")
        if not flags:
            del made.fields["flags"]

    def _runtime(self, made: Serving) -> None:
        runtime = self._data.get("runtime")
        if runtime is None:
            return
        if SPARKRUN_RUNTIMES.get(str(runtime)) == made.engine:
            self._account.carry("runtime", to=f"engine {made.engine}")
        else:
            why = f"the command starts something else than {runtime} here means, so it is engine: {made.engine}"
            self._account.consume("runtime", why=why)

    # Everything else

    def _sparks(self) -> int:
        """How many Sparks it is meant for at least, said by four different keys."""
        data, account = self._data, self._account
        smallest = data.get("min_nodes", 1)
        nodes = smallest if isinstance(smallest, int) and not isinstance(smallest, bool) and smallest > 0 else 1
        mode = data.get("mode")
        if data.get("cluster_only") or mode == "cluster":
            nodes = max(nodes, 2)
        if data.get("solo_only") or mode == "solo":
            nodes = 1
        for key in ("min_nodes", "max_nodes", "mode", "cluster_only", "solo_only"):
            if key in data:
                account.consume(key, why=f"the workload says it: {_where(nodes, data.get('max_nodes'))}")
        return nodes

    def _image(self) -> None:
        image = self._data.get("container")
        if image is None and self._else_image is None:
            message = "is missing, where sparkrun takes its newest image: say `--image IMAGE`"
            raise _refusal(self._file, "container", message)
        self._draft.put("container", field="image", value=image or self._else_image)
        if self._old and isinstance(image, str) and "/" not in image:
            self._draft.fields["pull"] = "never"
            self._account.say("container", Fate.CARRIED, f"pull: never, since {image} is built on the Spark by eugr")
        if "builder" in self._data:
            self._account.consume("builder", why="sparkkeep builds no images: the image has to be there or be pullable")

    def _words(self) -> None:
        """Description, source, and the rest of the metadata."""
        metadata = self._data.get("metadata") or {}
        own = "description" if self._data.get("description") else None
        if own or metadata.get("description"):
            text = str(self._data["description"] if own else metadata["description"])
            self._draft.put(*((own,) if own else ("metadata", "description")), field="description", value=text[:500])
        if own and "description" in metadata:
            self._account.consume("metadata", "description", why="the recipe's own description is kept")
        elif not own and "description" in self._data:
            self._account.consume("description", why="it is empty")
        self._metadata(metadata)
        if "metadata" in self._data and not metadata:
            self._account.consume("metadata", why="it is empty")
        for key in ("name", "maintainer"):
            if key in self._data:
                self._account.consume(key, why="for people; the recipe is named after its file, as sparkrun does")

    def _metadata(self, metadata: Json) -> None:
        for key in metadata:
            if key in _FOR_ESTIMATES:
                self._account.consume(
                    "metadata", key, why="for sparkrun's estimate; sparkkeep makes its own, see `memory`"
                )
            elif key == "source" and not unfit("source", metadata[key]):
                self._draft.put("metadata", key, field="source", value=metadata[key])
            elif key in {"author", "maintainer", "tags", "category", "created", "updated", "source"}:
                self._account.lose("metadata", key, why="about the recipe, not about serving; there is no field for it")

    def _model(self) -> None:
        model, fields = self._data.get("model"), self._draft.fields
        if model is not None:
            same = fields.get("model") == model or f"{fields.get('model')}:{fields.get('quant')}" == model
            if same:
                self._account.carry("model", to="model")
            elif "model" in fields:
                self._account.lose("model", why=f"the command serves {fields['model']}, and that is kept")
            else:
                self._account.consume("model", why="the command says itself what it serves")
        revision = self._data.get("model_revision")
        if revision is None:
            return
        if fields["engine"] in {"vllm", "sglang", "trtllm"} and model == fields.get("model"):
            self._draft.put("model_revision", field="revision", value=str(revision))
        elif "model_revision" in self._used:
            self._account.carry("model_revision", to="command")
        else:
            self._account.lose("model_revision", why=f"engine {fields['engine']} can't be told one")

    def _mods(self) -> None:
        mods = self._data.get("mods")
        if mods is None:
            return
        if not isinstance(mods, list) or not mods:
            self._account.consume("mods", why="there is none") if not mods else self._account.lose(
                "mods", why="must be a list of folders"
            )
            return
        names = [str(mod).removeprefix("mods/").rstrip("/") for mod in mods]
        self._draft.put("mods", field="mods", value=names)

    def _workload(self, made: Serving, name: str) -> Json:
        workload: Json = {"run": "never"}
        if self._nodes > 1 and made.engine == "container":
            message = f"it is meant for {self._nodes} Sparks, and engine: container runs on one"
            self._account.say("command", Fate.LOST, message)
        if self._nodes > 1 and made.engine != "container":
            workload["across"] = [f"spark-{rank}" for rank in range(1, self._nodes + 1)]
        else:
            workload["on"] = "any"
        names = made.served_as or ((self._draft.fields["model"],) if made.engine == "vllm" else ())
        if aliases := [alias for alias in names if alias != name and re.fullmatch(ALIAS, alias)]:
            workload["aliases"] = aliases
        return workload

    def _leftover_defaults(self, made: Serving) -> None:
        """Each default has gone into the command, or sparkrun ignores it too."""
        whole = bool(self._data.get("command"))
        for key in self._defaults:
            if key in self._used:
                self._account.carry("defaults", key, to="command")
            elif key in _FOR_PLACING:
                self._account.consume("defaults", key, why="the command has no use for it; `across` says how many")
            elif key in {"port", "host"} and whole:
                self._account.lose("defaults", key, why="the command does not use it, so the engine's own holds")
            elif whole:
                self._account.consume("defaults", key, why="the command has no use for it, so sparkrun ignores it too")
            else:
                self._account.lose("defaults", key, why=f"sparkrun knows no flag of {made.engine} for it")
        if "defaults" in self._data and not self._defaults:
            self._account.consume("defaults", why="there is none")


def _where(nodes: int, most: object) -> str:
    if nodes > 1:
        return f"`across:` {nodes} Sparks"
    return "`on:` one Spark" if most == 1 else "`on:` one Spark, or `across:` several"


def _unescaped(value: Any) -> Any:
    if isinstance(value, str) and "{{" in value:
        return value.replace("{{", "{").replace("}}", "}")
    return value
