"""Read-only SQL over embedding spaces: one SELECT on a locked-down DuckDB session.

    FROM fashion                                     id, metadata columns, vector FLOAT[d]; live rows only
    FROM fashion.centroids | .attributes | .maps | .versions
    latent('fashion', '''test/17'' + 1.5 * formal')  → FLOAT[]
    FROM neighbours('fashion', 'expression' or vector, k)  → id, distance (null under ip), similarity (null under l2);
                                                     usable in a lateral join, one batch search for all its rows
    array_distance, array_cosine_similarity, …       DuckDB's own

What keeps it read-only: the text must be exactly one SELECT, as DuckDB's parser sees it; before it runs, access to
files is cut down to the segments it mentions, extensions and Python variables are out of reach, memory is limited and
the configuration is locked. Neither limit is whole: a query that takes too long is interrupted, but one endless
function call runs on, and a single huge list (`range(4e9)`) passes by DuckDB's memory limit. Text from strangers
belongs in a process that has a limit on its address space and can be killed.
"""

from latentstore.sql.session import run_sql

__all__ = ["run_sql"]
