"""Weights & Biases, MLflow and Trackio, each fed by a process of its own (`kd_runner.tracking.feeder`).

Nothing leaves the machine without the person's own settings: WANDB_MODE or a login, MLFLOW_TRACKING_URI, or
TRACKIO_SPACE_ID or TRACKIO_SERVER_URL. Without them, all lies in the folder of the run or of its sweep.

Lightning's loggers do not serve here: WandbLogger takes the run of the process, which the jobs of a pack share,
MLFlowLogger calls a run finished after each stage, and CSVLogger deletes the file of an earlier attempt.
"""

from __future__ import annotations

import netrc
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from kd_runner.files.run_folder import MLFLOW, TRACKERS_LOCK, TRACKIO, WANDB

PROJECT = "kd-runner"
ATTEMPTS = 5  # to write into a database that another job has locked
MOST_PARAMETERS, MOST_METRICS = 100, 500  # of one call to MLflow
LONGEST_PARAMETER = 500  # characters that all versions of MLflow take
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class RunRecord:
    """A run, as a tracker should know it.

    Args:
        root: The folder of what trackers keep on this machine: that of the run, or of its sweep.
        name: The name of the run.
        sweep: The name of its sweep; empty for a run by itself.
        seed: The seed of the run.
        tags: The words that a person gave to it.
        notes: The text that a person gave to it.
        settings: Its settings by their keys with dots, without secrets.
    """

    root: Path
    name: str
    sweep: str
    seed: int
    tags: list[str]
    notes: str
    settings: dict[str, float | str]


@dataclass(frozen=True)
class Epoch:
    """The metrics of an epoch of a stage, or those on the test images at its last epoch."""

    stage: str
    epoch: int
    metrics: dict[str, float]

    @property
    def metrics_by_tag(self) -> dict[str, float]:
        """The metrics under the tags that they have in TensorBoard."""
        return {f"{self.stage}/{name}": value for name, value in self.metrics.items()}

    @property
    def row(self) -> dict[str, float]:
        """The metrics by tag, and the epoch."""
        return {f"{self.stage}/epoch": self.epoch} | self.metrics_by_tag


class Client(Protocol):
    """The calls that feed a tracker."""

    def log_epochs(self, epochs: Sequence[Epoch]) -> None: ...

    def log_summary(self, numbers: Mapping[str, float]) -> None: ...

    def end(self, status: str) -> None:
        """Close the run, which has 'completed', 'failed', was 'interrupted' or 'killed'."""


class Wandb:
    """A run of Weights & Biases."""

    def __init__(self, record: RunRecord, state: dict[str, Any]) -> None:
        # It links to a log in its cache, and links that lead out of the folder of a run are refused.
        os.environ.setdefault("WANDB_CACHE_DIR", str(record.root / WANDB / "cache"))
        import wandb

        settings = wandb.Settings(
            silent=True, console="off", disable_git=True, disable_code=True, disable_job_creation=True,
            x_disable_meta=True, x_disable_stats=True, x_save_requirements=False, init_timeout=60,
            host="",
        )  # fmt: skip  # the machine, its user and the command's words, which may hold secrets, are nobody's business
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), id=state["id"], name=record.name,
            group=record.sweep or None, tags=[*record.tags, f"seed {record.seed}"], notes=record.notes or None,
            config=dict(record.settings), dir=str(record.root), mode=wandb_mode(), resume="allow", settings=settings,
        )  # fmt: skip
        self.stages: set[str] = set()

    def log_epochs(self, epochs: Sequence[Epoch]) -> None:
        for epoch in epochs:
            if epoch.stage not in self.stages:
                self.stages.add(epoch.stage)
                self.run.define_metric(f"{epoch.stage}/*", step_metric=f"{epoch.stage}/epoch")
            self.run.log(epoch.row)

    def log_summary(self, numbers: Mapping[str, float]) -> None:
        self.run.summary.update(dict(numbers))

    def end(self, status: str) -> None:
        self.run.summary.update({"status": status})
        self.run.finish(exit_code=0 if status == "completed" else 1)


def wandb_mode() -> str:
    """WANDB_MODE, or 'online' for a person who has logged in, else 'offline'."""
    if os.environ.get("WANDB_MODE"):
        return os.environ["WANDB_MODE"]
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        has_login = netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        has_login = False
    return "online" if has_login or os.environ.get("WANDB_API_KEY") else "offline"


