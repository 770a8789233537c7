"""How a connection ends whose searches have known heads, and what it may hold meanwhile."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack
from threading import Thread, Timer

import pytest

import latentstore as ls
from latentstore.server import ServerLimits
from latentstore.server.protocol import BoundedProtocol
from tests.http.conftest import serving
from tests.http.test_direct import SEARCH, Connection, vectors
from tests.http.test_known_heads import search


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
