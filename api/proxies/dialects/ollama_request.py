"""What an app asks in Ollama's dialect, in OpenAI's: chats, texts, vectors.

The list of what is passed, rewritten, dropped and refused is docs/DIALECTS.md; the tables here are it.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final

from api.proxies.calls import Backend
from api.proxies.dialects.asked import Asked, Json, invalid, set_fields, unsayable
from api.proxies.dialects.json_text import dumps
from api.proxies.dialects.names import CHAT, COMPLETIONS, EMBEDDINGS

DROPPED: Final = ("keep_alive", "truncate", "shift")
LAUNCH_OPTIONS: Final = (
    *("numa", "num_ctx", "num_batch", "num_gpu", "main_gpu", "low_vram", "f16_kv", "logits_all", "vocab_only"),
    *("use_mmap", "use_mlock", "embedding_only", "num_thread", "num_keep", "penalize_newline", "draft_num_predict"),
)
"""Options that say how a model is loaded: here its recipe says that."""
OPTIONS: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "seed": "seed",
    "stop": "stop",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "repeat_penalty": "repetition_penalty",
}
LLAMACPP_OPTIONS: Final = {
    "repeat_penalty": "repeat_penalty",
    **{name: name for name in ("repeat_last_n", "typical_p", "mirostat", "mirostat_tau", "mirostat_eta")},
}
"""Options that llama.cpp's server has too, and the others have not."""
LOGPROBS: Final = ("logprobs", "top_logprobs")
PICTURES: Final = ("width", "height", "steps")
LEVELS: Final = ("low", "medium", "high")
MAGIC: Final = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp", b"BM": "bmp"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A request in the backend's words, and what its answer's writer has to know."""

    model: str
    path: str
    body: Json
    stream: bool = False
    thoughts: bool = True


def chat(body: bytes, backend: Backend) -> Wanted:
    """An `/api/chat` request. Raises Refused."""
    asked = Asked.body(body)
    model = asked.needed_text("model")
    stream = asked.flag("stream") is not False
    messages = asked.items("messages")
    if not messages:
        raise unsayable("messages", "is empty: models are loaded and unloaded by sparkkeep, as the desired state says")
    said: Json = {"messages": _messages(messages)}
    if tools := asked.take("tools"):
        said["tools"] = tools
    thoughts = _common(asked, said, backend)
    return _wanted(asked, model, CHAT, said, stream=stream, thoughts=thoughts, backend=backend)


def generate(body: bytes, backend: Backend) -> Wanted:
    """An `/api/generate` request: a chat of one question, or the bare text where it is `raw`. Raises Refused."""
    asked = Asked.body(body)
    model = asked.needed_text("model")
    stream = asked.flag("stream") is not False
    raw = asked.flag("raw")
    prompt, system = asked.text("prompt") or "", asked.text("system")
    images = asked.items("images")
    if not prompt and not images:
        raise unsayable("prompt", "is empty: models are loaded and unloaded by sparkkeep, as the desired state says")
    asked.refuse("suffix", why="has no place in a chat: ask `/v1/completions` of a server that fills in the middle")
    asked.refuse("template", why="belongs to the model here: send the whole text with `raw: true`")
    asked.refuse("context", why="is Ollama's own numbering of tokens: send the conversation to `/api/chat`")
    asked.refuse(*PICTURES, why="asks for a picture")
    if raw:
        if system or images:
            raise unsayable(
                "system" if system else "images", "can't be with `raw: true`, which sends the prompt as it is"
            )
        said: Json = {"prompt": prompt}
        path = COMPLETIONS
    else:
        question = {"role": "user", "content": _content(prompt, images)}
        said = {"messages": [{"role": "system", "content": system}, question] if system else [question]}
        path = CHAT
    thoughts = _common(asked, said, backend)
    return _wanted(asked, model, path, said, stream=stream, thoughts=thoughts, backend=backend)


def embed(body: bytes, backend: Backend) -> Wanted:
    """An `/api/embed` request. Raises Refused."""
    asked = Asked.body(body)
    model = asked.needed_text("model")
    asked.drop("keep_alive")
    if asked.flag("truncate") is False:
        raise unsayable("truncate", "can't be false: the server decides what it does with what is too long")
    said = {"input": asked.need("input"), "encoding_format": "float", **set_fields(dimensions=asked.take("dimensions"))}
    if options := asked.part("options"):
        options.drop(*LAUNCH_OPTIONS)
        options.over()
    return _wanted(asked, model, EMBEDDINGS, said, stream=False, thoughts=False, backend=backend)


def _wanted(
    asked: Asked, model: str, path: str, said: Json, *, stream: bool, thoughts: bool, backend: Backend
) -> Wanted:
    if stream:
        said |= {"stream": True, "stream_options": {"include_usage": True}}
    whole = {**asked.rest(), **said, "model": backend.model}
    return Wanted(model=model, path=path, body=whole, stream=stream, thoughts=thoughts)


