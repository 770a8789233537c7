"""Commands about properties of items: they answer as Python does, draw, and refuse mistakes in one line."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import latentstore as ls

Run = Callable[..., tuple[int, str, str]]
SANDAL, BOOT = "label = 'Sandal'", "label = 'Ankle boot'"
CELL = 112  # pixels of a picture of a contact sheet


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    """A copy of the store that may be written to."""
    return Path(shutil.copytree(made, tmp_path / "own.store"))


def answer(run: Run, *words: str | Path) -> dict:
    code, out, err = run(*words, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_edit_shows_the_chain_term_by_term(run: Run, made: Path) -> None:
    words = ("edit", "STORE", "small", "'test/8' + formal - 3 * formal + 0.5 * ('test/8' - 'test/12')", "-k", "2")
    found = answer(run, *words, "--out", "chain.png")
    latent = ls.open(made, "r").space("small").latent(words[3])
    steps = latent.steps()
    assert [step["term"] for step in found["steps"]] == ["1.5 * 'test/8' - 0.5 * 'test/12'", "- 2 * formal"]
    for told, (_, one) in zip(found["steps"], steps, strict=True):
        report = one.report()
        assert told["realism"] == pytest.approx(report.realism)
        assert (told["nearest"], told["label"]) == (report.nearest, report.label)
        assert told["left the data"] == report.left_data
    assert found["report"] == str(latent.report())
    code, out, _ = run(*words)
    assert code == 0
    assert f"{words[3]}: realism " in out
    with Image.open("chain.png") as chain, Image.open("edit.png") as same:
        assert chain.size == same.size
        assert chain.width > 6 * CELL  # two items, two steps, two neighbours


def test_edit_settles(run: Run, made: Path) -> None:
    found = answer(run, "edit", "STORE", "small", "'test/8' + 3 * formal", "--settle", "0.5", "--npy", "z.npy")
    space = ls.open(made, "r").space("small")
    settled = space.latent("'test/8' + 3 * formal").settle(0.5)
    assert np.allclose(np.load("z.npy")[0], settled.vector, atol=1e-5)
    assert [step["term"] for step in found["steps"]] == ["'test/8'", "+ 3 * formal", "settled 0.5"]
    assert found["steps"][2]["realism"] == pytest.approx(settled.realism())
    assert found["steps"][2]["realism"] > found["steps"][1]["realism"]
    code, _, err = run("edit", "STORE", "small", "'test/8'", "--settle", "2")
    assert (code, "amount is 2" in err) == (2, True)


def test_counterfactual_answers_as_python_does(run: Run, made: Path) -> None:
    found = answer(run, "counterfactual", "STORE", "small", "test/8", "--label", "Bag", "--out", "cf.png")
    (row,) = found["counterfactual"]
    exact = ls.open(made, "r").space("small").counterfactual("'test/8'", label="Bag")
    assert (row["before"], row["label"], row["nearest"]) == (exact.before, "Bag", exact.nearest)
    assert row["length"] == pytest.approx(exact.length)
    assert found["residual"] <= 1e-8
    with Image.open("cf.png") as picture:
        assert picture.width > 3 * CELL
    _, out, _ = run("counterfactual", "STORE", "small", "test/8", "--label", "Bag")
    assert f"test/8 is taken for {exact.before}, and for Bag after a move of {exact.relative:.2f}" in out


def test_fitting_and_listing(run: Run, own: Path) -> None:
    done = answer(run, "fit-attribute", own, "small", "high", "--positive", BOOT, "--negative", "label = 'Sneaker'",
                  "--orthogonal-to", "formal", "--permutations", "9")  # fmt: skip
    (row,) = done["attributes"]
    assert (row["method"], row["p_value"]) == ("conditional", 0.1)
    done = answer(run, "fit-attribute", own, "small", "even", "--positive", BOOT, "--negative", SANDAL,
                  "--balance", "split")  # fmt: skip
    assert done["attributes"][0]["method"] == "balanced"
    done = answer(run, "fit-directions", own, "small", "--count", "2", "--name", "way")
    assert [row["name"] for row in done["attributes"]] == ["way1", "way2"]
    assert done["version"] == ls.open(own, "r").space("small").version
    space = ls.open(own, "r").space("small")
    listed = {row["name"]: row for row in answer(run, "attributes", own, "small")["attributes"]}
    assert list(listed) == ["formal", "high", "even", "way1", "way2"]
    assert listed["even"]["balance"] == ["split"]
    leaked = answer(run, "attributes", own, "small", "--leakage")["leakage"]
    assert leaked == space.leakage().to_pylist()
    assert next(r for r in leaked if (r["attribute"], r["other"]) == ("high", "formal"))["effect"] == pytest.approx(
        0, abs=1e-5
    )
    _, out, _ = run("attributes", own, "small", "--leakage")
    assert len([line for line in out.splitlines() if line.strip()]) == 2 + 5  # a square table
    assert run("attributes", own, "small", "--leakage", "--arrow", "leak.arrow")[0] == 0


def test_an_attribute_from_examples_and_kinds(run: Run, own: Path) -> None:
    found = answer(run, "subclusters", own, "small", "--where", SANDAL, "--count", "3", "--out", "kinds.png")
    exact = ls.open(own, "r").space("small").subclusters(SANDAL, 3)
    assert [row["medoid"] for row in found["clusters"]] == [one.medoid for one in exact]
    assert found["tried"] == {"3": pytest.approx(exact.silhouette)}
    with Image.open("kinds.png") as picture:
        assert picture.height > 3 * CELL
        assert picture.width > 8 * CELL
    one, other = (",".join(row["exemplars"]) for row in found["clusters"][:2])
    done = answer(run, "fit-attribute", own, "small", "kind", "--positive-ids", one, "--negative-ids", other)
    assert (done["attributes"][0]["positives"], done["attributes"][0]["negatives"]) == (8, 8)
    code, out, _ = run("edit", own, "small", "'test/8' + kind")
    assert (code, "realism" in out) == (0, True)


def test_erase_makes_a_space(run: Run, own: Path) -> None:
    (row,) = answer(run, "erase", own, "small", "--by", "label = 'Bag'", "--to", "bagless")["erased"]
    assert (row["space"], row["rows"], row["dimensions erased"]) == ("bagless", 1400, 1)
    made = ls.open(own, "r").space("bagless")
    x = made.snapshot.vectors(made.snapshot.live_rows())
    bag = np.isin(made.snapshot.live_rows(), made.matching("label = 'Bag'"))
    assert np.allclose(x[bag].mean(0), x[~bag].mean(0), atol=1e-4)
    assert run("search", own, "bagless", "test/8", "-k", "1")[0] == 0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("fit-attribute STORE small x --positive high", "which items are negative"),
        ("fit-attribute STORE small x --positive a --positive-ids b --negative c", "which items are positive"),
        ("fit-attribute STORE smal x --positive a --negative b", "did you mean 'small'"),
        ("fit-attribute STORE small x --positive \"label = 'Bag'\" --negative \"label = 'Bag'\"", "match both"),
        ("fit-attribute STORE small x --positive-ids nobody --negative-ids test/1", "nobody"),
        ("fit-attribute STORE small x --positive-ids test/2 --negative-ids test/1 --method means", "unknown method"),
        (
            "fit-attribute STORE small x --positive-ids test/2 --negative-ids test/1 --orthogonal-to forma",
            "did you mean",
        ),
        ("fit-directions STORE small --method best", "principal"),
        ("fit-directions STORE plain --method sensitive", "use 'principal'"),
        ("fit-directions STORE small --count 7", "choose 1 to 6"),
        ("subclusters STORE small --where \"label = 'Bagg'\"", "0 items match"),
        ("subclusters STORE plain --where year=1 --count 2", "at least 3"),
        ("erase STORE small --by lable --to other", "lable"),
        ("erase STORE small --by label --to other", "10 values and the space 6 dimensions"),
        ("erase STORE small --by \"label = 'Bag'\" --to plain", "exists"),
        ("counterfactual STORE small test/1 --label Bagg", "did you mean 'Bag'"),
        ("counterfactual STORE small test/1 --label Bag --confidence 1", "between 0 and 1"),
        ("counterfactual STORE small test/1 --label Bag --out x.gif", "end it in .png"),
    ],
)
def test_mistakes_are_one_line(run: Run, own: Path, line: str, words: str) -> None:
    version = ls.open(own, "r").space("small").version
    code, out, err = run(*[str(own) if one == "STORE" else one for one in shlex.split(line)])
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert ls.open(own, "r").space("small").version == version
    assert ls.open(own, "r").spaces == ["plain", "small"]
