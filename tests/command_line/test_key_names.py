"""Names of settings, read from conf without composing it."""

from __future__ import annotations

from conftest import composed

from kd_runner.command_line.key_names import UNKNOWN, default_of, is_key
from kd_runner.config.fingerprint import flat_keys


def test_every_setting_that_is_composed_is_known_and_others_are_not() -> None:
    composed_keys = [key for key, _ in flat_keys(composed()) if not key.endswith("_target_")]
    assert [key for key in composed_keys if not is_key(key)] == []
    assert all(map(is_key, ["student", "student.depth", "optimizer.lr", "data_free"]))
    assert not any(map(is_key, ["", "hydra", "epochs", "student.epoch", "..", "seed.x", "~a.b", "/tmp", "a" * 300]))


def test_the_default_of_a_setting() -> None:
    assert default_of("student.epochs") == 60
    assert default_of("student.ema") is None
    assert default_of("optimizer.momentum") == 0.9
    assert default_of("optimizer.lr") == "${oc.select:dataset.default_lr,0.001}"
    assert default_of("optimizer.nothing") is UNKNOWN
