"""One run, top to bottom: settings, parts, rehearsal, stages, result, report."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from kd_runner import redaction
from kd_runner.command_line.unused_in_sweep import sentence
from kd_runner.config.fingerprint import digest_of_row
from kd_runner.config.settings import Settings
from kd_runner.datasets.inspection import survey
from kd_runner.environment import environment
from kd_runner.errors import RunFailed, one_line
from kd_runner.files import atomic
from kd_runner.files.contents import remove_resume_states
from kd_runner.files.disk import quiet_threads, refusals_in_one_line
from kd_runner.files.folder_checks import refuse_no_run, refuse_used_folder
from kd_runner.files.run_folder import HYDRA, NOW, RESULT, SECONDS, SETTINGS, UNFINISHED
from kd_runner.files.scores import with_scores
from kd_runner.files.stages import STAGES
from kd_runner.files.tolerant_json import texts
from kd_runner.notes import collected_notes, note
from kd_runner.plain_text import Lines, lines
from kd_runner.reports import run_page
from kd_runner.reports.provenance import typed_words
from kd_runner.reports.stopped_page import remove_stopped_page, write_stopped_page
from kd_runner.reports.summary import table
from kd_runner.runs.assembly import assemble
from kd_runner.runs.checks.foresight import note_what_is_foreseen
from kd_runner.runs.checks.rehearsal import Rehearsal, rehearse
from kd_runner.runs.checks.unused_settings import unused_settings
from kd_runner.runs.choices import log_choices
from kd_runner.runs.companions import Companions
from kd_runner.runs.data import Data
from kd_runner.runs.parts import Parts
from kd_runner.runs.processes.rank_processes import Meeting, shared_run
from kd_runner.runs.results.budget import budget_of
from kd_runner.runs.resume.exclusive_run import exclusive_run, is_completed
from kd_runner.runs.resume.resuming import begin, earlier_result, refuse_other_code, say_preparing
from kd_runner.runs.resume.same_settings import refuse_other_settings
from kd_runner.runs.resume.spent_seconds import SpentSeconds
from kd_runner.runs.run_state import RunState
from kd_runner.runs.stages.headless import as_features, is_headless
from kd_runner.runs.stages.labels_only import any_draws
from kd_runner.runs.stages.stage_runner import StageRunner
from kd_runner.terminal import terminal_width
from kd_runner.tracking import dashboard, event_files
from kd_runner.tracking.logger import TENSORBOARD, RunLogger

log = logging.getLogger(__name__)


def run(
    settings: Settings,
    folder: Path,
    overrides: Sequence[str] = (),
    secrets: Sequence[str] = (),
    command_notes: Sequence[str] = (),
    written: Collection[str] = (HYDRA,),
    companions: Companions | None = None,
    config_dir: Path | None = None,
) -> dict[str, Any]:
    """Do everything that one command does, in `folder`; returns what is written to result.json there, too.

    With `settings.resume`, stages that were interrupted in `folder` go on, and a completed run stands.

    Args:
        overrides: The overrides that were typed; those that have no effect on this run are noted.
        secrets: Keys of settings, with dots, that came from the environment: they are masked in settings.json.
        command_notes: Notes about the command line.
        written: Names of what the command itself has written into `folder` before.
        companions: The runs of this process, where there are several.
        config_dir: The folder of a person's own options, which the command that makes the run again must name.

    Raises:
        SettingsError: the settings cannot work together, or are not those of a run that should be resumed, or
            `folder` holds something else; nothing was trained.
        RunFailed: a stage could not be finished.
    """
    companions = companions or Companions()
    with (
        collected_notes() as notes,
        refusals_in_one_line(),
        quiet_threads(),
        shared_run(settings) as meeting,
        ExitStack() as stack,
    ):
        notes += command_notes
        redaction.hide({}, secrets)
        content = redaction.masked_data(redaction.hide_values(settings.plain(), secrets))
        check_folder(settings, folder, content, overrides, written)
        stack.enter_context(exclusive_run(folder, settings.resume is not None))
        check_folder(settings, folder, content, overrides, written)  # another process may have been here in between
        if settings.resume is not None:
            say_preparing(folder)
        parts = assemble(settings, companions=companions, process_group=meeting.process_group)
        fingerprint = parts.fingerprint()
        teachers = settings.all_teachers
        checkpoints = [f"{name}.checkpoint" for name, teacher in teachers.items() if teacher.checkpoint]
        completed = None
        if settings.resume is not None:
            completed = earlier_result(
                folder,
                fingerprint,
                checkpoints,
                bool(parts.corrections or parts.processes_that_draw),
                lambda: any_draws(parts.networks_to_train, parts.data),
            )
        if completed is not None:
            log.info("completed before, with these settings: %s", folder)
            return completed
        if settings.resume is not None:
            refuse_other_code(folder, settings)
        meeting.start()
        rehearsal = look_ahead(parts, overrides)
        prepare_folder(folder, fingerprint, content, parts, overrides)
        log_choices(settings, parts.data, parts.temperature, rehearsal.layers)
        digests = {"fingerprint": fingerprint, "settings_digest": digest_of_row(content)}
        result = blank_result(settings, parts.data, digests, overrides, rehearsal.layers) | {"notes": notes}
        result |= description(settings) | ({} if config_dir is None else {"config_dir": str(config_dir.absolute())})
        result["environment"] |= {"side_by_side": companions.count} if companions.count > 1 else {}
        result["environment"] |= (
            {"processes": parts.data.process_group.size} if parts.data.process_group.are_several else {}
        )
        return train_and_evaluate(parts, folder, content, result, rehearsal, companions, meeting)


def check_folder(
    settings: Settings, folder: Path, content: dict[str, Any], overrides: Sequence[str], written: Collection[str]
) -> None:
    """Raise SettingsError where `folder` is not free for a new run, or not that of the run to be resumed."""
    if settings.resume is None:
        refuse_used_folder(folder, written)
        return
    refuse_no_run(folder, written)
    refuse_other_settings(folder, content, overrides)


def train_and_evaluate(
    parts: Parts,
    folder: Path,
    content: dict[str, Any],
    result: dict[str, Any],
    rehearsal: Rehearsal,
    companions: Companions,
    meeting: Meeting,
) -> dict[str, Any]:
    """Go through all stages; returns `result` with what they give, which is written to `folder`, too.

    Args:
        companions: The runs of this process.
        meeting: The processes of a run on several devices, which meet before anything trains.
    """
    logger = RunLogger(folder, has_events=TENSORBOARD in parts.settings.tracking.loggers)
    logger.track(parts.settings, content)
    state = RunState(SpentSeconds(folder / UNFINISHED / SECONDS))
    result |= {"seconds": state.seconds}  # filled as the run goes, as the notes are
    with (
        logger.failure_tracked(),
        failure_written(result, folder, state),
        refusals_in_one_line(),
    ):
        dashboard.begin(logger, content, typed_words(result), parts.data.splits.several_labels)
        meeting.begin(result["fingerprint"])
        runner = StageRunner(parts, folder, result["fingerprint"], logger, state, companions)
        result |= runner.run(rehearsal.temperature_modes)
        result["budget"] = budget_of(parts, result, rehearsal.loss_macs, state.epochs_trained, rehearsal.links)
        if is_headless(parts.settings):
            as_features(result)
    finish(result, folder, logger, parts.settings.finetune.epochs)
    return result


def look_ahead(parts: Parts, overrides: Sequence[str]) -> Rehearsal:
    """Rehearse the run on noise; note settings without effect and results that will mean little."""
    rehearsal = rehearse(parts, count_macs=True)
    for key, reason in unused_settings(overrides, parts, rehearsal.temperature_modes).items():
        note("settings", sentence(key, reason))
    note_what_is_foreseen(parts, rehearsal.temperature_modes)
    return rehearsal


def prepare_folder(
    folder: Path, fingerprint: str, settings: dict[str, Any], parts: Parts, overrides: Sequence[str]
) -> None:
    """Write the settings into `folder`, and remove result and page of an attempt that was stopped.

    Its notes are noted again.

    Args:
        settings: The settings as plain data, without secrets.
        overrides: The overrides that were typed.
    """
    for text in texts(atomic.read_json(folder / RESULT).get("notes")):
        note("earlier", text)
    (folder / RESULT).unlink(missing_ok=True)
    remove_stopped_page(folder)
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write_json(folder / SETTINGS, settings)  # first: it tells a run's folder from any other
    begin(folder, fingerprint, parts.settings, parts.data, parts.networks, overrides)
    atomic.remove_unfinished(folder)


def blank_result(
    settings: Settings, data: Data, digests: Mapping[str, str], overrides: Sequence[str], layers: Mapping[str, Any]
) -> dict[str, Any]:
    """A result without its stages, notes and seconds, in the order of result.json; its status is that of a good end.

    Args:
        digests: The digests that say whether other runs have the same settings.
        layers: The layers of student and teacher that each mode uses, by the modes' keys.
    """
    return {
        "status": "completed",
        **digests,
        "overrides": list(overrides),
        "seed": settings.seed,
        "data_seed": settings.data_seed,
        **dict.fromkeys(STAGES),
        "gap_closed": None,
        "notes": [],
        "layers": layers,
        "teacher_outputs": None,
        "views": own_views(settings, data),
        "data": survey.record(data.splits, len(data.student_images)) | more_of_data(settings, data),
        "seconds": {},
        "budget": {},
        "environment": environment(data.device),
    }


def more_of_data(settings: Settings, data: Data) -> dict[str, int]:
    """The fold that the test is, and the number of images without labels that the student is taught on.

    These are real images, or images that are made. Where a network enlarges the images for itself, also the number of
    images in a batch of evaluation, which shows in the last bits of predictions.
    """
    record: dict[str, int] = {}
    if settings.folds is not None and settings.fold is not None:
        record |= {"folds": settings.folds, "fold": settings.fold}
    if data.transfer is not None:
        record["unlabelled" if settings.data_free is None else "made"] = data.transfer.unlabelled_count
    if data.largest_input is not None:
        record["evaluation_batch"] = data.evaluation_batch
    return record


def description(settings: Settings) -> dict[str, dict[str, Any]]:
    """The part of a result that is what a person said about the run; empty where nothing was said."""
    described = {"name": settings.name, "notes": settings.notes, "tags": settings.tags}
    return {"described": described} if any(described.values()) else {}


def own_views(settings: Settings, data: Data) -> dict[str, dict[str, Any]]:
    """The augmentation of the teachers that train here with another one than the student's, by stage."""
    teachers = {role: teacher for role, teacher in settings.all_teachers.items() if role in data.views}
    return {
        role: teacher.dataset.changes()
        for role, teacher in teachers.items()
        if teacher.is_trained and teacher.dataset is not None
    }


