"""The only file that knows torch: models of sentence-transformers, as `lane.Model` wants them.

The model is called as sentence-transformers' own `encode` and `predict` call it, module by module, so that its vectors
are theirs. What is done otherwise is which inputs go together, and in which thread.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from itertools import groupby
from typing import Any, Final

from spark_embed.batching import buckets
from spark_embed.lane import Row
from spark_embed.settings import Settings, Unusable

Tokens = Sequence[int]
LONGEST: Final = 8192  # tokens, of a model that names no length of its own
GPU_DTYPE, CPU_DTYPE = "bfloat16", "float32"

log = logging.getLogger("spark_embed.models")


class Torch:
    """The device, and how tensors come there. Torch is imported here and not before: it takes seconds."""

    def __init__(self, settings: Settings) -> None:
        """Raises Unusable where the device that was asked for isn't there: nobody computes on a CPU by accident."""
        self.torch: Any = import_module("torch")
        self.device = settings.device
        if self.device == "cuda" and not self.torch.cuda.is_available():
            raise Unusable(
                f"torch {self.torch.__version__} sees no GPU (its CUDA: {self.torch.version.cuda}). Was the container "
                "started with the GPU, and is torch still the base image's own? SPARK_EMBED_DEVICE=cpu computes on the "
                "CPU, if that is what you want"
            )
        usual = GPU_DTYPE if self.device == "cuda" else CPU_DTYPE
        self.dtype = getattr(self.torch, usual if settings.dtype == "auto" else settings.dtype)
        if self.device == "cuda":
            name, capability = self.torch.cuda.get_device_name(), self.torch.cuda.get_device_capability()
            log.info("torch %s on %s, capability %s", self.torch.__version__, name, capability)

    def padded(self, rows: Sequence[Row], fill: dict[str, int]) -> dict[str, Any]:
        """The features of a batch, sorted by length, on the device."""
        longest = max(row.length for row in rows)
        names = (*rows[0].features, "attention_mask")
        whole = {
            name: self.torch.full((len(rows), longest), fill.get(name, 0), dtype=self.torch.long) for name in names
        }
        for at, row in enumerate(rows):
            for name, values in row.features.items():
                whole[name][at, : row.length] = self.torch.as_tensor(values, dtype=self.torch.long)
            whole["attention_mask"][at, : row.length] = 1
        if self.device == "cpu":
            return whole
        return {name: each.pin_memory().to(self.device, non_blocking=True) for name, each in whole.items()}


