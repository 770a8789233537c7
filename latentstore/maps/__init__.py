"""Maps: projections of a space to two or three dimensions, the way back, and how far they can be trusted."""

from __future__ import annotations

from latentstore.maps.base import GIVEN, METHODS, Projection, check_options, neighbours_used, options_of, project
from latentstore.maps.inverse import Inverse, fit_inverse, from_stored
from latentstore.maps.quality import quality

__all__ = [
    "GIVEN",
    "METHODS",
    "Inverse",
    "Projection",
    "check_options",
    "fit_inverse",
    "from_stored",
    "neighbours_used",
    "options_of",
    "project",
    "quality",
]
