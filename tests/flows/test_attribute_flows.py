"""Concepts of every kind from a configuration, fitted once, and again when they must be; and their measures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flows.attribute_pages import attribute_tables
from flows.concepts import fit_concepts
from flows.config import Config, parse_config
from flows.editing import attribute_metrics
from flows.workspace import Workspace
from latentstore.encoders import train
from latentstore.errors import ConfigInvalid, UnknownAttribute
from latentstore.evaluate.strength_figures import strengths_of

SHOES = {"positive": "label = 'Ankle boot'", "negative": "label = 'Sandal'"}


@pytest.fixture
def embedded(document: dict[str, Any], fashion: Any) -> Any:
    """A store with the items embedded, and workspaces on it for any concepts and measures."""
    items = fashion.read(np.arange(len(fashion)))
    encoder, _ = train("pca", items[:600], dim=8)

    def work(**sections: Any) -> Workspace:
        made = Workspace(parse_config({**document, "maps": {}, **sections}))
        made.dataset = fashion
        if made.space is None:
            fingerprint = made.store.add_encoder(encoder, {})
            space = made.store.create_space("small", dim=8, encoder=fingerprint, source=fashion.source)
            space.add(fashion.ids.tolist(), encoder.encode(items), fashion.metadata)
        return made

    return work


def named(work: Workspace) -> dict[str, Any]:
    return {row["name"]: row for row in work.made_space.attributes.to_pylist()}


def test_every_kind_is_fitted_once_and_again_when_it_has_to_be(embedded: Any) -> None:
    concepts = {
        "attributes": {
            "formal": SHOES,
            "even": {**SHOES, "method": "balanced", "balance": ["split"]},
            "apart": {**SHOES, "negative": "label = 'Sneaker'", "method": "conditional", "orthogonal_to": ["formal"]},
            "few": {"positive_ids": ["train/0", "train/2"], "negative_ids": ["train/1"], "permutations": 3},
        },
        "directions": {"pc": {"count": 2, "resamples": 5}, "heard": {"method": "sensitive", "count": 1}},
    }
    work = embedded(concepts=concepts)
    with work:
        assert fit_concepts(work).changed
        first = named(work)
        assert list(first) == ["formal", "even", "apart", "few", "pc1", "pc2", "heard1"]
        assert first["few"]["positives"] == 2
        assert first["few"]["p_value"] in (0.25, 0.5, 0.75, 1.0)  # three permutations
        version = work.made_space.version
        assert not fit_concepts(work).changed
        assert work.made_space.version == version
        # another `formal` by hand: it is put right again, and what stands on it with it; nothing else
        work.made_space.fit_attribute("formal", positive="label = 'Bag'", negative="label = 'Coat'", permutations=0)
        assert fit_concepts(work).did.split(": ")[1] == "attribute/formal, attribute/apart"
        assert named(work)["apart"]["vector"] == first["apart"]["vector"]
        # other examples, another count
        changed = {**concepts, "directions": {"pc": {"count": 3, "resamples": 5}}}
        changed["attributes"] = {**concepts["attributes"], "few": {**concepts["attributes"]["few"]}}
        changed["attributes"]["few"]["negative_ids"] = ["train/1", "train/3"]
    again = embedded(concepts=changed)
    with again:
        assert fit_concepts(again).did.split(": ")[1] == "attribute/few, attribute/pc1…3"
        assert named(again)["few"]["negatives"] == 2


def test_what_is_not_there_is_refused_and_named(embedded: Any, document: dict[str, Any]) -> None:
    attribute = {**SHOES, "method": "conditional", "orthogonal_to": ["formal"]}
    with embedded(concepts={"attributes": {"apart": attribute}}) as work, pytest.raises(UnknownAttribute):
        fit_concepts(work)
    with pytest.raises(ConfigInvalid, match="needs positive or positive_ids"):
        parse_config({**document, "concepts": {"attributes": {"x": {**SHOES, "positive_ids": ["a"]}}}})
    with pytest.raises(ConfigInvalid, match=r"concepts.directions.pc.method = 'pca'"):
        parse_config({**document, "concepts": {"directions": {"pc": {"method": "pca"}}}})


def test_attributes_are_measured_by_neighbours_or_by_a_judge(embedded: Any) -> None:
    evaluate = {"edit_items": 20, "strengths": [0, 1, 2], "counterfactuals": 10}
    with embedded(evaluate=evaluate) as work:
        fit_concepts(work)
        votes = attribute_metrics(work, work.made_space)
    assert {f"vote_formal_success@{s}" for s in (0, 1, 2)} <= votes.keys()
    assert votes["vote_formal_success@2"] > votes["vote_formal_success@0"]
    assert not any(name.startswith("edit_") for name in votes)
    assert 0 < votes["undo_error"] < 1e-5
    assert votes["pair_auc_min"] <= votes["pair_auc_median"] <= 1
    # ten labels in 8 dimensions cannot be erased: said in the log, and the rest is measured
    assert "erasure_probe" not in votes
    with embedded(evaluate={**evaluate, "judge": ["label"], "judge_epochs": 1}) as work:
        judged = attribute_metrics(work, work.made_space)
        assert work.judge() is not None
    assert {f"edit_formal_settled_success@{s}" for s in (0, 1, 2)} <= judged.keys()
    assert not any(name.startswith("vote_") for name in judged)
    tables = {table.title.split(",")[0]: table for table in attribute_tables(work.made_space, judged)}
    by_judge, shown = strengths_of(judged)
    assert by_judge and not strengths_of(votes)[0]
    best = judged["edit_formal_strength"]
    (row,) = tables["Edits"].rows
    assert row[:3] == ("formal", f"{best:g}", f"{shown['formal']['success'][best]:.1%}")
    assert row[-1] == f"{shown['formal']['settled_realistic'][best]:.1%}"
    assert "no independent judge" in [table.title for table in attribute_tables(work.made_space, votes)][1]
    assert len(tables["Attribute vectors"].rows[0]) == len(tables["Attribute vectors"].columns)


def test_erasure_and_counterfactuals_where_the_space_is_wide_enough(document: dict[str, Any], fashion: Any) -> None:
    config: Config = parse_config({**document, "space": "wide", "maps": {}, "evaluate": {"counterfactuals": 10}})
    items = fashion.read(np.arange(len(fashion)))
    encoder, _ = train("pca", items[:600], dim=16)
    with Workspace(config) as work:
        work.dataset = fashion
        space = work.store.create_space("wide", dim=16, encoder=work.store.add_encoder(encoder, {}))
        space.add(fashion.ids.tolist(), encoder.encode(items), fashion.metadata)
        found = attribute_metrics(work, work.made_space)
    assert abs(found["erasure_excess"]) < 0.12  # of 100 test items: standard error .03
    assert found["erasure_probe"] == found["erasure_majority"] + found["erasure_excess"]
    assert found["counterfactual_solved"] > 0.8
    assert "undo_error" not in found
