"""Values that stand for several, such as interval(1,8): what to type where they cannot be read, or are not swept."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Sweep
from hydra.errors import HydraException

from kd_runner.command_line.typed_words import parse_overrides

NOT_SWEPT = r"Sweep parameters '.*' requires --multirun|BasicSweeper does not support sweep type : INTERVAL_SWEEP"
SEARCH = ("hydra/sweeper=optuna", "hydra.sweeper.trials=20")
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
# An interval as other tools have it, or nearly as it is here.
INTERVAL = re.compile(
    rf"(?P<names>(?:\w+\s*[(\[]\s*|log\s*,\s*)+)(?P<low>{NUMBER})\s*[,;:]\s*(?P<high>{NUMBER})\s*(?P<log>,\s*log\s*)?[)\]\s]+",
    re.IGNORECASE,
)
SWEEP_CALL = re.compile(r"\w+\((?:[^()]|\([^()]*\))*\)")  # such as tag(log,interval(1,8))
KNOWN = r"tag|int|float|interval|q?uniform|log|(?:q?log_?)uniform|randint|range"


def not_swept(words: Sequence[str]) -> str | None:
    """A line about a value that stands for several where nothing sweeps over them; None where no word has one."""
    sweeps = [override for override in parse_overrides(words) if override.is_sweep_override()]
    intervals = [override for override in sweeps if isinstance(override.value(), IntervalSweep)]
    if not sweeps:
        return None
    override = (intervals or sweeps)[0]
    word = str(override.input_line)
    missing = ["-m"]
    if intervals and SEARCH[0] not in words:
        has_trials = any(word.startswith("hydra.sweeper.trials=") for word in words)
        missing += SEARCH[:1] if has_trials else SEARCH
    kind = "an interval is for a search" if intervals else "several values are for a sweep"
    remedy = f"type kd-runner {' '.join(missing)} {shlex.quote(word)}"
    return f"{override.key_or_group}: must be one value, got {word.partition('=')[2]}; {kind}: {remedy}"


def sweep_inside(words: Sequence[str]) -> str | None:
    """A line about several values inside a dictionary or a list, where nothing sweeps over them; None without any."""
    for override in parse_overrides(words):
        key, value = override.key_or_group, str(override.input_line).partition("=")[2]
        inside = None if override.is_sweep_override() else _path_to_sweep(override.value())
        if inside is None:
            continue
        call = SWEEP_CALL.search(value)
        values = call[0] if call else "a,b"
        if not inside or any(isinstance(part, int) for part in inside):  # a list, of which whole ones are swept
            return f"{key}: must be one list or several such as choice([…],[…]), got {value}"
        typed = shlex.quote(f"{'.'.join([key, *map(str, inside)])}={values}")
        return f"{key}: must hold no {values.partition('(')[0]}(…) inside {{ }}, got {value}; type -m {typed}"
    return None


def _path_to_sweep(value: Any) -> tuple[str | int, ...] | None:
    """The keys and positions that lead to the first of several values in plain data; None where there are none."""
    if isinstance(value, Sweep):
        return ()
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in pairs:
        inner_path = _path_to_sweep(child)
        if inner_path is not None:
            return (key if isinstance(key, int) else str(key), *inner_path)
    return None


def meant_sweep(word: str) -> str | None:
    """The word as it is typed where its value is nearly that of a sweep, such as log(interval(1,8)); else None."""
    key, _, value = word.partition("=")
    interval = INTERVAL.fullmatch(value.strip())
    meant = value.replace(";", ",")
    if interval is not None:
        names = re.findall(r"\w+", interval["names"].lower())
        if not all(re.fullmatch(KNOWN, name) for name in names):
            return None
        meant = f"{'range' if 'range' in names else 'interval'}({interval['low']},{interval['high']})"
        if {"int", "randint"} & set(names):
            meant = f"int({meant})"
        if interval["log"] or any("log" in name for name in names):
            meant = f"tag(log,{meant})"
    if meant == value or not re.match(r"[a-z]+\(", meant):
        return None
    try:
        OverridesParser.create().parse_override(f"{key}={meant}")
    except HydraException:
        return None
    return shlex.quote(f"{key}={meant}")
