"""Deep nesting is refused before the parser sees it, wherever it hides; what is quoted counts for nothing."""

from __future__ import annotations

import pytest

from latentstore.errors import FilterRefused, QueryRefused
from latentstore.filters.nesting import nesting
from latentstore.filters.tree import read_tree
from latentstore.sql.statement import one_select

DEEP = "(" * 20_000


@pytest.mark.parametrize(
    "text",
    [
        DEEP,
        "[" * 20_000,
        f"true and {DEEP}",
        f"/*'*/ {DEEP} /*'*/",
        f"/* /* */ ' */ {DEEP} /* ' */",
        f"-- '\n{DEEP} -- '",
        f"E'\\'' = '' and {DEEP}",
        f"'\\' = '' and {DEEP} '",
        f"$a$ ' $a$ = '' and {DEEP} -- '",
        f"a$b = 1 and {DEEP}",
        ("(" * 150 + "')" + ")" * 150 + "' || ") * 100,
        f"\"'\" = 1 and {DEEP} -- '",
    ],
)
def test_what_is_deep_is_refused_at_once(text):
    assert nesting(text, 200) > 200
    with pytest.raises(FilterRefused, match="nested more than 200 deep"):
        read_tree(text)
    with pytest.raises(QueryRefused, match="nested more than 200 deep"):
        one_select(f"SELECT {text}", {})


@pytest.mark.parametrize(
    "text",
    [
        " or ".join(["(label = 'Bag')"] * 500),
        "label in (" + ", ".join(["'(('"] * 500) + ")",
        "label = '" + "(" * 500 + "''" + "(" * 500 + "'",
        "true -- " + "(" * 500,
        "true /* " + "(" * 500 + " /* ( */ ( */",
        "label = $q$" + "(" * 500 + "$q$",
        "label = E'" + "(" * 500 + "\\'" + "(" * 500 + "'",
    ],
)
def test_what_is_not_is_read(text):
    assert nesting(text, 200) <= 2
    assert read_tree(text)
