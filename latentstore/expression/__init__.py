"""The latent algebra: text → checked expression → vector.

    'test/17' + 1.5 * formal
    centroid('Ankle boot') - centroid('Sandal')
    ('a' + 'b') / 2 + 0.3 * attribute('5_o_Clock_Shadow')

A quoted string is an item's id ('' inside it is one quote), `centroid('label')` the mean latent of a label, a bare
name an attribute vector (`attribute('…')` for a name that is not a plain word), and numbers scale and add up with
`+ - * / ( )`. Nothing else exists, and nothing is evaluated as code.

Every such text is a weighted sum, and that is what `parse` returns: latents are fetched once each, the order of a
chain makes no difference, and what is added and taken away again cancels exactly.

Items and centroids are points, attributes and differences of points are directions. `Expression.point_weight` tells
them apart: 1 is a point ('king' - 'man' + 'woman', ('a' + 'b') / 2), 0 a direction. Other weights ('a' + 'b',
1.2 * 'a') are allowed, because they mean something to people who use the origin: under cosine only the direction
counts, and in a VAE's prior the origin is the mean. Refused is what no reading gives a meaning: a number added to a
latent, a product of two latents, a division by a latent, a bare number.
"""

from latentstore.expression.parser import MAX_DEPTH, MAX_LENGTH, MAX_TERMS, parse
from latentstore.expression.tree import (
    Atom,
    Attribute,
    Centroid,
    Expression,
    Item,
    Names,
    Resolver,
    evaluate,
    format,  # noqa: A004
    names,
)

__all__ = [
    "MAX_DEPTH",
    "MAX_LENGTH",
    "MAX_TERMS",
    "Atom",
    "Attribute",
    "Centroid",
    "Expression",
    "Item",
    "Names",
    "Resolver",
    "evaluate",
    "format",
    "names",
    "parse",
]
