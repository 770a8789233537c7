"""Edits before a judge: pictures whose attributes add up, where the right answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import latentstore as ls
from latentstore.encoders import train
from latentstore.errors import InputError, UnknownAttribute
from latentstore.evaluate import Judge, aims_of, edit_metrics
from latentstore.evaluate.edit_measures import Aim, EditMeasures, Effect
from latentstore.space import EmbeddingSpace

PATCHES = {"port": np.s_[4:12, 0:5], "middle": np.s_[4:12, 6:10], "starboard": np.s_[4:12, 11:16]}


def lamps(n: int, seed: int, tied: float = 0.0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Three lamps, on or off; a share `tied` of the pictures has port and starboard alike. Linear in what is on."""
    random = np.random.default_rng(seed)
    on = {name: random.random(n) < 0.5 for name in PATCHES}
    on["starboard"] = np.where(random.random(n) < tied, on["port"], on["starboard"])
    items = random.integers(0, 12, (n, 16, 16, 1)).astype(np.int64)
    for name, patch in PATCHES.items():
        items[(slice(None), *patch)] += np.where(on[name], 200, 0)[:, None, None, None]
    return items.astype(np.uint8), {name: values.astype(object) for name, values in on.items()}


@pytest.fixture(scope="module")
def judge() -> Judge:
    items, labels = lamps(800, 0)
    how = {"flips": False}  # a mirrored picture has the other lamp on
    return Judge.train(items, labels, **how, epochs=8, channels=(8, 16), batch_size=32, precision="float32", width=16)


def lit(folder: Path, tied: float = 0.0) -> EmbeddingSpace:
    items, labels = lamps(600, 1, tied)
    store = ls.open(folder)
    encoder, record = train("pca", items, dim=6)
    store.add_encoder(encoder, {"training": record.to_card()})
    space = store.create_space("lamps", dim=6, encoder=encoder.fingerprint)
    table = pa.table({name: pa.array(values.tolist(), pa.bool_()) for name, values in labels.items()})
    space.add([f"i{n}" for n in range(len(items))], encoder.encode(items), metadata=table)
    for name in ("port", "starboard"):
        space.fit_attribute(name, positive=name, negative=f"not {name}")
    space.fit_attribute("either", positive="port or middle", negative="not (port or middle)")
    return space


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingSpace:
    return lit(tmp_path_factory.mktemp("edits") / "a.store")


def test_an_attribute_aims_at_the_column_that_tells_its_groups_apart(space: EmbeddingSpace, judge: Judge) -> None:
    assert aims_of(space, judge) == {
        "port": Aim("port", "port", True, "not port"),
        "starboard": Aim("starboard", "starboard", True, "not starboard"),
    }


def test_lamps_go_on_one_by_one_and_together(space: EmbeddingSpace, judge: Judge) -> None:
    found = edit_metrics(space, judge, strengths=(0.0, 1.0), chain=("port", "starboard"), items=200)
    assert min(found.told.values()) > 0.99
    for one in found.edits:
        assert one.items == 200 and one.best == 1.0
        assert (one.effects[0.0].success, one.effects[0.0].flipped) == (0.0, 0.0)
        assert one.effects[1.0].success > 0.98 and one.effects[1.0].flipped < 0.02
        assert one.effects[1.0].flipped_by.keys() == set(PATCHES) - {one.aim.column}
    assert found.chain is not None
    assert found.chain.strengths == (1.0, 1.0) and found.chain.effect.success > 0.98
    assert found.chain.effect.flipped_by.keys() == {"middle"} and found.chain.effect.flipped < 0.02
    assert found.chain.each.keys() == {"port", "starboard"}
    metrics = found.metrics()
    assert metrics["edit_port_success@0"] == 0.0 and metrics["edit_port_success"] == metrics["edit_port_success@1"]
    assert metrics["chain_success"] == found.chain.effect.success


def test_a_confounded_attribute_flips_the_other_lamp(tmp_path: Path, judge: Judge) -> None:
    """Where port and starboard go together, the difference of means lights both: the judge sees it."""
    found = edit_metrics(lit(tmp_path / "b.store", tied=0.95), judge, strengths=(1.0,), items=200)
    (port,) = (one for one in found.edits if one.aim.attribute == "port")
    assert port.effects[1.0].success > 0.98
    assert port.effects[1.0].flipped_by["starboard"] > 0.8 > 0.02 > port.effects[1.0].flipped_by["middle"]


def test_the_best_strength_weighs_success_and_flips() -> None:
    effects = {s: Effect(success, flipped, {}, 1.0) for s, success, flipped in ((1.0, 0.9, 0.0), (2.0, 1.0, 0.2))}
    assert EditMeasures(Aim("a", "a", True, "not a"), 1, effects).best == 1.0  # .9 × 1 > 1 × .8


def test_only_the_items_that_are_asked_for(space: EmbeddingSpace, judge: Judge) -> None:
    ids = [f"i{n}" for n in range(40)]
    found = edit_metrics(space, judge, ids=ids, strengths=(1.0,))
    without = {name: sum(not x for x in space.get(ids)[name].to_pylist()) for name in ("port", "starboard")}
    assert {one.aim.attribute: one.items for one in found.edits} == without
    told: dict[str, str] = {}
    on = space.snapshot.ids(space.matching("port"))[:10].tolist()
    found = edit_metrics(space, judge, ids=on, untried=lambda name, error: told.update({name: str(error)}))
    assert "port" not in {one.aim.attribute for one in found.edits}
    assert told == {"port": "none of the 10 items lacks attribute 'port'; choose other ids"}


def test_impossible_questions(space: EmbeddingSpace, judge: Judge) -> None:
    with pytest.raises(UnknownAttribute, match="chain names 'prt', which no judged attribute is; did you mean 'port'"):
        edit_metrics(space, judge, chain=("prt", "starboard"))
    with pytest.raises(UnknownAttribute, match="chain names 'either'"):
        edit_metrics(space, judge, chain=("either", "starboard"))
    with pytest.raises(InputError, match="at least two attributes, each of another column"):
        edit_metrics(space, judge, chain=("port",))
    with pytest.raises(InputError, match="strengths are empty"):
        edit_metrics(space, judge, strengths=())
    on = space.snapshot.ids(space.matching("port"))[:10].tolist()
    with pytest.raises(InputError, match="none of the 10 items lacks attribute 'port'; choose other ids"):
        edit_metrics(space, judge, ids=on)
