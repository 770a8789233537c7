"""Rows out of a space and into one, as files of other tools: Parquet, NumPy, FAISS, Delta, TensorBoard's projector."""

from latentstore.exchange.formats import FORMATS, READABLE, export, open_source
from latentstore.exchange.incoming import Source, import_rows, import_space
from latentstore.exchange.outgoing import Exported, Outgoing

__all__ = [
    "FORMATS",
    "READABLE",
    "Exported",
    "Outgoing",
    "Source",
    "export",
    "import_rows",
    "import_space",
    "open_source",
]
