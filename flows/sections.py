"""What every table of a configuration is, and the tables about concepts, measuring and the gate."""

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


class EvaluateSection(Section):
    """`label` is the column whose values neighbours should share, for the measures that need one.

    The slower measures look at some items only: `queries` for index recall and intrinsic dimension, `pairs` for
    interpolation, `map_items` for the quality of maps that rows were added to since, `map_images` test items that are
    drawn from their place on a map, and `umap_inverse` of them also by umap-learn's own inverse (minutes on large maps,
    so none unless asked for).

    `judge` are label columns: a classifier of them, trained on the training items (for `judge_epochs`, by default 6)
    and kept in the store, judges what is drawn from edited and sampled latents. With none there is no judge. It says
    what each attribute vector does to `edit_items` test items at each of `strengths`, and what those of the `chain` do
    all at once. Without a judge the nearest real items say so, of fewer items. So many `counterfactuals` are solved.
    With a `[generation]` section `samples` are drawn by each method and stand beside as many training and test items.
    """

    label: str = "label"
    queries: PositiveInt = 1_000
    pairs: PositiveInt = 100
    map_items: PositiveInt = 1_000
    map_images: NonNegativeInt = 200
    umap_inverse: NonNegativeInt = 0
    judge: tuple[str, ...] = ()
    judge_epochs: PositiveInt | None = None
    edit_items: PositiveInt = 500
    strengths: Annotated[tuple[float, ...], Field(min_length=1)] = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
    counterfactuals: NonNegativeInt = 50
    chain: tuple[str, ...] = ()
    samples: PositiveInt = 2_000
    seed: Seed = 0


class LimitSection(Section):
    """What a metric may be, and how far it may move from what serves now. All in the metric's own unit."""

    min: float | None = None
    max: float | None = None
    max_drop: Annotated[float, Field(ge=0)] | None = None
    max_rise: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> LimitSection:
        if not self.model_fields_set:
            raise ValueError("a gate needs at least one of min, max, max_drop, max_rise")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}: no value can pass")
        return self

    @property
    def words(self) -> str:
        """What a value may be, without what it may move by."""
        return " ".join(f"{sign} {edge:g}" for sign, edge in (("≥", self.min), ("≤", self.max)) if edge is not None)


class GateSection(Section):
    """`tag` moves to the new version only if every metric keeps within its limit."""

    tag: Identifier = "production"
    metrics: dict[str, LimitSection] = Field(default_factory=dict)
