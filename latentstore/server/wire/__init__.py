"""What is sent and answered: the same words and fields as in Python. Unknown fields are refused by name."""

from latentstore.server.wire.base import Asked, Health, Table
from latentstore.server.wire.catalogue import Diffed, Item, Pictures, PicturesAsked, SpaceAbout
from latentstore.server.wire.queries import (
    DecodeAsked,
    Decoded,
    EditAsked,
    Edited,
    Encoded,
    Found,
    PlaceAsked,
    Placed,
    SearchAsked,
)
from latentstore.server.wire.rows import AttributeAsked, DeleteAsked, GetAsked, RowsAsked, SqlAsked, Written
from latentstore.server.wire.walks import (
    BarycenterAsked,
    FilmAsked,
    GridAsked,
    Gridded,
    InterpolateAsked,
    Mixed,
    SampleAsked,
    Sampled,
    Walked,
)

__all__ = [
    "Asked",
    "AttributeAsked",
    "BarycenterAsked",
    "DecodeAsked",
    "Decoded",
    "DeleteAsked",
    "Diffed",
    "EditAsked",
    "Edited",
    "Encoded",
    "FilmAsked",
    "Found",
    "GetAsked",
    "GridAsked",
    "Gridded",
    "Health",
    "InterpolateAsked",
    "Item",
    "Mixed",
    "Pictures",
    "PicturesAsked",
    "PlaceAsked",
    "Placed",
    "RowsAsked",
    "SampleAsked",
    "Sampled",
    "SearchAsked",
    "SpaceAbout",
    "SqlAsked",
    "Table",
    "Walked",
    "Written",
]
