"""One module per system; each imports its library only when it is measured."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from tests.bench.adapters.base import Place, System

# Name in tables → module here, class, and the import that must be there.
SYSTEMS = {
    "latentstore": ("latentstore_adapter", "Latentstore", "latentstore"),
    "faiss": ("faiss_adapter", "BareFaiss", "faiss"),
    "lancedb-hnsw": ("lancedb_adapter", "LanceHnsw", "lancedb"),
    "lancedb-pq": ("lancedb_adapter", "LancePq", "lancedb"),
    "chroma": ("chroma_adapter", "Chroma", "chromadb"),
    "milvus-lite": ("milvus_adapter", "MilvusLite", "milvus_lite"),
    "qdrant-local": ("qdrant_adapter", "QdrantLocal", "qdrant_client"),
}


def installed(name: str) -> bool:
    """Whether the library of a system can be imported."""
    return find_spec(SYSTEMS[name][2]) is not None


def make(name: str, place: Place) -> System:
    """A system by name, nothing created or opened yet."""
    module, kind, _ = SYSTEMS[name]
    found: System = getattr(import_module(f"tests.bench.adapters.{module}"), kind)(place)
    return found
