"""Paths, grids and samples."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from latentstore.errors import ConfigInvalid
from latentstore.geometry import one_core
from latentstore.server.calls import Call, Content
from latentstore.server.handlers.queries import first, realism
from latentstore.server.pictures import decoded, drawn
from latentstore.server.wire import (
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

FILMS = {"gif": "image/gif", "mp4": "video/mp4"}


def interpolate(call: Call) -> Walked:
    """Walk from one latent to another, with pictures and what is around each frame."""
    asked: InterpolateAsked = call.body
    call.limits.check("steps", asked.steps, "steps")
    space = call.space()
    path = space.interpolate(
        asked.from_, *asked.through, asked.to, steps=asked.steps, method=asked.method, smoothing=asked.smoothing
    )
    return Walked(
        space=space.name,
        version=space.version,
        method=path.method,
        latents=path.latents.tolist(),
        anchors=list(path.anchors),
        report=asdict(path.report),
        pictures=drawn(path.decode) if asked.pictures else None,
    )


def film(call: Call) -> Content:
    """The same walk as a film: a GIF or an MP4."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    asked: FilmAsked = call.body
    call.limits.check("steps", asked.steps, "steps")
    media = FILMS.get(asked.format)
    if media is None:
        raise ConfigInvalid(f"{asked.format[:100]!r} is no format of a film; choose {' or '.join(FILMS)}")
    space = call.space()
    path = space.interpolate(
        asked.from_, *asked.through, asked.to, steps=asked.steps, method=asked.method, smoothing=asked.smoothing
    )
    with TemporaryDirectory() as folder:
        file = Path(folder, f"path.{asked.format}")
        path.save(file, fps=asked.fps)
        return Content(file.read_bytes(), media, ((b"x-latentstore-version", str(space.version).encode()),))


def grid(call: Call) -> Gridded:
    """All mixes of three or four latents."""
    asked: GridAsked = call.body
    columns = asked.rows if asked.columns is None else asked.columns
    call.limits.check("steps", asked.rows * columns, "cells")
    space = call.space()
    made = space.interpolate_grid(
        *asked.anchors, rows=asked.rows, columns=asked.columns, method=asked.method, smoothing=asked.smoothing
    )
    inside = made.inside.ravel()
    latents = made.latents.reshape(-1, space.dim)
    real = np.full(len(latents), np.nan)
    real[inside] = realism(space, latents[inside]) or np.nan
    cells = decoded(space, latents[inside]) if asked.pictures else None
    pictures = iter(cells or ())
    return Gridded(
        space=space.name,
        version=space.version,
        method=made.method,
        shape=(made.inside.shape[0], made.inside.shape[1]),
        latents=[one if there else None for one, there in zip(latents.tolist(), inside, strict=True)],
        realism=[float(one) if np.isfinite(one) else None for one in real],
        pictures=None if cells is None else [next(pictures) if there else None for there in inside],
    )


def sample(call: Call) -> Sampled:
    """Draw new latents from where the data lies."""
    asked: SampleAsked = call.body
    call.limits.check("samples", asked.n, "samples")
    space = call.space()
    # The first sample of a label fits a mixture, which is kept: samples have one thread, so that whoever asks meanwhile
    # waits for it instead of fitting another. On two cores of a busy machine its products take ten times as long.
    with one_core():
        samples = space.sample(
            asked.n,
            method=asked.method,
            label=asked.label,
            column=asked.column,
            truncation=asked.truncation,
            seed=asked.seed,
        )
    return Sampled(
        space=space.name,
        version=space.version,
        method=samples.method,
        seed=asked.seed,
        latents=samples.latents.tolist(),
        realism=realism(space, samples.latents),
        nearest=space.search(samples.latents, 1).ids[:, 0].tolist(),
        pictures=drawn(samples.decode) if asked.pictures else None,
    )


def barycenter(call: Call) -> Mixed:
    """The weighted mean of items or points: of their pictures by optimal transport, or of their latents."""
    asked: BarycenterAsked = call.body
    call.limits.check("samples", len(asked.weights), "points")
    space = call.space()
    mean = space.barycenter(asked.weights, method=asked.method)
    return Mixed(
        space=space.name,
        version=space.version,
        method=mean.method,
        latent=mean.latent.vector.tolist(),
        realism=first(realism(space, mean.latent.vector[None])),
        picture=first(drawn(lambda: mean.item[None])) if asked.pictures else None,
    )
