"""`kd-runner again`: a run made anew from its own folder, and how far its numbers are from the first ones."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kd_runner.command_line.again import Again
from kd_runner.command_line.begun_folder import place_settings
from kd_runner.config.fingerprint import decisive, flat_keys
from kd_runner.config.settings import Settings, check
from kd_runner.deploy.stored_run import thread_count
from kd_runner.environment import environment
from kd_runner.errors import COMPLETED, FAILED, SettingsError, one_line
from kd_runner.files import tolerant_json
from kd_runner.files.results import completed_result
from kd_runner.files.run_folder import SETTINGS, STUDENT_BEST, STUDENT_LAST, weights_file
from kd_runner.files.stages import BASELINE, STAGES, TEACHER
from kd_runner.networks import checkpoints
from kd_runner.notes import collected_notes, note
from kd_runner.plain_text import Lines, lines
from kd_runner.proof.environment_differences import differences
from kd_runner.proof.numbers import Pair, leaves, pair_lines
from kd_runner.redaction import MASK
from kd_runner.training.device import device_of

# Parts of a result that are not the same twice, by the end of their keys.
MEASURED_ANEW = ("latency", "checkpoint", "file_bytes")
# Of the rows that are shown where settings were changed.
HEADLINES = (
    "accuracy",
    "val_accuracy",
    "nll",
    "ece",
    "brier",
    "auroc",
    "agreement",
    "kl_to_teacher",
    "parameters",
    "macs",
    "gap_closed",
)
COMPARED = (*STAGES, "gap_closed", "budget")
WEIGHTS = (weights_file(TEACHER), weights_file(BASELINE), STUDENT_LAST, STUDENT_BEST)
MOST_ROWS = 30  # numbers that differ and are shown
OF_SEVERAL_LABELS = ("map", "val_map")  # of the same rows, where an image may have several labels
MOST_SETTINGS = 5  # settings in a note


@contextmanager
def as_before(again: Again, settings: Settings) -> Iterator[tuple[Settings, list[str]]]:
    """The settings of a run that is made again, and notes about what is not as it was.

    In the block there is an empty store, so that every network is trained anew, unless a store was typed.

    Raises:
        SettingsError: the run's own settings are none of this version.
    """
    with ExitStack() as stack:
        notes = stack.enter_context(collected_notes())
        result: Mapping[str, Any] = {}
        try:
            result = completed_result(again.folder)[0]
        except SettingsError as error:
            note("again", f"there is nothing to compare with: {one_line(error)}")
        changed = differences(
            result.get("environment") or {}, environment(device_of(settings.trainer)) | {"threads": None}
        )
        if changed:
            note("again", f"the run was made with others: {'; '.join(changed)}")
        if not again.changes:
            settings = own_settings(again.folder, settings)
        changes: dict[str, Any] = {}
        if not again.has_store:
            changes["store"] = stack.enter_context(tempfile.TemporaryDirectory(prefix="kd-runner-again-"))
        threads = thread_count(result)
        if threads is not None and not again.has_threads:
            changes["trainer"] = settings.trainer.model_copy(update={"threads": threads})
        yield settings.model_copy(update=changes), list(notes)


def own_settings(folder: Path, settings: Settings) -> Settings:
    """The settings, with the values of the run in `folder` where this version's defaults are others, which is noted.

    Only settings that decide the result are taken from it, and none that was hidden.
    """
    content, fault = tolerant_json.json_of(folder / SETTINGS)
    if fault:
        note("again", f"{SETTINGS} {fault}: this version's defaults are used")
        return settings
    if isinstance(content.get("evaluate"), dict):
        content["evaluate"] = place_settings(content["evaluate"], "evaluate", folder)
    try:
        before = dict(flat_keys(decisive(content)))
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise SettingsError(f"again: {folder / SETTINGS} cannot be used: {one_line(error)}") from error
    current = dict(flat_keys(settings.decisive()))
    absent = object()
    changed = {key: value for key, value in before.items() if value != MASK and current.get(key, absent) != value}
    if not changed:
        return settings
    plain = settings.plain()
    for key, value in changed.items():
        _put(plain, key.split("."), value)
    texts = [f"{key} is {value} (now {current.get(key, 'not there')})" for key, value in changed.items()]
    more = f" and {len(texts) - MOST_SETTINGS} more" if len(texts) > MOST_SETTINGS else ""
    note("again", f"the run's own settings, of which this version has others: {', '.join(texts[:MOST_SETTINGS])}{more}")
    try:
        return check(plain)
    except SettingsError as error:
        raise SettingsError(f"again: {folder / SETTINGS} cannot be used: {one_line(error)}") from error


def _put(content: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        if not isinstance(content.get(key), dict):
            content[key] = {}
        content = content[key]
    content[keys[-1]] = value


@dataclass(frozen=True)
class Comparison:
    """The numbers of a run and those of the same run made again.

    Args:
        pairs: The numbers that both or one of them have.
        weights: The files of weights that both have, and whether they hold the same bits.
        remarks: Other differences from the run before, as sentences.
        changes: Settings that were changed, so that other numbers are what is wanted.
    """

    pairs: list[Pair]
    weights: dict[str, bool] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    changes: Sequence[str] = ()

    @property
    def different(self) -> list[Pair]:
        return [pair for pair in self.pairs if not pair.is_equal]

    @property
    def exit_code(self) -> int:
        """1 where a number differs though no setting was changed, or where there is nothing to compare with."""
        return COMPLETED if self.changes or (self.pairs and not self.different) else FAILED

    @property
    def sentences(self) -> list[str]:
        """The outcome in sentences."""
        if not self.pairs:
            return ["Nothing to compare with."]
        count, different = len(self.pairs), self.different
        if different and self.changes:
            first = f"With {' '.join(self.changes)}, {len(different)} of {count} numbers are others."
        elif different:
            first = f"{len(different)} of {count} numbers differ{_farthest(different)}."
        else:
            first = f"Equal to the digit: all {count} numbers."
        same = [name for name, is_same in self.weights.items() if is_same]
        changed = [name for name, is_same in self.weights.items() if not is_same]
        weights = [f"The same weights to the bit: {', '.join(same)}."] if same else []
        return [first, *weights, *([f"Other weights: {', '.join(changed)}."] if changed else [])]

    def text(self) -> Lines:
        """The numbers of most interest, those that differ, and the outcome, for a terminal."""
        shown = [pair for pair in self.pairs if self._is_shown(pair)]
        more = [f"… and {len(shown) - MOST_ROWS} more"] if len(shown) > MOST_ROWS else []
        table = pair_lines(shown[:MOST_ROWS], "before", "again", bool(self.changes)) if shown else []
        return lines(["", *table, *more, *self.remarks, *self.sentences])

    def _is_shown(self, pair: Pair) -> bool:
        if pair.metric in OF_SEVERAL_LABELS:
            return True
        return pair.metric in HEADLINES if self.changes else pair.metric == "accuracy" or not pair.is_equal


def _farthest(pairs: list[Pair]) -> str:
    """The largest difference as a share of the number before, in words."""
    apart = [(abs(pair.difference) / abs(pair.reported), pair) for pair in pairs if pair.difference and pair.reported]
    if not apart:
        return ""
    share, pair = max(apart, key=lambda item: item[0])
    return f", by at most {100 * share:.2g} % ({pair.title})"


def compare(again: Again, result: Mapping[str, Any], folder: Path) -> Comparison:
    """The result of a run that was made again in `folder`, beside that of the run before."""
    try:
        before, left_out = completed_result(again.folder)
    except SettingsError as error:
        return Comparison([], remarks=[one_line(error)], changes=again.changes)
    remarks = [left_out] if left_out else []
    remarks += _other_images(before, result)
    if not again.changes and before.get("fingerprint") != result["fingerprint"] and not remarks:
        remarks.append("The fingerprint of settings, images and given weights is another one.")
    pairs = list(pairs_of({**before, **_placed_stages(before, again.folder)}, result))
    return Comparison(pairs, _same_weights(again.folder, folder), remarks, again.changes)


def _placed_stages(result: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The stages with numbers of folders of `evaluate.also`, by the paths that these have in a run made again."""
    stages = {}
    for stage in STAGES:
        numbers = result.get(stage)
        if isinstance(numbers, dict) and isinstance(numbers.get("also"), dict):
            paths = place_settings({"also": list(numbers["also"])}, "evaluate", folder)["also"]
            stages[stage] = {**numbers, "also": dict(zip(paths, numbers["also"].values(), strict=True))}
    return stages


