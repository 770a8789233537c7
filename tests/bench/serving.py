"""Search over HTTP beside what the same server and the same load tool do for an application that does nothing.

    python -m tests.bench.serving STORE [--space fashion] [--rounds 5] [--seconds 4] [--requests 100000] [--every 5]

`STORE` is the quickstart's, and is copied: the copy is written to. By turns, `wrk` with 16 connections asks

* "bare": an ASGI application that decodes the body and encodes ten hits by msgspec, on uvloop and httptools;
* "plain": the same on asyncio and h11, which `pip install uvicorn` gives;
* "ours": `latentstore serve`, the same bodies, k = 10: ever other vectors, more than the service keeps answers of;
* "same": `latentstore serve`, asked the same vector again and again.

Then `--requests` searches while a row is replaced, the index built and the tag moved every `--every` seconds.
Needs `wrk` (apt-get install wrk).
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

import latentstore as ls

CONNECTIONS = 16
K = 10
QUERIES = 4096
OTHERS = """
local requests, turn = {}, 0
function init()
  for line in io.lines("%s") do requests[#requests + 1] = wrk.format(nil, nil, nil, line) end
end
function request()
  turn = turn %% #requests + 1
  return requests[turn]
end
"""
SERVE = "import sys; from latentstore.cli import main; sys.exit(main())"


class Asked(msgspec.Struct):
    """What a search asks."""

    query: str | list[float]
    k: int = 10


class Hits(msgspec.Struct):
    """What it is told."""

    ids: list[str]
    distances: list[float]


_DECODE, _ENCODE = msgspec.json.Decoder(Asked).decode, msgspec.json.Encoder().encode
_HITS = Hits([f"train/{i}" for i in range(K)], [i / 7 for i in range(K)])


async def bare(scope, receive, send):
    """The ceiling: everything but the search."""
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    body, more = b"", True
    while more:
        part = await receive()
        body, more = body + part.get("body", b""), part.get("more_body", False)
    if body:
        _DECODE(body)
    content = _ENCODE(_HITS)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


@dataclass
class Load:
    """What wrk counted.

    Attributes:
        rate: Requests per second.
        p50, p99: Milliseconds.
        requests: Answered.
        failed: Answered by another status than 2xx, or not at all.
    """

    rate: float
    p50: float
    p99: float
    requests: int
    failed: int


def load(url: str, script: Path, seconds: float) -> Load:
    """Ask for so many seconds."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", "--latency", "-s", str(script), url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    milliseconds = {"us": 1e-3, "ms": 1.0, "s": 1e3}

    def percentile(which: str) -> float:
        value, unit = re.search(rf"{which}%\s+([\d.]+)(us|ms|s)", said).groups()
        return float(value) * milliseconds[unit]

    failed = sum(int(one) for one in re.findall(r"Non-2xx or 3xx responses: (\d+)", said))
    for line in re.findall(r"Socket errors: (.*)", said):
        failed += sum(int(one) for one in re.findall(r"\d+", line))
    requests = int(re.search(r"(\d+) requests in", said)[1])
    return Load(
        float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1]), percentile("50"), percentile("99"), requests, failed
    )


@contextlib.contextmanager
def running(command: list[str], port: int, path: str) -> Iterator[None]:
    """A server, once it answers."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1).read()
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def republish(path: Path, name: str, every: float, stop: threading.Event, made: list[int]) -> None:
    """Write a version, index it and move the tag, again and again."""
    space = ls.open(path).space(name)
    one = space.get([space.snapshot.ids(space.snapshot.live_rows()[:1])[0]])
    while not stop.wait(every):
        space.upsert(one, encoder=space.fingerprint)
        space.build_index()
        made.append(space.tag("production"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--space", default="fashion")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--every", type=float, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store, script, same, bodies = (Path(folder) / name for name in ("a.store", "post.lua", "same.lua", "bodies"))
        shutil.copytree(given.store, store)
        space = ls.open(store, mode="r").space(given.space)
        queries = np.random.default_rng(0).standard_normal((QUERIES, space.dim)).round(6).tolist()
        lines = [msgspec.json.encode({"query": query, "k": K}).decode() for query in queries]
        bodies.write_text("\n".join(lines))
        post = 'wrk.method = "POST"\nwrk.headers["content-type"] = "application/json"\n'
        script.write_text(post + OTHERS % bodies)
        same.write_text(f"{post}wrk.body = '{lines[0]}'\n")
        ports = {way: free_port() for way in ("bare", "plain", "ours")}
        uvicorn = [
            sys.executable,
            "-m",
            "uvicorn",
            "tests.bench.serving:bare",
            "--log-level",
            "warning",
            "--no-access-log",
        ]
        commands = {
            "bare": [*uvicorn, "--loop", "uvloop", "--http", "httptools", "--port", str(ports["bare"])],
            "plain": [*uvicorn, "--loop", "asyncio", "--http", "h11", "--port", str(ports["plain"])],
            "ours": [sys.executable, "-c", SERVE, "serve", str(store), "--port", str(ports["ours"])],
        }
        urls = {way: f"http://127.0.0.1:{port}/v1/spaces/{given.space}/search" for way, port in ports.items()}
        scripts = dict.fromkeys(ports, script) | {"same": same}
        urls["same"] = urls["ours"]
        found: dict[str, list[Load]] = {way: [] for way in urls}
        with contextlib.ExitStack() as stack:
            for way, command in commands.items():
                stack.enter_context(running(command, ports[way], "/healthz"))
            for _ in range(given.rounds):
                for way, url in urls.items():
                    load(url, scripts[way], 1)  # what slept while the others were asked is awake
                    found[way].append(load(url, scripts[way], given.seconds))
            rates = {way: statistics.median(one.rate for one in loads) for way, loads in found.items()}
            for way, loads in found.items():
                p50, p99 = (statistics.median(getattr(one, name) for one in loads) for name in ("p50", "p99"))
                sys.stdout.write(
                    f"{way:6} {rates[way]:>8,.0f} requests/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms ({p99 / p50:.1f} ×)\n"
                )
            sys.stdout.write(
                f"ours is {rates['ours'] / rates['bare']:.2f} of bare, {rates['ours'] / rates['plain']:.2f} of plain, "
                f"same {rates['same'] / rates['bare']:.2f} of bare\n"
            )
            stop, made = threading.Event(), list[int]()
            writer = threading.Thread(target=republish, args=(store, given.space, given.every, stop, made))
            writer.start()
            asked = failed = 0
            while asked < given.requests:
                one = load(urls["ours"], script, 10)
                asked, failed = asked + one.requests, failed + one.failed
            stop.set()
            writer.join()
            sys.stdout.write(f"{asked:,} requests, {failed} failed, while {len(made)} versions were published\n")


if __name__ == "__main__":
    main()
