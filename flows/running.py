"""How our flows and tasks run under Prefect: what is retried, what runs are called, and that nothing is reported."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from latentstore.errors import (
    ChecksumMismatch,
    CommitConflict,
    ConfigInvalid,
    FormatTooNew,
    LatentStoreError,
    ManifestInvalid,
    StorageError,
)

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import State, TaskRun
    from prefect.tasks import Task

PRIVACY = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
_LASTING = (ChecksumMismatch, FormatTooNew, ManifestInvalid)  # waiting repairs none of these
_LASTING_ERRNO = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed a little later: the disk or the network hiccuped, or another writer won."""
    if isinstance(error, CommitConflict):
        return True
    if isinstance(error, StorageError):
        cause = error.__cause__
        return not isinstance(error, _LASTING) and (not isinstance(cause, OSError) or is_transient(cause))
    return isinstance(error, OSError) and not isinstance(error, LatentStoreError) and error.errno not in _LASTING_ERRNO


def _worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and is_transient(error)


def step(name: str) -> dict[str, Any]:
    """Options of one coarse step as a Prefect task: retried with growing, jittered pauses when that can help.

    Prefect's result cache stays off: what is done already is known by the store itself, which also knows when
    it was deleted.
    """
    from prefect.cache_policies import NO_CACHE
    from prefect.tasks import exponential_backoff

    return {
        "name": name,
        "task_run_name": name,
        "retries": 3,
        "retry_delay_seconds": exponential_backoff(backoff_factor=2),
        "retry_jitter_factor": 0.5,
        "retry_condition_fn": _worth_retrying,
        "cache_policy": NO_CACHE,
        "persist_result": False,
    }


def privacy() -> None:
    """No telemetry from this process, nor from the server and the runs it starts, unless the user chose otherwise."""
    for name, value in PRIVACY.items():
        os.environ.setdefault(name, value)


def require_server(client: SyncPrefectClient) -> None:
    """Raise `ConfigInvalid` that says how to start a server when none answers."""
    if (problem := client.api_healthcheck()) is not None:
        raise ConfigInvalid(
            f"no Prefect server answers at {client.api_url} ({problem}); "
            "start one with `prefect server start` in another terminal, or correct PREFECT_API_URL"
        )


@contextmanager
def quietly() -> Iterator[None]:
    """Run flows from a shell or a script: no telemetry, and none of the heartbeat that costs a second per run.

    Without `PREFECT_API_URL` a server of this process' own is started, which inherits the environment.

    Raises:
        ConfigInvalid: `PREFECT_API_URL` names a server that does not answer.
    """
    privacy()
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    if PREFECT_API_URL.value():
        with get_client(sync_client=True) as client:
            require_server(client)
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def run_name(verb: str) -> Callable[[], str]:
    """Name a flow run after what it does to which space, for example "embed fashion"."""

    def name() -> str:
        from prefect.runtime import flow_run

        from flows.config import as_config

        return f"{verb} {as_config(flow_run.parameters['config']).space}"

    return name
