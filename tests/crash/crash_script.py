"""What the writer of the crash suite does, step by step, and what the store must then hold.

The product knows nothing of this: the writer's process replaces the system calls of `os` that change files by ones that
count, and kills itself at the n-th.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from latentstore.errors import UnknownVersion
from latentstore.storage import ArtefactRecord, Snapshot, SpaceFiles

DIM = 6
CALLS = ("open", "write", "fsync", "link", "replace", "unlink", "mkdir", "rmdir", "utime")


@dataclass(frozen=True)
class State:
    """What a store must hold: rows, artefacts, tags."""

    rows: dict[str, tuple[float, ...]] = field(default_factory=dict)
    artefacts: tuple[str, ...] = ()
    tag: str | None = None

    def digest(self) -> str:
        """Of what one snapshot shows; tags are not part of it."""
        return _digest(self.rows, self.artefacts)


def _digest(rows: dict[str, tuple[float, ...]], artefacts: tuple[str, ...]) -> str:
    return hashlib.sha256(repr((sorted(rows.items()), sorted(artefacts))).encode()).hexdigest()


def seen(snapshot: Snapshot) -> str:
    """The digest of a snapshot, read through every kind of file: mapped vectors, id table, Parquet, artefacts."""
    rows = snapshot.live_rows()
    ids = snapshot.ids(rows)
    vectors = snapshot.vectors(rows)
    if len(rows):
        assert snapshot.columns(rows, ["name"])["name"].to_pylist() == ids.tolist(), "metadata of other rows"
        assert (snapshot.find(ids.tolist()) == rows).all(), "an id is not found where it is"
    manifest = snapshot.manifest
    for record in (*manifest.index, *manifest.concepts, *manifest.maps):
        assert snapshot.read(record.files["content"]) == record.name.encode(), "an artefact of another content"
    content = {one: tuple(map(float, vector)) for one, vector in zip(ids, vectors, strict=True)}
    return _digest(content, tuple(one.name for one in (*manifest.index, *manifest.concepts, *manifest.maps)))


def latents(ids: list[str], step: int) -> np.ndarray:
    """Vectors that depend on the id and the step that wrote it."""
    return np.array(
        [np.random.default_rng([step, *one.encode()]).standard_normal(DIM) for one in ids], np.float32
    ).reshape(-1, DIM)


def states(seed: int, steps: int) -> list[State]:
    """The state after each step, state 0 first."""
    found = [State()]
    for step in range(steps):
        found.append(run(None, seed, step, found[-1]))
    return found


def run(space: SpaceFiles | None, seed: int, step: int, state: State) -> State:
    """Do one step on a store (or on none), and return what it must hold afterwards."""
    rng = np.random.default_rng([seed, step])
    known = sorted(state.rows)
    chosen = [str(one) for one in rng.choice(known, min(len(known), 4), replace=False)] if known else []
    new = [f"s{step}/{i}" for i in range(int(rng.integers(1, 6)))]
    rows = dict(state.rows)
    artefacts, tag = state.artefacts, state.tag
    kind = KINDS[step % len(KINDS)]
    if kind == "add":
        _put(rows, new, step)
        if space:
            space.add(new, latents(new, step), {"name": new})
    elif kind == "upsert":
        both = [*chosen, *new]
        _put(rows, both, step)
        if space:
            space.upsert(both, latents(both, step), {"name": both})
    elif kind == "delete":
        for one in chosen[:2]:
            del rows[one]
        if space:
            space.delete(chosen[:2])
    elif kind == "embed":
        shards = [chosen, new, [f"{one}/b" for one in new]]
        _put(rows, [one for shard in shards for one in shard], step)
        gone = [one for one in known if one not in chosen][:1]
        for one in gone:
            del rows[one]
        if space:
            _embed(space, shards, gone, step)
    elif kind == "artefacts":
        artefacts = tuple(f"{what}{step}" for what in ("index", "concepts", "map"))
        if space:
            _artefacts(space, artefacts, state.artefacts)
    elif kind == "tag":
        tag = f"{step}"
        if space:
            space.tag("production")
            space.tag(f"at{step}")
    elif kind == "compact":
        if space:
            space.compact()
    elif kind == "vacuum" and space:
        space.vacuum(timedelta(0), grace=timedelta(0))
    return State(rows, artefacts, tag)


KINDS = (
    "add",
    "upsert",
    "tag",
    "embed",
    "delete",
    "artefacts",
    "upsert",
    "vacuum",
    "add",
    "compact",
    "embed",
    "vacuum",
)


def _put(rows: dict[str, tuple[float, ...]], ids: list[str], step: int) -> None:
    rows.update({one: tuple(map(float, v)) for one, v in zip(ids, latents(ids, step), strict=True)})


def _embed(space: SpaceFiles, shards: list[list[str]], gone: list[str], step: int) -> None:
    key = f"embed{step}"
    done = {one.properties["shard"]: one for one in space.staged(key)}
    for number, ids in enumerate(shards):
        if ids and number not in done:
            done[number] = space.stage(ids, latents(ids, step), {"name": ids}, key=key, properties={"shard": number})
    space.append([done[n] for n in sorted(done)], on_existing="replace", delete_ids=gone, operation="embed")


def _artefacts(space: SpaceFiles, names: tuple[str, ...], old: tuple[str, ...]) -> None:
    snapshot = space.snapshot()
    kinds: tuple[Any, ...] = ("index", "concepts", "maps")
    records = {
        kind: [ArtefactRecord(name, "test", snapshot.version, {"content": space.write(kind, ".bin", name.encode())})]
        for kind, name in zip(kinds, names, strict=True)
    }
    space.put_artefacts(snapshot.version, remove=list(zip(kinds, old, strict=False)), **records)


class Audit:
    """Counts the system calls that change files; kills the process at the n-th, in the middle of it if it writes."""

    def __init__(self, kill_at: int = -1) -> None:
        self.count = 0
        self.kill_at = kill_at
        self.calls: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        self._real = {name: getattr(os, name) for name in CALLS}

    def install(self) -> None:
        for name in CALLS:
            setattr(os, name, self._wrapped(name))

    def remove(self) -> None:
        for name, real in self._real.items():
            setattr(os, name, real)

    def _wrapped(self, name: str) -> Callable[..., Any]:
        real = self._real[name]

        def call(*args: Any, **options: Any) -> Any:
            if name == "open" and not args[1] & os.O_CREAT:
                return real(*args, **options)
            with self._lock:
                where = (
                    str(Path(f"/proc/self/fd/{args[0]}").readlink()) if name in ("write", "fsync") else str(args[-1])
                )
                self.calls.append((name, str(args[0]) if name == "open" else where))
                if self.count == self.kill_at:
                    if name == "write":
                        real(args[0], bytes(args[1])[: len(args[1]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                self.count += 1
            return real(*args, **options)

        return call


def write(folder: Path, seed: int, first: int, steps: int, kill_at: int, line: Connection) -> None:
    """The writer's process: says ("done", step, calls so far) after each step that the store acknowledged."""
    state = states(seed, first)[-1]
    audit = Audit(kill_at)
    audit.install()
    space = SpaceFiles(folder)
    for step in range(first, steps):
        state = run(space, seed, step, state)
        count = audit.count
        audit.remove()
        line.send((step, count))
        audit.install()


def read(folder: Path, known: list[str], line: Connection) -> None:
    """A reader's process: reads until told to stop, then says (reads, problems)."""
    order = {digest: number for number, digest in reversed(list(enumerate(known)))}
    last = {digest: number for number, digest in enumerate(known)}
    space = SpaceFiles(folder, "r")
    reads, problems, reached, version = 0, [], 0, 0
    while not line.poll():
        try:
            snapshot = space.snapshot()
            digest = seen(snapshot)
        except UnknownVersion:  # vacuumed while it was open, as the script vacuums without retention
            continue
        reads += 1
        if snapshot.version < version:
            problems.append(f"version {snapshot.version} after {version}")
        if digest not in order:
            problems.append(f"version {snapshot.version} is no whole state")
        elif last[digest] < reached:
            problems.append(f"state {last[digest]} after {reached}")
        else:
            reached = max(reached, order[digest])
        version = snapshot.version
    line.send((reads, problems))
