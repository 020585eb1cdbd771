"""Which modes and settings work where an image may have several labels: decided by what they need."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from conftest import composed

from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.config.settings import Settings, check
from kd_runner.datasets.digit_tiles import digit_tiles
from kd_runner.datasets.digits import digits
from kd_runner.distillation.crd import CRD
from kd_runner.distillation.dkd import DKD
from kd_runner.distillation.fitnets import FitNets
from kd_runner.distillation.logits_l2 import LogitsL2
from kd_runner.distillation.soft import Soft
from kd_runner.errors import SettingsError
from kd_runner.outputs import needs_of
from kd_runner.runs.assembly import assemble
from kd_runner.runs.checks.multi_label_checks import modes_for, refuse_settings
from kd_runner.runs.dataset_answer import dataset_answer
from kd_runner.training.mode import Mode
from kd_runner.training.stopping import Stopping

TILES = digit_tiles(0, 8, 4, 4)
REFUSED: list[tuple[str, Any, str]] = [
    ("dataset.balanced_sampling", True, "must be false .*, got true"),
    ("dataset.label_noise", 0.1, "must be 0 .*, got 0.1"),
    ("student.label_smoothing", 0.1, "must be 0 .*, got 0.1"),
    ("teacher.label_smoothing", 0.2, "must be 0 .*, got 0.2"),
    ("student.unlabelled_fraction", 0.5, "must be 0 .*, got 0.5"),
    ("student.shots_per_class", 2, "must be null .*, got 2"),
    ("student.without_classes", ["1"], r"must be \[\] .*, got \['1'\]"),
    ("adversarial.eps", 0.1, "must be 0 .*, got 0.1"),
    ("adversarial.test_eps", 0.1, "must be 0 .*, got 0.1"),
    ("generations", 3, "must be 1 .*, got 3"),
    ("evaluate.corruptions", True, "must be false .*, got true"),
    ("evaluate.also", ["here"], r"must be \[\] .*, got \['here'\]"),
    ("tracking.embedding", True, "must be false .*, got true"),
    ("trainer.devices", 2, "must be 1 .*, got 2"),
    ("teacher.head", "probe", "must be trained .*, got probe"),
]
SIGMOIDS = {"confidence_penalty", "function_matching", "hard", "soft"}  # of pairs of logits
AS_THEY_ARE = {"logits_l2", "none"}
ALLOWED = SIGMOIDS | AS_THEY_ARE


def mode(loss: Callable[..., object], weight: float = 1.0, standardize: bool = False) -> Mode:
    return Mode("plus.x", loss, weight, standardize=standardize)  # type: ignore[arg-type]


def undeclared(*_: object) -> None:
    """A mode that does not say what it needs may look at labels."""


@pytest.fixture(scope="module")
def plain() -> Callable[..., Settings]:
    """Makes the settings of a run on pictures of several digits, with some values by key."""
    tiles = ("dataset=digit_tiles", "dataset.train_images=8", "dataset.val_images=4", "dataset.test_images=4")
    content = check(composed(*tiles)).plain()

    def make(values: dict[str, Any] | None = None) -> Settings:
        changed = yaml.safe_load(yaml.safe_dump(content))
        for key, value in (values or {}).items():
            *sections, last = key.split(".")
            at = changed
            for section in sections:
                at = at[section]
            at[last] = value
        return check(changed)

    return make


def test_settings_that_need_one_label_are_refused(plain: Callable[..., Settings]) -> None:
    for key, value, rule in REFUSED:
        asked = plain({key: value})
        refuse_settings(asked, digits(0))
        with pytest.raises(SettingsError, match=f"^{key}: {rule}$") as refused:
            refuse_settings(asked, TILES)
        assert "where an image may have several labels" in str(refused.value)
    with pytest.raises(SettingsError, match=r"^student\.adversarial\.eps: must be 0"):
        refuse_settings(plain({"student.adversarial": {"eps": 0.2}}), TILES)


def test_a_run_says_so_before_it_looks_at_labels(plain: Callable[..., Settings]) -> None:
    for key, value in (("dataset.label_noise", 0.1), ("student.without_classes", ["1"])):
        with pytest.raises(SettingsError, match="where an image may have several labels"):
            assemble(plain({key: value}))
    parts = assemble(plain({"student.fraction": 0.5}))
    assert [mode.pairs for mode in parts.modes] == [True]
    assert len(parts.data.student_images) == 4


def test_modes_are_taken_or_refused_by_their_needs(plain: Callable[..., Settings]) -> None:
    settings = plain()
    losses = [Soft(), LogitsL2(), FitNets(), CRD(form="in_batch")]
    taken = modes_for(TILES, settings, [mode(loss) for loss in losses], {})
    assert [each.pairs for each in taken] == [True, False, False, False]
    assert not modes_for(digits(0), settings, [mode(Soft())], {})[0].pairs
    for loss in (DKD(), CRD(), undeclared):
        modes_for(TILES, settings, [mode(loss, 0.0)], {})
        with pytest.raises(SettingsError, match=r"^plus\.x: must be a mode that needs neither one label .* got \w+$"):
            modes_for(TILES, settings, [mode(loss)], {})
    with pytest.raises(SettingsError, match=r"^plus\.x\.standardize: must be false where .*, got true$"):
        modes_for(TILES, settings, [mode(Soft(), standardize=True)], {})


def test_every_mode_has_its_way() -> None:
    """Of those that look at logits or labels, all but a few are refused; those of features alone work as they are."""
    ways: dict[str, set[str]] = {}
    for path in CONF_DIR.glob("distillation/*.yaml"):
        module, _, name = yaml.safe_load(path.read_text())["_target_"].rpartition(".")
        needs = needs_of(getattr(importlib.import_module(module), name))
        way = needs.way_with_several_labels
        ways.setdefault(way, set()).add(path.stem)
        assert (way == "no") == (
            needs.labels or needs.classes or needs.teacher_logits or needs.peers
        ) or path.stem in ALLOWED
    assert ways["pairs"] == SIGMOIDS
    assert ways["logits"] > AS_THEY_ARE | {"at", "fitnets", "nst", "pkt", "rkd", "sp"}
    assert ways["no"] > {"crd", "dkd", "dist", "label_smoothing", "nkd", "normkd", "srrl", "tf_kd_reg"}


def test_a_stage_goes_by_the_score_that_it_has(plain: Callable[..., Settings]) -> None:
    settings = plain()
    for splits, has, lacks in ((TILES, "val_map", "val_accuracy"), (digits(0), "val_accuracy", "val_map")):
        for metric in (has, lacks):
            stopping: Any = {"student": SimpleNamespace(stopping=Stopping(metric, 1), schedule=None)}
            schedule: Any = {"student": SimpleNamespace(stopping=None, schedule=SimpleNamespace(metric=metric))}
            if metric == has:
                modes_for(splits, settings, [], stopping)
                modes_for(splits, settings, [], schedule)
                continue
            with pytest.raises(
                SettingsError, match=f"^early_stopping.metric: must be {has} or val_loss where .* {lacks}$"
            ):
                modes_for(splits, settings, [], stopping)
            with pytest.raises(SettingsError, match=f"^scheduler.metric: must be {has} or val_loss where .* {lacks}$"):
                modes_for(splits, settings, [], schedule)


def test_the_data_set_can_be_looked_at(plain: Callable[..., Settings], tmp_path: Path) -> None:
    answer = str(dataset_answer(plain({"dataset.train_images": 40}), tmp_path))
    assert "40 training, 4 validation, 4 test images of 1x16x16, 10 labels" in answer
    assert "the label that most images have" in answer
