"""The folder of a student for the Hugging Face Hub: weights, configuration, how pictures become input, and the card."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_runner import __version__
from kd_runner.datasets.decoding.image_input import ImageInput, input_of_metadata
from kd_runner.deploy.card import PREPROCESSING, WEIGHTS, CardSources, model_card
from kd_runner.deploy.card_file import free_card, with_mark
from kd_runner.deploy.model_files import run_files
from kd_runner.errors import SettingsError
from kd_runner.files import atomic, result_schema, tolerant_json
from kd_runner.files.contents import foreign_names, is_link
from kd_runner.files.file_digest import file_digest
from kd_runner.files.results import Run, completed_result, find_runs, read_run
from kd_runner.files.run_folder import ANALYSIS, GRID, RESULT, SETTINGS, STUDENT_LAST
from kd_runner.files.stages import STUDENT
from kd_runner.networks import checkpoints

README = "README.md"  # which the Hub shows
RECORD = ".json"  # the end of the names of exported files' records
SAFETENSORS = "safetensors"  # the format of exported files that `kd_runner.load` reads
CONFIG = "config.json"


def write_hub_folder(run: Path, target: Path, more: Sequence[Path] = ()) -> list[Path]:
    """Lay out in `target` what huggingface_hub uploads of the run's student; returns the files.

    The student is the one after its last epoch, of which the card's numbers are. Uploading is left to the person:
    `hf upload NAME target`.

    Args:
        run: The folder of a completed run.
        target: A folder that is new or empty.
        more: Exported files that go along.

    Raises:
        SettingsError: the run has no result or no student, or `target` is in use.
    """
    sources, info = card_sources(run, more)
    _refuse_used(target, more)
    target.mkdir(parents=True, exist_ok=True)
    for path in more:
        shutil.copyfile(path, target / path.name)
    shutil.copyfile(run / STUDENT_LAST, target / WEIGHTS)
    atomic.write_json(target / CONFIG, _configuration(info))
    atomic.write_json(target / PREPROCESSING, _preprocessing(sources.image_input))
    atomic.write(target / README, model_card(sources).encode(errors="replace"))
    return [target / name for name in (README, CONFIG, PREPROCESSING, WEIGHTS, *(path.name for path in more))]


def write_card(run: Path, folder: Path) -> Path:
    """Put the model card of the run's student into `folder`, beside what was exported of it; returns the card.

    It is MODEL_CARD.md, or a file with another number where that has been changed or is of another student.

    Raises:
        SettingsError: the run has no result or no student.
    """
    exported = [path.with_name(path.name.removesuffix(RECORD)) for path in sorted(folder.glob(f"*{RECORD}"))]
    sources = card_sources(run, exported)[0]
    sources = dataclasses.replace(sources, weights=_weights_beside(run, folder, sources.exports))
    digest = file_digest(run / STUDENT_LAST)
    card = free_card(folder, digest, lambda weights: bool(_exports(exported, weights)))
    atomic.write(card, with_mark(model_card(sources), digest))
    return card


def _weights_beside(run: Path, folder: Path, exports: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The file of the run's student as it is called from `folder`; None where it does not lie there.

    Args:
        exports: The records of the exported files that lie in `folder`, by the files' names.
    """
    if folder.resolve() == run.resolve():
        return STUDENT_LAST
    if folder.resolve().parent == run.resolve():
        return f"../{STUDENT_LAST}"
    return next((name for name, record in exports.items() if record.get("format") == SAFETENSORS), None)


