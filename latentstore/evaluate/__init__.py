"""What is measured of an encoder, a space, an index, a path and a map; the pictures and the page that show it."""

from latentstore.evaluate.encoders import encoder_metrics, fit_pca, reconstruction_errors, variational_metrics
from latentstore.evaluate.paths import WalkMeasures, path_metrics
from latentstore.evaluate.probes import knn_accuracy, linear_probe
from latentstore.evaluate.spaces import index_metrics, recall

__all__ = [
    "WalkMeasures",
    "encoder_metrics",
    "fit_pca",
    "index_metrics",
    "knn_accuracy",
    "linear_probe",
    "path_metrics",
    "recall",
    "reconstruction_errors",
    "variational_metrics",
]
