"""HTML that notebooks show of results; what comes from a store is text there, never markup."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape

MOST = 50  # rows or pictures shown; a result of more says how many it has


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], caption: str = "", *, count: int = 0) -> str:
    """A table of values; numbers are set right.

    Args:
        columns: Titles.
        rows: One value per column each; those beyond the first 50 are not shown.
        caption: What it is.
        count: How many rows there are, where not all are given.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows[:MOST])
    return f"<table>{_caption(caption)}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" + _rest(
        max(count, len(rows)) - min(len(rows), MOST)
    )


def gallery(pngs: Sequence[bytes], captions: Iterable[str], caption: str = "", *, count: int = 0) -> str:
    """Pictures side by side with words under each; what lies beyond the first 50 is not shown.

    Args:
        pngs: PNG files.
        captions: One text each; lines are broken where the text is.
        caption: What they are.
        count: How many pictures there are, where not all are given.
    """
    figures = "".join(
        '<figure style="display:inline-block;margin:2px;text-align:center;vertical-align:top">'
        f'<img alt="{escape(words)}" src="data:image/png;base64,{b64encode(png).decode()}">'
        f'<figcaption style="font-size:smaller;white-space:pre">{escape(words)}</figcaption></figure>'
        for png, words in zip(pngs[:MOST], captions, strict=False)
    )
    said = f"<p>{escape(caption)}</p>" if caption else ""
    return f"<div>{said}{figures}</div>" + _rest(max(count, len(pngs)) - min(len(pngs), MOST))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f'<td style="text-align:right">{value:.4g}</td>'
    side = "right" if isinstance(value, int) and not isinstance(value, bool) else "left"
    return f'<td style="text-align:{side}">{escape("" if value is None else str(value))}</td>'


def _caption(text: str) -> str:
    return f"<caption>{escape(text)}</caption>" if text else ""


def _rest(more: int) -> str:
    return f"<p>… and {more:,} more</p>" if more > 0 else ""
