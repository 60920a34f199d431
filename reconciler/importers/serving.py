"""From a server's argv to an engine with its flags.

The program's name says which engine it is. What sparkkeep sets by itself (where it listens, the ranks of a group) is
consumed; what the engine's recipe can't say (a model that is a folder, a flag that counts each time) leaves the
argv whole, as `engine: container`, so that nothing is lost. An API key never stays in an argv.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, TypeAlias

from pydantic import JsonValue, TypeAdapter, ValidationError

from reconciler.importers.accounts import Fate
from reconciler.importers.engines import GRAMMARS, KEY_ENV, RENDEZVOUS
from reconciler.importers.flags import Parsed, parse
from state.engines import LAST_PORT, PORTS, spelling
from state.fields import Quant, Repository, RepositoryFile, Revision

Said: TypeAlias = tuple[str, Fate, str]  # a part of the command, its fate, and a sentence

EVERYWHERE: Final = "0.0.0.0"  # noqa: S104  # an address to recognise, nothing is bound to it
_MODULES: Final = {
    "vllm.entrypoints.openai.api_server": ("vllm", 0),
    "vllm.entrypoints.cli.main": ("vllm", 1),
    "sglang.launch_server": ("sglang", 0),
}
_PYTHON: Final = re.compile(r"python[0-9.]*")
_KEY_FLAG: Final = re.compile(r"--(api[-_]key|hf[-_]token|admin[-_]api[-_]key)(=.*)?", re.DOTALL)
_LEVEL: Final = re.compile(r"^-O([0-3])$")
_SNAPSHOT: Final = re.compile(r"/.*/models--([A-Za-z0-9._-]+?)--([A-Za-z0-9._-]+)/snapshots/([0-9a-f]{7,64})/?")
_HF_CACHE: Final = {"source": "$HOME/.cache/huggingface", "target": "/root/.cache/huggingface", "create": True}
_TENSOR: Final = frozenset({"tensor-parallel-size", "tp-size"})
_SIZES: Final = _TENSOR | {"pipeline-parallel-size", "data-parallel-size", "pp-size", "dp-size"}


@dataclass(slots=True)
class Serving:
    """Fields of a recipe that the command gives, the names that it serves under, and what to say of its parts."""

    fields: dict[str, Any] = field(default_factory=dict)
    served_as: tuple[str, ...] = ()
    said: list[Said] = field(default_factory=list)

    @property
    def engine(self) -> str:
        """Which engine it is."""
        return str(self.fields["engine"])


def engine_of(argv: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The engine that an argv starts and its arguments; `container` and the whole argv for any other program."""
    head = argv[0].rsplit("/", 1)[-1] if argv else ""
    rest = argv[1:]
    if _PYTHON.fullmatch(head) and len(argv) > 2 and argv[1] == "-m" and argv[2] in _MODULES:  # noqa: PLR2004  # python -m x
        engine, more = _MODULES[argv[2]]
        return engine, argv[3 + more :]
    if head in {"vllm", "sglang"} and rest and rest[0] == "serve":
        return head, rest[1:]
    if head == "llama-server":
        return "llamacpp", rest
    if head == "trtllm-serve":
        return "trtllm", rest[1:] if rest and rest[0] == "serve" else rest
    return "container", argv


def serving(argv: Sequence[str], *, nodes: int = 1) -> Serving:
    """Read an argv. `nodes`: how many Sparks it is meant for."""
    engine, arguments = engine_of(argv)
    if engine == "container":
        return _as_it_is(argv, "container", ())
    if engine == "vllm":  # `-O3` has its value in its name
        arguments = [_LEVEL.sub(r"-O=\1", word) for word in arguments]
    parsed = parse(arguments, GRAMMARS[engine])
    made = Serving({"engine": engine})
    why = _fill(made, parsed, nodes)
    return made if why is None else _as_it_is(argv, engine, (why,))


