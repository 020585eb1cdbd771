"""What lies directly in kd_runner/datasets is a data set, or what people who write one import."""

from __future__ import annotations

from pathlib import Path

import kd_runner.datasets
from kd_runner.config.door import option_names
from kd_runner.datasets import several_labels
from kd_runner.datasets.labels import multi_label

CONTRACTS = {"splits", "made_images", "several_labels"}


def test_helpers_lie_in_folders_of_their_own() -> None:
    modules = {path.stem for path in Path(kd_runner.datasets.__path__[0]).glob("*.py")} - {"__init__"}
    options = {name.split(".")[2] for name in option_names() if name.startswith("kd_runner.datasets.")}
    assert modules == options | CONTRACTS


def test_the_name_that_data_sets_of_others_may_import_still_works() -> None:
    assert several_labels.label_matrix is multi_label.label_matrix
    assert several_labels.names_in_cell is multi_label.names_in_cell
