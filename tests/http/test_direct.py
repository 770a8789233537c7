"""Searches answered without a task: the same answers, in the same order, as those that come in pieces."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import time

import httpx
import numpy as np
import pytest

import latentstore as ls
from latentstore.server import ServerLimits
from latentstore.server.direct import Direct
from latentstore.server.keys import create_key
from tests.http.conftest import serving

SEARCH = "/v1/spaces/small/search"


def request(body, path=SEARCH, version="1.1", **headers):
    """Bytes of a request: its head, and its body."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"host": "localhost", "content-type": "application/json", "content-length": len(content), **headers}
    lines = [f"POST {path} HTTP/{version}", *(f"{name.replace('_', '-')}: {value}" for name, value in given.items())]
    return "\r\n".join([*lines, "", ""]).encode(), content


class Connection:
    """One, whose answers are read as they come."""

    def __init__(self, client: httpx.Client) -> None:
        self.socket = socket.create_connection((client.base_url.host, client.base_url.port), timeout=20)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def answer(self):
        """Status, headers and body of the next answer."""
        status, headers = int(self.file.readline().split()[1]), {}
        while line := self.file.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name] = value
        return status, headers, self.file.read(int(headers["content-length"]))


def whole_and_in_pieces(client, *given, **headers):
    """The answers to a request that is sent at once, and to one whose body comes later."""
    head, body = request(*given, **headers)
    with Connection(client) as one, Connection(client) as other:
        one.socket.sendall(head + body)
        other.socket.sendall(head)
        time.sleep(0.05)
        other.socket.sendall(body)
        return one.answer(), other.answer()


def vectors(count):
    return np.random.default_rng(0).standard_normal((count, 6)).round(3).tolist()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"query": vectors(1)[0]}, 200),
        ({"query": vectors(1)[0], "k": 3}, 200),
        ({"query": vectors(3)}, 200),
        ({"query": "'train/3' + formal", "k": 2}, 200),
        ({"query": [1, 2, 3, 4, 5, 6], "k": 2, "where": "label = 'Bag'"}, 200),
        ({"query": [0.5] * 6, "at": "older"}, 200),
        ({"query": [0.5] * 5}, 422),
        ({"query": []}, 422),
        ({"query": [0.5] * 6, "k": 0}, 422),
        ({"query": [0.5] * 6, "k": 100_000}, 422),
        ({"query": [0.5, "1", 0, 0, 0, 0]}, 422),
        ({"query": [1e39] * 6}, 422),
        ({"query": [0.5] * 6, "many": 3}, 422),
        ({}, 422),
        ([1, 2], 422),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"", 400),
        (b'{"query": ' + b"[" * 5000, 422),
        (b'{"query": [NaN, 1, 1, 1, 1, 1]}', 400),
    ],
)
def test_a_request_that_comes_whole_is_answered_as_one_in_pieces(client, body, status):
    one, other = whole_and_in_pieces(client, body)
    assert one[0] == other[0] == status, one
    assert one[2] == other[2]
    ours, theirs = ({name: value for name, value in each[1].items() if name != "x-request-id"} for each in (one, other))
    assert ours == theirs


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "application/json; charset=utf-8"}, 200),
        ({"accept": "application/vnd.apache.arrow.stream"}, 200),
        ({"expect": "100-continue"}, 200),
    ],
)
def test_what_stands_in_its_head_is_looked_at(client, headers, status):
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    head, body = request({"query": [0.5] * 6}, **given)
    with Connection(client) as one:
        one.socket.sendall(head + body)
        assert one.answer()[0] == status


def test_its_path_and_method_too(client):
    for path, status in ((f"{SEARCH}?k=3", 422), ("/v1/spaces/other/search", 404), ("/v1/spaces/small/nothing", 404)):
        one, other = whole_and_in_pieces(client, {"query": [0.5] * 6}, path)
        assert one[0] == other[0] == status, one
        assert one[2] == other[2]


def test_answers_come_in_the_order_of_the_requests(client, small):
    """Of one connection: searches, what is refused, and what runs in a thread; more than a stack could hold."""
    queries = vectors(100)
    bodies = [{"query": query, "k": 3} for query in queries]
    bodies[10::10] = [{"query": [1, 2]} for _ in bodies[10::10]]
    bodies[5::10] = [{"query": query, "k": 3, "where": "label = 'Bag'"} for query in queries[5::10]]
    with Connection(client) as one:
        for _ in range(4):
            one.socket.sendall(b"".join(b"".join(request(body)) for body in bodies))
            for body in bodies:
                status, _, content = one.answer()
                if len(body["query"]) == 2:
                    assert status == 422
                else:
                    assert json.loads(content)["ids"] == small.search(**body).ids.tolist()