def _common(asked: Asked, said: Json, backend: Backend) -> bool:
    """Options, format, thinking. Gives whether its thoughts are wanted."""
    asked.drop(*DROPPED)
    asked.refuse(*LOGPROBS, why="is not translated: ask `/v1/chat/completions`")
    if options := asked.part("options"):
        said |= _options(options, backend)
    said |= _format(asked.take("format"))
    think = asked.take("think")
    if think is None or think is True:
        return True
    if think is False:
        said["chat_template_kwargs"] = {"enable_thinking": False}
        return False
    if think not in LEVELS:
        raise invalid("think", "must be true, false or a level", LEVELS)
    said["reasoning_effort"] = think
    return True


def _options(options: Asked, backend: Backend) -> Json:
    options.drop(*LAUNCH_OPTIONS)
    said: Json = {}
    table = OPTIONS | (LLAMACPP_OPTIONS if backend.engine == "llamacpp" else {})
    for name, theirs in table.items():
        said |= set_fields(**{theirs: options.take(name)})
    for name in LLAMACPP_OPTIONS:
        options.refuse(name, why="is known to llama.cpp's server only")
    limit = options.take("num_predict")
    if isinstance(limit, int) and limit > 0:
        said["max_tokens"] = limit
    elif limit not in (None, -1):
        raise unsayable("options.num_predict", "must be -1 or a number from 1 on")
    options.over()
    return said


def _format(wanted: object) -> Json:
    if wanted in (None, ""):
        return {}
    if wanted == "json":
        return {"response_format": {"type": "json_object"}}
    if not isinstance(wanted, dict):
        raise invalid("format", "must be `json` or a JSON schema")
    schema = {"name": "format", "strict": True, "schema": wanted}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _messages(given: list[tuple[str, Any]]) -> list[Json]:
    """Ollama's calls of tools have no ids, and results come by name or in order: the ids are made here."""
    found: list[Json] = []
    open_calls: list[tuple[str, str]] = []  # id and name of those without a result
    for place, item in given:
        message = Asked(item, place)
        role = message.needed_text("role")
        if role not in {"system", "user", "assistant", "tool"}:
            raise invalid(message.at("role"), f"can't be {role!r}", ("system", "user", "assistant", "tool"))
        said: Json = {"role": role, "content": _content(message.text("content") or "", message.items("images"))}
        if role == "assistant":
            said |= set_fields(reasoning_content=message.text("thinking") or None)
            if calls := message.items("tool_calls"):
                said["tool_calls"] = [_call(*call, len(found), number) for number, call in enumerate(calls)]
                open_calls = [(call["id"], call["function"]["name"]) for call in said["tool_calls"]]
        if role == "tool":
            said["tool_call_id"] = _answered(message, open_calls)
        message.over()
        found.append(said)
    return found


def _call(place: str, item: Any, message: int, number: int) -> Json:
    call = Asked(item, place)
    call.drop("type")
    identity = call.text("id") or f"call_{message}_{number}"
    function = Asked(call.need("function"), call.at("function"))
    call.over()
    name, arguments = function.needed_text("name"), function.take("arguments")
    function.drop("index", "description")
    function.over()
    if not isinstance(arguments, dict | None):
        raise invalid(function.at("arguments"), "must be an object")
    return {
        "id": identity,
        "type": "function",
        "function": {"name": name, "arguments": dumps(arguments or {}).decode()},
    }


def _answered(message: Asked, open_calls: list[tuple[str, str]]) -> str:
    """The id of the call that a result belongs to: by its id, by its name, else the first one open."""
    wanted, name = message.text("tool_call_id"), message.text("tool_name") or message.text("name")
    for at, (identity, called) in enumerate(open_calls):
        if (wanted is None or wanted == identity) and (name is None or name == called):
            return open_calls.pop(at)[0]
    raise invalid(message.place, "is a tool's result, and no call before it waits for one")


def _content(text: str, images: list[tuple[str, Any]]) -> str | list[Json]:
    if not images:
        return text
    parts: list[Json] = [{"type": "text", "text": text}] if text else []
    return [*parts, *({"type": "image_url", "image_url": {"url": _data_url(*image)}} for image in images)]


def _data_url(place: str, image: Any) -> str:
    """Base64 without its kind, which the picture's first bytes tell."""
    if not isinstance(image, str):
        raise invalid(place, "must be base64")
    try:
        begins = base64.b64decode(image[:16], validate=True)
    except binascii.Error as error:
        raise invalid(place, "must be base64") from error
    kind = next((kind for magic, kind in MAGIC.items() if begins.startswith(magic)), "png")
    return f"data:image/{kind};base64,{image}"
