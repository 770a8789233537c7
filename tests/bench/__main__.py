"""Measure latentstore beside other vector databases and bare FAISS.

One command: `python -m tests.bench --out DIR` (hours, most of them the peers'), `--quick` for minutes. Needs
`pip install -e '.[bench]'`; a peer that is not installed is named and left out. Each system runs in a process of its
own, on one core, with a time bound. Writes report.md, summary.md, results.json and plots into DIR.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.bench import workloads
from tests.bench.adapters import SYSTEMS, installed
from tests.bench.plots import draw
from tests.bench.report import write_report

QUICK = {"fashion": 20_000, "glove": 40_000, "synthetic": 50_000}
FEWEST = 5_000  # with fewer a filter of 0.1 % may leave none
QUIET = {"ANONYMIZED_TELEMETRY": "False", "DO_NOT_TRACK": "1", "TOKENIZERS_PARALLELISM": "false"}


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line; of this process unless words are given."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for results; stores in it are removed again")
    parser.add_argument("--quick", action="store_true", help=f"fewer rows {QUICK} and shorter loops")
    parser.add_argument(
        "--rows", nargs="*", default=[], metavar="WORKLOAD=ROWS", help="another size, e.g. glove=100000"
    )
    parser.add_argument("--workloads", nargs="*", default=list(workloads.SIZES), choices=list(workloads.SIZES))
    parser.add_argument("--systems", nargs="*", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--bound", type=float, help="seconds one system may take for reads, and again for writes")
    parser.add_argument("--appends", type=int, help="how many times 100 rows are appended")
    parser.add_argument("--cores", type=int, default=1, help="cores a system may use")
    given = parser.parse_args(words)
    given.bound = given.bound or (120 if given.quick else 1_800)
    given.appends = given.appends or (30 if given.quick else 300)
    given.sizes = (QUICK if given.quick else workloads.SIZES) | {
        name: int(rows) for name, rows in (one.split("=") for one in given.rows)
    }
    for name, rows in given.sizes.items():
        if rows < FEWEST:
            parser.error(f"{name}={rows} is too few; choose at least {FEWEST}")
    return given


class Bench:
    """Runs the measuring processes, one at a time."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.out = given.out.resolve()
        self.cores = sorted(os.sched_getaffinity(0))[-given.cores :]
        self.results: dict[str, Any] = {
            "command": " ".join("DIR" if word == str(given.out) else word for word in sys.argv[1:]),
            "machine": machine(given.cores),
            "workloads": {},
        }
        self.results["missing"] = [name for name in given.systems if not installed(name)]
        self.systems = [name for name in given.systems if installed(name)]

    def run(self) -> None:
        """All workloads, a report after each."""
        for name in self.given.workloads:
            self.workload(name)
            self.save()
        shutil.rmtree(self.out / "work", ignore_errors=True)

    def workload(self, name: str) -> None:
        """All systems on one workload: reads, latentstore and FAISS by turns, writes."""
        work = self.out / "work" / name
        shutil.rmtree(work, ignore_errors=True)
        data = workloads.load(name, self.given.sizes[name], extra=8_000 if name == "fashion" else 12_000)
        workloads.save(data, work / "data")
        found: dict[str, Any] = {
            "title": data.title,
            "target": data.target,
            "systems": {},
            "load": [os.getloadavg()[0]],
        }
        del data
        self.results["workloads"][name] = found
        for system in self.systems:
            found["systems"][system] = self.stage("reads", name, system, work)
        both = {s: found["systems"].get(s, {}) for s in ("latentstore", "faiss")}
        if all(one.get("phase") == "read" for one in both.values()):
            task = {"workload": name, "data": str(work / "data"), "out": str(work / "pair.json")}
            task["systems"] = {s: {"place": str(work / s), "setting": one["setting"]} for s, one in both.items()}
            self.process(
                [sys.executable, "-m", "tests.bench.pair", json.dumps(task)], f"{name} pair", work / "pair.log"
            )
            found["pair"] = read(work / "pair.json")
        for system in self.systems:
            if found["systems"][system].get("phase") == "read":
                found["systems"][system] = self.stage("writes", name, system, work)
        found["load"].append(os.getloadavg()[0])
        shutil.rmtree(work, ignore_errors=True)

    def stage(self, stage: str, workload: str, system: str, work: Path) -> dict[str, Any]:
        """One measuring process; what it found, and how it ended if not well."""
        out = work / f"{system}.json"
        task = {"system": system, "workload": workload, "place": str(work / system), "data": str(work / "data")}
        task |= {"out": str(out), "seconds": 1.5 if self.given.quick else 6.0, "appends": self.given.appends}
        task |= {"colds": 3, "append_seconds": self.given.bound / 3}
        command = [sys.executable, "-m", "tests.bench.measure", stage, json.dumps(task)]
        ended = self.process(command, f"{workload} {system} {stage}", work / f"{system}.{stage}.log")
        found = read(out)
        if ended:
            found["ended"] = f"{ended} in phase “{found.get('phase', 'start')}”"
        return found

    def process(self, command: list[str], title: str, log: Path) -> str | None:
        """Run on the chosen cores; kill the whole group at the bound. None when all went well."""
        say(f"{title} …")
        started = time.monotonic()
        with log.open("wb") as sink:
            child = subprocess.Popen(
                command,
                stdout=sink,
                stderr=sink,
                env=environment(),
                start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, self.cores),
            )
            try:
                code = child.wait(self.given.bound)
                ended = f"failed ({last_line(log)})" if code else None
            except subprocess.TimeoutExpired:
                ended = f"stopped after {self.given.bound:.0f} s"
            finally:
                with contextlib.suppress(ProcessLookupError):  # also what it left running
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        say(f"{title}: {ended or 'done'}, {time.monotonic() - started:.1f} s")
        return ended

    def save(self) -> None:
        """Write what there is."""
        (self.out / "results.json").write_text(json.dumps(self.results, indent=1))
        write_report(self.results, self.out)
        draw(self.results, self.out)


def machine(used: int) -> dict[str, Any]:
    """What it ran on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    return {"processor": model, "cores": os.cpu_count(), "used": used, "python": sys.version.split()[0]}


def environment() -> dict[str, str]:
    """That of this process; bytecode is kept, or a checkout would be compiled at each cold open and a package not."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | QUIET


def read(path: Path) -> dict[str, Any]:
    """A result file; empty when the process did not get that far."""
    return dict(json.loads(path.read_text())) if path.exists() else {}


def last_line(log: Path) -> str:
    """What a failed process said last."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:160] if lines else "no output"


def say(line: str) -> None:
    """Progress."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measure and report."""
    given = arguments()
    given.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(given)
    for name in bench.results["missing"]:
        say(f"{name}: not installed, left out")
    bench.run()
    say((bench.out / "report.md").read_text())


if __name__ == "__main__":
    main()
