"""One request for vectors, asked in as many as its model's server wants, and joined in the app's order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import to_json

from api.proxies.calls import Refused
from api.proxies.dialects.errors import Trouble, kind
from api.proxies.dialects.json_text import dumps
from api.proxies.dialects.names import EMBEDDINGS, Dialect
from api.proxies.embeddings.asked import Wanted
from api.proxies.embeddings.job import WRONG, Counted, Part, read
from api.proxies.embeddings.numbers import Vector, checked, flat, length, written
from api.proxies.embeddings.split import halves, parts
from api.proxies.embeddings.way import Way

EMBED: Final = "/embed"
AROUND: Final = 4  # bytes around an input in a list
TOKEN: Final = 7  # bytes of a token
_FIRST: Final = re.compile(rb'"embedding"\s*:\s*(["\[])')
_USAGE: Final = re.compile(rb'"usage"\s*:\s*\{')


class Vectors:
    """`job.Job`. `model`: as the server calls it. `lenient`: what is wrong with one input is said in its place."""

    def __init__(self, wanted: Wanted, way: Way, model: str, *, lenient: bool) -> None:
        self.parallel = way.parallel
        self._wanted = wanted
        self._way = way
        self._model = model
        self._lenient = lenient
        self._path = EMBED if way.truncate and way.server == "tei" else EMBEDDINGS
        self._fields = self._asked()
        self._items: list[bytes] = [b""] * len(wanted.inputs)
        self._bad: dict[int, Refused] = {}
        self._counted = Counted()
        self._called = model
        self._as_it_came = b""

    # What is asked.

    def first(self) -> list[Part]:
        """Runs of inputs that the server takes at a time."""
        for at, refused in sorted(self._wanted.wrong.items()):
            self._spoilt(at, refused)
        runs, start = list[range](), 0
        for at in [*sorted(self._wanted.wrong), len(self._items)]:  # around what is wrong
            runs += [range(start + run.start, start + run.stop) for run in self._split(start, at)]
            start = at + 1
        return [Part(self._path, run) for run in runs]

    def _split(self, start: int, stop: int) -> list[range]:
        size = self._way.size
        if size is not None:
            size = max(1, size - len(dumps(self._fields)) - AROUND)
            sizes = [_size(each) for each in self._wanted.inputs[start:stop]]
        else:
            sizes = [0] * max(0, stop - start)
        return parts(sizes, self._way.batch, size)

    def body(self, part: Part) -> bytes:
        """The fields of the app's request, with these inputs. One input that was no list stays none."""
        inputs: Any = [self._wanted.inputs[at] for at in part.inputs]
        if self._wanted.single:
            inputs = inputs[0]
        return dumps({**self._fields, ("inputs" if self._path == EMBED else "input"): inputs})

    def _asked(self) -> dict[str, Any]:
        """Everything but the inputs."""
        rest = self._wanted.rest
        if self._path == EMBED:
            known = {"truncate": True, "truncation_direction": None, "normalize": None, "dimensions": None}
            return {**{name: rest[name] for name in known if name in rest}, "truncate": True}
        fields = {"model": self._model, **rest} if self._model else dict(rest)
        if self._way.truncate:
            fields.setdefault(*(("truncate", "END") if self._way.server == "nim" else ("truncate_prompt_tokens", -1)))
        return fields

    # What is answered.

    def answered(self, part: Part, names: Mapping[bytes, bytes], body: bytes) -> None:
        """Its vectors, each in its place."""
        if self._is_all(part) and self._as_asked(body):
            self._as_it_came = body
            return
        said = read(body)
        if isinstance(said, dict) and isinstance(said.get("model"), str):
            self._called = said["model"]
        vectors = _vectors(said, len(part.inputs))
        for at, vector in zip(part.inputs, vectors, strict=True):
            self._fits(vector)
            value = written(vector, as_base64=self._wanted.as_base64, dimensions=self._wanted.dimensions)
            self._items[at] = b'{"object":"embedding","index":%d,"embedding":%b}' % (at, _text(value))
        self._counted.add(said, names)

    def _is_all(self, part: Part) -> bool:
        """Whether its answer may be the app's."""
        return len(part.inputs) == len(self._items) and part.path == EMBEDDINGS and self._wanted.checked is None

    def _as_asked(self, body: bytes) -> bool:
        """Whether an answer has the form that was asked for: looked through, and not taken apart."""
        form = _FIRST.search(body)
        return form is not None and (form[1] == b'"') == self._wanted.as_base64 and _USAGE.search(body) is not None

    def _fits(self, vector: Vector) -> None:
        """What the server made of `dimensions`."""
        asked = self._wanted.checked
        if asked is None or not flat(vector):
            return
        have = length(vector)
        if have < asked or (have > asked and self._wanted.dimensions is None):
            message = f"the model's vectors have {have} dimensions, and its server does not make {asked} of them"
            raise Refused(400, "CannotCut", message, field="dimensions")

    def refused(self, part: Part, trouble: Trouble) -> list[Part]:
        """Where the others are wanted all the same, it is found out which of them it was."""
        run = part.inputs
        if not self._lenient or trouble.status not in WRONG:
            raise self._named(run, trouble)
        if len(run) > 1:
            return [Part(part.path, half) for half in halves(run)]
        self._spoilt(run.start, self._named(run, trouble))
        return []

    def _named(self, run: range, trouble: Trouble) -> Refused:
        """An error of the server's, with the inputs that it is about."""
        many = len(self._items)
        param, message = trouble.param, trouble.message
        if trouble.status in WRONG and many > 1:
            if len(run) == 1:
                param, message = f"input[{run.start}]", f"input[{run.start}]: {message}"
            elif len(run) < many:
                param, message = "input", f"one of input[{run.start}] to input[{run.stop - 1}]: {message}"
        return Refused(trouble.status, trouble.code, message, field=param)

    def _spoilt(self, at: int, refused: Refused) -> None:
        if not self._lenient:
            raise refused
        self._bad[at] = refused
        trouble = Trouble.of(refused)
        error = {
            "message": trouble.message,
            "type": kind(Dialect.OPENAI, trouble.status),
            "param": trouble.param,
            "code": trouble.code,
        }
        self._items[at] = b'{"object":"embedding","index":%d,"embedding":null,"error":%b}' % (at, dumps(error))

    def whole(self) -> bytes:
        """One answer. Where nothing was right, there is none."""
        if self._as_it_came:
            return self._as_it_came
        if len(self._bad) == len(self._items):
            raise self._bad[min(self._bad)]
        usage = self._counted.usage if self._counted.known else self._tokens()
        head = b'{"object":"list","data":['
        return b"".join(
            (head, b",".join(self._items), b'],"model":', dumps(self._called), b',"usage":', dumps(usage), b"}")
        )

    def _tokens(self) -> dict[str, int]:
        """Where the server counts nothing: those that the app had counted itself."""
        known = sum(
            len(each) for at, each in enumerate(self._wanted.inputs) if isinstance(each, list) and at not in self._bad
        )
        return {"prompt_tokens": known, "total_tokens": known}


