"""The tables, in Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.bench.workloads import FILTERS

Results = dict[str, Any]


def write_report(results: Results, folder: Path) -> None:
    """Write report.md (everything) and summary.md (one table per workload, as README has them)."""
    (folder / "report.md").write_text(render(results))
    (folder / "summary.md").write_text(summary(results))


def summary(results: Results) -> str:
    """One table per workload: what decides between systems, each cell as measured."""
    lines: list[str] = []
    for one in results["workloads"].values():
        lines += [f"**{one['title']}**", "", *_summary_table(one), "", *_ended(one)]
    return "\n".join(lines)


def _summary_table(one: Results) -> list[str]:
    def filtered(key: str, digits: int | None = None) -> Any:
        def text(result: Results) -> str:
            found = result.get("filters", {})
            return " / ".join(_number(found[name][key], digits) for name in FILTERS if name in found) or "–"

        return text

    columns = {
        "recall": lambda r: _number(r.get("recall"), 3),
        "single ms": lambda r: _number(r.get("single_ms")),
        "batch /s": lambda r: _number(r.get("batch_s")),
        "filtered ms": filtered("used_ms"),
        "its recall": filtered("recall", 2),
        "ingest rows/s": lambda r: _number(r.get("ingest_rows_s")),
        "build s": lambda r: _number(r.get("build_s")),
        "append ms": lambda r: _number(r.get("append_last_ms")),
        "cold s": lambda r: _number(r.get("cold_s")),
    }
    return _table("", columns, one["systems"])


def _ended(one: Results) -> list[str]:
    ended = [f"{name} was {found['ended']}" for name, found in one["systems"].items() if "ended" in found]
    return ["; ".join(ended) + ".", ""] if ended else []


def render(results: Results) -> str:
    """All tables of a run."""
    machine = results["machine"]
    lines = [f"`python -m tests.bench {results['command']}`", ""]
    used = f"{machine['used']} of {machine['cores']} cores"
    lines += [f"{machine['processor']}, {used} for the system measured; Python {machine['python']}.", ""]
    if results["missing"]:
        lines += [f"Not installed, left out: {', '.join(results['missing'])}.", ""]
    for one in results["workloads"].values():
        loads = " to ".join(f"{load:.1f}" for load in one["load"])
        lines += [
            f"## {one['title']}",
            "",
            f"Load of the machine from beginning to end: {loads}.",
            "",
            *_main_table(one),
            "",
            *_filter_table(one),
            "",
            *_notes(one),
            "",
        ]
    return "\n".join(lines)


def _main_table(one: Results) -> list[str]:
    """One row per system."""
    columns = {
        "recall": lambda r: _number(r.get("recall"), 3),
        "single p50 ms": lambda r: _number(r.get("single_ms")),
        "its CPU ms": lambda r: _number(r.get("single_cpu_ms")),
        "batch /s": lambda r: _number(r.get("batch_s")),
        "ingest rows/s": lambda r: _number(r.get("ingest_rows_s")),
        "build s": lambda r: _number(r.get("build_s")),
        "disk MB": lambda r: _number(r.get("disk_mb")),
        "cold open s": lambda r: _number(r.get("cold_s")),
        "memory MiB (own + mapped)": lambda r: _memory(r.get("reader_memory")),
        "append 100 p50 ms (first → last)": lambda r: _edges(r),
        "upsert 1 % s": lambda r: _number(r.get("upsert_s")),
        "delete 1 % s": lambda r: _number(r.get("delete_s")),
        "then: single ms": lambda r: _number(r.get("after_writes_ms")),
    }
    return _table("system", columns, one["systems"])


def _filter_table(one: Results) -> list[str]:
    """Recall, rows returned of 10, p50 with a filter used before / never seen."""

    def cell(name: str) -> Any:
        def text(result: Results) -> str:
            found = result.get("filters", {}).get(name)
            if not found:
                return "–"
            times = f"{_number(found['used_ms'])} / {_number(found['unseen_ms'])}"
            return f"{found['recall']:.3f}, {found['returned']:.1f} rows, {times} ms"

        return text

    columns = {f"filter {name}": cell(name) for name in FILTERS}
    return _table("recall, rows of 10, used / unseen", columns, one["systems"])


def _table(corner: str, columns: dict[str, Any], systems: Results) -> list[str]:
    lines = ["| " + " | ".join([corner, *columns]) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, result in systems.items():
        lines.append("| " + " | ".join([name, *(column(result) for column in columns.values())]) + " |")
    return lines


def _notes(one: Results) -> list[str]:
    lines = []
    pair = one.get("pair")
    if pair:
        ours, bare = pair["latentstore"], pair["faiss"]
        lines.append(
            f"By turns in one process: latentstore {ours['single_ms']} ms single, {ours['batch_s']:,.0f}/s batch at "
            f"recall {ours['recall']:.3f}; bare FAISS {bare['single_ms']} ms, {bare['batch_s']:,.0f}/s at "
            f"{bare['recall']:.3f}: {pair['single_ratio']:.2f} × its time, {pair['batch_ratio']:.2f} × its throughput."
        )
        lines.append("")
    for name, result in one["systems"].items():
        parts = [result.get("version", ""), result.get("index", ""), _setting(result.get("setting"))]
        if "new_found" in result:
            parts.append(f"after the writes {100 * result['new_found']:.0f} % of new rows found")
            parts.append(f"{result['deleted_returned']} deleted rows returned")
        if "ended" in result:
            parts.append(f"**{result['ended']}**")
        lines.append(f"- {name}: {'; '.join(part for part in parts if part)}.")
    return lines


def _setting(setting: Results | None) -> str:
    return ", ".join(f"{key} {value}" for key, value in setting.items()) if setting else ""


def _memory(found: Results | None) -> str:
    return f"{found['RssAnon']} + {found['RssFile']}" if found else "–"


def _edges(result: Results) -> str:
    if "append_first_ms" not in result:
        return "–"
    return f"{_number(result['append_first_ms'])} → {_number(result['append_last_ms'])} (of {result['appends']})"


def _number(value: float | None, digits: int | None = None) -> str:
    """Three significant digits, thousands separated; a dash for what was not measured."""
    if value is None:
        return "–"
    if digits is not None:
        return f"{value:.{digits}f}"
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"
