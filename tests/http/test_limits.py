"""Every bound is answered with its own error, and the service goes on."""

from __future__ import annotations

import concurrent.futures as futures
import itertools
import threading
import time

import pytest

from latentstore.server import ServerLimits
from latentstore.space import generators

SPACE = "/v1/spaces/small"


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("search", {"query": "'test/1'", "k": 1001}, "1001 neighbours are beyond the service's 1000"),
        ("search", {"query": "'test/1'", "k": 900, "offset": 200}, "1100 neighbours"),
        ("search", {"query": ["'test/1'"] * 1025}, "1025 queries are beyond the service's 1024"),
        ("search", {"positive": ["test/1"] * 1025}, "1025 examples"),
        ("edit", {"query": "'test/1'", "k": 1001}, "1001 neighbours"),
        ("decode", {"query": ["'test/1'"] * 1025}, "1025 latents"),
        ("decode", {"points": [[0, 0]] * 1025, "map": "pca"}, "1025 latents"),
        ("place", {"query": ["'test/1'"] * 1025, "map": "pca"}, "1025 latents"),
        ("interpolate", {"from": "'test/1'", "to": "'test/2'", "steps": 201}, "201 steps are beyond the service's 200"),
        ("grid", {"anchors": ["'test/1'"] * 3, "rows": 20}, "400 cells"),
        ("sample", {"n": 257}, "257 samples are beyond the service's 256"),
        ("pictures", {"ids": ["test/1"] * 1025}, "1025 pictures"),
    ],
)
def test_numbers(client, path, body, said):
    answer = client.post(f"{SPACE}/{path}", json=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "LimitExceeded")
    assert answer.json()["error"]["message"].startswith(said)
    assert answer.json()["error"]["hint"] == "ask for fewer"


def test_a_body_that_is_too_large(serve):
    client = serve(limits=ServerLimits(body=1000))
    told = client.post(f"{SPACE}/search", content=b" " * 1001, headers={"content-type": "application/json"})
    assert (told.status_code, told.json()["error"]["type"]) == (413, "BodyTooLarge")

    def untold():
        for _ in range(20):
            yield b" " * 100

    streamed = client.post(f"{SPACE}/search", content=untold(), headers={"content-type": "application/json"})
    assert streamed.status_code == 413
    assert client.post(f"{SPACE}/search", json={"query": "'test/1'"}).status_code == 200


def test_an_answer_that_takes_too_long(serve):
    """Sixty thousand exact comparisons a query, in batches; the bound is a tenth of a second."""
    client = serve(limits=ServerLimits(seconds=0.05))
    began = time.monotonic()
    answer = client.post(f"{SPACE}/search", json={"query": ["'test/1'"] * 1024, "k": 900, "diversity": 0.5})
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "TooSlow")
    assert answer.headers["retry-after"]
    assert time.monotonic() - began < 20
    assert client.get("/healthz").status_code == 200


def test_more_than_can_wait(serve):
    client = serve(limits=ServerLimits(running=1, waiting=1, seconds=300))
    slow = {"query": ["'test/1'"] * 32, "k": 100, "diversity": 0.5}
    with futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post(f"{SPACE}/search", json=slow), range(8)))
    busy = [one for one in answers if one.status_code == 503]
    assert busy
    assert {one.json()["error"]["type"] for one in busy} == {"Busy"}
    assert any(one.status_code == 200 for one in answers)
    assert client.post(f"{SPACE}/search", json=slow).status_code == 200


def test_samples_that_wait_for_a_fit_keep_no_other_request_waiting(serve, monkeypatch):
    """The first sample fits a mixture; more samples than there are threads wait for it while others are answered."""
    begun, go_on, fits = threading.Event(), threading.Event(), []
    fit = generators.compute_mixtures

    def slowly(*given):
        fits.append(given)
        begun.set()
        assert go_on.wait(60)
        return fit(*given)

    monkeypatch.setattr(generators, "compute_mixtures", slowly)
    client = serve(limits=ServerLimits(running=2, waiting=2, seconds=60))
    with futures.ThreadPoolExecutor(8) as pool:
        samples = [pool.submit(client.post, f"{SPACE}/sample", json={"n": 2, "seed": seed}) for seed in range(8)]
        assert begun.wait(60)
        try:
            other = client.post(f"{SPACE}/search", json={"query": "'test/1'", "where": "label = 'Bag'"}, timeout=10)
            assert len(list(itertools.islice(futures.as_completed(samples, 60), 4))) == 4, "those beyond the bound"
        finally:
            go_on.set()
    assert other.status_code == 200
    statuses = sorted(one.result().status_code for one in samples)
    assert statuses == [200] * 4 + [503] * 4, "as many as run and wait are answered"
    assert all(one.result().headers["retry-after"] for one in samples if one.result().status_code == 503)
    assert len(fits) == 1
