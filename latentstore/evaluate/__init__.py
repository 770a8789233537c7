"""What is measured of an encoder, a space, an index, a path and a map; the pictures and the page that show it."""

from latentstore.evaluate.edits import Edits, aims_of, edit_metrics
from latentstore.evaluate.encoders import encoder_metrics, fit_pca, reconstruction_errors, variational_metrics
from latentstore.evaluate.generation import GenerationMeasures, generation_metrics
from latentstore.evaluate.judge import Judge
from latentstore.evaluate.maps import image_metrics, map_metrics
from latentstore.evaluate.paths import WalkMeasures, path_metrics
from latentstore.evaluate.probes import knn_accuracy, linear_probe
from latentstore.evaluate.spaces import dimension_metrics, index_metrics, recall
from latentstore.evaluate.transport import (
    BarycenterMeasures,
    TransportMeasures,
    barycenter_metrics,
    transport_metrics,
)

__all__ = [
    "BarycenterMeasures",
    "Edits",
    "GenerationMeasures",
    "Judge",
    "TransportMeasures",
    "WalkMeasures",
    "aims_of",
    "barycenter_metrics",
    "dimension_metrics",
    "edit_metrics",
    "encoder_metrics",
    "fit_pca",
    "generation_metrics",
    "image_metrics",
    "index_metrics",
    "knn_accuracy",
    "linear_probe",
    "map_metrics",
    "path_metrics",
    "recall",
    "reconstruction_errors",
    "transport_metrics",
    "variational_metrics",
]
