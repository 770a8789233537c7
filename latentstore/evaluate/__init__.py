"""What is measured of an encoder, a space, an index, a path and a map; the pictures and the page that show it."""

from latentstore.evaluate.attributes import pair_aucs, undo_error
from latentstore.evaluate.edit_measures import Edits
from latentstore.evaluate.edits import aims_of, edit_metrics
from latentstore.evaluate.encoders import encoder_metrics, fit_pca, reconstruction_errors, variational_metrics
from latentstore.evaluate.erasing import counterfactual_metrics, erasure_metrics
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
from latentstore.evaluate.votes import Vote

__all__ = [
    "BarycenterMeasures",
    "Edits",
    "GenerationMeasures",
    "Judge",
    "TransportMeasures",
    "Vote",
    "WalkMeasures",
    "aims_of",
    "barycenter_metrics",
    "counterfactual_metrics",
    "dimension_metrics",
    "edit_metrics",
    "encoder_metrics",
    "erasure_metrics",
    "fit_pca",
    "generation_metrics",
    "image_metrics",
    "index_metrics",
    "knn_accuracy",
    "linear_probe",
    "map_metrics",
    "pair_aucs",
    "path_metrics",
    "recall",
    "reconstruction_errors",
    "transport_metrics",
    "undo_error",
    "variational_metrics",
]
