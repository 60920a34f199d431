"""What may be said about detection: thresholds, lists, recognisers of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.proxies.redaction.detect.extra import require

if TYPE_CHECKING:
    import regex

Type = Annotated[str, Field(pattern=r"^[A-Z](?:[A-Z_]{0,38}[A-Z])?$")]
Score = Annotated[float, Field(ge=0, le=1)]
Words = Annotated[str, Field(min_length=1, max_length=200)]

QUASI: Final = frozenset({"AGE", "DATE", "JOB_TITLE", "NATIONALITY", "TITLE"})
"""What tells of a person only beside other things."""
THRESHOLD: Final = 0.5
PATIENCE: Final = 0.25
"""Seconds that a pattern out of the settings may take for one piece of text."""
_HARD: Final = ("a" * 3000 + "!", "0" * 3000 + "!", "a " * 1500 + "!", "ab1-" * 750 + "!", "x@x." * 750 + "!")


class CustomRecognizer(BaseModel):
    """Something that only this house has: its form, and words that stand near it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Type
    pattern: Annotated[str, Field(min_length=1, max_length=500)]
    """For the `regex` module. What is named `(?P<find>…)` in it is the find, or else all of it."""
    score: Score = 0.85
    context: Annotated[tuple[Words, ...], Field(max_length=50)] = ()
    """Where any are given, one of them must stand near."""
    ignore_case: bool = True

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        """A pattern that doesn't compile, finds nothing at all, or takes too long for texts that are hard for patterns."""
        compiled = self.compiled()
        if compiled.fullmatch("", timeout=PATIENCE):
            raise ValueError("this pattern finds the empty text")
        for text in _HARD:
            try:
                for _ in compiled.finditer(text, timeout=PATIENCE):
                    pass
            except TimeoutError:
                raise ValueError(f"this pattern takes more than {PATIENCE:g} s for {text[:8]!r} repeated") from None
        return self

    def compiled(self) -> regex.Pattern[str]:
        """Raises ExtraMissing, ValueError."""
        require(ner=False)
        import regex  # noqa: PLC0415  # settings can be read without the extra

        flags = regex.MULTILINE | (regex.IGNORECASE if self.ignore_case else 0)
        try:
            return regex.compile(self.pattern, flags)
        except regex.error as problem:
            raise ValueError(f"not a pattern: {problem}") from None


class DetectionSettings(BaseModel):
    """How personal data is looked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ner: bool = True
    """Names in prose by a model and lists of names. Without: patterns only."""
    types: Annotated[frozenset[Type], Field(max_length=100)] | None = None
    """Only these, where given."""
    skip_types: Annotated[frozenset[Type], Field(max_length=100)] = frozenset()
    thresholds: Annotated[dict[Type, Score], Field(max_length=100)] = Field(default_factory=dict)
    """The least score of a type. What is not named: 0.5."""
    allow: Annotated[frozenset[Words], Field(max_length=10_000)] = frozenset()
    """Texts that are not personal here, whole and without regard to case."""
    deny: Annotated[dict[Words, Type], Field(max_length=10_000)] = Field(default_factory=dict)
    """Texts that always are, and their type."""
    recognizers: Annotated[tuple[CustomRecognizer, ...], Field(max_length=100)] = ()
    regions: Annotated[tuple[Annotated[str, Field(pattern=r"^[A-Z]{2}$")], ...], Field(max_length=20)] = (
        "US",
        "GB",
        "DE",
        "FR",
        "ES",
        "IT",
        "NL",
        "IN",
        "AU",
        "BR",
        "JP",
    )
    """Whose telephone numbers are known without their country's code."""

    def wants(self, kind: str, score: float) -> bool:
        """Whether a find of this type and score is one."""
        if kind in self.skip_types or (self.types is not None and kind not in self.types):
            return False
        return score >= self.thresholds.get(kind, THRESHOLD)
