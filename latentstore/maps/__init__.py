"""Maps: projections of a space to two or three dimensions, and how far they can be trusted. NumPy and SciPy only."""

from __future__ import annotations

from latentstore.maps.base import METHODS, Projection, project
from latentstore.maps.quality import quality

__all__ = ["METHODS", "Projection", "project", "quality"]
