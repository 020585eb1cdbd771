"""One run, top to bottom: teacher, baseline, student, finetune, evaluation, report."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kd_runner.command_line.unused_in_sweep import sentence
from kd_runner.command_line.used_folder import refuse_another_run
from kd_runner.config.settings import Settings
from kd_runner.datasets import survey
from kd_runner.environment import environment
from kd_runner.errors import RunFailed, one_line
from kd_runner.evaluation.predictions import predict
from kd_runner.files import atomic
from kd_runner.files.reading import texts
from kd_runner.files.run_folder import NOW, RESULT, SETTINGS, UNFINISHED
from kd_runner.notes import collected_notes, note
from kd_runner.reports import run_page
from kd_runner.reports.summary import table
from kd_runner.runs.assembly import assemble
from kd_runner.runs.choices import log_choices
from kd_runner.runs.evaluation import evaluate, load_network, log_final, show
from kd_runner.runs.foresight import note_what_is_foreseen
from kd_runner.runs.judgement import ENSEMBLE, judge_trained, note_no_gap, note_student, summary_of_teachers
from kd_runner.runs.labels_only import teacher_file, train, train_or_load
from kd_runner.runs.parts import Parts
from kd_runner.runs.rehearsal import rehearse
from kd_runner.runs.resuming import begin, earlier_result, hide_values, refuse_other_settings
from kd_runner.runs.running import RunState
from kd_runner.runs.softness import note_soft_targets
from kd_runner.runs.student import distil, save_student
from kd_runner.runs.unused_settings import unused_settings
from kd_runner.terminal import terminal_width
from kd_runner.tracking import dashboard, event_files
from kd_runner.tracking.logger import RunLogger

log = logging.getLogger(__name__)


def run(
    settings: Settings,
    folder: Path,
    overrides: Sequence[str] = (),
    secrets: Sequence[str] = (),
    remarks: Sequence[str] = (),
) -> dict[str, Any]:
    """Everything that one command does, in `folder`; returns what it also writes to result.json there.

    With `settings.resume`, stages that `folder` holds the beginning of are gone on with, and a completed run stands.

    Args:
        overrides: The words that were typed; those that have no effect on this run are noted.
        secrets: Keys of settings, with dots, that came from the environment: they are masked in settings.json.
        remarks: Notes that were made of the command line.

    Raises:
        SettingsError: the settings cannot work together, or are not those of a run that should be resumed, or
            `folder` holds a run that should not; nothing was trained.
        RunFailed: a stage that could not be finished.
    """
    with collected_notes() as notes:
        notes += remarks
        return _run(settings, folder, overrides, secrets, notes)


def _run(
    settings: Settings, folder: Path, overrides: Sequence[str], secrets: Sequence[str], notes: list[str]
) -> dict[str, Any]:
    resumed = settings.resume is not None
    content = hide_values(settings.model_dump(mode="json", by_alias=True), secrets)
    if resumed:
        refuse_other_settings(folder, content, overrides)
    else:
        refuse_another_run(folder)
    parts = assemble(settings)
    fingerprint = parts.fingerprint()
    if resumed:
        earlier = earlier_result(folder, fingerprint)
        if earlier is not None:
            log.info("completed before, with these settings: %s", folder)
            return earlier
    tempered = rehearse(parts)
    for key, reason in unused_settings(overrides, parts, tempered).items():
        note("settings", sentence(key, reason))
    note_what_is_foreseen(parts, tempered)
    for text in texts(atomic.read_json(folder / RESULT).get("notes")):  # of an attempt that was interrupted
        note("earlier", text)
    (folder / RESULT).unlink(missing_ok=True)
    begin(folder, fingerprint, parts)
    log_choices(parts)
    atomic.remove_unfinished(folder)
    atomic.write_json(folder / SETTINGS, content)
    running = RunState(folder, RunLogger(folder), fingerprint, tempered)
    result = blank_result(parts, running, overrides, notes)
    try:
        dashboard.begin(running.logger, content, overrides)
        result |= stages_of(parts, running)
    except BaseException as error:
        write_failure(result, running, error)
        raise
    finish(result, running, settings.finetune.epochs)
    return result


def blank_result(parts: Parts, running: RunState, overrides: Sequence[str], notes: list[str]) -> dict[str, Any]:
    """A result without its stages; `notes` and the seconds of the stages are filled as the run goes."""
    return {
        "status": "completed",
        "fingerprint": running.fingerprint,
        "overrides": list(overrides),
        "seed": parts.settings.seed,
        "data_seed": parts.settings.data_seed,
        "teacher": None,
        "baseline": None,
        "student": None,
        "gap_closed": None,
        "notes": notes,
        "layers": parts.layers,
        "data": survey.record(parts.splits),
        "seconds": running.seconds,
        "environment": environment(parts.device),
    }


def write_failure(result: dict[str, Any], running: RunState, error: BaseException) -> None:
    """Write what a run came to that an error, or whoever stopped it, ended."""
    stopped = isinstance(error, (KeyboardInterrupt, SystemExit))
    result |= {"status": "interrupted" if stopped else "failed", "stage": running.stage}
    result |= {"error": None if stopped else one_line(error)}
    try:
        atomic.write_json(running.folder / RESULT, result)
    except (OSError, RunFailed):  # on a full disk, say, which the error itself tells
        log.info("note      %s could not be written", running.folder / RESULT)


def finish(result: dict[str, Any], running: RunState, finetuned: int) -> None:
    """Write the result and the report of a completed run, say both, and take away what an interruption would need."""
    folder, place = running.folder, running.logger.place
    atomic.write_json(folder / RESULT, result)
    shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
    (folder / NOW).unlink(missing_ok=True)
    charts = event_files.command(folder if place.parent == folder else place.parent)
    log.info("\n%s\n\n%s\n%s", table(result, finetuned, terminal_width()), charts, page_of(folder))


def page_of(folder: Path) -> Path:
    """The report of the run in `folder`, written now; the folder where that cannot be done, which costs no result."""
    try:
        return run_page.write(folder, folder)
    except Exception as error:
        log.warning("note      the report could not be written: %s", one_line(error))
        return folder


def stages_of(parts: Parts, running: RunState) -> dict[str, Any]:
    """Train what is to be trained, and evaluate it: the stages' part of the result."""
    settings = parts.settings
    with running.at("teacher"):
        files = {"teacher": teacher_file(parts, running)}
        note_soft_targets(parts, running.tempered)
    if settings.baseline:
        with running.at("baseline"):
            files["baseline"] = train_or_load(parts, running, "baseline")
            judge_baseline(parts, running, files["baseline"])
    with running.at("student"):
        pairing = parts.teacher_student_pair()
        best = distil(parts, pairing, running)
        if settings.finetune.epochs:
            recipe = parts.recipes["finetune"]
            tuned = train(parts, running, "finetune", pairing.student.network, recipe, running.progress("finetune"))
            best = max(best, tuned, key=lambda stage: stage.accuracy)
        files |= save_student(parts, pairing, running, best)
        note_student(parts, running.epochs, running.judgements)
    with running.at("evaluate"):
        networks = {name: load_network(parts, path) for name, path in files.items()}
        predictions = predict(networks, parts.plain_batches("test"), parts.device)  # the test split, read once
        stages = evaluate(parts, files, networks, predictions, best)
        stages["teacher"]["judged"] = summary_of_teachers(running.judgements)
        stages["student"]["val_accuracies"] = [each["val_accuracy"] for each in running.epochs["student"]]
        log_final(parts, running.logger, stages)
        try:
            show(parts, running, networks, predictions, stages)
        except RunFailed:  # a full disk
            raise
        except Exception as error:  # pictures must not take the result with them
            log.warning("note      what is seen in the predictions could not be shown: %s", one_line(error))
    return stages


def judge_baseline(parts: Parts, running: RunState, path: Path) -> None:
    """Judge the baseline in the file `path`, by itself and beside its teacher."""
    epochs = running.epochs["baseline"]
    baseline = running.judgements["baseline"] = judge_trained(parts, "baseline", load_network(parts, path), epochs)
    teacher = running.judgements.get(ENSEMBLE) or running.judgements["teacher"]
    if any(mode.weight > 0 and mode.needs.uses_teacher for mode in parts.modes):
        note_no_gap(parts, teacher, baseline)
