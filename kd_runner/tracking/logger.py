"""One TensorBoard log for all stages of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pytorch_lightning.loggers import TensorBoardLogger

from kd_runner.networks.records import KEPT
from kd_runner.tracking import event_files, shared_networks
from kd_runner.tracking.shared_networks import SharedNetwork


class RunLogger(TensorBoardLogger):
    """Lightning's TensorBoard logger, writing all stages of the run in `folder` to one event file.

    A resumed run starts another file; `remove_records` keeps the two from having the same records twice.
    """

    def __init__(self, folder: Path, event_folder: Path | None = None) -> None:
        event_folder = event_folder or event_files.event_folder_of(folder)
        super().__init__(save_dir=event_folder.parent, name="", version=event_folder.name, default_hp_metric=False)
        self.folder, self.event_folder = folder, event_folder
        self.earlier_files = event_files.in_folder(event_folder)
        self.is_of_a_sweep = event_folder.parent != folder.absolute()
        self.shared_folders: dict[str, Path] = {}  # of stages whose curves stand once for the whole sweep

    def remove_records(self, is_outdated: Callable[[str, int], bool]) -> None:
        """Remove from the earlier files the records for whose tag and step `is_outdated` is true."""
        event_files.remove_records(self.earlier_files, is_outdated)

    def remove_records_after(self, stage: str, epochs: int, steps: int) -> None:
        """Remove from the earlier files what a stage logged after so many epochs and steps."""
        self.remove_records(
            lambda tag, step: tag.startswith(f"{stage}/") and step > (steps if tag.endswith("_step") else epochs)
        )

    def retell(self, network: SharedNetwork, epochs: Sequence[Mapping[str, float]]) -> None:
        """Log the metrics of each epoch of a network that another run trained; of a sweep's jobs, one does."""
        stage = network.stage
        self.remove_records(lambda tag, step: tag.startswith(f"{stage}/") and not tag.endswith("_step"))
        if self.is_of_a_sweep:
            folder = self.shared_folders[stage] = shared_networks.claimed_folder(self.event_folder.parent, network)
            shared_networks.write_curves(folder, stage, epochs)
            return
        for number, metrics in enumerate(epochs, 1):
            self.log_metrics({f"{stage}/{name}": value for name, value in metrics.items() if name != KEPT}, number)

    def log_test_metrics(self, stage: str, metrics: Mapping[str, float], epoch: int) -> None:
        """Log the metrics of a stage on the test images, at its last epoch, where its curves are."""
        if stage in self.shared_folders:
            shared_networks.write_test_metrics(self.shared_folders[stage], metrics, epoch)
        else:
            self.log_metrics(dict(metrics), epoch)

    def finalize(self, status: str) -> None:
        """Flush the event file, and leave it open for the next stage. Lightning calls this after each stage."""
        self.experiment.flush()

    def save(self) -> None:
        """Write no hparams.yaml: settings.json has the settings."""
