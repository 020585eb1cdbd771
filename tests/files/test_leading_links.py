"""Links that lead out of a run's folder are refused, less those that a report has made."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_runner.errors import SettingsError
from kd_runner.files.links import TABLE, refuse_links

EVENTS = "events.out.tfevents.12.host.3.0"


def job_with_link(sweep: Path, name: str, target: Path) -> Path:
    """The folder of a job in which a report of version 0.15 may have made the link `name` to `target`."""
    charts = sweep / "0" / "tensorboard" / "sweep_0_soft"
    charts.mkdir(parents=True)
    (charts / TABLE).touch()
    (charts / name).symlink_to(target)
    return sweep / "0"


def test_links_of_a_report_are_no_strangers(tmp_path: Path) -> None:
    job = job_with_link(tmp_path, EVENTS, tmp_path / "tensorboard" / "0_soft" / EVENTS)
    refuse_links(job, "resume")
    (job / "tensorboard" / "sweep_0_soft" / TABLE).unlink()
    with pytest.raises(SettingsError, match=r"^resume: .* must hold no symbolic link that leads out of it"):
        refuse_links(job, "resume")


@pytest.mark.parametrize(
    ("name", "target"),
    [
        (EVENTS, Path("/home/me/.bashrc")),
        (EVENTS, Path("/home/me", EVENTS)),
        (EVENTS, Path("/home/tensorboard/0/events.out.tfevents.13")),
        ("now.json", Path("/home/tensorboard/0/now.json")),
        ("events.out.tfevents.", Path("/home/tensorboard/events.out.tfevents.")),
    ],
)
def test_other_links_beside_a_table_are_refused(tmp_path: Path, name: str, target: Path) -> None:
    with pytest.raises(SettingsError, match=f"got tensorboard/sweep_0_soft/{name} -> {target}"):
        refuse_links(job_with_link(tmp_path, name, target), "resume")
