"""One embedding space: rows, search, points and their algebra, concepts, paths, maps."""

from latentstore.space.counterfactual import Counterfactual
from latentstore.space.embedding_space import EmbeddingSpace
from latentstore.space.grids import Grid
from latentstore.space.latent import Latent
from latentstore.space.paths import Path, PathReport
from latentstore.space.sampling import Samples, SamplesReport
from latentstore.space.status import Artefact, Status
from latentstore.space.subclusters import Subcluster, Subclusters
from latentstore.space.surroundings import LatentReport
from latentstore.space.transport import Barycenter, Displacement, SetBarycenter, Transported
from latentstore.space.vector_space import VectorSpace

__all__ = [
    "Artefact",
    "Barycenter",
    "Counterfactual",
    "Displacement",
    "EmbeddingSpace",
    "Grid",
    "Latent",
    "LatentReport",
    "Path",
    "PathReport",
    "Samples",
    "SamplesReport",
    "SetBarycenter",
    "Status",
    "Subcluster",
    "Subclusters",
    "Transported",
    "VectorSpace",
]
