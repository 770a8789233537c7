"""`refresh` on a schedule: a Prefect deployment, served by this process against a running `prefect server`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from flows.config import Config, load_config
from flows.lock import is_held, only_one
from flows.running import privacy, require_server
from flows.workspace import refresh_lock
from latentstore.errors import ConfigInvalid
from latentstore.store import open_store

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.deployments.runner import RunnerDeployment

LOCAL_API = "http://127.0.0.1:4200/api"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def schedule(config_path: Path | str, *, cron: str | None = None, every: str | timedelta | None = None) -> None:
    """Serve `refresh` of one configuration until interrupted. Give `cron` or `every`.

    Runs fire while this process lives, each in a process of its own, and never two at a time for one space: one that
    comes due while another is under way is cancelled. A killed run is marked Crashed and does not hold up the next.

    Args:
        config_path: The TOML file; read again by every run.
        cron: Five fields, for example "0 3 * * *" for three o'clock every night (UTC).
        every: "30s", "15m", "6h", "1d", or a timedelta.

    Raises:
        ConfigInvalid: A mistake in the file, the cron line or the interval; or no server answers.
        Busy: Another process serves this space's schedule.
    """
    config = load_config(config_path)
    timing = _timing(cron, every)
    open_store(config.store).files.create()  # a folder that is no store is refused before a lock is put into it
    privacy()
    from prefect import serve
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with (
        temporary_settings({PREFECT_API_URL: PREFECT_API_URL.value() or LOCAL_API}),
        get_client(sync_client=True) as client,
        only_one(_schedule_lock(config), what=f"the schedule of space {config.space!r}"),
    ):
        require_server(client)
        clear_away(client, config)
        serve(deployment(Path(config_path).absolute(), config, timing))


def deployment(path: Path, config: Config, timing: dict[str, Any]) -> RunnerDeployment:
    """The deployment `refresh/<space> in <store>`: one run at a time; one that comes due meanwhile is not queued."""
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.deployments.runner import EntrypointType  # type: ignore[attr-defined]

    from flows.refresh import refresh

    made = refresh.to_deployment(
        _name(config),
        parameters={"config": str(path)},
        description=f"Train, embed, index, evaluate and publish {config.space!r} as {path} says.",
        tags=["latentstore", config.space],
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        entrypoint_type=EntrypointType.MODULE_PATH,
        **timing,
    )
    return cast("RunnerDeployment", made)  # a coroutine only where an event loop runs


def clear_away(client: SyncPrefectClient, config: Config) -> int:
    """End what an earlier serving process left behind: runs that nobody runs any more, and runs that came due unserved.

    A run whose process and whose serving process were both killed stays Running on the server for ever. Who lives is
    known from the space's lock, which the kernel releases at death. Runs that came due while nothing served would
    otherwise all fire at once.

    Returns:
        How many runs were ended.
    """
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName, FlowRunFilter
    from prefect.client.schemas.objects import State
    from prefect.states import Cancelled, Crashed

    ours = DeploymentFilter(name=DeploymentFilterName(any_=[_name(config)]))
    unfinished = FlowRunFilter.model_validate(
        {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING", "SCHEDULED"]}}}
    )
    alive = is_held(refresh_lock(config))
    ended = 0
    for run in client.read_flow_runs(flow_run_filter=unfinished, deployment_filter=ours):
        if run.state is None:
            continue
        if run.state.is_scheduled():
            due = run.expected_start_time
            if due is None or due >= datetime.now(UTC):
                continue
            state: State[Any] = Cancelled(message="came due while no process served this schedule")
        elif alive:
            continue
        else:
            state = Crashed(message="its process was killed together with the one that served the schedule")
        client.set_flow_run_state(run.id, state, force=True)
        ended += 1
    return ended


def parse_every(every: str | timedelta) -> timedelta:
    """An interval of at least a second, from "30s", "15m", "6h" or "1d"."""
    if isinstance(every, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", every.strip())
        if match is None:
            raise ConfigInvalid(f"interval {every!r} is not understood; write 30s, 15m, 6h or 1d")
        every = timedelta(**{_UNITS[match[2]]: float(match[1])})
    if every < timedelta(seconds=1):
        raise ConfigInvalid(f"interval {every} is too short; give at least 1s")
    return every


def _timing(cron: str | None, every: str | timedelta | None) -> dict[str, Any]:
    if (cron is None) == (every is None):
        raise ConfigInvalid("give either a cron line or an interval, for example --cron '0 3 * * *' or --every 15m")
    if every is not None:
        return {"interval": parse_every(every)}
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    try:
        CronSchedule(cron=str(cron))
    except ValidationError as error:
        raise ConfigInvalid(f"cron line {cron!r} is not understood; write five fields, as in '0 3 * * *'") from error
    return {"cron": cron}


def _name(config: Config) -> str:
    """Space and store: two stores may have spaces of one name, and one server may serve both."""
    return f"{config.space} in {config.store.name}"


def _schedule_lock(config: Config) -> Path:
    return config.store / "locks" / f"schedule-{config.space}"