@contextmanager
def failure_written(result: dict[str, Any], folder: Path, state: RunState) -> Iterator[None]:
    """Write `result` with the error and its stage, and the run's page, if an error or an interruption ends the block.

    The result of a completed run stands, which another process may have written where the file system has no locks.
    """
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, (KeyboardInterrupt, SystemExit))
        result |= {"status": "interrupted" if stopped else "failed", "stage": state.stage}
        result |= {"error": None if stopped else one_line(error)}
        try:
            if not is_completed(folder):
                content = redaction.masked_data(result)
                atomic.write_json(folder / RESULT, content)
                write_page_of_stopped_run(folder, content)
        except (OSError, RunFailed):  # on a full disk, say, which the error itself tells
            log.info("note      %s could not be written", folder / RESULT)
        raise


def write_page_of_stopped_run(folder: Path, result: Mapping[str, Any]) -> None:
    """Write the page that says how far the run in `folder` came, where that can be done.

    The jobs of a sweep have none: they are in the page of the sweep.
    """
    if event_files.is_of_a_sweep(folder):
        return
    try:
        write_stopped_page(folder, result)
    except Exception as error:
        log.info("note      the report could not be written: %s", one_line(error))


def finish(result: dict[str, Any], folder: Path, logger: RunLogger, finetuned: int) -> None:
    """Write the result and the report of a completed run, log both, and remove the files for resuming it.

    Args:
        finetuned: The number of epochs of finetuning.
    """
    atomic.write_json(folder / RESULT, redaction.masked_data(result))
    remove_resume_states(folder / UNFINISHED)
    (folder / NOW).unlink(missing_ok=True)
    logger.log_result(with_scores(result))
    charts = lines(logger.commands())
    log.info(
        "\n%s\n\n%s\n%s", Lines(table(with_scores(result), finetuned, terminal_width())), charts, write_report(folder)
    )


def write_report(folder: Path) -> Path:
    """Write the report of the run in `folder`; where that fails, the result stands, and the path is the folder's."""
    try:
        return run_page.write(folder, folder)
    except Exception as error:
        log.warning("note      the report could not be written: %s", one_line(error))
        return folder
