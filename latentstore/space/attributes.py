"""Attribute vectors of a snapshot: fitted from its rows or its decoder, stored beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from latentstore import geometry
from latentstore.errors import ConfigInvalid, InputError, NotSupported, UnknownAttribute, suggest
from latentstore.expression import parse
from latentstore.space.concepts import attribute_schema, concept_record
from latentstore.types import check_seed, without_nan

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

    from latentstore.space.embedding_space import EmbeddingSpace
    from latentstore.storage import ArtefactRecord, FileRecord, Manifest
    from latentstore.types import Array

METHODS: dict[str, Callable[..., geometry.AttributeVector]] = {
    "mean_difference": geometry.mean_difference,
    "balanced": geometry.balanced,
    "conditional": geometry.conditional,
    "logistic": geometry.logistic,
}
DEFAULT_NAMES = {"principal": "pc", "sensitive": "sensitive"}
UNSUPERVISED = tuple(DEFAULT_NAMES)
RESAMPLES, PERMUTATIONS = 100, 199
PROBES = 4096  # random directions of items that the decoder's sensitivity is measured with
REFERENCE = 512  # real latents that it is measured at
MOST_ROWS = 200_000  # whose principal components are taken: more change them by less than their stability
NAMED_IDS = 3  # of a list of examples, shown in its place

Clause = str | Sequence[str]


def fit_attribute(
    space: EmbeddingSpace,
    name: str,
    *,
    positive: Clause,
    negative: Clause,
    method: str = "mean_difference",
    balance: Sequence[str] = (),
    orthogonal_to: Sequence[str] = (),
    seed: int = 0,
    resamples: int = RESAMPLES,
    permutations: int = PERMUTATIONS,
) -> Manifest:
    """Fit an attribute vector from two `where` clauses, or lists of ids, and publish it as a new version.

    Raises:
        ConfigInvalid: Unknown method or column, options of another method, or a name the algebra could not read.
        FilterRefused: A clause that is none.
        UnknownItem: An example that is not there.
        UnknownAttribute: One that it should be orthogonal to.
        InputError: A clause matches nothing, or both match the same items.
        DidNotConverge: The logistic regression did not.
    """
    if method not in METHODS:
        hint = "fit_directions finds those without labels" if method in UNSUPERVISED else suggest(method, METHODS)
        raise ConfigInvalid(f"unknown method {method!r} of attribute {name!r}; {hint}")
    check_seed(seed)
    check_attribute_name(name)
    _check_options(name, method, balance, orthogonal_to)
    snapshot = space.snapshot
    clauses = clause_text(positive), clause_text(negative)
    with_it, without = _rows(space, positive), _rows(space, negative)
    both = np.intersect1d(with_it, without)
    if len(both):
        example = snapshot.ids(both[:1])[0]
        raise InputError(
            f"{len(both)} items, {example!r} among them, match both {clauses[0]!r} and {clauses[1]!r}; "
            "an item either has an attribute or has it not"
        )
    options: dict[str, Any] = {}
    if method == "balanced":
        options["strata"] = (_strata(space, with_it, balance), _strata(space, without, balance))
    if method == "conditional":
        options["orthogonal_to"] = np.stack([_known(space, name, other) for other in orthogonal_to])
    fitted = METHODS[method](
        snapshot.vectors(with_it), snapshot.vectors(without), seed=seed, resamples=resamples,
        permutations=permutations, clauses=clauses, **options,
    )  # fmt: skip
    row = {
        "name": name,
        "method": method,
        "positive": clauses[0],
        "negative": clauses[1],
        "positives": fitted.positives,
        "negatives": fitted.negatives,
        "auc": fitted.auc,
        "accuracy": fitted.accuracy,
        "midpoint": fitted.midpoint,
        "seed": seed,
        "version": snapshot.version,
        "stability": _number(fitted.stability),
        "stability_low": _number(fitted.stability_low),
        "p_value": _number(fitted.p_value),
        "balance": list(balance) or None,
        "orthogonal_to": list(orthogonal_to) or None,
        "vector": fitted.direction,
    }
    told = {"positive": clauses[0], "negative": clauses[1], "method": method, "seed": seed, "balance": list(balance),
            "orthogonal_to": list(orthogonal_to), "resamples": resamples, "permutations": permutations}  # fmt: skip
    record = _record(space, row, told, **_examples(space, positive, negative))
    return space.files.put_artefacts(space.version, concepts=[record])


def fit_directions(
    space: EmbeddingSpace,
    method: str = "principal",
    *,
    count: int = 5,
    name: str | None = None,
    where: str | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Manifest:
    """Find directions without labels and publish them as attributes `<name>1` … `<name><count>`, in one version.

    Raises:
        ConfigInvalid: Unknown method, or a name the algebra could not read.
        FilterRefused: A `where` that is none.
        NotSupported: "sensitive" in a space that does not decode.
        InputError: More directions than the items vary along.
    """
    if method not in UNSUPERVISED:
        raise ConfigInvalid(f"unknown method {method!r} of directions; {suggest(method, UNSUPERVISED)}")
    check_seed(seed)
    prefix = DEFAULT_NAMES[method] if name is None else name
    check_attribute_name(f"{prefix}{count}")
    snapshot = space.snapshot
    rows = snapshot.live_rows() if where is None else space.matching(where)
    if len(rows) < 2:
        raise InputError(f"{len(rows)} items match {where or 'at all'!r}; directions need at least 2")
    chosen = _some(rows, MOST_ROWS, seed)
    latents = snapshot.vectors(chosen)
    samples = _pullbacks(space, chosen, seed) if method == "sensitive" else None
    found = geometry.leading_directions(latents, count, samples=samples, resamples=resamples, seed=seed)
    records = []
    for order, one in enumerate(found, 1):
        unit = float(np.linalg.norm(one.direction))
        row = {
            "name": f"{prefix}{order}",
            "method": method,
            "positive": where,
            "positives": len(chosen),
            "midpoint": one.mean + unit / 2,  # so that strength 0 is the mean, as it is the negatives' of the others
            "seed": seed,
            "version": snapshot.version,
            "stability": _number(one.stability),
            "stability_low": _number(one.stability_low),
            "share": one.share,
            "vector": one.direction,
        }
        told = {"method": method, "count": count, "directions": prefix, "order": order, "where": where, "seed": seed,
                "resamples": resamples}  # fmt: skip
        records.append(_record(space, row, told))
    beyond = [  # of an earlier family of more: they are not orthogonal to these
        one.name
        for one in snapshot.manifest.concepts
        if one.properties.get("directions") == prefix and one.properties.get("order", 0) > count
    ]
    return space.files.put_artefacts(space.version, concepts=records, remove=[("concepts", name) for name in beyond])


def fit_again(space: EmbeddingSpace, record: ArtefactRecord) -> int:
    """Fit an attribute, or the directions it is one of, as its record says; returns the version."""
    told = record.properties
    if told["method"] in UNSUPERVISED:
        options = {key: told[key] for key in ("count", "where", "seed", "resamples")}
        return space.fit_directions(told["method"], name=told["directions"], **options)
    clauses = {side: told[side] for side in ("positive", "negative")}
    if "examples" in record.files:
        clauses |= json.loads(space.snapshot.read(record.files["examples"]))
    known = ("method", "seed", "balance", "orthogonal_to", "resamples", "permutations")
    return space.fit_attribute(
        record.name.removeprefix("attribute/"), **clauses, **{key: told[key] for key in known if key in told}
    )


def leakage(space: EmbeddingSpace) -> pa.Table:
    """What moving by strength 1 along each attribute does to every other; see `EmbeddingSpace.leakage`."""
    known = space.concepts.attribute_vectors
    names = list(known)
    table = geometry.leakage(np.stack([known[name] for name in names])) if names else np.zeros((0, 0))
    rows = [
        {"attribute": a, "other": b, "effect": float(table[i, j])}
        for i, a in enumerate(names)
        for j, b in enumerate(names)
        if i != j
    ]
    return pa.Table.from_pylist(
        rows, schema=pa.schema({"attribute": pa.string(), "other": pa.string(), "effect": pa.float64()})
    )


def clause_text(given: Clause) -> str:
    """How a class was chosen, in a line: the predicate itself, or the first ids of a list and a hash of all."""
    if isinstance(given, str):
        return given
    ids = list(given)
    quoted = ["'" + str(one).replace("'", "''") + "'" for one in ids[:NAMED_IDS]]
    if len(ids) <= NAMED_IDS:
        return f"id in ({', '.join(quoted)})"
    digest = hashlib.sha256("\0".join(map(str, ids)).encode()).hexdigest()[:12]
    return f"id in ({', '.join(quoted)}, … {len(ids)} ids, sha256 {digest})"


def check_attribute_name(name: str) -> None:
    """Refuse an attribute name that is empty or too long to be written in an expression."""
    if not name or len(name) > 200:
        raise ConfigInvalid(f"attribute name {name!r} is empty or longer than 200 characters; choose a plain word")
    quoted = name.replace("'", "''")
    parse(f"attribute('{quoted}')")


def _check_options(name: str, method: str, balance: Sequence[str], orthogonal_to: Sequence[str]) -> None:
    for option, given, wanted in (
        ("balance", balance, "balanced"), ("orthogonal_to", orthogonal_to, "conditional")
    ):  # fmt: skip
        if isinstance(given, str):
            raise ConfigInvalid(f"{option} of attribute {name!r} is the text {given!r}; pass a list of names")
        if bool(len(given)) != (method == wanted):
            remedy = f"name some in {option}" if method == wanted else f"use method='{wanted}' or leave {option} out"
            raise ConfigInvalid(f"attribute {name!r} by {method!r} with {option}={list(given)}; {remedy}")


def _rows(space: EmbeddingSpace, given: Clause) -> Int64[Array, " r"]:
    if isinstance(given, str):
        return space.matching(given)
    ids = list(given)
    if not ids:
        raise InputError("an attribute needs both classes, but a list of examples is empty; name at least one id")
    return np.unique(space.rows_of(ids))


def _strata(space: EmbeddingSpace, rows: Int64[Array, " r"], columns: Sequence[str]) -> list[object]:
    space.check_columns(columns)
    table = space.snapshot.columns(rows, list(columns))
    return list(zip(*(without_nan(table[column].to_pylist()) for column in columns), strict=True))


def _known(space: EmbeddingSpace, name: str, other: str) -> Float32[Array, " d"]:
    known = space.concepts.attribute_vectors
    if other == name or other not in known:
        others = [one for one in known if one != name]
        hint = suggest(other, others) if others else "fit that one first"
        raise UnknownAttribute(f"attribute {name!r} cannot be orthogonal to {other!r}, which is not there; {hint}")
    return known[other]


def _pullbacks(space: EmbeddingSpace, rows: Int64[Array, " r"], seed: int) -> Float32[Array, "p d"]:
    if space.encoder is None:
        raise NotSupported(
            f"space {space.name!r} holds ready vectors, so there is no decoder to be sensitive; use 'principal'"
        )
    from latentstore.encoders import pullbacks

    reference = space.snapshot.vectors(_some(rows, REFERENCE, seed))
    return pullbacks(space.encoder, reference, probes=PROBES, seed=seed)


def _some(rows: Int64[Array, " r"], most: int, seed: int) -> Int64[Array, " s"]:
    if len(rows) <= most:
        return rows
    return np.asarray(np.sort(np.random.default_rng(seed).choice(rows, most, replace=False)))


def _examples(space: EmbeddingSpace, positive: Clause, negative: Clause) -> dict[str, FileRecord]:
    """The lists of ids, in a file beside the attribute: manifests, which every version has, stay small."""
    lists = {
        side: [str(one) for one in given]
        for side, given in (("positive", positive), ("negative", negative))
        if not isinstance(given, str)
    }
    if not lists:
        return {}
    return {"examples": space.files.write("concepts", ".json", json.dumps(lists, ensure_ascii=False).encode())}


def _record(space: EmbeddingSpace, row: dict[str, Any], told: dict[str, Any], **beside: FileRecord) -> ArtefactRecord:
    table = pa.Table.from_pylist([row], schema=attribute_schema(space.dim))
    return concept_record(space, f"attribute/{row['name']}", "attribute", table, told, **beside)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value
