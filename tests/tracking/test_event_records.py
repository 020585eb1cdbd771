"""The records in event files, and the removal of some."""

from __future__ import annotations

from pathlib import Path

from logged_scalars import scalars
from torch.utils.tensorboard import SummaryWriter

from kd_runner.tracking import event_files, event_records


def test_records_are_removed(tmp_path: Path) -> None:
    with SummaryWriter(tmp_path) as writer:
        for step in range(1, 4):
            writer.add_scalar("student/val_loss", step, step)
            writer.add_scalar("teacher/val_loss", step, step)
    (path,) = event_files.in_folder(tmp_path)
    path.write_bytes(path.read_bytes()[:-7])  # as a killed process leaves it
    event_records.remove_records([path], lambda tag, step: tag.startswith("student/") and step > 1)
    assert scalars(tmp_path) == {"student/val_loss": [(1, 1)], "teacher/val_loss": [(1, 1), (2, 2)]}
