"""Approximate search by FAISS: IVF with product or scalar codes, or HNSW. It proposes; exact ranking decides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from latentstore.errors import ChecksumMismatch
from latentstore.index import probing, tuning
from latentstore.index.exact import prepared
from latentstore.index.filling import add, filled
from latentstore.index.joining import join
from latentstore.index.reach import Reach
from latentstore.index.stacking import stack
from latentstore.index.tuning import Held, Operating

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Float32, Int64

    from latentstore.index.mask import Mask
    from latentstore.index.planner import Kind
    from latentstore.types import Array, Metric

# Up to so many queries FAISS is told to take one after the other (`implem` 11) instead of list after list for all of
# them: 151 µs instead of 215 of a single one among a million × 128, 16 instead of 20 each of eight in 70,000 × 32.
FEW = 16


@dataclass(frozen=True)
class ApproximateIndex:
    """A trained FAISS index of n vectors, numbered 0 … n−1, and its measured operating points.

    Attributes:
        kind: ivf or hnsw.
        metric: l2, cosine (vectors are normalised on the way in) or ip.
        factory: The FAISS factory string.
        curve: Operating points, fastest first.
        reach: How many lists hold the neighbours of a query; None for hnsw.
        target_recall: What `search` gives when no recall is asked for.
        faiss_index: FAISS's.
        layers: The indexes whose lists it has, where it has those of several; see `stacking`.
    """

    kind: Kind
    metric: Metric
    factory: str
    curve: tuple[Operating, ...]
    reach: Reach | None
    target_recall: float
    faiss_index: Any = field(repr=False)
    layers: tuple[ApproximateIndex, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return self._count

    @cached_property
    def first_lists(self) -> Int64[Array, " layers"]:
        """The first list of each layer."""
        return np.arange(0, int(self.faiss_index.nlist), self.lists)

    @cached_property
    def _count(self) -> int:
        return int(self.faiss_index.ntotal)

    @cached_property
    def quantizer(self) -> Any:
        """FAISS's, of an ivf: to ask for it takes a fifth of the time of a search of it."""
        return self.layers[0].quantizer if self.layers else self.faiss_index.quantizer

    @cached_property
    def lists(self) -> int:
        """How many lists an ivf was trained to have."""
        return self.layers[0].lists if self.layers else int(self.faiss_index.nlist)

    @classmethod
    def build(
        cls, vectors: Float32[Array, "n d"], metric: Metric, kind: Kind, *, target_recall: float = 0.98, seed: int = 0
    ) -> ApproximateIndex:
        """Train on a sample, add all vectors, and measure which effort reaches which recall.

        Codes that the target is out of reach of are replaced by finer ones.

        Args:
            vectors: Shape (n, d).
            metric: l2, cosine or ip.
            kind: ivf or hnsw.
            target_recall: Wanted recall@10, in (0, 1).
            seed: Chooses the training sample and the tuning queries.
        """
        for factory in tuning.factories(kind, *vectors.shape):
            inner = filled(factory, vectors, metric, tuning.training_rows(factory, len(vectors), seed), seed)
            made = cls(kind, metric, factory, (), None, target_recall, inner).measured(vectors, seed=seed)
            if made.operating(None) is not None:
                break
        return made

    def measured(self, vectors: Float32[Array, "n d"], *, seed: int = 0) -> ApproximateIndex:
        """The same structure with its curve and reach measured anew on the vectors it holds; see `tuning.measure`."""
        curve, reach = tuning.measure(replace(self, curve=(), reach=None), Held.of(vectors), seed)
        return replace(self, curve=curve, reach=reach)

    def measured_again(self, held: Held) -> ApproximateIndex:
        """`measured`, of the operating points it has, a fraction of the time; of all where none is good any more."""
        efforts = [(point.effort, point.factor) for point in self.curve]
        for tried in (efforts, None):
            curve, reach = tuning.measure(replace(self, curve=(), reach=None), held, 0, tried)
            again = replace(self, curve=curve, reach=reach)
            if again.operating(None) is not None:
                break
        return again

    def measured_as(self, properties: dict[str, Any]) -> ApproximateIndex:
        """The same structure with the curve and reach that `properties` tell of."""
        return replace(self, curve=_curve(properties), reach=_reach(properties))

    def operating(self, recall: float | None, *, filtered: bool = False) -> Operating | None:
        """The fastest operating point measured to reach `recall` (None: the target), or None when none does.

        Among vectors that a filter leaves codes err more than among all, on which the curve was measured: then half of
        the errors have to go.
        """
        asked = self.target_recall if recall is None else recall
        wanted = tuning.wanted_recall(asked)
        chosen = next((point for point in self.curve if point.recall >= wanted), None)
        return self.stricter(wanted) if filtered and chosen else chosen

    def stricter(self, recall: float) -> Operating:
        """The fastest operating point with half of the errors that this recall allows, or the one with the fewest."""
        half = (1 + recall) / 2
        better = (point for point in self.curve if point.recall >= half)
        return next(better, None) or max(self.curve, key=lambda point: point.recall)

    def propose(
        self, queries: Float32[Array, "m d"], k: int, point: Operating, *, mask: Mask | None = None
    ) -> tuple[Int64[Array, "m c"], Float32[Array, "m c"], int]:
        """Candidates for the k nearest of each query, to be ranked exactly.

        Args:
            queries: Shape (m, d).
            k: Neighbours wanted.
            point: How much effort to spend; under a mask an ivf spends what the mask makes necessary.
            mask: Which vectors may be proposed; all when None.

        Returns:
            Positions (m, k·factor), −1 for none; FAISS's scores of them, by their codes; and how many lists (ivf) or
            which beam (hnsw) it took at most.
        """
        import faiss

        asked = prepared(queries, self.metric)
        width = min(k * point.factor, len(self))
        if self.kind == "ivf" and (mask is not None or self.layers):
            return probing.propose(self, mask, asked, k, point)
        # Passed with the call, never set on the index: searches from several threads must not see each other's.
        if self.kind == "ivf":
            self.choose_loop(len(asked))
            effort = self.lists_for(k, point)
            parameters = probing.parameters(effort)
        else:
            effort = max(point.effort, width)
            parameters = faiss.SearchParametersHNSW(efSearch=effort, sel=mask.selector if mask else None)
        positions = np.empty((len(asked), width), np.int64)
        scores = np.empty((len(asked), width), np.float32)
        # Without the wrapper of this FAISS call, which checks what we know: it costs a single search a twentieth.
        pointer = faiss.swig_ptr
        self.faiss_index.search_c(len(asked), pointer(asked), width, pointer(scores), pointer(positions), parameters)
        return positions, scores, effort

    def choose_loop(self, m: int) -> None:
        """Tell FAISS how to search packed codes for m queries: this alone it takes from the index, not from a call.

        Either finds the same but among candidates whose codes score alike, so it does no harm that another thread
        chooses for its own search meanwhile.
        """
        if self._packed:
            inner, loop = self.faiss_index, 11 if m <= FEW else 0
            if inner.implem != loop:
                inner.implem = loop

    @cached_property
    def _packed(self) -> bool:
        return hasattr(self.faiss_index, "implem")

    def lists_for(self, k: int, point: Operating) -> int:
        """How many lists an ivf looks into for the k nearest at this point, where all vectors are allowed."""
        if self.reach is None or k <= tuning.TUNING_K:
            return point.effort
        return min(max(point.effort, self.reach.lists(k, point.recall)), self.lists)

    @cached_property
    def mean_list(self) -> float:
        """Vectors in a trained list, on average."""
        return len(self) / self.lists

    @cached_property
    def list_sizes(self) -> Int64[Array, " lists"]:
        """Vectors in each inverted list."""
        inverted = self.faiss_index.invlists
        return np.array([inverted.list_size(i) for i in range(self.faiss_index.nlist)], np.int64)

    @cached_property
    def list_of(self) -> Int64[Array, " n"]:
        """The inverted list that each vector is in."""
        import faiss

        inverted = self.faiss_index.invlists
        found = np.empty(len(self), np.int64)
        for number, size in enumerate(self.list_sizes.tolist()):
            if size:
                found[faiss.rev_swig_ptr(inverted.get_ids(number), size)] = number
        return found

    def part(self, chunks: Iterable[Float32[Array, "n d"]]) -> ApproximateIndex:
        """An index of other vectors with the same trained quantisers, to be joined to this one later."""
        empty = self.emptied()
        for vectors in chunks:
            add(empty.faiss_index, vectors, self.metric)
        return empty

    def emptied(self) -> ApproximateIndex:
        """The trained quantisers without vectors."""
        import faiss

        inner = faiss.clone_index(self.faiss_index)
        inner.reset()
        return replace(self, faiss_index=inner)

    def join(self, parts: Sequence[ApproximateIndex]) -> None:
        """Append the vectors of parts, which are emptied."""
        for part in parts:
            join(self.faiss_index, part.faiss_index)
        for name in ("_count", "mean_list", "list_sizes", "list_of"):
            self.__dict__.pop(name, None)

    def stacked(self, layers: Sequence[ApproximateIndex]) -> ApproximateIndex:
        """An index of the vectors of others with the same quantisers, in this order, which lie where they are.

        This one has no vectors and is used up. The first layer stays as it is.
        """
        stack(self.faiss_index, [one.faiss_index for one in layers])
        return replace(self, layers=tuple(layers))

    def properties(self) -> dict[str, Any]:
        """What stands in the manifest beside the file: JSON."""
        return {
            "kind": self.kind,
            "metric": self.metric,
            "factory": self.factory,
            "target_recall": self.target_recall,
            "curve": [asdict(point) for point in self.curve],
            "reach": None if self.reach is None else self.reach.to_json(),
        }

    def to_bytes(self) -> Array:
        """The FAISS serialisation, uint8."""
        import faiss

        return np.asarray(faiss.serialize_index(self.faiss_index))

    @classmethod
    def open(cls, path: Path, properties: dict[str, Any], *, mapped: bool = True) -> ApproximateIndex:
        """Read an index back; the caller has checked the file's sha256, for FAISS trusts its input.

        Args:
            path: The file.
            properties: As `properties` gave them.
            mapped: Leave scalar codes in the file and map it; such an index cannot `join` parts. Packed product codes
                are read all the same: mapped (`IO_FLAG_MMAP_IFC`) a search takes a tenth longer.

        Raises:
            ChecksumMismatch: FAISS cannot read it all the same.
        """
        import faiss

        try:
            inner = faiss.read_index(str(path), faiss.IO_FLAG_MMAP if mapped and properties["kind"] == "ivf" else 0)
        except RuntimeError as error:
            raise ChecksumMismatch(f"{path} is not an index FAISS can read ({error}); build the index again") from error
        kind, metric, factory, target = (properties[key] for key in ("kind", "metric", "factory", "target_recall"))
        return cls(kind, metric, factory, _curve(properties), _reach(properties), target, inner)


def _curve(properties: dict[str, Any]) -> tuple[Operating, ...]:
    return tuple(Operating(**point) for point in properties["curve"])


def _reach(properties: dict[str, Any]) -> Reach | None:
    return Reach.from_json(properties["reach"]) if properties.get("reach") else None
