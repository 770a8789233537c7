"""Changes of a store on a disk that fails at the n-th call, and what must hold after each.

Runs in a process of its own with `faults.c` preloaded: `python fault_script.py FOLDER OPERATIONS POINTS`. Writes one
JSON line per fault, with what was wrong; `test_disk_faults.py` reads them.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import io
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from latentstore.cli import main as shell
from latentstore.errors import StorageError
from latentstore.space.vector_space import VectorSpace
from latentstore.storage import ArtefactRecord, SpaceFiles, StoreFiles

DIM = 6
MODES = {
    "once": 0,  # the n-th call fails, the next ones work
    "from then on": 1,  # a dead or full disk
    "short": 2,  # the n-th write takes half of what it is given: no fault, POSIX allows it
    "torn": 3,  # … and then the disk is full
    "done, but an error": 4,  # the n-th link, rename or unlink happens, and an error is reported (network disks do)
    "reads": 5,  # the n-th read, or open for reading, fails
}
# Letters of the shim's trace (open create write fsync truncate unlink mkdir; r: rEad rEname rMdir, l: lInk lOck):
# which calls a mode can do something to.
CALLS = {"short": "w", "torn": "w", "done, but an error": "ieu"}
ERRNOS = {
    "once": (errno.ENOSPC, errno.EIO),
    "from then on": (errno.ENOSPC, errno.EIO),
    "short": (errno.ENOSPC,),
    "torn": (errno.ENOSPC,),
    "done, but an error": (errno.EIO,),
    "reads": (errno.EIO,),
}
NOW = timedelta(0)


Contents: TypeAlias = dict[str, Any]


@dataclass
class Fault:
    """One fault and what came of it.

    Attributes:
        hit: call|before or after the manifest was linked|path; empty when no call was left to fail.
        outcome: "error", or "passed" where the operation could do without the call.
        problems: What was wrong afterwards.
    """

    operation: str
    at: int
    errno: str
    mode: str
    hit: str = ""
    outcome: str = ""
    message: str = ""
    problems: list[str] = field(default_factory=list)


def latents(ids: list[str], seed: int = 0) -> np.ndarray:
    """Vectors that depend on the id and a seed."""
    return np.array([np.random.default_rng([seed, *one.encode()]).standard_normal(DIM) for one in ids], np.float32)


def put(space: SpaceFiles, ids: list[str], seed: int = 0) -> None:
    """Upsert rows whose name is their id."""
    space.upsert(ids, latents(ids, seed), {"name": ids})


def build(root: Path) -> None:
    """A store whose next change of rows also merges segments: versions, dead rows, an index, a tag, garbage."""
    space = StoreFiles(root).create_space("s", dim=DIM, metric="l2")
    put(space, [f"base{i}" for i in range(200)])
    space.tag("first")
    VectorSpace(space).build_index("ivf", target_recall=0.9)
    for step in range(8):
        put(space, [f"{step}/{i}" for i in range(3)])
    space.delete(["base7", "3/1"])
    space.write("maps", ".bin", b"left by a job that was killed")


def artefact(space: SpaceFiles) -> None:
    """Concepts and a map of the newest version."""
    version = space.newest_version()
    written = {kind: space.write(kind, ".bin", kind.encode() * 9) for kind in ("concepts", "maps")}
    records = {kind: [ArtefactRecord("x", "test", version, {"content": file})] for kind, file in written.items()}
    space.put_artefacts(version, **records)


def staged(space: SpaceFiles) -> None:
    """A shard of an embedding that may be killed between staging and commit."""
    done = space.staged("job")
    ids = ["staged1", "base8"]
    done = done or [space.stage(ids, latents(ids, 3), {"name": ids}, key="job")]
    space.append(done, on_existing="replace", delete_ids=["base9"], operation="embed")


def index(space: SpaceFiles) -> None:
    """Train and publish an index."""
    VectorSpace(space).build_index("hnsw", target_recall=0.9)


def vacuum(space: SpaceFiles) -> None:
    """Vacuum, and look whether what it says is gone is gone."""
    report = space.vacuum(NOW, grace=NOW)
    there = [name for name in report.files if (space.folder / name).exists()]
    assert not there, f"vacuum says that it removed {there}"


def careless(space: SpaceFiles) -> None:
    """The control: a writer that acknowledges what failed."""
    with contextlib.suppress(StorageError):
        put(space, ["new1"])


OPERATIONS: dict[str, Callable[[SpaceFiles], object]] = {
    "add": lambda space: space.add(["new1", "new2"], latents(["new1", "new2"]), {"name": ["new1", "new2"]}),
    "upsert": lambda space: put(space, ["new1", "base3", "5/1"], seed=1),
    "delete": lambda space: space.delete(["base3", "5/1"]),
    "compact": lambda space: space.compact(),
    "index": index,
    "extend": lambda space: VectorSpace(space).extend_index(),
    "restore": lambda space: space.restore("first"),
    "vacuum": vacuum,
    "artefact": artefact,
    "staged": staged,
    "tag": lambda space: space.tag("first"),
    "untag": lambda space: space.delete_tag("first") if "first" in space.tags() else None,
    "create": lambda space: StoreFiles(space.folder.parents[1]).create_space("t", dim=DIM, metric="l2"),
    "shell compact": lambda space: typed(space, "compact", "s"),
    "shell vacuum": lambda space: typed(space, "vacuum", "--older-than", "0s", "--grace", "0s"),
    "shell tag": lambda space: typed(space, "tag", "s", "first"),
    "reading": lambda space: contents(space.folder.parents[1]),
    "careless": careless,
}


class Typed(StorageError):
    """A command that ended with exit code 2; the message is what it wrote to standard error."""


def typed(space: SpaceFiles, command: str, *rest: str) -> None:
    """Run a command line as the shell does."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        code = shell([command, str(space.folder.parents[1]), *rest])
    if code == 0:
        return
    lines = errors.getvalue().strip().splitlines()
    assert code == 2, f"exit code {code}"
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: "), lines
    raise Typed(lines[0])


