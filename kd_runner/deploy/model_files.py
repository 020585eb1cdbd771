"""The file of weights that a person means by a path: the file itself, or that of one network in a run's folder.

One rule for all commands: a run's folder stands for its student after its last epoch, of which the run's result, its
report and its model card speak.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from kd_runner.errors import SettingsError
from kd_runner.files.contents import is_link
from kd_runner.files.home import with_home
from kd_runner.files.run_folder import (
    GRID,
    MULTIRUN,
    RESULT,
    STUDENT_BEST,
    STUDENT_LAST,
    holds_a_run,
    weights_file,
    without_page,
)
from kd_runner.files.stages import BASELINE, STUDENT, TEACHER

BEST = "student_best"  # beside the stages: the student after its best epoch on the validation images
FILES = {
    TEACHER: weights_file(TEACHER),
    BASELINE: weights_file(BASELINE),
    STUDENT: STUDENT_LAST,
    BEST: STUDENT_BEST,
}
NETWORKS = (STUDENT, BEST, BASELINE, TEACHER)  # as `--network` names them, the one that is meant without it first


def model_file(path: str | Path, network: str | None = None) -> Path:
    """The file of weights at `path`, or that of a network where `path` is a run's folder, or the report in it.

    Args:
        network: 'student', 'student_best', 'baseline' or 'teacher' of a run; None: the student after its last epoch.

    Raises:
        SettingsError: the folder has no such file; the message says what it holds.
    """
    path = without_page(with_home(path))
    if network is not None and network not in NETWORKS:
        raise SettingsError(f"network: must be one of {', '.join(NETWORKS)}, got {network}")
    if path.is_dir():
        files = run_files(path)
        refuse_missing(path, files, network or STUDENT)
        return files[network or STUDENT]
    if network is not None:
        raise SettingsError(f"network: has no effect on {path}, which is no folder of a run, got {network}")
    return path


def run_files(folder: Path) -> dict[str, Path]:
    """The files of weights in a run's folder, by 'teacher', 'baseline', 'student' and 'student_best'.

    Raises:
        SettingsError: the folder is none of a run, or a file in it is a link, which is not followed.
    """
    if (folder / GRID).exists() or (folder / MULTIRUN).exists():
        raise SettingsError(
            f"{folder} is the folder of a sweep: name the folder of one of its runs, such as {folder}/0; kd-report "
            f"{folder} says which run is best on the validation images"
        )
    files = {name: folder / file for name, file in FILES.items() if is_link(folder / file) or (folder / file).exists()}
    links = [path.name for path in files.values() if is_link(path)]
    if links:
        raise SettingsError(f"{folder / links[0]} is a link, and links are not followed in the folder of a run")
    if not files and not holds_a_run(folder) and not (folder / RESULT).exists():
        raise SettingsError(f"{folder} is not the folder of a run: it has no {STUDENT_LAST}; name a file of weights")
    return files


def refuse_missing(folder: Path, files: Mapping[str, Path], network: str) -> None:
    """Raise SettingsError where the files of the run in `folder` have none of the network; it says what there is."""
    if network in files:
        return
    if not files:
        words = shlex.quote(f"resume={folder}")
        raise SettingsError(f"{folder} has no weights yet; kd-runner {words} goes on with a run that was stopped")
    reason = "its run was not completed" if network in (STUDENT, BEST) else f"its run has no {network}"
    known_files = ", ".join(f"{name} ({path.name})" for name, path in files.items())
    raise SettingsError(f"{folder} has no {FILES[network]}: {reason}; it has {known_files}, which can be named instead")
