"""Pure NumPy/SciPy maths of a latent space: no files, no torch.

Functions take arrays that were checked at the door (`latentstore.types.check_vectors`) and compute in float64.
"""

from latentstore.geometry.attributes import AttributeVector, logistic, mean_difference
from latentstore.geometry.centroids import Centroids, centroids
from latentstore.geometry.dimension import IntrinsicDimension, levina_bickel, two_nn
from latentstore.geometry.metrics import normalise, pairwise_distances, pairwise_similarities
from latentstore.geometry.paths import lerp, slerp
from latentstore.geometry.realism import RealismScale, kth_distances
from latentstore.geometry.sampling import Mixture, fit_gaussian, fit_mixture
from latentstore.geometry.scores import auc

__all__ = [
    "AttributeVector",
    "Centroids",
    "IntrinsicDimension",
    "Mixture",
    "RealismScale",
    "auc",
    "centroids",
    "fit_gaussian",
    "fit_mixture",
    "kth_distances",
    "lerp",
    "levina_bickel",
    "logistic",
    "mean_difference",
    "normalise",
    "pairwise_distances",
    "pairwise_similarities",
    "slerp",
    "two_nn",
]