def contents(root: Path) -> Contents:
    """What a store shows: rows, artefacts, tags and spaces, read through every kind of file."""
    store = StoreFiles(root, "r")
    space = store.space("s")
    snapshot = space.snapshot()
    rows = snapshot.live_rows()
    ids = snapshot.ids(rows).tolist()
    assert snapshot.columns(rows, ["name"])["name"].to_pylist() == ids, "metadata of other rows"
    assert (snapshot.find(ids) == rows).all(), "an id is not found where it is"
    vectors = snapshot.vectors(rows)
    opened = VectorSpace(space)
    query = np.linspace(-1, 1, DIM).astype(np.float32)
    nearest = np.argsort(np.linalg.norm(vectors - query, axis=1))[:5]
    assert opened.search(query, 5, recall=1.0).ids.tolist() == [ids[i] for i in nearest], "another answer"
    if opened.searcher.index is not None:
        assert len(opened.search(query, 5)) == 5
    for record in (*snapshot.manifest.concepts, *snapshot.manifest.maps):
        snapshot.read(record.files["content"])
    names = sorted(
        (one.kind, one.name) for k in ("index", "concepts", "maps") for one in snapshot.manifest.artefacts(k)
    )
    return {
        "rows": dict(zip(ids, map(bytes, vectors), strict=True)),
        "artefacts": names,
        "tags": space.tags(),
        "spaces": {name: store.space(name).newest_version() for name in store.spaces() if name != "s"},
    }


def leftovers(root: Path) -> set[str]:
    """Files that no version names."""
    known = {"store.json"}
    for name in StoreFiles(root, "r").spaces():
        space = SpaceFiles(root / "spaces" / name, "r")
        files = {file.name for manifest in space.versions() for file in manifest.files()}
        files |= {f"manifests/{version.version:012d}.json" for version in space.versions()}
        files |= {f"tags/{tag}.json" for tag in space.tags()} | {"manifests/newest", "manifests/floor", "lock"}
        known |= {f"spaces/{name}/{file}" for file in files}
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} - known


def left_open(root: Path) -> list[str]:
    """Files of the store that this process holds open for writing."""
    gc.collect()
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(descriptor.readlink())
            flags = Path(f"/proc/self/fdinfo/{descriptor.name}").read_text().split("flags:")[1].split()[0]
            if target.startswith(str(root)) and int(flags, 8) & os.O_ACCMODE:
                found.append(target)
    return found


class Disk:
    """The preloaded shim."""

    def __init__(self, library: str) -> None:
        self._shim = ctypes.CDLL(library)
        self._shim.faults_hit.restype = ctypes.c_char_p
        self._shim.faults_trace.restype = ctypes.c_char_p
        self._shim.faults_disarm.restype = ctypes.c_long
        self._shim.faults_arm.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_int)

    @contextlib.contextmanager
    def failing(self, fault: Fault, root: Path) -> Iterator[None]:
        """Fail the call that `fault` names."""
        self._shim.faults_arm(fault.at, getattr(errno, fault.errno), MODES[fault.mode])
        self._shim.faults_watch(str(root).encode())
        try:
            yield
        finally:
            self._shim.faults_disarm()
            fault.hit = self._shim.faults_hit().decode()

    def trace(self) -> str:
        """The calls since it was armed, one letter each."""
        return str(self._shim.faults_trace().decode())


