"""The file of weights that a person means by a path: the file itself, or that of the best student in a run's folder."""

from __future__ import annotations

from pathlib import Path

from kd_runner.errors import SettingsError
from kd_runner.files.contents import is_link
from kd_runner.files.run_folder import GRID, MULTIRUN, RESULT, STUDENT_BEST, STUDENT_LAST, holds_a_run, weights_file
from kd_runner.files.stages import BASELINE, STUDENT, TEACHER

BEST = "student_best"  # beside the stages: the student after its best epoch on the validation images
FILES = {
    TEACHER: weights_file(TEACHER),
    BASELINE: weights_file(BASELINE),
    STUDENT: STUDENT_LAST,
    BEST: STUDENT_BEST,
}


def model_file(path: str | Path) -> Path:
    """The file of weights at `path`, or that of the best student where `path` is a run's folder.

    Raises:
        SettingsError: the folder has no such file; the message says what it holds.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        return path
    files = run_files(path)
    if BEST not in files:
        raise SettingsError(f"{path} has no {STUDENT_BEST}: its run was not completed; {_others(files)}")
    return files[BEST]


def run_files(folder: Path) -> dict[str, Path]:
    """The files of weights in a run's folder, by 'teacher', 'baseline', 'student' and 'student_best'.

    Raises:
        SettingsError: the folder is none of a run, or a file in it is a link, which is not followed.
    """
    if (folder / GRID).exists() or (folder / MULTIRUN).exists():
        raise SettingsError(
            f"{folder} is the folder of a sweep: name the folder of one of its runs, such as {folder}/0"
        )
    files = {name: folder / file for name, file in FILES.items() if is_link(folder / file) or (folder / file).exists()}
    links = [path.name for path in files.values() if is_link(path)]
    if links:
        raise SettingsError(f"{folder / links[0]} is a link, and links are not followed in the folder of a run")
    if not files and not holds_a_run(folder) and not (folder / RESULT).exists():
        raise SettingsError(f"{folder} is not the folder of a run: it has no {STUDENT_BEST}; name a file of weights")
    return files


def _others(files: dict[str, Path]) -> str:
    names = ", ".join(path.name for path in files.values())
    return f"it has {names}, which can be named instead" if names else "it has no weights yet"
