"""Attribute vectors: directions along which items gain a property, from labels or without, and their reliability."""

from latentstore.geometry.attributes.classes import Classes
from latentstore.geometry.attributes.directions import Direction, leading_directions, leakage
from latentstore.geometry.attributes.logistic import Logistic, logistic_normal
from latentstore.geometry.attributes.means import Means
from latentstore.geometry.attributes.supervised import (
    AttributeVector,
    balanced,
    conditional,
    logistic,
    mean_difference,
)

__all__ = [
    "AttributeVector",
    "Classes",
    "Direction",
    "Logistic",
    "Means",
    "balanced",
    "conditional",
    "leading_directions",
    "leakage",
    "logistic",
    "logistic_normal",
    "mean_difference",
]
