from __future__ import annotations

from pathlib import Path

import pytest

from flows.config import Config, digest, load_config, parse_config
from latentstore.errors import ConfigInvalid

BASE = {"store": "x.store", "space": "fashion", "dataset": {"name": "fashion_mnist", "limit": 3}}
RECIPES = sorted((Path(__file__).parents[2] / "flows" / "recipes").glob("*.toml"))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


MINIMAL = 'store = "x.store"\nspace = "fashion"\n[dataset]\nname = "fashion_mnist"\nlimit = 3\n'


def test_relative_paths_are_meant_from_the_files_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    text = MINIMAL.replace("x.store", "../y.store") + 'folder = "../photos"\n'
    config = load_config(write(tmp_path / "refresh.toml", text))
    assert config.store.resolve() == (tmp_path.parent / "y.store").resolve()
    assert Path(config.dataset.options["folder"]).resolve() == (tmp_path.parent / "photos").resolve()
    assert config.dataset.options["limit"] == 3
    assert load_config(tmp_path / "refresh.toml", store=Path("/z.store")).store == Path("/z.store")


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"metrc": "l2"}, ["unknown key 'metrc'", "'metric'"]),
        ({"split": {"colum": "x"}}, ["unknown key 'split.colum'", "'column'"]),
        ({"maps": {"umap": {"seeds": 1}}}, ["unknown key 'maps.umap.seeds'", "'seed'"]),
        ({"gate": {"metrics": {"mse": {"max_ris": 1}}}}, ["unknown key 'gate.metrics.mse.max_ris'", "'max_rise'"]),
        (
            {"concepts": {"attributes": {"formal": {"positive": "a", "negative": "b", "methd": "c"}}}},
            ["unknown key 'concepts.attributes.formal.methd'", "'method'"],
        ),
        (
            {"concepts": {"attributes": {"formal": {"positive": "a"}}}},
            ["concepts.attributes.formal", "needs negative or negative_ids"],
        ),
        ({"dataset": {}}, ["'dataset.name' is missing"]),
        ({"encoder": {"kind": "pca", "dim": "32"}}, ["encoder.dim = '32'", "integer"]),
        ({"encoder": {"kind": "pca", "dim": 0}}, ["encoder.dim = 0", "greater than 0"]),
        (
            {"encoder": {"kind": "pca", "dim": 2, "retrain": "always"}},
            ["encoder.retrain = 'always'", "'recipe' or 'data'"],
        ),
        ({"split": {"test_fraction": 1.0}}, ["split.test_fraction = 1.0", "less than 1"]),
        ({"metric": "L2"}, ["metric = 'L2'", "'cosine'"]),
        ({"space": "My Space"}, ["space = 'My Space'", "pattern"]),
        ({"generation": {"flow": {"stepps": 9}}}, ["unknown key 'generation.flow.stepps'", "'steps'"]),
        ({"generation": {"gmm": {"steps": 9}}}, ["unknown key 'generation.gmm.steps'"]),
        ({"generation": {"gmn": {}}}, ["generation", "'gmm'"]),
        ({"maps": {"pretty": {}}}, ["map 'pretty' needs a method: pca, umap or tsne"]),
        ({"maps": {"tsne": {"perplexiti": 9.0}}}, ["unknown key 'maps.tsne.perplexiti'", "'perplexity'"]),
        ({"maps": {"pca": {"perplexity": 9.0}}}, ["unknown key 'maps.pca.perplexity'"]),
        ({"maps": {"tsne": {"start": 1}}}, ["unknown key 'maps.tsne.start'"]),
        ({"maps": {"tsne": {"dim": 4}}}, ["maps.tsne.dim = 4", "2 or 3"]),
        ({"gate": {"metrics": {"mse": {}}}}, ["gate.metrics.mse", "at least one of min, max, max_drop, max_rise"]),
        ({"gate": {"metrics": {"mse": {"min": 2.0, "max": 1.0}}}}, ["min 2.0 is above max 1.0"]),
        ({"gate": {"metrics": {"mse": {"max_rise": -1.0}}}}, ["gate.metrics.mse.max_rise = -1.0"]),
        ({"gate": {"metrics": {"mse": {"max": float("nan")}}}}, ["gate.metrics.mse.max = nan", "finite"]),
    ],
)
def test_a_mistake_is_named_with_its_key_and_the_nearest_known_one(change: dict[str, object], parts: list[str]) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        parse_config({**BASE, **change}, where="refresh.toml")
    assert str(caught.value).startswith("refresh.toml: ")
    for part in parts:
        assert part in str(caught.value)
    parse_config(BASE)  # control: without the change nothing is wrong


@pytest.mark.parametrize(
    ("text", "part"), [("store = ", "cannot be read as TOML"), (MINIMAL + "limit = 4\n", "cannot be read as TOML")]
)
def test_what_is_not_toml_is_refused_with_the_file(tmp_path: Path, text: str, part: str) -> None:
    path = write(tmp_path / "broken.toml", text)
    with pytest.raises(ConfigInvalid, match=part) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="no configuration file"):
        load_config(tmp_path / "none.toml")


def test_a_mistake_found_by_a_room_is_blamed_on_file_and_section(tmp_path: Path) -> None:
    config = load_config(write(tmp_path / "refresh.toml", MINIMAL))
    with pytest.raises(ConfigInvalid, match=r"refresh\.toml: \[dataset\] no option 'limt'"), config.blame("dataset"):
        raise ConfigInvalid("no option 'limt'")


def test_the_digest_depends_on_values_and_not_on_order() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipes_are_valid(recipe: Path) -> None:
    config = load_config(recipe)
    assert isinstance(config, Config)
    assert config.gate.metrics, "a recipe shows how to guard what serves"