def card_sources(run: Path, exported: Sequence[Path] = ()) -> tuple[CardSources, dict[str, Any]]:
    """The sources of the card of a run's student, and the record beside its weights.

    Args:
        exported: Files of which the card is to tell, where they have a record and are of this student.

    Raises:
        SettingsError: the run has no result of a completed run, or no student.
    """
    result, _ = completed_result(run)
    path = run_files(run).get(STUDENT)
    if path is None:
        raise SettingsError(f"{run / STUDENT_LAST} is not there: there is no student to hand on")
    _, info = checkpoints.read_checkpoint(path)
    if info is None:
        raise SettingsError(f"{path} holds weights only: it is not what a run wrote")
    checkpoints.check_info(info, path)
    settings, _ = tolerant_json.json_of(run / SETTINGS)
    analysis, _ = tolerant_json.remove_misshapen(tolerant_json.json_of(run / ANALYSIS)[0], result_schema.ANALYSIS)
    image_input, exports = _input(info), _exports(exported, file_digest(path))
    return CardSources(result, settings, analysis, image_input, exports, _accuracies_over_seeds(run)), info


def _exports(files: Sequence[Path], weights: str) -> dict[str, dict[str, Any]]:
    """The records beside those of the files that were exported from weights of this SHA-256, by the files' names."""
    records = {path.name: path.with_name(path.name + RECORD) for path in files if path.is_file()}
    contents = {name: tolerant_json.json_of(record)[0] for name, record in records.items() if record.is_file()}
    return {
        name: content
        for name, content in contents.items()
        if isinstance(content.get("check"), dict) and _weights_of(content) == weights
    }


def _weights_of(record: Mapping[str, Any]) -> Any:
    """The SHA-256 of the weights that a file was exported from; None where its record does not say."""
    try:
        return json.loads(record["metadata"]["provenance"])["weights_sha256"]
    except (KeyError, TypeError, ValueError):
        return None


def _input(info: Mapping[str, Any]) -> ImageInput | None:
    try:
        return input_of_metadata(info)
    except ValueError:
        return None


def _accuracies_over_seeds(folder: Path) -> list[float]:
    """The test accuracies of the runs beside this one in a sweep that differ from it in their seeds alone."""
    this_run = read_run(folder / RESULT)
    above = folder.resolve().parent
    if not isinstance(this_run, Run) or not (above / GRID).is_file():
        return []
    runs, _ = find_runs([above])
    alike = [
        run
        for run in runs
        if set(run.words) == set(this_run.words)
        and run.tested_on == this_run.tested_on
        and len({run.settings_digest, this_run.settings_digest} - {None}) < 2
    ]
    return [run.result[STUDENT]["accuracy"] for run in alike]


def _refuse_used(target: Path, more: Sequence[Path]) -> None:
    """Raise SettingsError where `target` holds anything, or where two files would have one name."""
    if is_link(target) or (target.exists() and not target.is_dir()):
        raise SettingsError(f"--hub-folder: must be a new or empty folder, {target} is a file or a link")
    if target.is_dir() and (names := sorted(foreign_names(target))):
        raise SettingsError(f"--hub-folder: must be a new or empty folder, {target} holds {', '.join(names[:3])}")
    for path in more:
        if path.name in (README, CONFIG, PREPROCESSING, WEIGHTS) or not path.is_file() or is_link(path):
            raise SettingsError(f"--hub-folder: {path} must be an exported file with a name of its own")


def _configuration(info: Mapping[str, Any]) -> dict[str, Any]:
    """The content of config.json, with the class names under the keys that the Hub's tools read."""
    classes = [str(name) for name in info["classes"]]
    return {
        "library_name": "kd-runner",
        "kd_runner": __version__,
        "architectures": [str(info["network"].get("_target_")).rpartition(".")[2]],
        "network": info["network"],
        "num_classes": info["num_classes"],
        "image_shape": info["image_shape"],
        "id2label": {str(number): name for number, name in enumerate(classes)},
        "label2id": {name: number for number, name in enumerate(classes)},
    }


def _preprocessing(image_input: ImageInput | None) -> dict[str, Any]:
    """The content of preprocessing.json: the rule, and the shape, mean and standard deviation of the input."""
    if image_input is None:
        return {}
    shape = {"image_shape": image_input.image_shape, "mean": image_input.mean, "std": image_input.std}
    content: dict[str, Any] = json.loads(json.dumps({**image_input.record(), **shape}))
    return content