def test_the_same_search_many_times_in_one_piece(client):
    """Which is answered from memory."""
    with Connection(client) as one:
        one.socket.sendall(b"".join(request({"query": [0.25] * 6})) * 2000)
        answers = [one.answer() for _ in range(2000)]
    assert {status for status, _, _ in answers} == {200}
    assert len({content for _, _, content in answers}) == 1
    assert len({headers["x-request-id"] for _, headers, _ in answers}) == 2000


def test_a_connection_ends_where_it_should(client):
    for given in ({"version": "1.0"}, {"connection": "close"}):
        head, body = request({"query": [0.5] * 6}, **given)
        with Connection(client) as one:
            one.socket.sendall(head + body)
            status, headers, _ = one.answer()
            assert (status, headers["connection"]) == (200, "close")
            assert one.file.read() == b""


def test_the_key_is_checked(store):
    key = create_key(store, "read", "reader")
    with serving(store, searchers=1) as client:
        for given, status, said in (
            ({}, 401, b"KeyMissing"),
            ({"authorization": "Bearer no"}, 401, b"KeyUnknown"),
            ({"authorization": f"Bearer {key}"}, 200, b"ids"),
        ):
            for answer in whole_and_in_pieces(client, {"query": [0.5] * 6}, **given):
                assert answer[0] == status
                assert said in answer[2]


def test_it_is_counted_and_keeps_its_id(store):
    with serving(store, searchers=1) as client, Connection(client) as one:
        for number in range(5):
            one.socket.sendall(b"".join(request({"query": [number] * 6}, **{"x-request-id": f"mine-{number}"})))
            assert one.answer()[1]["x-request-id"] == f"mine-{number}"
        counted = 'latentstore_answers_total{route="/v1/spaces/{space}/search",status="200"} 5.0'
        assert counted in client.get("/metrics").text


def test_who_goes_away_is_not_missed(store):
    """While many searches wait: by a reset, so that nothing can be written."""
    with serving(store, searchers=1) as client:
        for query in vectors(50):
            with Connection(client) as one:
                one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.socket.sendall(b"".join(request({"query": query})) * 5)
        expected = ls.open(store, mode="r").space("small", at="production").search([0.5] * 6).ids.tolist()
        assert client.post(SEARCH, json={"query": [0.5] * 6}).json()["ids"] == expected


def test_garbage_behind_a_search_harms_nobody(store, caplog):
    """The connection is closed before the first of its searches is answered, with a second one in line."""
    for searchers in (0, 1):
        with serving(store, searchers=searchers) as client, Connection(client) as other:
            for query in vectors(30):
                with Connection(client) as one:
                    one.socket.sendall(b"".join(request({"query": query})) * 2 + b"\x00garbage\r\n\r\n")
                    other.socket.sendall(b"".join(request({"query": query})))
                    assert other.answer()[0] == 200
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_search_that_takes_too_long_is_refused(store):
    """While the process that searches hangs."""
    with serving(store, searchers=1, limits=ServerLimits(seconds=0.6)) as client:
        wait_for = time.monotonic() + 20
        while "latentstore_searchers 1.0" not in client.get("/metrics").text:
            assert time.monotonic() < wait_for
        listed = subprocess.run(
            ["pgrep", "-P", str(os.getpid()), "-f", "search_process"], capture_output=True, text=True
        )
        pid = int(listed.stdout.split()[-1])
        os.kill(pid, signal.SIGSTOP)
        try:
            with Connection(client) as one:
                one.socket.sendall(b"".join(request({"query": [0.5] * 6})))
                status, headers, content = one.answer()
            assert (status, headers["retry-after"]) == (503, "5")
            assert b"TooSlow" in content
        finally:
            os.kill(pid, signal.SIGCONT)


def test_what_comes_whole_is_taken_and_nothing_else(store, monkeypatch):
    taken, take = [], Direct.take
    monkeypatch.setattr(
        Direct, "take", lambda self, *given: (head := take(self, *given), taken.append(head is not None))[0]
    )
    with serving(store) as client, Connection(client) as one:
        for body, expected in (
            ({"query": [0.5] * 6}, [True]),
            ({"query": [0.5] * 6, "where": "label = 'Bag'"}, [False]),
            ({"query": [0.5] * 6, "k": 0}, [False]),
        ):
            one.socket.sendall(b"".join(request(body)))
            one.answer()
            assert taken == expected
            taken.clear()
        head, body = request({"query": [0.5] * 6})
        one.socket.sendall(head)
        time.sleep(0.1)
        one.socket.sendall(body)
        assert one.answer()[0] == 200
        assert taken == []
