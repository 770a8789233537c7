"""Pure NumPy/SciPy maths of a latent space: no files, no torch.

Functions take arrays that were checked at the door (`latentstore.types.check_vectors`) and compute in float64.
"""

from latentstore.geometry.attributes import (
    AttributeVector,
    Direction,
    balanced,
    conditional,
    leading_directions,
    leakage,
    logistic,
    mean_difference,
)
from latentstore.geometry.centroids import Centroids, centroids
from latentstore.geometry.clusters import Clusters, cluster
from latentstore.geometry.cores import one_core
from latentstore.geometry.counterfactual import Move, smallest_move
from latentstore.geometry.dimension import IntrinsicDimension, levina_bickel, two_nn
from latentstore.geometry.erasure import Eraser, EraserFitter, indicators
from latentstore.geometry.image_transport import ImageBarycenter, Ink, image_barycenter
from latentstore.geometry.means import spherical_mean
from latentstore.geometry.metrics import normalise, pairwise_distances, pairwise_similarities
from latentstore.geometry.mixtures import fit_mixture
from latentstore.geometry.neighbour_graph import NeighbourGraph
from latentstore.geometry.paths import gaussian, lerp, mix_gaussian, slerp
from latentstore.geometry.polylines import polyline_length, resample, smooth
from latentstore.geometry.realism import RealismScale, kth_distances
from latentstore.geometry.sampling import Mixture, check_truncation, fit_gaussian
from latentstore.geometry.scores import auc
from latentstore.geometry.softmax import Softmax, fit_softmax
from latentstore.geometry.transport import (
    MOST_MATCHED,
    CloudBarycenter,
    Gaussian,
    GaussianTransport,
    bures_wasserstein,
    cloud_barycenter,
    match,
)

__all__ = [
    "MOST_MATCHED",
    "AttributeVector",
    "Centroids",
    "CloudBarycenter",
    "Clusters",
    "Direction",
    "Eraser",
    "EraserFitter",
    "Gaussian",
    "GaussianTransport",
    "ImageBarycenter",
    "Ink",
    "IntrinsicDimension",
    "Mixture",
    "Move",
    "NeighbourGraph",
    "RealismScale",
    "Softmax",
    "auc",
    "balanced",
    "bures_wasserstein",
    "centroids",
    "check_truncation",
    "cloud_barycenter",
    "cluster",
    "conditional",
    "fit_gaussian",
    "fit_mixture",
    "fit_softmax",
    "gaussian",
    "image_barycenter",
    "indicators",
    "kth_distances",
    "leading_directions",
    "leakage",
    "lerp",
    "levina_bickel",
    "logistic",
    "match",
    "mean_difference",
    "mix_gaussian",
    "normalise",
    "one_core",
    "pairwise_distances",
    "pairwise_similarities",
    "polyline_length",
    "resample",
    "slerp",
    "smallest_move",
    "smooth",
    "spherical_mean",
    "two_nn",
]
