"""One TensorBoard log for all stages of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pytorch_lightning.loggers import TensorBoardLogger

from kd_runner.tracking import event_files


class RunLogger(TensorBoardLogger):
    """Lightning's TensorBoard logger, writing all stages of the run in `folder` to one event file.

    A run that goes on starts another file; `forget` sees to it that nothing stands twice in the two.
    """

    def __init__(self, folder: Path) -> None:
        place = event_files.place_of(folder)
        super().__init__(save_dir=place.parent, name="", version=place.name, default_hp_metric=False)
        self.folder, self.place = folder, place
        self.earlier = event_files.in_folder(place)

    def forget(self, gone: Callable[[str, int], bool]) -> None:
        """Take out of the earlier files whatever `gone` says of its tag and step."""
        event_files.forget(self.earlier, gone)

    def forget_after(self, stage: str, epochs: int, steps: int) -> None:
        """Take out of the earlier files what was logged of a stage after so many epochs and steps."""
        self.forget(
            lambda tag, step: tag.startswith(f"{stage}/") and step > (steps if tag.endswith("_step") else epochs)
        )

    def retell(self, stage: str, epochs: Sequence[Mapping[str, float]]) -> None:
        """Log the metrics of each epoch of a stage that was trained elsewhere."""
        self.forget(lambda tag, step: tag.startswith(f"{stage}/") and not tag.endswith("_step"))
        for number, metrics in enumerate(epochs, 1):
            self.log_metrics({f"{stage}/{name}": value for name, value in metrics.items()}, number)

    def finalize(self, status: str) -> None:
        """Called after each stage: closing the file there would start another for the next."""
        self.experiment.flush()

    def save(self) -> None:
        """No hparams.yaml: the settings are beside it, resolved."""
