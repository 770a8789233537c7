"""`where` text → checked tree → DuckDB predicate → row numbers.

    predicate = parse_where("label = 'Sneaker' and price < 20", {"label": pa.string(), "price": pa.float32()})
    rows = select_rows(predicate, [SegmentFile(path, first_row=0)])

DuckDB's own parser reads the text, so there is one SQL grammar and not two. Its tree is walked against an allow-list
(`allowed`), and the predicate that runs is written anew from the tree: identifiers quoted, constants bound. What the
list does not name is refused. NULL means what it means in SQL: a comparison with it is not true.
"""

from latentstore.filters.parse import MAX_LENGTH, Predicate, parse_where
from latentstore.filters.select import SegmentFile, segment_relation, select_rows

__all__ = ["MAX_LENGTH", "Predicate", "SegmentFile", "parse_where", "segment_relation", "select_rows"]
