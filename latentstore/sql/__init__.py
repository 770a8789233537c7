"""Read-only SQL over embedding spaces: one SELECT on a locked-down DuckDB session.

    FROM fashion                                     id, metadata columns, vector FLOAT[d]; live rows only
    FROM fashion.centroids | .attributes | .maps | .versions
    latent('fashion', '''test/17'' + 1.5 * formal')  → FLOAT[]
    FROM neighbours('fashion', 'expression' or vector, k)  → id, distance (null under ip), similarity (null under l2);
                                                     usable in a lateral join, one batch search for all its rows
    array_distance, array_cosine_similarity, …       DuckDB's own

What keeps it read-only: the text must be exactly one SELECT, as DuckDB's parser sees it; before it runs, access to
files is cut down to the segments it mentions, extensions and Python variables are out of reach, memory is limited and
the configuration is locked.

In this process (`Engine`) neither limit is whole: a query that takes too long is interrupted, but one endless function
call runs on, and a single huge list (`range(4e9)`) passes by DuckDB's memory limit. Text from strangers belongs into a
`Sandbox`, where the kernel holds a process of its own to them: `LatentStore.sql`, the shell and a server use it unless
they are told not to.
"""

from latentstore.sql.engine import Engine
from latentstore.sql.limits import Limits
from latentstore.sql.runners import Runners
from latentstore.sql.sandbox import Sandbox

__all__ = ["Engine", "Limits", "Runners", "Sandbox"]
