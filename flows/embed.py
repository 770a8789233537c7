"""`embed`: bring a space's rows to what the dataset holds now, in one commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import xxhash
from prefect import flow, task

from flows.config import Config, as_config, digest
from flows.difference import HASH, VARIANCE, Difference, compare
from flows.outcome import Outcome
from flows.running import run_name, step
from flows.shards import Coded, Threads, encode_shards, one_thread
from flows.train import needed_encoder
from flows.workspace import Workspace, opened
from latentstore.errors import ShapeMismatch, SpaceMismatch
from latentstore.types import Array

if TYPE_CHECKING:
    from jaxtyping import Int64

    from latentstore.space import EmbeddingSpace
    from latentstore.storage import Snapshot, StagedSegment


@dataclass(frozen=True)
class Embedded(Outcome):
    """What an `embed` did.

    Attributes:
        version: The space's newest version now.
        encoded: Items that were encoded by this call.
        resumed: Items that a killed call had encoded before.
        carried: Items whose metadata changed and whose latent stayed.
        deleted: Items that vanished from the dataset.
        changed: Whether a version was committed.
    """

    version: int
    encoded: int
    resumed: int
    carried: int
    deleted: int


def embed_items(work: Workspace) -> Embedded:
    """Embed new and changed items, delete vanished ones, all in one commit; nothing when there are none.

    Finished shards are durable at once: a killed call is repeated and goes on after the last of them.

    Raises:
        UnknownEncoder: `train` has not run.
        SpaceMismatch: The space holds rows that came from no dataset, or has another metric.
        CommitConflict: Someone else changed rows meanwhile.
    """
    fingerprint = needed_encoder(work)
    space = _create(work, fingerprint) if work.space is None else work.space  # an empty space is falsy
    _check_ours(space, work)
    snapshot, stored = space.snapshot, work.config.encoder
    with_variance = stored is not None and _has_posterior(stored.kind)
    # Hashed when first asked for: of a new space, by the thread that writes, while the encoder is at work.
    columns = cache(partial(_columns, work))
    difference = compare(snapshot, work.dataset.ids, columns, (fingerprint, _dim(work)), extra=with_variance)
    if difference.empty:
        _clear_staging(space, keep=None)
        return Embedded(f"all {len(snapshot)} items are embedded", False, space.version, 0, 0, 0, 0)
    staging = _Staging(space, work, columns, fingerprint, difference)
    resumed = staging.encode()
    update = staging.carry(snapshot, with_variance)
    manifest = space.files.append(
        staging.staged,
        on_existing="replace",
        delete_ids=difference.vanished,
        replace_all=difference.replace_all,
        based_on=snapshot.version,
        encoder=fingerprint,
        source=work.dataset.source,
        update=update,
        operation="embed",
    )
    work.report("embed", 1.0)
    encoded, carried, deleted = len(difference.encode) - resumed, len(difference.carry), len(difference.vanished)
    parts = {"embedded": encoded, "taken from a killed run": resumed, "with new metadata": carried, "deleted": deleted}
    did = f"version {manifest.version}: {', '.join(f'{n} {what}' for what, n in parts.items() if n)}"
    return Embedded(did, True, manifest.version, encoded, resumed, carried, deleted)


class _Staging:
    """Writes rows durably under one key; no version names them yet.

    Args:
        space: Whose rows.
        work: Dataset and configuration.
        columns: Gives the metadata of all items.
        fingerprint: The encoder's; None for ready vectors.
        difference: What has to be done.

    Attributes:
        staged: What is finished, by this call or by a killed one before it.
    """

    def __init__(
        self,
        space: EmbeddingSpace,
        work: Workspace,
        columns: Callable[[], pa.Table],
        fingerprint: str | None,
        difference: Difference,
    ) -> None:
        self._space, self._work, self._columns = space, work, columns
        self._fingerprint, self._difference = fingerprint, difference
        self.staged: list[StagedSegment] = []
        if space.files.staging_keys():
            _clear_staging(space, keep=self._key)
            self.staged = space.files.staged(self._key)

    @cached_property
    def _key(self) -> str:
        """Names this very work, so that only a repetition of it takes up what was staged."""
        encode, columns = self._difference.encode, self._columns()
        ids = pa.array(self._work.dataset.ids[encode], pa.string())
        rows = columns if len(encode) == len(columns) else columns.take(pa.array(encode))
        state = xxhash.xxh3_128()
        for batch in rows.append_column("id", ids).combine_chunks().to_batches():
            state.update(batch.serialize())
        return f"embed-{digest(state.hexdigest(), self._fingerprint, self._work.config.embed.shard_items)}"

    def encode(self) -> int:
        """Encode and stage what a killed call has not; returns how many items it had."""
        positions, size = self._difference.encode, self._work.config.embed.shard_items
        shards = [positions[start : start + size] for start in range(0, len(positions), size)]
        finished = {int(one.properties["shard"]) for one in self.staged}
        left = [number for number in range(len(shards)) if number not in finished]
        before = sum(len(shards[number]) for number in finished)
        if not left:
            return before
        numbers = iter(left)
        code = _coder(self._work, self._fingerprint)
        encode_shards(
            self._work.dataset,
            [shards[number] for number in left],
            code,
            lambda shard, coded: self._stage(shard, coded, next(numbers)),
            lambda done: self._work.report("embed", min((before + done) / len(positions), 0.999)),
            _threads(self._fingerprint),
        )
        return before

    def carry(self, snapshot: Snapshot, with_variance: bool) -> tuple[list[str], pa.Table] | None:
        """Give rows whose latent stays their new metadata: in place, or staged when all rows are replaced.

        Returns:
            Ids and metadata to update; None when there are none.
        """
        difference = self._difference
        if not len(difference.carry):
            return None
        ids = self._work.dataset.ids[difference.carry].tolist()
        if not difference.replace_all:
            return ids, self._table(difference.carry, None)
        variance = snapshot.columns(difference.carry_rows, [VARIANCE])[VARIANCE] if with_variance else None
        table = self._table(difference.carry, variance)
        vectors = snapshot.vectors(difference.carry_rows)
        self.staged.append(self._space.files.stage(ids, vectors, table, encoder=self._fingerprint, dim=snapshot.dim))
        return None

    def _stage(self, positions: Int64[Array, " m"], coded: Iterator[Coded], number: int) -> None:
        finished = self._space.files.stage_parts(
            self._work.dataset.ids[positions].tolist(),
            self._parts(positions, coded),
            key=self._key,
            encoder=self._fingerprint,
            dim=_dim(self._work) if self._difference.replace_all else None,
            properties={"shard": number},
        )
        self.staged.append(finished)

    def _parts(self, positions: Int64[Array, " m"], coded: Iterator[Coded]) -> Iterator[tuple[Array, pa.Table]]:
        start = 0
        for one in coded:
            own = positions[start : start + len(one.latents)]
            start += len(own)
            variance = None
            if one.variance is not None:
                flat = pa.array(np.ascontiguousarray(one.variance).ravel(), pa.float32())
                variance = pa.FixedSizeListArray.from_arrays(flat, one.variance.shape[1])
            yield one.latents, self._table(own, variance)

    def _table(self, positions: Int64[Array, " m"], variance: Any) -> pa.Table:
        columns = self._columns()
        if positions[-1] - positions[0] == len(positions) - 1:  # they ascend: a stretch, as in a new space
            table = columns.slice(int(positions[0]), len(positions))
        else:
            table = columns.take(pa.array(positions))
        return table if variance is None else table.append_column(VARIANCE, variance)


def _coder(work: Workspace, fingerprint: str | None) -> Callable[[Array], Coded]:
    """How items become latents; ready vectors are taken as they are."""
    if fingerprint is None:
        return lambda items: Coded(np.asarray(items, np.float32))
    encoder = work.store.encoder(fingerprint)
    if tuple(encoder.item_shape) != tuple(work.dataset.item_shape):
        raise ShapeMismatch(
            f"the dataset's items are {work.dataset.item_shape}, encoder {fingerprint} takes {encoder.item_shape}; "
            "resize the items or train again"
        )
    if _has_posterior(encoder.spec["kind"]):
        return lambda items: Coded(*encoder.posterior(items))
    return lambda items: Coded(encoder.encode(items))


def _threads(fingerprint: str | None) -> Threads:
    if fingerprint is None:
        return one_thread
    from latentstore.encoders import one_thread_each

    return one_thread_each


def _has_posterior(kind: str) -> bool:
    return kind == "vae"


def _columns(work: Workspace) -> pa.Table:
    """Metadata of all items and the hash of their content."""
    table = work.dataset.metadata
    if HASH in table.column_names:
        table = table.drop_columns([HASH])
    return table.append_column(HASH, pa.array(work.hashes, pa.string()))


def _create(work: Workspace, fingerprint: str | None) -> EmbeddingSpace:
    return work.store.create_space(
        work.config.space, dim=_dim(work), metric=work.config.metric, encoder=fingerprint, source=work.dataset.source
    )


def _dim(work: Workspace) -> int:
    return work.config.encoder.dim if work.config.encoder else work.dataset.item_shape[0]


def _check_ours(space: EmbeddingSpace, work: Workspace) -> None:
    if space.metric != work.config.metric:
        raise SpaceMismatch(
            f"space {space.name!r} measures {space.metric}, the configuration says {work.config.metric}; "
            "correct metric, or choose another name"
        )
    if space.snapshot.manifest.source is None and len(space):
        raise SpaceMismatch(
            f"space {space.name!r} holds {len(space)} rows that came from no dataset, which embed would delete; "
            "choose another name for the space in the configuration"
        )


def _clear_staging(space: EmbeddingSpace, keep: str | None) -> None:
    for key in space.files.staging_keys():
        if key.startswith("embed-") and key != keep:
            space.files.clear_staging(key)


embed_step = task(embed_items, **step("embed"))


@flow(name="embed", flow_run_name=run_name("embed"))
def embed(config: Config | Path | str) -> Embedded:
    """Embed what is new or changed in the dataset, delete what vanished."""
    with opened(as_config(config)) as work:
        return embed_step(work)
