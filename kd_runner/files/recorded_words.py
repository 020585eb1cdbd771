"""The words that a run was started with, as its folder records them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from kd_runner.files.plain_files import read_plain, read_yaml
from kd_runner.files.run_folder import BEGUN, HYDRA, RESULT, TYPED, UNFINISHED

OVERRIDES = "overrides"  # the key of the words in files of our own


def without_plus(word: str) -> str:
    """The word without Hydra's `++`, which adds a setting or changes it: `++seed=3` says what `seed=3` says.

    A single + stays: it adds what is not there, so that the word without it would be refused.
    """
    return word.removeprefix("++")


def recorded_words(folder: Path) -> tuple[Path, Any]:
    """The file that records the words of the run in `folder`, and what it has in their place: anything at all.

    Hydra records those of a run by itself. The job of a sweep has them in its result, and until it has one in what it
    began with.

    Raises:
        OSError, ValueError, LookupError, TypeError, RecursionError: there is no such file, or it cannot be read.
    """
    path = folder / HYDRA / TYPED
    if os.path.lexists(folder / HYDRA):
        if (folder / HYDRA).is_symlink():
            raise ValueError(f"{folder / HYDRA} leads elsewhere")
        return path, read_yaml(path)
    begun = folder / UNFINISHED / BEGUN
    path = begun if begun.is_file() else folder / RESULT
    return path, json.loads(read_plain(path))[OVERRIDES]
