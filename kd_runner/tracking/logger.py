"""One log for all stages of a run: TensorBoard's, and with the same numbers those of other trackers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger

from kd_runner.config.settings import Settings
from kd_runner.files.scores import KEPT
from kd_runner.tracking import event_files, event_records, sessions, shared_networks, tracker_clients
from kd_runner.tracking.shared_networks import SharedNetwork
from kd_runner.tracking.trackers import Trackers

TENSORBOARD = "tensorboard"  # among tracking.loggers


class NoEvents:
    """A writer of event files that writes nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


class RunLogger(TensorBoardLogger):
    """Lightning's TensorBoard logger, writing all stages of the run in `folder` to one event file.

    A resumed run starts another file; `remove_records` keeps the two from having the same records twice.

    Args:
        event_folder: The folder of the event files, where it is another than `event_files.event_folder_of` says.
        has_events: False to write no event files.
    """

    def __init__(self, folder: Path, event_folder: Path | None = None, has_events: bool = True) -> None:
        event_folder = event_folder or event_files.event_folder_of(folder)
        super().__init__(save_dir=event_folder.parent, name="", version=event_folder.name, default_hp_metric=False)
        self.folder, self.event_folder, self.has_events = folder, event_folder, has_events
        self.earlier_files = event_files.in_folder(event_folder)
        self.is_of_a_sweep = event_folder.parent != folder.absolute()
        self.shared_folders: dict[str, Path] = {}  # of stages whose curves stand once for the whole sweep
        self.trackers: Trackers | None = None
        self.loggers: list[str] = []

    @property
    def root(self) -> Path:
        """The folder of what trackers keep on this machine: that of the run, or of its sweep."""
        return self.event_folder.parent.parent if self.is_of_a_sweep else self.folder.absolute()

    @property
    def experiment(self) -> Any:
        """The writer of event files."""
        return super().experiment if self.has_events else NoEvents()

    def track(self, settings: Settings, content: Mapping[str, Any]) -> None:
        """Begin or go on with the run in the trackers of its settings.

        Args:
            content: The settings as plain data, without secrets.
        """
        self.loggers = settings.tracking.loggers
        shown = {name: value for name, value in content.items() if name not in sessions.NO_COLUMNS}
        name = self.event_folder.name if self.is_of_a_sweep else settings.name or self.folder.absolute().name
        record = {
            "root": str(self.root),
            "name": name,
            "sweep": self.root.name if self.is_of_a_sweep else "",
            "seed": settings.seed,
            "tags": [str(tag) for tag in content.get("tags") or []],
            "notes": str(content.get("notes") or ""),
            "settings": {key: _whole(value) for key, value in sessions.setting_values(shown).items()},
        }
        self.trackers = Trackers(self.loggers, self.folder, record)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics by their tags, such as student/val_loss; those of an epoch go to all trackers."""
        if self.has_events:
            super().log_metrics(dict(metrics), step)
        stages: dict[str, dict[str, float]] = {}
        for tag, value in metrics.items():
            stage, _, name = tag.rpartition("/")
            if not name.endswith("_step"):
                stages.setdefault(stage, {})[name] = value
        for stage, values in stages.items():
            self._track_epoch(stage, values, step or 0)

    def _track_epoch(self, stage: str, metrics: Mapping[str, float], epoch: int) -> None:
        if self.trackers is not None:
            self.trackers.log_epoch(stage, epoch, metrics)

    def remove_records(self, is_outdated: Callable[[str, int], bool]) -> None:
        """Remove from the earlier files the records for whose tag and step `is_outdated` is true."""
        event_records.remove_records(self.earlier_files, is_outdated)

    def remove_records_after(self, stage: str, epochs: int, steps: int) -> None:
        """Remove from the earlier files what a stage logged after so many epochs and steps."""
        self.remove_records(
            lambda tag, step: tag.startswith(f"{stage}/") and step > (steps if tag.endswith("_step") else epochs)
        )
        if self.trackers is not None:
            self.trackers.remove_after(stage, epochs)

    def retell(self, network: SharedNetwork, epochs: Sequence[Mapping[str, float]]) -> None:
        """Log the metrics of each epoch of a network that another run trained; of a sweep's jobs, one does."""
        stage = network.stage
        self.remove_records(lambda tag, step: tag.startswith(f"{stage}/") and not tag.endswith("_step"))
        if self.is_of_a_sweep and self.has_events:
            folder = self.shared_folders[stage] = shared_networks.claimed_folder(self.event_folder.parent, network)
            shared_networks.write_curves(folder, stage, epochs)
        for number, metrics in enumerate(epochs, 1):
            values = {name: value for name, value in metrics.items() if name != KEPT}
            if stage in self.shared_folders:
                self._track_epoch(stage, values, number)
            else:
                self.log_metrics({f"{stage}/{name}": value for name, value in values.items()}, number)

    def log_test_metrics(self, stage: str, metrics: Mapping[str, float], epoch: int) -> None:
        """Log the metrics of a stage on the test images, at its last epoch, where its curves are."""
        if not metrics:
            return
        tagged = {f"{stage}/{name}": value for name, value in metrics.items()}
        if stage in self.shared_folders:
            shared_networks.write_test_metrics(self.shared_folders[stage], tagged, epoch)
            self._track_epoch(stage, metrics, epoch)
        else:
            self.log_metrics(tagged, epoch)

    def log_result(self, result: Mapping[str, Any]) -> None:
        """Give the final numbers of a result to the trackers, under their names in TensorBoard, and close the run."""
        if self.trackers is not None:
            summary = {f"final/{name}": value for name, value in sessions.metrics_of(result).items()}
            self.trackers.end("completed", summary)

    @contextmanager
    def failure_tracked(self) -> Iterator[None]:
        """Close the run in the trackers if an error or an interruption ends the block."""
        try:
            yield
        except BaseException as error:
            if self.trackers is not None:
                is_stopped = isinstance(error, (KeyboardInterrupt, SystemExit))
                self.trackers.end("interrupted" if is_stopped else "failed")
            raise

    def commands(self) -> list[str]:
        """The commands by which a person looks at what was logged."""
        charts = [event_files.command(self.event_folder.parent if self.is_of_a_sweep else self.folder)]
        of_trackers = tracker_clients.commands(self.root)
        return [
            *(charts if self.has_events else []),
            *(of_trackers[name] for name in self.loggers if name in of_trackers),
        ]

    def finalize(self, status: str) -> None:
        """Flush the event file, and leave it open for the next stage. Lightning calls this after each stage."""
        self.experiment.flush()

    def save(self) -> None:
        """Write no hparams.yaml: settings.json has the settings."""


def _whole(value: float | str) -> float | str:
    """The number 4.0 as 4."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