def _fill(made: Serving, parsed: Parsed, nodes: int) -> str | None:
    """Everything into its field; or why the engine's recipe can't say it."""
    if parsed.odd:
        return f"{parsed.odd[0]} is something that a map of flags can't hold"
    flags = parsed.flags
    wrong = _model(made, parsed)
    if wrong is not None:
        return wrong
    for name, earlier in parsed.again:
        part = f"--{name}" if _KEY_FLAG.fullmatch(f"--{name}") else f"--{name} {earlier}"
        made.said.append((part, Fate.CONSUMED, "stands again later, and the last one counts"))
    for taken in (_key, _revision, _backend, _listening, _ranks):
        wrong = taken(made, flags)
        if wrong is not None:
            return wrong
    _sizes(made, flags, nodes)
    made.served_as = _names(flags)
    if flags:
        made.fields["flags"] = flags
    _probe(made, flags)
    return None


def _fits(kind: Any, word: JsonValue) -> bool:
    try:
        TypeAdapter(kind).validate_python(word)
    except ValidationError:
        return False
    return isinstance(word, str)


def _model(made: Serving, parsed: Parsed) -> str | None:
    if made.engine == "llamacpp":
        return _gguf(made, parsed)
    flags, positional = parsed.flags, parsed.positional
    named = [flags.pop(name) for name in ("model", "model-path") if name in flags]
    found = [*positional, *named]
    if len(found) != 1:
        return f"it names {len(found)} models: {', '.join(map(str, found))}" if found else "it names no model"
    snapshot = _SNAPSHOT.fullmatch(str(found[0]))
    if snapshot is not None and "revision" not in flags:  # a folder of the Hugging Face cache says both
        made.said.append((str(found[0]), Fate.CARRIED, "model and revision, which this folder of the cache is"))
        found, made.fields["revision"] = [f"{snapshot[1]}/{snapshot[2]}"], snapshot[3]
    if not _fits(Repository, found[0]):
        return f"{found[0]} is not a repository such as owner/name"
    made.fields["model"] = found[0]
    return None


def _gguf(made: Serving, parsed: Parsed) -> str | None:
    flags = parsed.flags
    if parsed.positional:
        return f"{parsed.positional[0]} stands without a flag"
    repository = flags.get("hf-repo")
    if not isinstance(repository, str):
        return "its model is a file, not a repository"
    name, _, quant = repository.partition(":")
    file = flags.get("hf-file")
    if not _fits(Repository, name) or (quant and not _fits(Quant, quant)):
        return f"{repository} is not a repository such as owner/name:Q4_K_M"
    if file is not None and not _fits(RepositoryFile, file):
        return f"{file} is not a file of a repository"
    made.fields["model"] = name
    if file is not None:
        made.fields["file"] = file
    elif quant:
        made.fields["quant"] = quant
    for taken in ("hf-repo", "hf-file"):
        flags.pop(taken, None)
    return None


def _take(flags: dict[str, JsonValue], *names: str) -> JsonValue:
    found = next((name for name in flags if spelling(name) in names), None)
    return None if found is None else flags.pop(found)


def _key(made: Serving, flags: dict[str, JsonValue]) -> None:
    for name in ("api-key", "hf-token", "admin-api-key"):
        if _take(flags, name) is not None:
            made.said.append(_secret(name, made.engine))


def _secret(name: str, engine: str) -> Said:
    variable = "HF_TOKEN" if name == "hf-token" else KEY_ENV[engine]
    way = f"and write `env: {{{variable}: {{secret: NAME}}}}`" if variable else "and name it where it is needed"
    return f"--{name}", Fate.LOST, f"a secret must not stand in a command: `sparkkeep secret set NAME`, {way}"


def _revision(made: Serving, flags: dict[str, JsonValue]) -> str | None:
    if made.engine == "llamacpp":
        return None
    found = _take(flags, "revision")
    if found is None:
        return None
    if not _fits(Revision, str(found)):
        return f"{found} is not a revision"
    made.fields["revision"] = str(found)
    return None


def _backend(made: Serving, flags: dict[str, JsonValue]) -> str | None:
    found = _take(flags, "distributed-executor-backend") if made.engine == "vllm" else None
    if found == "ray":
        made.fields["distributed"] = "ray"
    elif found == "mp":
        made.said.append(("--distributed-executor-backend mp", Fate.CONSUMED, "vLLM's own way, which is the usual one"))
    elif found is not None:
        return f"--distributed-executor-backend {found} is neither ray nor mp"
    return None


