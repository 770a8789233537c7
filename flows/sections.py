"""What every table of a configuration is, and the tables about concepts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, StringConstraints, model_validator

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=63)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Section(BaseModel):
    """A table of the file: frozen, and without room for misspelt keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class AttributeSection(Section):
    """An attribute vector from two groups of items, each chosen by a `where` predicate or a list of ids.

    `balance` names the columns of method "balanced", `orthogonal_to` the attributes of "conditional", which stand
    before this one in the file.
    """

    positive: str | None = None
    negative: str | None = None
    positive_ids: tuple[str, ...] = ()
    negative_ids: tuple[str, ...] = ()
    method: Literal["mean_difference", "balanced", "conditional", "logistic"] = "mean_difference"
    balance: tuple[str, ...] = ()
    orthogonal_to: tuple[str, ...] = ()
    resamples: NonNegativeInt = 100
    permutations: NonNegativeInt = 199
    seed: Seed = 0

    @model_validator(mode="after")
    def _two_groups(self) -> AttributeSection:
        for side, predicate, ids in (
            ("positive", self.positive, self.positive_ids), ("negative", self.negative, self.negative_ids)
        ):  # fmt: skip
            if (predicate is None) == (not ids):
                raise ValueError(f"an attribute needs {side} or {side}_ids, one of them")
        return self

    def arguments(self) -> dict[str, Any]:
        """What `EmbeddingSpace.fit_attribute` takes."""
        options = self.model_dump(mode="json", exclude={"positive", "negative", "positive_ids", "negative_ids"})
        groups = {
            "positive": list(self.positive_ids) if self.positive is None else self.positive,
            "negative": list(self.negative_ids) if self.negative is None else self.negative,
        }
        return {**groups, **options}


class DirectionsSection(Section):
    """Attributes found without labels, called by the section's name and a number."""

    method: Literal["principal", "sensitive"] = "principal"
    count: PositiveInt = 5
    where: str | None = None
    resamples: NonNegativeInt = 100
    seed: Seed = 0


class ConceptsSection(Section):
    """Columns whose labels get centroids, attribute vectors by name, and directions that need no labels."""

    centroids: tuple[str, ...] = ()
    attributes: dict[Identifier, AttributeSection] = {}
    directions: dict[Identifier, DirectionsSection] = {}
