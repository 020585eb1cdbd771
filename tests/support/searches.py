"""Spaces and settings of searches."""

from __future__ import annotations

from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

pytest.importorskip("optuna", reason="a search needs optuna")

from kd_runner.config.validation import validate_section
from kd_runner.sweeps.search.space import Space, space_of
from kd_runner.sweeps.search.study import SearchSettings


def space(*words: str) -> Space:
    return space_of(OverridesParser.create().parse_overrides(list(words)))


def search_settings(**changed: Any) -> SearchSettings:
    default = {"trials": 6, "sampler": "tpe", "seed": 0, "startup_trials": 3, "objectives": ["accuracy"]}
    settings = {**default, "pruning": "none", "pruning_warmup": 2, **changed}
    return validate_section(SearchSettings, settings, "hydra.sweeper.")
