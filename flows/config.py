"""One TOML file describes one published space; this module checks it whole before anything runs.

    store = "fashion.store"          # relative paths are meant from the file's own folder
    space = "fashion"

    [dataset]
    name = "fashion_mnist"           # further keys are options of that dataset

    [encoder]
    kind = "autoencoder"             # further keys are options of that kind of encoder
    dim = 32

Every section but `[dataset]` may be left out; `flows/recipes/` has complete, commented files.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    JsonValue,
    PositiveInt,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from flows.problems import describe
from flows.sections import (
    ConceptsSection,
    EvaluateSection,
    Fraction,
    GateSection,
    Identifier,
    Section,
    Seed,
)
from latentstore.errors import ConfigInvalid, InputError, UnknownEncoder, suggest
from latentstore.maps import GIVEN, METHODS, options_of
from latentstore.types import Metric


def _from_file(path: Path, context: ValidationInfo) -> Path:
    """Read a relative path from the folder of the TOML file, wherever the command was typed."""
    folder: Path = (context.context or {}).get("folder", Path())
    return (folder / path.expanduser()).absolute()


FilePath = Annotated[Path, AfterValidator(_from_file)]
FLOW_OPTIONS = ("steps", "batch_size", "learning_rate", "hidden", "blocks")  # `latentstore.encoders.FlowOptions`


class OpenSection(Section):
    """A table whose further keys belong to the room it names, which checks them."""

    model_config = ConfigDict(extra="allow")

    @property
    def options(self) -> dict[str, Any]:
        """The keys that this module does not know itself."""
        return dict(self.model_extra or {})


# Options of datasets that are files or folders; relative ones are meant from the TOML file's folder.
PATH_OPTIONS = ("folder", "path", "root")


def _resolved(given: Any, context: ValidationInfo, options: Iterable[str]) -> Any:
    if not isinstance(given, dict):
        return given
    named = {key: value for key in options if isinstance(value := given.get(key), str)}
    return {**given, **{key: str(_from_file(Path(value), context)) for key, value in named.items()}}


class DatasetSection(OpenSection):
    """Where the items come from: `latentstore.datasets.open_dataset(name, **options)`."""

    name: str

    @model_validator(mode="before")
    @classmethod
    def _resolve(cls, given: Any, context: ValidationInfo) -> Any:
        return _resolved(given, context, PATH_OPTIONS)


class SplitSection(Section):
    """Which items train the encoder and which ones test it.

    With `column` in the metadata, its values `train` and `test` decide. Without, a fixed `test_fraction` of the items
    is drawn by a hash of the id, so an item never changes sides while the dataset grows.
    """

    column: str = "split"
    train: str = "train"
    test: str = "test"
    test_fraction: Fraction = 0.1


class EncoderSection(OpenSection):
    """How items become latents: `latentstore.encoders.train(kind, items, dim=…, seed=…, **options)`.

    `labels` is a metadata column for kinds that learn from labels too.

    `retrain` says when another encoder is trained: "recipe" only when this section or the dataset's options change, so
    that new items are embedded beside the old ones; "data" also when training items change, which embeds all again.
    """

    kind: str
    dim: PositiveInt
    seed: Seed = 0
    labels: str | None = None
    retrain: Literal["recipe", "data"] = "recipe"

    @model_validator(mode="before")
    @classmethod
    def _resolve(cls, given: Any, context: ValidationInfo) -> Any:
        # Weights of a pretrained network: a file, where they are not a name of torchvision's.
        name = given.get("weights") if isinstance(given, dict) else None
        return _resolved(given, context, ["weights"] if isinstance(name, str) and {"/", "."} & {*name} else [])


class EmbedSection(Section):
    """`shard_items` are encoded and made durable at a time: what a killed run can lose."""

    shard_items: PositiveInt = 20_000


class IndexSection(Section):
    """The search structure: "auto" chooses by size; `target_recall` of the true 10 nearest are to be found."""

    kind: Literal["auto", "flat", "ivf", "hnsw"] = "auto"
    target_recall: Fraction = 0.98
    seed: Seed = 0


class MapSection(OpenSection):
    """A projection to two or three dimensions. `method` is the map's own name unless it says otherwise.

    Further keys are options of that method: `latentstore.maps.project(method, latents, **options)`.
    """

    method: Literal["pca", "umap", "tsne"] | None = None
    dim: Literal[2, 3] = 2
    seed: Seed = 0


class GeneratorSection(OpenSection):
    """What samples are drawn from. `column` are the labels that can be asked for; "" for none.

    Further keys are options of the flow: `steps`, `batch_size`, `learning_rate`, `hidden`, `blocks`.
    """

    column: str = "label"
    seed: Seed = 0


class Config(Section):
    """One file: everything `refresh` does for one space."""

    store: FilePath
    space: Identifier
    metric: Metric = "l2"
    dataset: DatasetSection
    split: SplitSection = SplitSection()
    encoder: EncoderSection | None = None
    embed: EmbedSection = EmbedSection()
    index: IndexSection = IndexSection()
    concepts: ConceptsSection = ConceptsSection()
    generation: dict[Literal["gmm", "flow"], GeneratorSection] = Field(default_factory=dict)
    maps: dict[Identifier, MapSection] = Field(default_factory=dict)
    evaluate: EvaluateSection = EvaluateSection()
    gate: GateSection = GateSection()
    _where: str = PrivateAttr("configuration")

    @contextmanager
    def blame(self, section: str) -> Iterator[None]:
        """Name file and section in the message of what a room refuses meanwhile."""
        try:
            yield
        except (InputError, UnknownEncoder) as error:
            kind = ConfigInvalid if isinstance(error, UnknownEncoder) else type(error)
            raise kind(f"{self._where}: [{section}] {error}") from error

    @model_validator(mode="after")
    def _generators_have_options(self) -> Config:
        for name, section in self.generation.items():
            known = {*FLOW_OPTIONS} if name == "flow" else set[str]()
            for option in section.options:
                if option not in known:
                    hint = suggest(option, known | {*GeneratorSection.model_fields})
                    raise ValueError(f"unknown key 'generation.{name}.{option}'; {hint}")
        return self

    @model_validator(mode="after")
    def _maps_have_methods(self) -> Config:
        for name, section in self.maps.items():
            if section.method is None and name not in METHODS:
                raise ValueError(f"map {name!r} needs a method: {', '.join(METHODS[:-1])} or {METHODS[-1]}")
            known = options_of(section.method or name) - {*GIVEN}
            for option in section.options:
                if option not in known:
                    hint = suggest(option, known | {*MapSection.model_fields})
                    raise ValueError(f"unknown key 'maps.{name}.{option}'; {hint}")
        return self


def load_config(path: Path | str, *, store: Path | None = None) -> Config:
    """Read and check a TOML file.

    Args:
        path: The file.
        store: Write to this folder instead of the one the file names.

    Raises:
        ConfigInvalid: No such file, not TOML, an unknown key, or an impossible value. The message names the file, the
            key with its section, and the nearest known key.
    """
    path = Path(path).expanduser().absolute()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigInvalid(f"no configuration file {path}; see flows/recipes for complete ones") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigInvalid(f"{path} cannot be read as TOML: {error}; repair the file") from error
    if store is not None:
        document["store"] = str(store.absolute())
    return parse_config(document, folder=path.parent, where=str(path))


def parse_config(document: Mapping[str, Any], *, folder: Path | None = None, where: str = "configuration") -> Config:
    """Check a configuration given as a mapping; relative paths are meant from `folder` (default: here).

    Raises:
        ConfigInvalid: As `load_config`.
    """
    try:
        # Through JSON, so that strict checking (no "32" for 32) still takes lists for tuples and text for paths.
        text = json.dumps(document, default=str)
        config = Config.model_validate_json(text, strict=True, context={"folder": folder or Path()})
    except ValidationError as error:
        raise ConfigInvalid(f"{where}: {describe(error, Config)}") from error
    config._where = where
    return config


def as_config(given: Config | Path | str) -> Config:
    """A configuration as it is, or from its file: what every flow takes."""
    return given if isinstance(given, Config) else load_config(given)


def digest(*parts: JsonValue) -> str:
    """A stable name for parameters: 16 hex digits of the sha256 of their canonical JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