def _text(value: Vector) -> bytes:
    """As JSON. Raises ValueError for what JSON has no number for."""
    if not isinstance(value, str) and flat(value):
        checked(value)
    return to_json(value)


def _size(one: str | list[int] | None) -> int:
    if isinstance(one, str):
        return len(dumps(one)) + AROUND
    return len(one or ()) * TOKEN + AROUND


def _vectors(said: Any, count: int) -> list[Vector]:
    """An answer's, in the order of what was asked: OpenAI's, or TEI's own. Raises ValueError."""
    data = said.get("data") if isinstance(said, dict) else said
    if not isinstance(data, list) or len(data) != count:
        found = len(data) if isinstance(data, list) else "no"
        raise ValueError(f"it answered {count} inputs with {found} vectors")
    placed: list[Vector | None] = [None] * count
    for at, item in enumerate(data):
        place, vector = (item.get("index", at), item.get("embedding")) if isinstance(item, dict) else (at, item)
        if type(place) is not int or not 0 <= place < count or placed[place] is not None:
            raise ValueError("its vectors are not numbered as the inputs were")
        if not isinstance(vector, (str, list)):
            raise ValueError("it answered with what is no vector")  # noqa: TRY004  # the server's mistake
        placed[place] = vector
    return [vector for vector in placed if vector is not None]
