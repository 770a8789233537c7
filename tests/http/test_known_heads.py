"""Searches with a head that was read before, of which only the body is: the same answers as those of a new head."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

import latentstore as ls
from latentstore.server.direct import HEADS_KEPT, LONGEST, Direct
from latentstore.server.keys import create_key, revoke_key
from latentstore.server.protocol import BoundedProtocol
from tests.http.conftest import serving
from tests.http.test_direct import Connection, request, vectors

LENGTH = 160  # of every body: JSON may end with spaces


def search(body, **headers):
    """Bytes of a request whose head does not depend on its body."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert len(content) <= LENGTH
    return b"".join(request(content.ljust(LENGTH), **headers))


@pytest.fixture
def known(monkeypatch):
    """Whether each request was begun as one whose head is known, in their order."""
    taken, take = [], BoundedProtocol._take_known
    monkeypatch.setattr(
        BoundedProtocol,
        "_take_known",
        lambda self, data: (found := take(self, data), taken.append(found))[0],
    )
    return taken


@pytest.mark.parametrize(
    ("body", "status", "taken"),
    [
        ({"query": vectors(1)[0], "k": 3}, 200, True),
        ({"query": [1e39] * 6}, 422, True),  # nothing is wrong with it until it is a vector
        ({"query": vectors(3)}, 200, False),
        ({"query": "'train/3' + formal", "k": 2}, 200, False),
        ({"query": [1, 2, 3, 4, 5, 6], "k": 2, "where": "label = 'Bag'"}, 200, False),
        ({"query": [0.5] * 6, "at": "older"}, 200, False),
        ({"query": [0.5] * 5}, 422, True),
        ({"query": [0.5] * 6, "k": 0}, 422, False),
        ({"query": [0.5, "1", 0, 0, 0, 0]}, 422, False),
        ({}, 422, False),
        (b"{", 400, False),
        (b"\xff\xfe", 400, False),
        (b"", 400, False),
    ],
)
def test_whatever_its_body_it_is_answered_as_one_with_a_new_head(client, known, body, status, taken):
    with Connection(client) as one, Connection(client) as other:
        one.socket.sendall(search({"query": [0.25] * 6}, **{"x-new": "1"}))
        assert one.answer()[0] == 200
        for _ in range(2):  # the connection is as good as before
            known.clear()
            one.socket.sendall(search(body, **{"x-new": "1"}))
            ours = one.answer()
            assert known[0] is taken
            other.socket.sendall(search(body, **{"x-request-id": "mine"}))
            theirs = other.answer()
            assert (ours[0], ours[2]) == (theirs[0], theirs[2])
            assert ours[0] == status
            assert list(ours[1]).count("x-request-id") == 1
            assert {**ours[1], "x-request-id": "mine", "date": ""} == {**theirs[1], "date": ""}


def test_a_head_is_known_on_every_connection_but_only_as_it_was_sent(client, known):
    with Connection(client) as one, Connection(client) as other:
        for connection, headers, taken in (
            (one, {"x-first": "a"}, False),
            (one, {"x-first": "a"}, True),
            (other, {"x-first": "a"}, True),
            (other, {"x-first": "b"}, False),
            (other, {"x-first": "b", "origin": "http://evil.example"}, False),
            (other, {"x-first": "b", "origin": "http://evil.example"}, False),
        ):
            known.clear()
            connection.socket.sendall(search({"query": [0.5] * 6}, **headers))
            assert connection.answer()[0] == (403 if "origin" in headers else 200)
            assert known == [taken]


@pytest.mark.parametrize(
    "headers",
    [
        {"x-request-id": "mine"},
        {"expect": "100-continue"},
        {"connection": "close"},
        {"version": "1.0"},
        {"x-long": "a" * LONGEST},
    ],
)
def test_a_head_that_says_more_than_the_next_may_is_not_kept(client, known, headers):
    for _ in range(2):
        with Connection(client) as one:
            one.socket.sendall(search({"query": [0.5] * 6}, **headers))
            assert one.file.readline().split()[1] in (b"200", b"100")
    assert known == [False, False]


def test_no_more_heads_are_kept_than_have_room(client, monkeypatch):
    held, keep = [], Direct.keep
    monkeypatch.setattr(Direct, "keep", lambda self, *given: (keep(self, *given), held.append(len(self.known))))
    with Connection(client) as one:
        for number in range(HEADS_KEPT + 20):
            one.socket.sendall(search({"query": [0.5] * 6}, **{"x-other": number}))
            assert one.answer()[0] == 200
    assert len(held) == HEADS_KEPT + 20
    assert max(held) <= HEADS_KEPT


