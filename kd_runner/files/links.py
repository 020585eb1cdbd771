"""Symbolic links in the folder of a run or a sweep, which could lead what is written there to any file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from kd_runner.errors import SettingsError
from kd_runner.files.run_folder import EVENTS

EVENT_FILES = "events.out.tfevents."  # begins the names of TensorBoard's files
TABLE = f"{EVENT_FILES}0.hparams"  # what a report writes beside the curves of each run


def refuse_links(folder: Path, key: str) -> None:
    """Raise SettingsError where a symbolic link in `folder` leads out of it; the folder itself may be a link.

    Args:
        key: The setting that names the folder, for the message.
    """
    for link in links_out_of(folder):
        raise SettingsError(
            f"{key}: {folder} must hold no symbolic link that leads out of it, since kd-runner writes there, "
            f"got {link.relative_to(folder)} -> {os.readlink(link)}; put the folder itself on the other disk, "  # noqa: PTH115
            "or remove the link"
        )


def links_out_of(folder: Path) -> Iterator[Path]:
    """The symbolic links below `folder` that lead elsewhere, less those of reports. Links are not followed on the way.

    kd-report 0.15 put links to the curves of a job into the job's own folder.
    """
    inside = Path(os.path.realpath(folder))
    for parent, folders, files in os.walk(folder):
        for name in sorted([*folders, *files]):
            path = Path(parent, name)
            if path.is_symlink() and inside not in Path(os.path.realpath(path)).parents and not is_of_a_report(path):
                yield path


def is_of_a_report(link: Path) -> bool:
    """True for a link that a report has made, beside its table: from one event file to another of the same name."""
    target = Path(os.readlink(link))  # noqa: PTH115
    table = link.with_name(TABLE)
    is_beside_table = link.parent.parent.name == EVENTS and table.is_file() and not table.is_symlink()
    names_event_file = link.name.startswith(EVENT_FILES) and link.name not in (TABLE, EVENT_FILES)
    leads_to_events = target.name == link.name and EVENTS in (target.parent.name, target.parent.parent.name)
    return is_beside_table and names_event_file and leads_to_events
