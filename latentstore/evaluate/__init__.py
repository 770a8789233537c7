"""What is measured of an encoder, a space, an index and a map; the pictures and the page that show it."""

from latentstore.evaluate.encoders import encoder_metrics, fit_pca, reconstruction_errors, variational_metrics
from latentstore.evaluate.probes import knn_accuracy, linear_probe
from latentstore.evaluate.spaces import index_metrics, recall

__all__ = [
    "encoder_metrics",
    "fit_pca",
    "index_metrics",
    "knn_accuracy",
    "linear_probe",
    "recall",
    "reconstruction_errors",
    "variational_metrics",
]
