"""How deep a text is nested, told before DuckDB's parser sees it, which takes the square of that in time.

Twenty thousand open brackets would keep a thread busy for a quarter of an hour, and no parser can be interrupted.
"""

from __future__ import annotations

import re

# What brackets in a text do not count within: comments, strings, quoted names, dollar quotes; and an end of the text.
_TOKEN = re.compile(
    r"""--[^\r\n]*
    |/\*
    |[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)
    |'[^']*(?:'|\Z)
    |"[^"]*(?:"|\Z)
    |\$(?P<tag>[^\W\d]\w*|)\$.*?(?:\$(?P=tag)\$|\Z)
    |[\w$]+
    |[()\[\]{}]""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"/\*|\*/")
_STEP = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}


def nesting(text: str, enough: int) -> int:
    """The most brackets that are open at once, outside of quotes and comments; 0 where there are at most `enough`."""
    if text.count("(") + text.count("[") + text.count("{") <= enough:
        return 0
    depth = deepest = at = 0
    while (match := _TOKEN.search(text, at)) is not None:
        at = match.end()
        if match[0] == "/*":
            at = _after_comment(text, at)
        depth = max(0, depth + _STEP.get(match[0], 0))
        deepest = max(deepest, depth)
    return deepest


def _after_comment(text: str, at: int) -> int:
    """Where a block comment ends that began before `at`; they nest."""
    inside = 1
    while inside and (match := _COMMENT.search(text, at)) is not None:
        inside += 1 if match[0] == "/*" else -1
        at = match.end()
    return len(text) if inside else at
