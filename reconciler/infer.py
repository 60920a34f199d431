"""From a model's folder to a recipe that a person can look over and start: every choice with its reason.

Pure. Nothing of the repository is executed: its JSON files are read as data, the names and sizes of the others are
looked at. What the files do not say is asked, not guessed: an architecture that is not known here is called
unknown, and code that comes with a model is never switched on, only asked about.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from reconciler.families import LLAMA_CPP, NIGHTLY, TF5, Family, family_of
from reconciler.infer_memory import GIB, Draft, choose_memory
from reconciler.memory.estimate import SPARK, Estimate, estimate
from reconciler.memory.files import ModelFiles, language_config, table, text, whole, words
from reconciler.memory.gguf import config_of
from reconciler.memory.quantisation import read_quantisation
from reconciler.memory.shape import ENCODERS, read_shape
from reconciler.memory.weights import gguf_choices
from reconciler.place import gib

GENERATES: Final = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
SPEECH: Final = ("whisper", "qwen3_asr", "voxtral", "granite_speech", "canary")
SAMPLING: Final = ("temperature", "top_p", "top_k", "repetition_penalty")
REPOSITORY: Final = r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inferred:
    """A prefilled recipe (as `models.yaml` holds it), why it is so, and what a person must say.

    `known` is False where the architecture is not known here; `group` is how many Sparks it takes.
    """

    recipe: Mapping[str, JsonValue]
    reasons: tuple[str, ...]
    questions: tuple[str, ...]
    known: bool
    group: int
    estimate: Estimate


def infer_recipe(files: ModelFiles, *, total: int = SPARK) -> Inferred:
    """The recipe for a Spark of `total` bytes of memory. Never raises: the files may hold anything."""
    draft = Draft()
    local = bool(files.named(".gguf")) and not files.named(".safetensors", ".bin")
    config = files.config or (config_of(files.gguf) if local else {})
    model_type = text(language_config(config), "model_type")
    outer_type = text(config, "model_type")
    family = family_of(outer_type, files.repository) or family_of(model_type.removesuffix("_text"), files.repository)
    known = _architecture(draft, files, family, model_type)
    draft.recipe["engine"] = "llamacpp" if local else "vllm"
    _repository(draft, files)
    if local:
        found, group = _llama_cpp(draft, files, total), 1
    else:
        _image(draft, files, family)
        _quantisation(draft, files)
        probe = _probe(draft, files, model_type)
        if probe in {"chat", "completion"}:
            _parsers(draft, family, probe)
        found, group = choose_memory(
            draft, files, read_shape(files.config), pooling=probe in {"embedding", "rerank"}, total=total
        )
        _remarks(draft, files)
    if draft.flags:
        draft.recipe["flags"] = draft.flags
    draft.questions += [_sentence(doubt) for doubt in found.warnings if "too small" not in doubt]
    return Inferred(
        recipe=draft.recipe,
        reasons=tuple(draft.reasons),
        questions=tuple(dict.fromkeys(draft.questions)),
        known=known,
        group=group,
        estimate=found,
    )


def _architecture(draft: Draft, files: ModelFiles, family: Family | None, model_type: str) -> bool:
    named = ", ".join(words(files.config, "architectures"))[:120] or model_type[:60]
    if family is not None:
        draft.reasons.append(f"architecture {named or family.name}: a model of the family {family.name}")
        return True
    if model_type in ENCODERS:
        draft.reasons.append(f"architecture {named}: an encoder")
        return True
    if not named:
        draft.questions.append("Which architecture is it? There is no config.json that names one.")
        return False
    draft.reasons.append(f"architecture {named} is unknown here: no parser and no special flag was chosen for it")
    draft.questions.append(f"Does the image's engine serve {named}? Look it up in its list of supported models.")
    return False


def _repository(draft: Draft, files: ModelFiles) -> None:
    if re.fullmatch(REPOSITORY, files.repository):
        draft.recipe["model"] = files.repository
        if draft.recipe["engine"] == "vllm":
            draft.questions.append(
                "Which commit of the repository? Without `revision:` it is whatever lies on the disk."
            )
    else:
        draft.questions.append(
            "What is the name of the model's repository (owner/name)? The recipe lacks its `model:`."
        )


def _image(draft: Draft, files: ModelFiles, family: Family | None) -> None:
    image, why = (family.image, f"which people run {family.name} with") if family else (NIGHTLY, "the usual one")
    version = re.match(r"(\d+)\.", text(files.config, "transformers_version"))
    if version and int(version[1]) >= 5 and image == NIGHTLY and family is None:  # noqa: PLR2004  # transformers 5
        image, why = TF5, "since config.json was written by transformers 5"
    draft.recipe["image"] = image
    draft.reasons.append(f"image {image}, {why}")
    if family and family.patch:
        draft.questions.append(
            f"Does the image hold the patch that people run it with ({family.patch} of the sparkrun recipes)? If not, "
            "write it under `mods:`."
        )
    if family and family.env:
        draft.recipe["env"] = dict(family.env)
        draft.reasons.append(
            f"{', '.join(name for name, _ in family.env)}: as in the recipes for {family.name} on a Spark"
        )


def _quantisation(draft: Draft, files: ModelFiles) -> None:
    found = read_quantisation(files)
    if not found.method:
        draft.reasons.append("not quantised: no file says so")
        return
    if not found.known:
        draft.reasons.append(f"quantised by {found.words}, which is unknown here ({found.origin})")
        draft.questions.append(f"Does the image's engine read weights quantised by {found.words}?")
        return
    draft.reasons.append(f"quantised: {found.words}, says {found.origin}; vLLM sees that by itself, no flag is needed")
    if found.method == "bitsandbytes":
        draft.questions.append("Does the image hold bitsandbytes for arm64? Not every one does.")


def _probe(draft: Draft, files: ModelFiles, model_type: str) -> str:
    """What it is asked to show that it serves; pooling models get their runner."""
    kind, why = _kind(files, model_type)
    draft.recipe["probe"] = kind
    draft.reasons.append(f"probe {kind}: {why}")
    if kind in {"embedding", "rerank"}:
        draft.flags["runner"] = "pooling"
        draft.reasons.append("runner pooling: it gives vectors or scores, not text")
    if kind == "rerank" and any(name.endswith("ForCausalLM") for name in words(files.config, "architectures")):
        draft.questions.append(
            "This reranker is built as a language model: which hf-overrides make it a classifier? Its card says so."
        )
    if kind == "none":
        draft.questions.append("What does it answer: chat, completion, embedding, rerank or transcription?")
    return kind


def _kind(files: ModelFiles, model_type: str) -> tuple[str, str]:
    names = words(files.config, "architectures")
    repository = files.repository.lower()
    sentence = [name for name in files.sizes if name.endswith(("modules.json", "config_sentence_transformers.json"))]
    if any(name.endswith("ForSequenceClassification") for name in names) or "rerank" in repository:
        return "rerank", "it is named a reranker" if "rerank" in repository else "it scores a pair of texts"
    if sentence or "embedding" in repository or model_type in ENCODERS:
        return "embedding", f"{sentence[0]} is a file of sentence-transformers" if sentence else "it makes vectors"
    if model_type in SPEECH:
        return "transcription", f"{model_type} turns speech into text"
    if not any(name.endswith(GENERATES) for name in names):
        return "none", "what it answers can't be told from its architecture"
    template = "chat_template" in files.tokenizer or any("chat_template" in name for name in files.sizes)
    if template:
        return "chat", "it writes text and brings a chat template"
    return "completion", "it writes text and brings no chat template"


def _parsers(draft: Draft, family: Family | None, probe: str) -> None:
    if family is None or probe == "completion":
        return
    if family.tools:
        draft.flags |= {"enable-auto-tool-choice": True, "tool-call-parser": family.tools}
        draft.reasons.append(f"tool-call-parser {family.tools}: how {family.name} writes its tool calls")
    else:
        draft.questions.append(f"Does it call tools? No parser is known here for {family.name}.")
    if family.reasoning:
        draft.flags["reasoning-parser"] = family.reasoning
        draft.reasons.append(f"reasoning-parser {family.reasoning}: {family.name} thinks before it answers")


def _llama_cpp(draft: Draft, files: ModelFiles, total: int) -> Estimate:
    """A GGUF file is served by llama.cpp. Which of several, a person says; memory is reckoned with the largest."""
    choices = gguf_choices(files)
    shape = read_shape(files.config or config_of(files.gguf))
    context = min(shape.context, 32_768)
    draft.recipe |= {"image": LLAMA_CPP, "probe": "chat"}
    draft.flags |= {"n-gpu-layers": 999, "jinja": True} | ({"ctx-size": context} if context else {})
    draft.reasons.append("engine llamacpp: the folder holds GGUF files and no safetensors")
    draft.reasons.append("n-gpu-layers 999: all layers on the GPU, which shares the Spark's memory anyway")
    if context:
        draft.reasons.append(f"ctx-size {context:,}: llama.cpp takes the memory for all of it when it starts")
    else:
        draft.questions.append("How long may a text be? The file's metadata was not read.")
    if len(choices) == 1:
        draft.recipe["file"] = next(iter(choices.values()))[0]
    else:
        draft.questions.append(f"Which file: {', '.join(list(choices)[:8])}? The largest was reckoned with.")
    draft.questions.append(
        f"Which version of {LLAMA_CPP.partition(':')[0]}? A tag with a version is better than latest."
    )
    found = estimate("llamacpp", draft.flags, files, total=total)
    if found.peak is not None and found.sequence is not None:
        draft.recipe["memory"] = f"{-(-found.peak // GIB)}GiB"
        draft.reasons.append(f"memory {gib(found.peak)} is an estimate: {'; '.join(found.lines)}")
    return found


def _remarks(draft: Draft, files: ModelFiles) -> None:
    """What else a person should know, or must decide."""
    if files.config.get("auto_map"):
        draft.questions.append(
            "The repository brings code of its own (auto_map). If the engine asks for it and you trust its author, add "
            "trust-remote-code: true; it then runs with the container's rights."
        )
    scaling = table(language_config(files.config), "rope_scaling", "rope_parameters")
    if text(scaling, "rope_type", "type") in {"yarn", "linear", "dynamic", "longrope", "llama3"}:
        kind, factor = text(scaling, "rope_type", "type"), scaling.get("factor")
        draft.reasons.append(f"its context is stretched by rope scaling ({kind}, factor {str(factor)[:20]})")
    said = [
        f"{name} {files.generation[name]}" for name in SAMPLING if isinstance(files.generation.get(name), (int, float))
    ]
    if said:
        draft.reasons.append(
            f"generation_config.json sets {', '.join(said)}: vLLM uses that where a request says nothing"
        )
    limit = whole(files.tokenizer, "model_max_length")
    context = draft.flags.get("max-model-len")
    if limit and isinstance(context, int) and limit < context:
        draft.questions.append(
            f"tokenizer_config.json allows {limit:,} tokens, config.json {context:,}: which is right?"
        )


def _sentence(doubt: str) -> str:
    return f"Not known: {doubt}."
