"""Searches answered together: in which batches, by whom, and what each is told."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

import latentstore as ls
from latentstore.server.batching import MOST, Batch, Batcher, KeptAnswers
from latentstore.server.searchers import AHEAD


def test_an_answer_that_cannot_be_given_does_not_keep_the_others_from_theirs(store, caplog):
    given = []

    def gone(_):
        raise ConnectionResetError

    asked = [([0.5] * 6, None, gone), ([0.5] * 6, None, given.append)]
    space = ls.open(store, mode="r").space("small")
    Batch(space, 3, KeptAnswers(), asked).settle()
    assert json.loads(given[0])["ids"] == space.search([0.5] * 6, 3).ids.tolist()
    assert "an answer cannot be given" in caplog.text


class Slow:
    """Processes that answer when they are told to: the contract of `Searchers`, of which the batcher knows no more."""

    def __init__(self, count):
        self.out = [[] for _ in range(count)]
        self.ready, self.most, self.served = count, 0, [0] * count
        self.call = None

    def when_free(self, call):
        self.call = call

    def hold(self, _):
        return True

    @property
    def asked(self):
        return sum(len(batch) for batches in self.out for batch in batches)

    def free(self, _):
        able = [number for number, batches in enumerate(self.out) if len(batches) < AHEAD]
        if not able:
            return None
        number = min(able, key=lambda one: sum(map(len, self.out[one])))
        return type("One", (), {"ask": lambda _, batch: self.ask(number, batch)})()

    def ask(self, number, batch):
        self.out[number].append(batch)
        self.most = max(self.most, len(batch))

    def answer(self):
        """One batch of each."""
        for number, batches in enumerate(self.out):
            if batches:
                batch = batches.pop(0)
                self.served[number] += len(batch)
                self.call()
                batch.settle([b"{}"] * len(batch))


@pytest.mark.parametrize("processes", [1, 4])
@pytest.mark.parametrize("clients", [1, 16, 300])
def test_nobody_waits_for_ever_and_every_process_has_work(store, processes, clients):
    """Clients that ask again as soon as they are answered, and one that asks for another number of neighbours."""
    space, slow, rounds = ls.open(store, mode="r").space("small"), Slow(processes), []

    async def load():
        batcher = Batcher(slow)
        numbers = iter(range(10**9))

        def again(_):
            batcher.search(space, [next(numbers), 0, 0, 0, 0, 0], 10, again)

        for _ in range(clients):
            again(None)
        await asyncio.sleep(0)
        for turn in range(200):
            if turn == 20:
                batcher.search(space, [0.5] * 6, 5, lambda _, turn=turn: rounds.append(turn))
            slow.answer()
            if rounds:
                break
            await asyncio.sleep(0)

    with ThreadPoolExecutor(1) as thread:  # a browser's loop may run in this one
        thread.submit(lambda: asyncio.run(load())).result()
    assert rounds, "the search for five was never answered"
    assert slow.most <= MOST
    if clients >= 16:
        assert min(slow.served) > 0