class Base(ABC):
    """What both kinds share: a tokeniser, a length, and the sentence-transformers model."""

    dimensions = 0  # of its vectors, if it gives any

    def __init__(self, name: str, model: Any, torch: Torch, settings: Settings) -> None:
        self.name = name
        self._model, self._torch = model.eval(), torch
        self._tokenizer: Any = model.tokenizer
        own = (
            getattr(model, "max_seq_length", None)
            or getattr(model, "max_length", None)
            or self._tokenizer.model_max_length
        )
        own = own if own <= LONGEST * 128 else LONGEST  # tokenisers that know none say 10^30
        self.longest = min(settings.max_length or own, own)
        self._fill = {"input_ids": self._tokenizer.pad_token_id or 0}
        self._names = [n for n in self._tokenizer.model_input_names if n != "attention_mask"]

    def _encoded(self, texts: Sequence[Any], limit: int | None) -> list[Row | str]:
        """Texts or pairs of texts in tokens."""
        cut = {"truncation": True, "max_length": self._cut(limit)} if limit is not None else {"truncation": False}
        found = self._tokenizer(list(texts), padding=False, return_attention_mask=False, verbose=False, **cut)
        rows = list[Row | str]()
        for at, ids in enumerate(found["input_ids"]):
            features = {name: found[name][at] for name in self._names if name in found}
            rows.append(self._too_long(len(ids)) or Row(len(ids), features))
        return rows

    def _cut(self, limit: int | None) -> int:
        return self.longest if limit is None or limit < 0 else min(limit, self.longest)

    def _too_long(self, length: int) -> str:
        over = length > self.longest
        return f"it has {length} tokens, and the model takes {self.longest}" if over else ""

    def warm(self, settings: Settings) -> None:
        """Compute a batch of each length, so that nobody who asks waits for what is made at first use."""
        for length in buckets(self.longest):
            rows = [Row(length, {name: [self._fill.get(name, 0)] * length for name in self._names})]
            most = max(1, min(settings.batch_inputs, settings.batch_tokens // length))
            self.finish(self.compute(rows), [None])
            if self._torch.device == "cuda":
                self.finish(self.compute(rows * most), [None] * most)

    @abstractmethod
    def tokenise(self, inputs: Sequence[Any], limit: int | None) -> list[Row | str]:
        """See `lane.Model`."""

    @abstractmethod
    def compute(self, rows: Sequence[Row]) -> Any:
        """See `lane.Model`."""

    @abstractmethod
    def finish(self, computed: Any, wanted: Sequence[int | None]) -> list[Any]:
        """See `lane.Model`."""


class Embedder(Base):
    """A model of vectors."""

    def __init__(self, torch: Torch, settings: Settings) -> None:
        library: Any = import_module("sentence_transformers")
        model = library.SentenceTransformer(
            settings.model,
            revision=settings.revision or None,
            device=torch.device,
            trust_remote_code=settings.trust_remote_code,
            model_kwargs={"dtype": torch.dtype},
        )
        super().__init__(settings.name or settings.model, model, torch, settings)
        self._prompt = (model.prompts or {}).get(model.default_prompt_name or "", "")
        self.dimensions = int(_dimensions(model))

    def tokenise(self, inputs: Sequence[str | Tokens], limit: int | None) -> list[Row | str]:
        """Texts by the model's tokeniser; lists of tokens are taken as they are."""
        rows = list[Row | str]()
        for texts, group in groupby(inputs, key=lambda each: isinstance(each, str)):
            if texts:
                rows += self._encoded([f"{self._prompt}{text}" for text in group], limit)
            else:
                rows += [self._given(tokens, limit) for tokens in group if not isinstance(tokens, str)]
        return rows

    def _given(self, tokens: Tokens, limit: int | None) -> Row | str:
        known = len(self._tokenizer)
        if wrong := next((token for token in tokens if not 0 <= token < known), None):
            return f"{wrong} is no token of this model, which has {known}"
        ids = list(tokens) if limit is None else list(tokens)[: self._cut(limit)]
        features = {name: ids if name == "input_ids" else [0] * len(ids) for name in self._names}
        return self._too_long(len(ids)) or Row(len(ids), features)

    def compute(self, rows: Sequence[Row]) -> Any:
        """The vectors, on the device."""
        with self._torch.torch.inference_mode():
            return self._model(self._torch.padded(rows, self._fill))["sentence_embedding"]

    def finish(self, computed: Any, wanted: Sequence[int | None]) -> list[bytes]:
        """Little-endian float32. Those that are cut are brought to length 1 again."""
        whole = computed.float().cpu().numpy().astype("<f4")
        return [_cut(vector, length).tobytes() for vector, length in zip(whole, wanted, strict=True)]


class Reranker(Base):
    """A cross-encoder: a score for each pair of a query and a document."""

    def __init__(self, torch: Torch, settings: Settings) -> None:
        library: Any = import_module("sentence_transformers")
        model = library.CrossEncoder(
            settings.reranker,
            revision=settings.reranker_revision or None,
            device=torch.device,
            trust_remote_code=settings.trust_remote_code,
            model_kwargs={"dtype": torch.dtype},
        )
        super().__init__(settings.name or settings.reranker, model, torch, settings)
        if model.num_labels != 1:
            raise Unusable(f"{settings.reranker} gives {model.num_labels} numbers for a pair; a reranker gives one")
        self._activation: Any = model.activation_fn

    def tokenise(self, inputs: Sequence[tuple[str, str]], limit: int | None) -> list[Row | str]:
        """Pairs, by the model's tokeniser."""
        return self._encoded(list(inputs), limit)

    def compute(self, rows: Sequence[Row]) -> Any:
        """The scores, on the device."""
        with self._torch.torch.inference_mode():
            found = self._model(self._torch.padded(rows, self._fill))
            return self._activation(found["scores"] if "scores" in found else found["logits"])

    def finish(self, computed: Any, wanted: Sequence[int | None]) -> list[float]:
        """A number for each pair."""
        del wanted
        return [float(score) for score in computed.float().reshape(-1).cpu().tolist()]


def _dimensions(model: Any) -> Any:
    """Its name has changed between versions of the library."""
    ask = getattr(model, "get_embedding_dimension", None) or model.get_sentence_embedding_dimension
    return ask()


def _cut(vector: Any, length: int | None) -> Any:
    if length is None or length == len(vector):
        return vector
    part = vector[:length]
    size = float((part.astype("f8") ** 2).sum() ** 0.5)
    return (part / size).astype("<f4") if size else part
