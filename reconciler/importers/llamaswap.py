"""llama-swap's config.yaml: each model becomes a recipe and a workload that is started on demand.

Macros are filled the way llama-swap fills them: the model's over the file's, then MODEL_ID and PORT, which counts up
from startPort over the models by name. A `cmd` is split by blanks and quotes only, as no shell sees it there.
`docker run` becomes its container. A program of the host needs an image, which only a person can name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from reconciler.importers.accounts import Account, Fate, Imported, Json, Outcome, named
from reconciler.importers.docker_run import DockerRun, NotReadable
from reconciler.importers.fields import ALIAS, Draft, environment, unfit, workload_name
from reconciler.importers.lines import Unreadable, split
from reconciler.importers.macros import expand, macros_of, no_comments, ports
from reconciler.importers.programs import Refused, program
from reconciler.importers.serving import engine_of, port_among, serving
from state.problems import Invalid, Problem
from state.yaml_read import read

_LEFT: Final = re.compile(r"\$\{[^{}]*\}")
HOME: Final = "$HOME"
_SHELL_TEXT: Final = re.compile(r"-[a-z]*c")
_FILE: Final = re.compile(r"(/[A-Za-z0-9._@+ -]+)+\.(gguf|jinja|json|bin|safetensors|txt|yaml|yml)")
_HOST_PATH: Final = re.compile(r"(/[A-Za-z0-9._@+ -]+){2,}/?")
_ENTRYPOINTS: Final = (
    (re.compile(r"(^|/)vllm/vllm-openai(:|@|$)"), ("vllm", "serve")),
    (re.compile(r"(^|/)llama\.cpp:server"), ("llama-server",)),
)
_TOP: Final[Mapping[str, str]] = {
    "apiKeys": "keys are not copied; sparkkeep's own optional token guards its API",
    "groups": "which models may run together is decided by memory and `priority`",
    "matrix": "which models may run together is decided by memory and `priority`",
    "routing": "which models may run together is decided by memory and `priority`",
    "profiles": "there is no such thing: use `aliases`",
    "selectors": "there is no such thing: use `aliases`",
    "peers": "sparkkeep serves what its own Sparks run",
    "hooks": "a model to be there at once has `run: always`",
    "upstream": "there is no /upstream path",
    "sendLoadingState": "requests wait with keep-alives",
    "includeAliasesInList": "aliases are names like any other",
}
_ABOUT: Final = frozenset(
    named("logLevel logTimeFormat logToStdout logRequests store metricsMaxInMemory captureBuffer ui performance")
)
_MODEL_LOST: Final[Mapping[str, str]] = {
    "filters": "requests are forwarded as they are",
    "concurrencyLimit": "the engine limits itself: --max-num-seqs, --parallel",
    "unlisted": "every model is listed",
    "metadata": "there is no field for it",
    "capabilities": "the engine says what it can do",
    "timeouts": "there is no field for it",
    "compat": "there is no field for it",
    "sendLoadingState": "requests wait with keep-alives",
    "macros": "",
}


def read_config(text: str | bytes, file: str, *, image: str | None = None) -> Outcome:
    """Every model of a config. `image` is for programs of the host. Raises Invalid."""
    data = read(text, file).plain()
    if not isinstance(data, dict) or not isinstance(data.get("models"), dict):
        raise Invalid([Problem(file, 1, 1, "models", "is missing: a llama-swap config has a map of models")])
    account = Account(file, data)
    for key in data.keys() & (_TOP.keys() | _ABOUT):
        if key in _ABOUT:
            account.consume(key, why="about llama-swap itself")
        else:
            account.lose(key, why=_TOP[key])
    given = ports(data)
    made: list[Imported] = []
    names: set[str] = set()
    for model, settings in data["models"].items():
        if not isinstance(settings, dict):
            account.lose("models", model, why="must be a map")
            continue
        found = _Model(data, model, account, given.get(model), image).imported()
        if found is not None:
            made.append(_named(found, names))
    _shared(data, account)
    return Outcome(tuple(made), account.notes())


def _named(found: Imported, names: set[str]) -> Imported:
    """The same name twice gets a number: `a/b` and `a-b` are two models."""
    name, number = found.name, 2
    while name in names:
        name, number = f"{found.name[:58]}-{number}", number + 1
    names.add(name)
    return Imported(name=name, recipe=found.recipe, workload=found.workload, section=found.section)


def _shared(data: Json, account: Account) -> None:
    for key, to in (("macros", "filled in"), ("startPort", "port"), ("globalTTL", "idle")):
        if key in data:
            account.carry(key, to=to)
    for key, to in (("healthCheckTimeout", "startTimeout"), ("unloadTimeout", "stopTimeout")):
        if key in data:
            fits = unfit(to, data[key]) is None
            account.carry(key, to=to) if fits else account.lose(key, why="must be a number of seconds")


def _built_in(image: str) -> tuple[str, ...]:
    """The words that an image begins with by itself, of those that are known."""
    return next((words for known, words in _ENTRYPOINTS if known.search(image)), ())


class _Model:
    def __init__(self, data: Json, model: str, account: Account, port: int | None, image: str | None) -> None:
        self._data, self._model, self._account, self._image = data, model, account, image
        self._settings: Json = data["models"][model]
        self._macros = macros_of(data, model) | ({} if port is None else {"PORT": str(port)})
        self._port = port
        self._at = ("models", model)
        self._draft = Draft(account)
        self._aliases: list[str] = [model]

    def imported(self) -> Imported | None:
        """The model, or None with the reason in the account."""
        account, at = self._account, self._at
        try:
            self._command()
        except (Refused, Unreadable, NotReadable) as error:
            account.lose(*at, why=f"the model is left out: {error}")
            return None
        account.carry(*at, "cmd", to=f"engine {self._draft.fields['engine']}")
        for key in self._settings.keys() & _MODEL_LOST.keys():
            if key == "macros":
                account.carry(*at, key, to="filled in")
            else:
                account.lose(*at, key, why=_MODEL_LOST[key])
        self._env()
        self._words()
        self._where()
        self._times()
        name = workload_name(self._model)
        workload: Json = {"on": "any", "run": "on-demand", **self._idle()}
        if names := [alias for alias in self._names() if alias != name]:
            workload["aliases"] = names
        return Imported(name=name, recipe=self._draft.recipe(), workload=workload)

    def _filled(self, text: str) -> str:
        filled = expand(text, self._macros)
        left = _LEFT.search(filled)
        if left is not None and left[0] != "${PID}":
            raise Refused(f"{left[0]} has no value here")
        return filled

    def _command(self) -> None:
        command = self._settings.get("cmd")
        if not isinstance(command, str) or not command.strip():
            raise Refused("it has no command")
        text = expand(no_comments(command), self._macros).replace("${env.HOME}", HOME)
        argv = [word.text for word in split(self._filled(text))]
        head = argv[0].rsplit("/", 1)[-1] if argv else ""
        if head in {"docker", "podman"} and argv[1:2] == ["run"]:
            self._container(argv[2:])
        else:
            self._host_program(argv, head)

    def _container(self, words: Sequence[str]) -> None:
        run = DockerRun(self._draft, self._account, ".".join((*self._at, "cmd")))
        run.read(words)
        for text in (*run.argv, *map(str, self._draft.fields.get("env", {}).values())):
            if HOME in text:
                raise Refused(f"{text}: ${{env.HOME}} has a value for mounts only")
        fields = self._draft.fields
        image, entrypoint = str(fields.get("image", "")), fields.get("entrypoint")
        argv = [*(_built_in(image) if entrypoint is None else entrypoint), *run.argv]
        engine = engine_of(argv)[0] if argv else "container"
        if engine != "container" and fields.get("network") != "none":
            published = fields.get("ports", [])
            made = serving(argv)
            if made.engine == engine and (not published or self._is_one(published, made.fields.get("port"))):
                self._take(made)
                return
        fields["engine"] = "container"
        if run.argv:
            fields["command"] = run.argv
        published = fields.get("ports", [])
        if published:
            fields["port"] = published[0]["host"]  # the one that it is asked at
        elif (port := self._port or port_among(argv)) is not None:
            fields["port"] = port

    def _is_one(self, published: list[Json], port: object) -> bool:
        return len(published) == 1 and port in {None, published[0]["container"]}

    def _take(self, made: Any) -> None:
        """An engine listens on the Spark's own port, so a published one becomes the port itself."""
        fields = self._draft.fields
        published = fields.pop("ports", [])
        fields.pop("entrypoint", None)
        fields["network"] = "host"
        fields.update(made.fields)
        if published:
            fields["port"] = published[0]["host"]
            key = ".".join((*self._at, "cmd"))
            message = "the engine listens on that port of the Spark itself"
            self._account.say(f"{key}: --publish {published[0]['host']}", Fate.CONSUMED, message)
        self._say(made.said)
        self._aliases += [name for name in made.served_as if name not in self._aliases]

    def _say(self, said: Sequence[tuple[str, Fate, str]]) -> None:
        for part, fate, message in said:
            self._account.say(f"{'.'.join((*self._at, 'cmd'))}: {part}", fate, message)

    def _host_program(self, argv: list[str], head: str) -> None:
        env: dict[str, str] = {}
        if head in {"bash", "sh"} and len(argv) == 3 and _SHELL_TEXT.fullmatch(argv[1]):  # noqa: PLR2004  # sh -c text
            started = program(argv[2])
            argv, env = started.argv, started.env
            self._say([("sh -c", Fate.CONSUMED, sentence) for sentence in started.left_out])
            if started.workdir is not None:
                self._say([(f"cd {started.workdir}", Fate.LOST, "a folder of the host: set `workdir` if need be")])
        if self._image is None:
            raise Refused(f"{argv[0]} is a program of the host, and sparkkeep runs containers: say `--image IMAGE`")
        self._draft.fields["image"] = self._image
        argv = self._home_paths(argv)
        engine = engine_of([argv[0].rsplit("/", 1)[-1], *argv[1:]])[0]
        made = serving([argv[0] if engine == "container" else argv[0].rsplit("/", 1)[-1], *argv[1:]])
        self._draft.fields.update({"mounts": [*made.fields.pop("mounts", []), *self._draft.fields.get("mounts", [])]})
        self._draft.fields.update(made.fields)
        if made.engine == "container" and engine == "llamacpp" and _built_in(self._image):
            del self._draft.fields["entrypoint"]  # the image begins with the program, wherever it lies there
            self._draft.fields["command"] = argv[1:]
        self._draft.env(environment(env, self._account, (*self._at, "cmd")))
        self._say(made.said)
        self._aliases += [name for name in made.served_as if name not in self._aliases]
        self._host_paths(argv[1:])

    def _home_paths(self, argv: list[str]) -> list[str]:
        """Files under the home folder appear under /mnt/home: where that folder lies, only the Spark knows."""
        made = []
        for word in argv:
            flag, equals, path = word.rpartition("=")
            if HOME in word and _FILE.fullmatch(path.removeprefix(HOME)):
                folder, _, name = path.removeprefix(HOME).rpartition("/")
                mount = {"source": f"{HOME}{folder}", "target": f"/mnt/home{folder}", "readOnly": True}
                if mount not in self._draft.fields.setdefault("mounts", []):
                    self._draft.fields["mounts"].append(mount)
                made.append(f"{flag}{equals}{mount['target']}/{name}")
            elif HOME in word:
                raise Refused(f"{word}: ${{env.HOME}} has a value for files and mounts only")
            else:
                made.append(word)
        return made

    def _host_paths(self, words: Sequence[str]) -> None:
        """Files of the host appear in the container at the same place; other paths are for a person to mount."""
        mounts: list[Json] = list(self._draft.fields.get("mounts", []))
        for word in words:
            path = word.partition("=")[2] if word.startswith("--") else word
            if _FILE.fullmatch(path):
                folder = path.rpartition("/")[0]
                if folder and all(there["target"] != folder for there in mounts):
                    mounts.append({"source": folder, "target": folder, "readOnly": True})
            elif _HOST_PATH.fullmatch(path):
                self._say([(path, Fate.LOST, "a path of the host: write it under `mounts` if the program reads it")])
        if mounts:
            self._draft.put(*self._at, "cmd", field="mounts", value=mounts)

    def _env(self) -> None:
        for number, entry in enumerate(self._list("env")):
            name, equals, value = expand(str(entry), self._macros).partition("=")
            at = (*self._at, "env", number)
            if not equals or _LEFT.search(value):
                self._account.lose(*at, why=f"{name} has no value here")
            else:
                self._draft.env(environment({name: value}, self._account, at))

    def _list(self, key: str) -> list[Any]:
        """The entries of a list, which may be left out or empty."""
        value = self._settings.get(key)
        if key in self._settings and not value:
            self._account.consume(*self._at, key, why="there is none")
        return value if isinstance(value, list) else []

    def _words(self) -> None:
        """Names and texts for people, and names for apps."""
        told = [key for key in ("name", "description") if self._settings.get(key)]
        text = ": ".join(expand(str(self._settings[key]), self._macros) for key in told)
        if text and self._draft.put(*self._at, told[0], field="description", value=text[:500]):
            for key in told[1:]:
                self._account.carry(*self._at, key, to="description")
        for key in {"name", "description"} & self._settings.keys() - set(told):
            self._account.consume(*self._at, key, why="it is empty")
        for number, alias in enumerate(self._list("aliases")):
            self._account.carry(*self._at, "aliases", number, to="aliases")
            self._aliases.append(expand(str(alias), self._macros))
        used = self._settings.get("useModelName")
        if used:
            self._account.lose(*self._at, "useModelName", why="sparkkeep asks the engine by the names that it gave it")

    def _names(self) -> list[str]:
        """Names that fit; the others are told."""
        fitting = []
        for name in dict.fromkeys(self._aliases):
            if re.fullmatch(ALIAS, name):
                fitting.append(name)
            else:
                self._say([(name, Fate.LOST, "as a name for apps it does not fit")])
        return fitting[:32]

    def _where(self) -> None:
        """Port and question: `proxy` and `checkEndpoint`."""
        fields, settings = self._draft.fields, self._settings
        proxy = settings.get("proxy")
        if proxy is not None:
            found = re.fullmatch(r"https?://[^/:]+:(\d{1,5})/?", expand(str(proxy), self._macros))
            known = {fields.get("port"), *(port["host"] for port in fields.get("ports", []))}
            if found and not known - {None}:
                self._draft.put(*self._at, "proxy", field="port", value=int(found[1]))
            elif found and int(found[1]) in known:
                self._account.consume(*self._at, "proxy", why="the port that it listens on")
            else:
                self._account.lose(*self._at, "proxy", why=f"it is not where the program listens: {proxy}")
        page = settings.get("checkEndpoint")
        if page == "none":
            self._draft.put(*self._at, "checkEndpoint", field="probe", value="none")
        elif page is not None:
            self._draft.put(*self._at, "checkEndpoint", field="probe", value={"kind": "http", "path": page})
        elif "probe" not in fields and fields.get("port"):
            fields["probe"] = {"kind": "http", "path": "/health"}

    def _times(self) -> None:
        for key, field in (("healthCheckTimeout", "startTimeout"), ("unloadTimeout", "stopTimeout")):
            own, shared = self._settings.get(key), self._data.get(key)
            if own:
                self._draft.put(*self._at, key, field=field, value=own)
            elif key in self._settings:
                self._account.consume(*self._at, key, why="the one for all models holds")
            if not own and shared and unfit(field, shared) is None:
                self._draft.fields[field] = shared
        if "cmdStop" in self._settings:
            stops = str(self._settings["cmdStop"]).split()[:2]
            if stops in (["docker", "stop"], ["podman", "stop"], ["docker", "kill"], []):
                self._account.consume(*self._at, "cmdStop", why="sparkkeep stops its containers itself")
            else:
                self._account.lose(*self._at, "cmdStop", why="sparkkeep stops the container, and runs nothing besides")

    def _idle(self) -> Json:
        own = self._settings.get("ttl")
        seconds = self._data.get("globalTTL") if own in {None, -1} else own
        if "ttl" in self._settings:
            fits = isinstance(own, int) and not isinstance(own, bool)
            to = "idle" if isinstance(seconds, int) and seconds > 0 else "no idle time"
            told = self._account.carry if fits else None
            told(*self._at, "ttl", to=to) if told else self._account.lose(*self._at, "ttl", why="must be seconds")
        good = isinstance(seconds, int) and not isinstance(seconds, bool) and 0 < seconds <= 30 * 86400
        return {"idle": f"{seconds}s"} if good else {}