def _listening(made: Serving, flags: dict[str, JsonValue]) -> str | None:
    port = _take(flags, "port")
    if port is not None:
        if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= LAST_PORT:
            return f"--port {port} is not a port"
        made.fields["port"] = port
    host = next((name for name in flags if name == "host"), None)
    if host is not None and flags[host] == EVERYWHERE:
        del flags[host]
        made.said.append((f"--host {EVERYWHERE}", Fate.CONSUMED, "every address, as sparkkeep starts it anyway"))
    return None


def _ranks(made: Serving, flags: dict[str, JsonValue]) -> None:
    for name in [name for name in flags if spelling(name) in RENDEZVOUS]:
        del flags[name]
        made.said.append((f"--{name}", Fate.CONSUMED, "each rank of a group gets its own from `across`"))


def _sizes(made: Serving, flags: dict[str, JsonValue], nodes: int) -> None:
    """As many tensor ranks as Sparks, and nothing else divided: that is what a group, or one Spark, gives anyway."""
    said = {name: flags[name] for name in flags if spelling(name) in _SIZES}
    wanted = {name: nodes if spelling(name) in _TENSOR else 1 for name in said}
    if said != wanted or (nodes > 1 and not any(spelling(name) in _TENSOR for name in said)):
        return
    for name, size in said.items():
        del flags[name]
        made.said.append((f"--{name} {size}", Fate.CONSUMED, "what that many Sparks give anyway"))


def _names(flags: dict[str, JsonValue]) -> tuple[str, ...]:
    found = next((flags[name] for name in flags if spelling(name) in {"served-model-name", "alias"}), None)
    several = found if isinstance(found, list) else [found]
    return tuple(str(name) for name in several if name is not None and name is not True)


def _probe(made: Serving, flags: dict[str, JsonValue]) -> None:
    """A kind of question where the flags say what it serves."""
    names = {spelling(name) for name, given in flags.items() if given is not False}
    if "reranking" in names:
        made.fields["probe"] = "rerank"
    elif names & {"embedding", "is-embedding"} or flags.get("task") in {"embed", "embedding"}:
        made.fields["probe"] = "embedding"
    elif flags.get("runner") == "pooling" or flags.get("task") not in {None, "generate"}:
        made.said.append(("--runner", Fate.CARRIED, "flags; say `probe: embedding` or `probe: rerank` if it is one"))
    else:
        made.fields["probe"] = "chat"


def _as_it_is(argv: Sequence[str], engine: str, why: Sequence[str]) -> Serving:
    """The argv whole. The image's own entrypoint is cleared, since the argv begins with the program."""
    made = Serving({"engine": "container", "entrypoint": []})
    made.fields["command"] = list(_without_keys(argv, engine, made))
    made.fields["gpus"] = "all"
    if engine in {"vllm", "sglang", "trtllm"}:
        made.fields["ipc"] = "host"
    made.fields["mounts"] = [dict(_HF_CACHE)]
    port = port_among(argv) or PORTS.get(engine)
    if port is not None:
        made.fields["port"] = port
    if engine in PORTS:
        made.fields["probe"] = {"kind": "http", "path": "/health"}
    made.said += [
        ("command", Fate.CARRIED, f"engine: container with its argv whole, since {reason}; memory is not estimated")
        for reason in why
    ]
    return made


def _without_keys(argv: Sequence[str], engine: str, made: Serving) -> Iterator[str]:
    skip = False
    for word in argv:
        if skip:
            skip = False
            continue
        found = _KEY_FLAG.fullmatch(word)
        if found is None:
            yield word
            continue
        skip = found[2] is None
        made.said.append(_secret(spelling(found[1]), engine))


def port_among(argv: Sequence[str]) -> int | None:
    """The last `--port N`, if it is one."""
    pairs = [word.partition("=")[2] for word in argv if word.startswith("--port=")]
    pairs += [after for before, after in pairwise(argv) if before in {"--port", "-p"}]
    number = pairs[-1] if pairs else ""
    return int(number) if number.isascii() and number.isdigit() and 1 <= int(number) <= LAST_PORT else None