class MLflow:
    """A run of MLflow, by its client: the module's own functions have one run for the whole process."""

    def __init__(self, record: RunRecord, state: dict[str, Any]) -> None:
        from mlflow.tracking import MlflowClient

        server = os.environ.get("MLFLOW_TRACKING_URI")
        with lock(record.root):  # which makes a new database, and that one process at a time can do
            self.client = MlflowClient(server or f"sqlite:///{(record.root / MLFLOW).as_posix()}")
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            # Files that a person adds to a run lie beside the database.
            experiment = self._experiment(name, None if server else (record.root / "mlartifacts").absolute().as_uri())
        if "run_id" in state:
            self.run_id = state["run_id"]
            persistently(lambda: self.client.update_run(self.run_id, status="RUNNING"))
            return
        tags = {"seed": str(record.seed), **({"sweep": record.sweep} if record.sweep else {})}
        tags |= {f"tag.{word}": "true" for word in record.tags}
        tags |= {"mlflow.note.content": record.notes} if record.notes else {}
        run = persistently(lambda: self.client.create_run(experiment, tags=tags, run_name=record.name))
        self.run_id = state["run_id"] = run.info.run_id
        self._log_parameters(record.settings)

    def _experiment(self, name: str, files: str | None) -> str:
        experiment = self.client.get_experiment_by_name(name)
        return experiment.experiment_id if experiment else self.client.create_experiment(name, artifact_location=files)

    def _log_parameters(self, settings: Mapping[str, float | str]) -> None:
        from mlflow.entities import Param

        parameters = [Param(key, str(value)[:LONGEST_PARAMETER]) for key, value in settings.items()]
        for start in range(0, len(parameters), MOST_PARAMETERS):
            self._persistently_log(params=parameters[start : start + MOST_PARAMETERS])

    def log_epochs(self, epochs: Sequence[Epoch]) -> None:
        numbers = [(tag, value, epoch.epoch) for epoch in epochs for tag, value in epoch.metrics_by_tag.items()]
        self._log_metrics(numbers)

    def log_summary(self, numbers: Mapping[str, float]) -> None:
        self._log_metrics([(name, value, 0) for name, value in numbers.items()])

    def _log_metrics(self, numbers: Sequence[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, float(value), now, step) for name, value, step in numbers]
        for start in range(0, len(metrics), MOST_METRICS):
            self._persistently_log(metrics=metrics[start : start + MOST_METRICS])

    def _persistently_log(self, **entities: Any) -> None:
        persistently(lambda: self.client.log_batch(self.run_id, **entities))

    def end(self, status: str) -> None:
        name = {"completed": "FINISHED", "failed": "FAILED"}.get(status, "KILLED")
        persistently(lambda: self.client.set_terminated(self.run_id, name))


@contextmanager
def lock(root: Path) -> Iterator[None]:
    """Keep the other jobs of a sweep out during this block, where the file system has locks."""
    from kd_runner.files.locks import lock_of

    try:
        held = lock_of(root / TRACKERS_LOCK)
        held.acquire(timeout=120)
    except (NotImplementedError, OSError):
        yield
        return
    try:
        yield
    finally:
        held.release()


def persistently(call: Callable[[], Answer]) -> Answer:
    """The answer of `call`, which is tried again where it fails, as a database does that another job has locked."""
    for attempt in range(1, ATTEMPTS):
        try:
            return call()
        except Exception:
            time.sleep(0.2 * 2**attempt)
    return call()


class Trackio:
    """A run of Trackio."""

    def __init__(self, record: RunRecord, state: dict[str, Any]) -> None:
        is_local = not (os.environ.get("TRACKIO_SPACE_ID") or os.environ.get("TRACKIO_SERVER_URL"))
        is_own_folder = is_local and "TRACKIO_DIR" not in os.environ
        if is_local:
            os.environ["HF_HUB_OFFLINE"] = "1"  # it asks the hub for the name of who has logged in
        os.environ.setdefault("TRACKIO_DIR", str(record.root / TRACKIO))
        import trackio

        # Runs of other sweeps may have the name, too, where a person has one place for all.
        name = record.name if is_own_folder else f"{record.name}-{state['id']}"
        with lock(record.root):
            self.run = trackio.init(
                project=PROJECT, name=name, group=record.sweep or None, config={**record.settings, "tags": record.tags},
                resume="allow", embed=False, auto_log_gpu=False, auto_log_cpu=False,
            )  # fmt: skip

    def log_epochs(self, epochs: Sequence[Epoch]) -> None:
        for epoch in epochs:
            self.run.log(epoch.row)

    def log_summary(self, numbers: Mapping[str, float]) -> None:
        self.run.log(dict(numbers))

    def end(self, status: str) -> None:
        self.run.finish()


CLIENTS: dict[str, Callable[[RunRecord, dict[str, Any]], Client]] = {
    "wandb": Wandb,
    "mlflow": MLflow,
    "trackio": Trackio,
}


def commands(root: Path) -> dict[str, str]:
    """The commands that show what trackers have kept below `root`."""
    database = f"sqlite:///{(root / MLFLOW).as_posix()}"
    looks = {
        "wandb": (WANDB, f"wandb sync {shlex.quote(str(root / WANDB))}/offline-run-*"),
        "mlflow": (MLFLOW, f"mlflow ui --backend-store-uri {shlex.quote(database)}"),
        "trackio": (TRACKIO, f"TRACKIO_DIR={shlex.quote(str(root / TRACKIO))} trackio show"),
    }
    return {kind: command for kind, (name, command) in looks.items() if (root / name).exists()}