def test_it_may_come_in_pieces_and_with_others(client, small, known):
    """Cut anywhere; what follows is another search, a refused one, another route; at last, what is not HTTP at all."""
    first, second = ({"query": query, "k": 4} for query in vectors(2))
    expected = [small.search(**each).ids.tolist() for each in (first, second)]
    with Connection(client) as one:
        one.socket.sendall(search(first))
        assert json.loads(one.answer()[2])["ids"] == expected[0]
        whole = search(first) + search(second)
        for cut in (
            1,
            40,
            whole.index(b"\r\n\r\n") + 4,
            len(search(first)) - 1,
            len(search(first)) + 1,
            len(whole) - 1,
        ):
            one.socket.sendall(whole[:cut])
            time.sleep(0.02)
            one.socket.sendall(whole[cut:])
            assert [json.loads(one.answer()[2])["ids"] for _ in range(2)] == expected
        assert {*known} == {True, False}
        one.socket.sendall(
            whole
            + search({"query": [1, 2]})
            + b"GET /v1/spaces HTTP/1.1\r\nhost: localhost\r\n\r\n"
            + search(b"{")
            + whole
        )
        answers = [one.answer() for _ in range(7)]
        assert [status for status, _, _ in answers] == [200, 200, 422, 200, 400, 200, 200]
        assert [json.loads(answers[at][2])["ids"] for at in (0, 1, 5, 6)] == expected * 2
        one.socket.sendall(b"\x00garbage\r\n\r\n")
        assert one.answer()[0] == 400
        assert one.file.read() == b""


def test_answers_come_in_the_order_of_the_requests(client, small, known):
    """Thousands at once, among them such that a process that searches knows nothing of."""
    bodies = [{"query": query, "k": 3} for query in vectors(3000)]
    bodies[1000::50] = [{"query": [1, 2]}] * len(bodies[1000::50])  # from here on the parser has them
    expected = [small.search(body["query"], 3).ids.tolist() for body in bodies if len(body["query"]) == 6]
    with Connection(client) as one:
        one.socket.sendall(search(bodies[0]))
        one.answer()
        known.clear()
        one.socket.sendall(b"".join(search(body) for body in bodies))
        answers = [one.answer() for _ in bodies]
    assert {status for status, _, _ in answers} == {200, 422}
    assert [json.loads(content)["ids"] for status, _, content in answers if status == 200] == expected
    assert len({headers["x-request-id"] for _, headers, _ in answers}) == len(bodies)
    assert all(known[:200])


def test_a_key_that_was_revoked_opens_nothing(store):
    kept, gone = create_key(store, "read", "kept"), create_key(store, "read", "gone")
    with serving(store, searchers=1) as client, Connection(client) as one:
        for _ in range(3):
            for key in (kept, gone):
                one.socket.sendall(search({"query": [0.5] * 6}, authorization=f"Bearer {key}"))
                assert one.answer()[0] == 200
        revoke_key(store, "gone")
        deadline = time.monotonic() + 20
        status = 200
        while status == 200:
            assert time.monotonic() < deadline
            one.socket.sendall(search({"query": [0.5] * 6}, authorization=f"Bearer {gone}"))
            status, _, content = one.answer()
        assert status == 401
        assert b"KeyUnknown" in content
        one.socket.sendall(search({"query": [0.5] * 6}, authorization=f"Bearer {kept}"))
        assert one.answer()[0] == 200


def test_it_is_counted(store):
    with serving(store, searchers=1) as client, Connection(client) as one:
        for query in vectors(5):
            one.socket.sendall(search({"query": query}))
            assert one.answer()[0] == 200
        counted = 'latentstore_answers_total{route="/v1/spaces/{space}/search",status="200"} 5.0'
        assert counted in client.get("/metrics").text


def test_the_next_version_is_searched(store):
    with serving(store, searchers=1) as client, Connection(client) as one:
        space = ls.open(store).space("small")
        query = {"query": [9.0] * 6, "k": 1}
        one.socket.sendall(search(query))
        assert json.loads(one.answer()[2])["ids"] != ["new"]
        space.add(["new"], np.full((1, 6), 9.0), {"label": ["Bag"], "split": ["test"]}, encoder=space.fingerprint)
        space.tag("production")
        deadline = time.monotonic() + 20
        found = []
        while found != ["new"]:
            assert time.monotonic() < deadline
            one.socket.sendall(search(query))
            found = json.loads(one.answer()[2])["ids"]
