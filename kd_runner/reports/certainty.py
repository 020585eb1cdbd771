"""The certainty of the gain of one run, in a sentence for the places that do not begin with a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kd_runner.comparison.gap import run_of
from kd_runner.comparison.groups import Group, gain_of
from kd_runner.comparison.learning import guessing_in_words, neither_has_learned
from kd_runner.comparison.statistics import SURE
from kd_runner.formats import points

FEW = 5  # fewer seeds than this leave wide intervals
SEEDS = f"seed={','.join(map(str, range(FEW)))}"
MORE_SEEDS = f"More seeds would say more: -m {SEEDS}."


def certainty_of(result: Mapping[str, Any]) -> str:
    """A sentence that says of one run's gain what its report's verdict does; empty where there is no gain to judge."""
    if not result.get("student"):
        return ""
    run = run_of(result)
    group = Group((), [run])
    gain = gain_of(group) if group.taught else None
    if gain is None:
        return ""
    more = "" if run.folds else f" {MORE_SEEDS}"
    unlearned = neither_has_learned(group)
    if gain.p is None or gain.low is None or gain.high is None:
        if unlearned:
            return f"{_capitalize(guessing_in_words(group))}."
        return f"Nothing says how sure that is.{more}"
    tested = f"95 % {interval_in_words(gain.low, gain.high)} points, p = {gain.p:.2g} by McNemar's test"
    if unlearned:
        return f"{_capitalize(guessing_in_words(group))} (the difference: {tested})."
    if gain.p >= SURE:
        return f"That is no sure difference: {tested}.{more}"
    kind = "gain" if gain.mean > 0 else "loss"
    return f"That is a sure {kind} on these images: {tested}. How far another seed would be from it is not known."


def unlearned_sentence(result: Mapping[str, Any]) -> str:
    """A sentence in place of one run's gain where neither student nor baseline has learned; empty where one has."""
    student, baseline = result.get("student"), result.get("baseline")
    if not student or not baseline or not neither_has_learned(Group((), [run_of(result)])):
        return ""
    difference = points(student["accuracy"] - baseline["accuracy"])
    return (
        f"Neither student nor baseline has learned, so the {difference} points between them say nothing of "
        "distillation."
    )


def _capitalize(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def interval_in_words(low: float, high: float) -> str:
    """The interval of a gain in points; no gain is beyond 100."""
    return f"interval {100 * max(-1.0, low):+.2f} to {100 * min(1.0, high):+.2f}"
