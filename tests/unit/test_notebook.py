"""What notebooks show: pictures where the space draws them, tables elsewhere; a store's text is never markup."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import latentstore as ls
from latentstore import markup
from tests.clothes import clothes_space

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> ls.EmbeddingSpace:
    return clothes_space(ls.open(tmp_path_factory.mktemp("notebook") / "a.store"), "small", items=600, dim=4)


def pictures(html: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in found]


def test_paths_samples_and_latents_are_pictures(space: ls.EmbeddingSpace) -> None:
    path = space.interpolate("'test/1'", "'test/2'", steps=5)
    drawn = pictures(path._repr_html_())
    assert len(drawn) == 5
    shrunk = [one[1::3, 1::3] for one in drawn]  # 28 pixels become 84
    wanted = np.rint(np.clip(path.decode()[..., 0], 0, 1) * 255)
    np.testing.assert_array_equal(shrunk, wanted)
    assert all(near in path._repr_html_() for near in path.report.nearest)
    samples = space.sample(60, seed=0)
    assert len(pictures(samples._repr_html_())) == markup.MOST
    assert "and 10 more" in samples._repr_html_()
    latent = space.latent("'test/1' + 0.5 * 'test/2'")
    assert len(pictures(latent._repr_html_())) == 1
    assert "&#x27;test/1&#x27; + 0.5 * &#x27;test/2&#x27;" in latent._repr_html_()


def test_hits_and_stores_are_tables(tmp_path: Path) -> None:
    store = ls.open(tmp_path / "a.store")
    plain = store.create_space("plain", dim=2)
    plain.add([HOSTILE, "b"], [[0, 0], [3, 4]], {"note": [HOSTILE, None]})
    html = plain.search([0.0, 0.0], 3, columns=["note"])._repr_html_()
    assert html.count("<tr>") == 3
    assert ">5</td>" in html
    assert "1 fewer than asked for" in html
    assert HOSTILE not in html
    assert html.count("&lt;script&gt;") == 2
    batch = plain.search(np.zeros((40, 2)), 2)._repr_html_()
    assert "<th>query</th>" in batch
    assert "and 30 more" in batch
    assert "<td" in plain.latent("'b'")._repr_html_(), "no decoder: words only"
    assert "fewer" not in plain.search([0.0, 0.0], 2)._repr_html_()
    assert "plain" in store._repr_html_()
    empty = store.create_space("empty", dim=2)
    assert "0 more" not in empty.search([0.0, 0.0], 2)._repr_html_()
    assert empty.latent([1.0, 2.0])._repr_html_()
