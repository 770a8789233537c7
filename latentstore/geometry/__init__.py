"""Pure NumPy/SciPy maths of a latent space: no files, no torch.

Functions take arrays that were checked at the door (`latentstore.types.check_vectors`) and compute in float64.
"""

from latentstore.geometry.attributes import AttributeVector, logistic, mean_difference
from latentstore.geometry.centroids import Centroids, centroids
from latentstore.geometry.dimension import IntrinsicDimension, levina_bickel, two_nn
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
    "Gaussian",
    "GaussianTransport",
    "ImageBarycenter",
    "Ink",
    "IntrinsicDimension",
    "Mixture",
    "NeighbourGraph",
    "RealismScale",
    "auc",
    "bures_wasserstein",
    "centroids",
    "check_truncation",
    "cloud_barycenter",
    "fit_gaussian",
    "fit_mixture",
    "gaussian",
    "image_barycenter",
    "kth_distances",
    "lerp",
    "levina_bickel",
    "logistic",
    "match",
    "mean_difference",
    "mix_gaussian",
    "normalise",
    "pairwise_distances",
    "pairwise_similarities",
    "polyline_length",
    "resample",
    "slerp",
    "smooth",
    "spherical_mean",
    "two_nn",
]
