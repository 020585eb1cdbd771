"""What results record of a data set, and of a teacher's judgement."""

from __future__ import annotations

from typing import Any

DATA: dict[str, Any] = {
    "classes": 3, "train": 1090, "val": 18, "test": 30,
    "largest_class": {"train": {"class": "ant", "images": 30, "share": 0.3333},
                      "val": {"class": "a class of a very long name", "images": 9, "share": 0.5}, "test": None},
    "missing_classes": {"train": [], "val": [], "test": ["cat"]},
    "left_out": {"files": 12, "kinds": {".txt": 5, "": 7}, "places": {"train": 2, ".": 10}, "hidden": 1,
                 "unreadable": 2},
    "duplicates": {"train_val": 0, "train_test": 3, "val_test": 1, "two_classes": 1},
}  # fmt: skip
DATA_WITH_ODDITIES = {
    "classes": 4, "train": 90, "val": 9, "test": 16,
    "largest_class": {"train": {"class": "ant", "images": 30, "share": 0.33}},
    "missing_classes": {"train": [], "test": ["cat"]},
    "left_out": {"files": 12, "kinds": {".txt": 12}, "places": {".": 12}, "hidden": 1, "unreadable": 2},
    "duplicates": {"train_val": 0, "train_test": 3, "val_test": 0, "two_classes": 1},
}  # fmt: skip
JUDGED = {"val_accuracy": 0.1, "largest_class": 0.2, "recorded_accuracy": 0.9, "warning": "The teacher is at chance."}
