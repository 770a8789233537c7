"""Maps: projections of a space to two or three dimensions, the way back, and how far they can be trusted."""

from __future__ import annotations

from latentstore.maps.base import METHODS, Projection, check_options, neighbours_used, project
from latentstore.maps.inverse import Inverse, fit_inverse, from_stored
from latentstore.maps.quality import quality

__all__ = [
    "METHODS",
    "Inverse",
    "Projection",
    "check_options",
    "fit_inverse",
    "from_stored",
    "neighbours_used",
    "project",
    "quality",
]
