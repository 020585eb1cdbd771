"""Which jobs share a process: those with the same work to share, as many as keep all slots busy and fit into memory."""

from __future__ import annotations

import pytest
from conftest import composed

from kd_runner.config.settings import check
from kd_runner.config.validation import validate_section
from kd_runner.errors import SettingsError
from kd_runner.sweeps.engines.machine import PoolSettings
from kd_runner.sweeps.packs.grouping import groups_of

SAME = {str(number): "x" for number in range(8)}
TWO = {str(number): "xy"[number % 2] for number in range(8)}


@pytest.mark.parametrize(
    ("work", "pack", "slots", "groups"),
    [
        (SAME, "off", 2, [[n] for n in range(8)]),
        (SAME, "auto", 2, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (SAME, "auto", 1, [list(range(8))]),
        (SAME, "auto", 3, [[0, 1], [2, 3, 4], [5, 6, 7]]),
        (SAME, "auto", 8, [[n] for n in range(8)]),  # no slot stays empty so that jobs can share
        (SAME, 3, 8, [[0, 1], [2, 3, 4], [5, 6, 7]]),
        (TWO, "auto", 1, [[0, 2, 4, 6], [1, 3, 5, 7]]),
        (TWO, "auto", 4, [[0, 2], [1, 3], [4, 6], [5, 7]]),
        ({}, "auto", 1, [[n] for n in range(8)]),
    ],
)
def test_groups(work: dict[str, str], pack: int | str, slots: int, groups: list[list[int]]) -> None:
    assert groups_of(range(8), work, {}, pack, slots, None) == groups  # type: ignore[arg-type]


def test_the_memory_bounds_a_pack() -> None:
    sizes = {str(number): 100 for number in range(8)}
    assert groups_of(range(8), SAME, sizes, "auto", 1, 399) == [[0, 1], [2, 3, 4], [5, 6, 7]]
    assert groups_of(range(8), SAME, sizes, "auto", 2, 400) == [[0, 1], [2, 3], [4, 5], [6, 7]]  # two packs at a time
    assert groups_of(range(8), SAME, sizes, "auto", 1, 10) == [[n] for n in range(8)]


@pytest.mark.parametrize("pack", [1, 0, -3, True, 2.5, "on", None])
def test_a_wrong_setting_is_refused_in_one_line(pack: object) -> None:
    limits = {"timeout_s": None, "grace_s": 1.0, "retries": 1}
    settings = {"devices": "cpu", "jobs_per_device": None, **limits, "pack": pack}
    with pytest.raises(SettingsError) as refusal:
        validate_section(PoolSettings, settings, "hydra.launcher.")
    line = f"hydra.launcher.pack: must be auto, off or the largest number of jobs in a process, 2 or more, got {pack!r}"
    assert str(refusal.value) == line


def test_a_network_of_its_own_seed_and_an_order_of_its_own() -> None:
    settings = check(composed("seed=5", "teacher.seed=0", "order_seed=1"))
    assert [settings.seed_of(role) for role in ("teacher", "student", "finetune")] == [0, 5, 5]
    assert [settings.order_seed_of(role) for role in ("teacher", "student", "finetune")] == [0, 1, 1]
    plain = check(composed("seed=5"))
    assert [plain.seed_of("teacher"), plain.order_seed_of("student")] == [5, 5]
    assert "order_seed" not in plain.decisive()
    assert "seed" not in plain.decisive()["teacher"]
    assert settings.decisive()["order_seed"] == 1