def count(disk: Disk, template: Path, work: Path, operation: str, mode: str) -> tuple[list[int], Contents]:
    """Which calls of an operation a mode can fail, and what the store shows after it."""
    shutil.copytree(template, work)
    with disk.failing(Fault(operation, -1, "EIO", mode), work):
        OPERATIONS[operation](StoreFiles(work).space("s"))
    trace = disk.trace()
    after = contents(work)
    shutil.rmtree(work)
    letters = CALLS.get(mode)
    return [at for at, letter in enumerate(trace) if letters is None or letter in letters], after


def spread(calls: list[int], points: int, shift: int) -> list[int]:
    """Some of the calls, evenly over them; all when `points` is 0."""
    if not points or len(calls) <= points:
        return calls
    step = len(calls) / points
    return [calls[int((i + (shift % 7 + 0.5) / 7) * step)] for i in range(points)]


def play(disk: Disk, template: Path, work: Path, fault: Fault, before: Contents, after: Contents) -> None:
    """Let one fault happen on a copy of the store; fills in the rest of `fault`."""
    shutil.copytree(template, work)
    operation = OPERATIONS[fault.operation]
    with disk.failing(fault, work):
        try:
            operation(StoreFiles(work).space("s"))
            fault.outcome = "passed"
        except StorageError as error:
            fault.outcome, fault.message = "error", str(error)
        except BaseException:
            fault.outcome = "crash"
            fault.problems.append(traceback.format_exc())
    try:
        fault.problems += check(work, fault, before, after)
    except BaseException:
        fault.problems.append(traceback.format_exc())
    shutil.rmtree(work)


def check(work: Path, fault: Fault, before: Contents, after: Contents) -> Iterator[str]:
    """What is wrong with a store after a fault."""
    call, when, path = fault.hit.split("|") if fault.hit else ("", "", "")
    if fault.outcome == "error":
        if str(work) not in fault.message or ";" not in fault.message:
            yield f"the error names no path or no remedy: {fault.message}"
        if not fault.hit:
            yield f"an error without a fault: {fault.message}"
    held = contents(work)
    if held not in (before, after):
        yield "the store shows neither the state before nor the one after"
    if fault.outcome == "passed" and held != after:
        yield "it was acknowledged and is not there"
    if fault.outcome == "passed" and fault.mode != "short" and call in ("write", "fsync", "create", "rename", "mkdir"):
        hint = Path(path).parent.name == "manifests" and when == "after" and call != "fsync"
        if not (hint or "done" in fault.mode):
            yield f"it was acknowledged though {fault.hit} failed"
    if fault.mode == "short" and fault.outcome != "passed":
        yield f"a short write is no error: {fault.message}"
    if fault.outcome == "error" and "nothing was committed" in fault.message and held == after != before:
        yield f"the error says that nothing was committed: {fault.message}"
    for problem in StoreFiles(work).verify():
        yield f"verify: {problem}"
    if found := left_open(work):
        yield f"left open: {found}"
    space = StoreFiles(work).space("s")
    if held != after:
        OPERATIONS[fault.operation](space)
        if contents(work) != after:
            yield "the same again leads to another state"
    put(space, ["next"], seed=5)
    if contents(work)["rows"] != {**after["rows"], "next": bytes(latents(["next"], 5)[0])}:
        yield "the next write leads to another state"
    for name in StoreFiles(work).spaces():
        StoreFiles(work).space(name).vacuum(NOW, grace=NOW)
    if found := leftovers(work):
        yield f"vacuum left {found}"
    for problem in StoreFiles(work).verify():
        yield f"verify after vacuum: {problem}"


def main(folder: Path, operations: list[str], points: int) -> None:
    """Play faults: at `points` of the calls that each mode can fail, or at every one when `points` is 0."""
    disk = Disk(os.environ["LD_PRELOAD"])
    template, work = folder / "template", folder / "work"
    build(template)
    before = contents(template)
    for number, operation in enumerate(operations):
        for shift, mode in enumerate(MODES):
            if mode != "reads" and operation == "reading":
                continue
            calls, after = count(disk, template, work, operation, mode)
            for turn, at in enumerate(spread(calls, points, number + shift)):
                # the short form takes turns with the errnos, the long form plays them all
                codes = ERRNOS[mode] if not points else ERRNOS[mode][turn % len(ERRNOS[mode]) :][:1]
                for code in codes:
                    fault = Fault(operation, at, errno.errorcode[code], mode)
                    play(disk, template, work, fault, before, after)
                    sys.stdout.write(json.dumps(asdict(fault)) + "\n")
                    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2].split(","), int(sys.argv[3]))
