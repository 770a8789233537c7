"""Training FAISS indexes, and adding vectors to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from latentstore.index.exact import prepared

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

    from latentstore.types import Array, Metric

ADD_CHUNK = 1 << 16  # vectors converted and added at a time


def filled(factory: str, vectors: Float32[Array, "n d"], metric: Metric, sample: Int64[Array, " s"], seed: int) -> Any:
    """A FAISS index trained on a sample of vectors, that holds them all."""
    import faiss

    # Unit vectors are ranked alike by L2 and by cosine, and product codes err less under L2 (GloVe: recall .954, .911).
    inner = faiss.index_factory(
        vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT if metric == "ip" else faiss.METRIC_L2
    )
    if hasattr(inner, "cp"):
        inner.cp.seed = seed
    inner.train(prepared(vectors[sample], metric))
    add(inner, vectors, metric)
    return inner


def add(inner: Any, vectors: Float32[Array, "n d"], metric: Metric) -> None:
    """Add vectors to a trained FAISS index."""
    for start in range(0, len(vectors), ADD_CHUNK):
        inner.add(prepared(vectors[start : start + ADD_CHUNK], metric))
