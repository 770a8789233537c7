"""Searches with a head that was read before, of which only the body is: the same answers as those of a new head."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack
from threading import Thread, Timer

import numpy as np
import pytest

import latentstore as ls
from latentstore.server import ServerLimits
from latentstore.server.direct import HEADS_KEPT, LONGEST, Direct
from latentstore.server.keys import create_key, revoke_key
from latentstore.server.protocol import BoundedProtocol
from tests.http.conftest import serving
from tests.http.test_direct import SEARCH, Connection, request, vectors

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


def hanging(client):
    """The process that searches, stopped."""
    deadline = time.monotonic() + 20
    while "latentstore_searchers 1.0" not in client.get("/metrics").text:
        assert time.monotonic() < deadline
    listed = subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", "search_process"], capture_output=True, text=True)
    pid = int(listed.stdout.split()[-1])
    os.kill(pid, signal.SIGSTOP)
    return pid


def test_one_that_takes_too_long_is_refused_and_the_next_is_not(store):
    with serving(store, searchers=1, limits=ServerLimits(seconds=0.6)) as client, Connection(client) as one:
        one.socket.sendall(search({"query": [0.5] * 6}))
        assert one.answer()[0] == 200
        pid = hanging(client)
        try:
            one.socket.sendall(search({"query": [0.25] * 6}) + search({"query": [0.5] * 6}))
            status, headers, content = one.answer()
            assert (status, headers["retry-after"]) == (503, "5")
            assert b"TooSlow" in content
        finally:
            os.kill(pid, signal.SIGCONT)
        assert one.answer()[0] == 200  # which was answered before


@pytest.mark.parametrize(
    ("bodies", "statuses"),
    [
        ([{"query": [0.25] * 6}], [200]),
        ([{"query": query} for query in vectors(3)], [200] * 3),
        ([{"query": [1e39] * 6}], [422]),  # the ordinary way says what is wrong with it
        ([{"query": [1e39] * 6}, {"query": [0.25] * 6}], [422, 200]),
        ([{"query": [0.25] * 6}, b"{"], [200, 400]),
    ],
)
def test_a_service_that_stops_answers_first(store, bodies, statuses):
    with ExitStack() as connections:
        with serving(store, searchers=1) as client:
            one, *others = (connections.enter_context(Connection(client)) for _ in range(41))
            one.socket.sendall(search({"query": [0.5] * 6}))
            assert one.answer()[0] == 200
            pid = hanging(client)
            for other, query in zip(others, vectors(40), strict=True):  # what comes now has to wait
                other.socket.sendall(search({"query": query}))
            one.socket.sendall(b"".join(search(body) for body in bodies))
            time.sleep(0.3)
            Timer(0.6, os.kill, (pid, signal.SIGCONT)).start()
            stopping = time.monotonic()
        ended = time.monotonic()
        answers = [one.answer() for _ in bodies]
        assert [status for status, _, _ in answers] == statuses
        assert ["connection" in headers for _, headers, _ in answers] == [False] * (len(bodies) - 1) + [True]
        assert one.file.read() == b""
    assert ended - stopping < 4  # sooner than an idle connection would be closed


@pytest.fixture
def impatient(monkeypatch):
    """Connections that are closed after a second in which nothing came."""
    made = BoundedProtocol.__init__

    def init(self, **options):
        made(self, **options)
        self.timeout_keep_alive = 1

    monkeypatch.setattr(BoundedProtocol, "__init__", init)


def test_an_idle_connection_is_closed(store, impatient):
    """Some time after its last answer, not after the first; not while it waits for one."""
    with serving(store, searchers=1) as client, Connection(client) as one:
        for query in vectors(5):
            one.socket.sendall(search({"query": query}))
            assert one.answer()[0] == 200
            time.sleep(0.5)
        pid = hanging(client)
        one.socket.sendall(search({"query": [0.5] * 6}))
        time.sleep(2.2)
        os.kill(pid, signal.SIGCONT)
        assert one.answer()[0] == 200
        began = time.monotonic()
        assert one.file.read() == b""
        assert 0.5 < time.monotonic() - began < 3


@pytest.mark.parametrize("rest", [b"\r\n", b"POST /v1/spaces"])
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("headers", [{}, {"x-request-id": "mine"}])
def test_so_is_one_that_does_not_end_its_head(store, impatient, rest, together, headers):
    with serving(store, searchers=1) as client, Connection(client) as one:
        for _ in range(2):
            one.socket.sendall(search({"query": [0.5] * 6}, **headers))
            assert one.answer()[0] == 200
        if together:
            one.socket.sendall(search({"query": [0.5] * 6}, **headers) + rest)
            assert one.answer()[0] == 200
        else:
            one.socket.sendall(rest)
        began = time.monotonic()
        assert one.file.read() == b""
        assert 0.5 < time.monotonic() - began < 3


@pytest.mark.parametrize("headers", [{}, {"x-request-id": "mine"}])  # known heads, and such as are not kept
def test_what_waits_for_its_turn_is_bounded(store, monkeypatch, headers):
    """However much a connection sends: else memory would grow, and what is copied with every answer."""
    bytes_waiting, requests_waiting, take, parse = [], [], BoundedProtocol._take_known, BoundedProtocol._parse

    def taking(self, data):
        bytes_waiting.append(len(data))
        return take(self, data)

    def parsing(self, data):
        parse(self, data)
        requests_waiting.append(len(self.pipeline))

    monkeypatch.setattr(BoundedProtocol, "_take_known", taking)
    monkeypatch.setattr(BoundedProtocol, "_parse", parsing)
    one = search({"query": [0.5] * 6}, **headers)
    count = 20_000
    with serving(store, searchers=1) as client, Connection(client) as sending:
        sender = Thread(target=sending.socket.sendall, args=(one * count,))
        sender.start()
        assert {sending.answer()[0] for _ in range(count)} == {200}
        sender.join()
    assert len(one) * count > 8 * max(bytes_waiting)
    assert max(bytes_waiting) <= 3 * (256 << 10)
    assert max(requests_waiting) * len(one) <= 3 * (256 << 10)


def test_who_goes_away_is_not_missed(store, caplog):
    with serving(store, searchers=1) as client:
        for query in vectors(30):
            with Connection(client) as one:
                one.socket.sendall(search({"query": query}) * 3)
                one.answer()
                one.socket.shutdown(socket.SHUT_RDWR)
        expected = ls.open(store, mode="r").space("small", at="production").search([0.5] * 6).ids.tolist()
        assert client.post(SEARCH, json={"query": [0.5] * 6}).json()["ids"] == expected
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
