"""Mistakes on the shell: one line, exit code 2, and nothing is changed."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Run = Callable[..., tuple[int, str, str]]
OTHER_SIZE, OTHER_CHANNELS, NO_IMAGE = "wide.png", "colour.png", "text.png"


def digest(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(p.relative_to(folder)): (p.stat().st_size, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def files(tmp_path: Path) -> None:
    Image.new("L", (20, 28)).save(tmp_path / OTHER_SIZE)
    Image.new("RGB", (28, 28)).save(tmp_path / OTHER_CHANNELS)
    (tmp_path / NO_IMAGE).write_text("no image")
    np.save(tmp_path / "narrow.npy", np.ones(5))
    np.save(tmp_path / "nan.npy", np.full(6, np.nan))
    np.save(tmp_path / "inf.npy", np.full(6, np.inf))
    np.save(tmp_path / "zero.npy", np.zeros(3))
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "something").touch()
    for name, text in {
        "key.toml": 'store = "x.store"\nspace = "x"\nspase = "y"\n[dataset]\nname = "fashion_mnist"',
        "kind.toml": 'store = "x.store"\nspace = "x"\n[dataset]\nname = "table"\n[encoder]\nkind = "vae"\ndim = 0',
        "broken.toml": "store = ",
    }.items():
        (tmp_path / name).write_text(text)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        # the command line itself
        ("serch STORE small x", "No such command 'serch'. Did you mean 'search', 'serve'?"),
        ("search", "Missing argument 'STORE'"),
        ("search STORE small test/1 --wher x", "--where"),
        ("search STORE small test/1 -k many", "'-k'"),
        ("search STORE small", "give one of QUERY, --image and --vector"),
        ("search STORE small test/1 --vector nan.npy", "not QUERY and --vector"),
        # names
        ("search STORE smal test/1", "did you mean 'small'?"),
        ("search STORE small test/99999", "no item 'test/99999' in space 'small'"),
        ("search STORE small shoe.PNG", "a file is given as --image FILE"),
        ("search STORE small shoe.npy", "a file is given as --vector FILE"),
        ("search STORE small \"'test/99999'\"", "'test/99999'"),
        ("search STORE small formall", "did you mean 'formal'?"),
        ("edit STORE small \"centroid('Bagg')\"", "did you mean 'Bag'?"),
        ("sample STORE small --label Bagg", "Bagg"),
        ("sample STORE small --label Bag --column labels", "did you mean 'label'?"),
        ("sample STORE small --column labels", "give a --label"),
        ("search STORE small test/1 --columns lable", "did you mean 'label'?"),
        ("search STORE small test/1 --where \"lable = 'Bag'\"", "did you mean 'label'?"),
        ("search STORE small test/1 --at produktion", "did you mean 'production'?"),
        ("search STORE small test/1 --at 77", "77"),
        ("tag STORE small best 77", "77"),
        ("tag STORE small produktion --delete", "did you mean 'production'?"),
        ("tag STORE small --delete", "--delete needs the NAME"),
        ("status STORE --at 3", "needs a SPACE"),
        ("sample STORE small --method gnn", "known: 'flow', 'gmm'"),
        ("interpolate STORE small test/1 test/2 --method slurp", "did you mean 'slerp'"),
        # values
        ("search STORE small test/1 -k 0", "k is 0"),
        ("search STORE small test/1 --recall 2", "recall is 2"),
        ("search STORE small --vector narrow.npy", "shape (5,)"),
        ("search STORE small --vector nan.npy", "NaN"),
        ("search STORE small --vector inf.npy", "infinity"),
        ("search STORE plain --vector zero.npy", "zero vector"),
        ("search STORE small --vector pickled.npy", "no .npy file of numbers"),
        ("search STORE small --vector absent.npy", "absent.npy"),
        ("search STORE small --image wide.png", "28, 20, 1"),
        ("search STORE small --image colour.png", "28, 28, 3"),
        ("search STORE small --image text.png", "text.png is no image"),
        ("search STORE plain --image wide.png", "no encoder"),
        ("search STORE small \"'test/1' +\"", "character 11"),
        ("search STORE small \"'test/1' * 'test/2'\"", "test/2"),
        ("search STORE small test/1 --where \"label = 'Bag'; DROP TABLE x\"", ";"),
        ("interpolate STORE small test/1 test/2 --steps 1", "steps is 1"),
        ("interpolate STORE small test/1 test/2 test/3 --steps 2", "steps is 2; choose 3"),
        ("interpolate STORE small test/1", "TO"),
        ("interpolate STORE small test/1 test/2 --smoothing .1", "smoothing 0.1 is for method 'graph'"),
        ("interpolate STORE small test/1 test/2 --out x.avi", "end it in .png, .gif or .mp4"),
        ("interpolate STORE small test/1 test/2 --out x.gif --fps 0", "0 frames per second"),
        ("interpolate STORE small test/1 test/2 --grid", "2 anchors"),
        ("interpolate STORE small test/1 test/2 test/3 --grid --out x.gif", "end it in .png"),
        ("interpolate STORE plain a \"b's\" --method geodesic", "no geodesic in space 'plain'"),
        ("paths STORE small --pairs 0", "0 pairs"),
        ("paths STORE small --column lable", "did you mean 'label'?"),
        ("paths STORE plain --column year", "3 items"),
        ("interpolate STORE plain a no/c --out x.png", "no item 'no/c'"),
        ("interpolate STORE plain a \"b's\" --out x.png", "no decoder"),
        ("edit STORE small test/1 --out x.gif3", "end it in .png"),
        ("sample STORE small --truncation -1", "truncation is -1"),
        ("sample STORE small --method flow", "fit_flow()"),
        ("barycenter STORE small test/8 test/3 --weights 1", "give one each"),
        ("barycenter STORE small test/8 test/3 --weights a,b", "no numbers"),
        ("barycenter STORE small test/8 test/3 --method wassserstein", "did you mean 'wasserstein'?"),
        ("transport STORE small test/8 --from Sandal --to Boot", "Boot"),
        ("displace STORE small \"label = 'Bag'\" \"label = 'Bagg'\"", "0 \"label = 'Bagg'\""),
        ("displace STORE small \"label = 'Bag'\" \"label = 'Dress'\" -n 0", "choose 1 to"),
        ("interpolate STORE small test/8 test/3 --method transport --smoothing .1", "smoothing"),
        ("sample STORE small -n 0", "n is 0"),
        ("sample STORE small --method prior", "prior"),
        ("sql STORE \"DELETE FROM small\"", "SELECT"),
        ("sql STORE \"SELECT * FROM read_csv('/etc/passwd')\"", "outside the store"),
        ("sql STORE \"SELECT nothing FROM small\"", "nothing"),
        ("vacuum STORE --older-than yesterday", "'yesterday' is no span of time"),
        # places
        ("status nowhere.store", "nowhere.store"),
        ("status folder", "folder"),
        ("status text.png", "text.png"),
        ("search STORE small test/1 --arrow absent/hits.arrow", "absent/hits.arrow"),
        ("sample STORE small --out absent/x.png", "absent/x.png"),
        ("tag /proc/a.store small best", "/proc/a.store"),
        # configurations, refused before anything runs
        ("run absent.toml", "absent.toml"),
        ("run broken.toml", "broken.toml"),
        ("run key.toml", "did you mean 'space'?"),
        ("train kind.toml", "dim"),
        ("schedule key.toml --every 1h", "spase"),
        ("quickstart --out q --limit 10", "limit 10"),
        ("quickstart", "--out"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(run: Run, made: Path, line: str, words: str) -> None:
    before = digest(made)
    code, out, err = run(*shlex.split(line))
    assert code == 2, out + err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert words in err
    assert "Traceback" not in out + err
    assert digest(made) == before


@pytest.fixture
def damaged(made: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "damaged.store"
    shutil.copytree(made, copy)
    return copy


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda s: truncate(s, "spaces/small/segments/*.f32"), "search {} small test/1"),
        (lambda s: truncate(s, "spaces/small/segments/*.parquet"), "search {} small test/1"),
        (lambda s: truncate(s, "spaces/small/concepts/*.parquet"), "search {} small \"centroid('Bag') + formal\""),
        (lambda s: truncate(s, "spaces/small/manifests/*4.json"), "search {} small test/1"),
        (lambda s: remove(s, "encoders/*/weights.safetensors"), "edit {} small test/1"),
        (lambda s: remove(s, "encoders/*/spec.json"), "edit {} small test/1"),
        (lambda s: (s / "store.json").write_text('{"format": 99}'), "status {}"),
        (lambda s: (s / "store.json").write_text("{"), "status {}"),
    ],
    ids=["vectors", "rows", "concepts", "manifest", "weights", "spec", "newer", "unreadable"],
)
def test_a_damaged_store_is_refused_in_one_line(
    run: Run, damaged: Path, damage: Callable[[Path], Any], line: str
) -> None:
    damage(damaged)
    before = digest(damaged)
    code, out, err = run(*shlex.split(line.format(damaged)))
    assert code == 2, out
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert digest(damaged) == before


def truncate(store: Path, pattern: str) -> None:
    path = max(store.glob(pattern))
    path.write_bytes(path.read_bytes()[:-16])


def remove(store: Path, pattern: str) -> None:
    max(store.glob(pattern)).unlink()