def pairs_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Pair]:
    """The numbers of a result that must be the same twice, by stage, each beside the number of the new run.

    Numbers that the first result lacks, perhaps as it is of an earlier version, are passed over.
    """
    for part in COMPARED:
        numbers, new_numbers = (dict(_lasting_numbers(result.get(part))) for result in (before, after))
        for metric, number in numbers.items():
            yield Pair(part if metric else "", metric or part, number, new_numbers.get(metric))


def _lasting_numbers(content: Any) -> Iterator[tuple[str, float]]:
    for key, value in leaves(content):
        number = tolerant_json.usable_number(value)
        if number is not None and not key.startswith("inference.") and key not in MEASURED_ANEW:
            yield key, number


def _other_images(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """A line for each split whose images are others by their fingerprints."""
    fingerprints, new_fingerprints = (
        (result.get("data") or {}).get("fingerprints") or {} for result in (before, after)
    )
    return [
        f"The {split} images are others: their fingerprint was {fingerprints[split]}, is {digits}."
        for split, digits in new_fingerprints.items()
        if fingerprints.get(split) not in (None, digits)
    ]


def _same_weights(before: Path, after: Path) -> dict[str, bool]:
    """The files of weights that both folders have, by name: True for one that holds the same bits in both."""
    same: dict[str, bool] = {}
    for name in WEIGHTS:
        paths = [folder / name for folder in (before, after)]
        if not all(path.is_file() and not path.is_symlink() for path in paths):
            continue
        try:
            digests = [checkpoints.state_digest(checkpoints.read_checkpoint(path)[0]) for path in paths]
        except SettingsError:  # a damaged file of the run before
            same[name] = False
            continue
        same[name] = digests[0] == digests[1]
    return same
