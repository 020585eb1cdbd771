"""One run, top to bottom: teacher, baseline, student, finetune, evaluation, report."""

from __future__ import annotations

import copy
import json
import logging
import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kd_runner import analysis, atomic, checkpoints, dashboard, events, run_page
from kd_runner.build import one_line, source_digest
from kd_runner.checkpoints import SHOWN
from kd_runner.choices import log_choices
from kd_runner.config import RunFailed, Settings, SettingsError, decisive, dotted
from kd_runner.datasets import survey
from kd_runner.evaluate import (
    Predictions,
    classification_metrics,
    cost,
    gap_closed,
    latency,
    packed,
    pair_metrics,
    predict,
)
from kd_runner.foresight import note_what_is_foreseen
from kd_runner.judgement import (
    ENSEMBLE,
    Judgement,
    judge_ensemble,
    judge_given,
    judge_trained,
    note_flat_loss,
    note_no_gap,
    note_student,
    summary_of_teachers,
)
from kd_runner.modules import Best, Classifier, Distiller, Mode, Recipe
from kd_runner.notes import collected_notes, note
from kd_runner.outputs import Observed
from kd_runner.pairing import Pairing
from kd_runner.parts import Parts, assemble, rehearse
from kd_runner.progress import Progress
from kd_runner.reading import texts
from kd_runner.records import validation_record
from kd_runner.report import environment, table
from kd_runner.results import RESULT
from kd_runner.softness import note_soft_targets
from kd_runner.store import trained_once
from kd_runner.terminal import terminal_width
from kd_runner.thread_count import choose_threads
from kd_runner.training import NOW, RunLogger, fit
from kd_runner.typed_words import typed_settings
from kd_runner.unused_in_sweep import sentence
from kd_runner.unused_settings import unused_settings
from kd_runner.used_folder import refuse_another_run

log = logging.getLogger(__name__)

SETTINGS = "settings.json"
UNFINISHED = "unfinished"  # the folder of what an interrupted run goes on from
BEGUN = "begun.json"  # there: what the run began with
MASKED = "***"


@dataclass
class Running:
    """A run's folder and log, and what it has come to.

    Args:
        tempered: The keys of the modes whose loss depends on the temperature.
        stage: What it is at.
        seconds: That each stage took, those before an interruption included.
        earlier: Those before an interruption, of the stage that it is at.
        epochs: The metrics of each epoch of the stages that were trained here.
        judgements: What the teachers, by their names, and the baseline say of the validation images.
    """

    folder: Path
    logger: RunLogger
    fingerprint: str
    tempered: Collection[str] = ()
    stage: str | None = None
    earlier: float = 0.0
    seconds: dict[str, float | None] = field(
        default_factory=lambda: dict.fromkeys(("teacher", "baseline", "student", "evaluate"))
    )
    epochs: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    judgements: dict[str, Judgement] = field(default_factory=dict)

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """The block is this stage of the run."""
        self.stage, self.earlier, started = stage, 0.0, time.perf_counter()
        yield
        self.seconds[stage] = round(self.earlier + time.perf_counter() - started, 3)

    def progress(self, stage: str) -> Progress:
        """Where the training of a stage is kept."""
        return Progress(self.folder / UNFINISHED / stage, self.fingerprint)


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
    content = masked(settings.model_dump(mode="json", by_alias=True), secrets)
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
    running = Running(folder, RunLogger(folder), fingerprint, tempered)
    result = blank_result(parts, running, overrides, notes)
    try:
        dashboard.begin(running.logger, content, overrides)
        result |= stages_of(parts, running)
    except BaseException as error:
        write_failure(result, running, error)
        raise
    finish(result, running, settings.finetune.epochs)
    return result


def blank_result(parts: Parts, running: Running, overrides: Sequence[str], notes: list[str]) -> dict[str, Any]:
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


def write_failure(result: dict[str, Any], running: Running, error: BaseException) -> None:
    """Write what a run came to that an error, or whoever stopped it, ended."""
    stopped = isinstance(error, (KeyboardInterrupt, SystemExit))
    result |= {"status": "interrupted" if stopped else "failed", "stage": running.stage}
    result |= {"error": None if stopped else one_line(error)}
    try:
        atomic.write_json(running.folder / RESULT, result)
    except (OSError, RunFailed):  # on a full disk, say, which the error itself tells
        log.info("note      %s could not be written", running.folder / RESULT)


def finish(result: dict[str, Any], running: Running, finetuned: int) -> None:
    """Write the result and the report of a completed run, say both, and take away what an interruption would need."""
    folder, place = running.folder, running.logger.place
    atomic.write_json(folder / RESULT, result)
    shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
    (folder / NOW).unlink(missing_ok=True)
    charts = events.command(folder if place.parent == folder else place.parent)
    log.info("\n%s\n\n%s\n%s", table(result, finetuned, terminal_width()), charts, page_of(folder))


def page_of(folder: Path) -> Path:
    """The report of the run in `folder`, written now; the folder where that cannot be done, which costs no result."""
    try:
        return run_page.write(folder, folder)
    except Exception as error:
        log.warning("note      the report could not be written: %s", one_line(error))
        return folder


def stages_of(parts: Parts, running: Running) -> dict[str, Any]:
    """Train what is to be trained, and evaluate it: the stages' part of the result."""
    settings = parts.settings
    with running.at("teacher"):
        files = {"teacher": teacher_file(parts, running)}
        note_soft_targets(parts, running.tempered)
    if settings.baseline:
        with running.at("baseline"):
            files["baseline"] = labels_only(parts, running, "baseline")
            judge_baseline(parts, running, files["baseline"])
    with running.at("student"):
        pairing = parts.paired()
        best = distil(parts, pairing, running)
        if settings.finetune.epochs:
            recipe = parts.recipes["finetune"]
            tuned = train(parts, running, "finetune", pairing.student.network, recipe, running.progress("finetune"))
            best = max(best, tuned, key=lambda stage: stage.accuracy)
        files |= save_student(parts, pairing, running, best)
        note_student(parts, running.epochs, running.judgements)
    with running.at("evaluate"):
        networks = {name: loaded(parts, path) for name, path in files.items()}
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


def masked(content: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Plain nested data with the values at `keys`, with dots, hidden."""
    below = {name: [key.removeprefix(f"{name}.") for key in keys if key.startswith(f"{name}.")] for name in content}
    return {
        name: MASKED if name in keys else masked(value, below[name]) if isinstance(value, dict) else value
        for name, value in content.items()
    }


def refuse_other_settings(folder: Path, content: dict[str, Any], overrides: Sequence[str] = ()) -> None:
    """Raise SettingsError where the run in `folder` had settings that led to another result.

    Args:
        overrides: The words that were typed: where they make a difference, the message names no other.
    """
    try:
        earlier = decisive(json.loads((folder / SETTINGS).read_text()))
    except FileNotFoundError:  # it was stopped before it had begun
        return
    except ValueError as error:
        raise SettingsError(f"resume: {folder / SETTINGS} cannot be read ({one_line(error)})") from error
    was, now = dict(dotted(earlier)), dict(dotted(decisive(content)))
    absent = object()
    keys = [*now, *(key for key in was if key not in now)]
    keys = [key for key in keys if was.get(key, absent) != now.get(key, absent)]
    words = typed_settings(overrides)
    typed = [key for key in keys if any(f"{key}.".startswith(f"{word}.") for word in words)]
    different = [
        f"{key} was {json.dumps(was[key]) if key in was else 'not set'}, "
        f"is {json.dumps(now[key]) if key in now else 'not set'}"
        for key in typed or keys
    ]
    if different:
        more = f"; and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
        raise SettingsError(f"resume: {folder} has other settings: {'; '.join(different[:SHOWN])}{more}")


def earlier_result(folder: Path, fingerprint: str) -> dict[str, Any] | None:
    """The result of the run in `folder` if it was completed.

    Raises:
        SettingsError: it was started with other data or other given weights.
    """
    for path in (folder / UNFINISHED / BEGUN, folder / RESULT):
        try:
            earlier = json.loads(path.read_text())
        except (FileNotFoundError, ValueError):
            earlier = {}
        # Where there is none, it was stopped before it had one.
        if earlier.get("fingerprint", fingerprint) != fingerprint:
            raise SettingsError(
                f"resume: {folder} was started with other images, or other weights in teacher.checkpoint: its "
                f"fingerprint was {earlier['fingerprint']}, is {fingerprint}"
            )
    return earlier if earlier.get("status") == "completed" else None


def begin(folder: Path, fingerprint: str, parts: Parts) -> None:
    """Write down what a run that goes on must have alike beside its settings: its data, and its number of threads.

    The number of threads shows in the last bits of what is computed. A run that goes on gets the one that it had.
    """
    path = folder / UNFINISHED / BEGUN
    before = atomic.read_json(path)
    if not before:
        choose_threads(parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_json(path, {"fingerprint": fingerprint, "threads": torch.get_num_threads()})
    elif parts.settings.trainer.threads is None:
        torch.set_num_threads(int(before["threads"]))


def teacher_file(parts: Parts, running: Running) -> Path:
    """Bring the teachers to their final weights, given, stored or trained; returns the file of all in the folder.

    Every teacher is judged as soon as it has them, given ones before others train, and so is their mean.
    """
    settings, judgements = parts.settings, running.judgements
    for name, own in sorted(settings.all_teachers.items(), key=lambda teacher: teacher[1].checkpoint is None):
        network = parts.teachers[name]
        if own.checkpoint is not None:
            log.info("%-9s taken from %s", name, own.checkpoint)
            judgements[name] = judge_given(parts, name, network, Path(own.checkpoint).expanduser())
            continue
        path = labels_only(parts, running, name)
        judgements[name] = judge_trained(parts, name, network, running.epochs[name])
        if len(parts.teachers) == 1:
            return path
    if len(parts.teachers) > 1:
        judgements[ENSEMBLE] = judge_ensemble(parts)
    accuracy = judgements[ENSEMBLE if len(parts.teachers) > 1 else "teacher"].accuracy
    path = running.folder / "teacher.safetensors"
    path.unlink(missing_ok=True)
    record = validation_record([{"val_accuracy": accuracy}], len(parts.splits.val))
    checkpoints.save(path, parts.teacher.state_dict(), parts.describe(parts.teacher_node()) | record)
    return path


def judge_baseline(parts: Parts, running: Running, path: Path) -> None:
    """Judge the baseline in the file `path`, by itself and beside its teacher."""
    epochs = running.epochs["baseline"]
    baseline = running.judgements["baseline"] = judge_trained(parts, "baseline", loaded(parts, path), epochs)
    teacher = running.judgements.get(ENSEMBLE) or running.judgements["teacher"]
    if any(mode.weight > 0 and mode.needs.uses_teacher for mode in parts.modes):
        note_no_gap(parts, teacher, baseline)


def labels_only(parts: Parts, running: Running, stage: str) -> Path:
    """The file in the run's folder of a network trained on labels, trained now if the store does not have it.

    Args:
        stage: A teacher's name, or 'baseline'.
    """
    role = "student" if stage == "baseline" else stage
    recipe = parts.recipes[role]
    network = copy.deepcopy(parts.student) if stage == "baseline" else parts.teachers[stage]
    node = (parts.settings.student if stage == "baseline" else parts.settings.all_teachers[stage]).node

    def trained(progress: Progress) -> tuple[nn.Module, list[dict[str, float]]]:
        train(parts, running, stage, network, recipe, progress)
        return network, running.epochs[stage]

    root = Path(parts.settings.store).expanduser()
    info = parts.describe(node) | {"val_images": len(parts.splits.val)}
    stored = trained_once(root, stage, made_of(parts, stage), info, trained)
    network.load_state_dict(stored.state)
    if stored.reused:
        running.logger.retell(stage, stored.epochs)
        running.epochs[stage] = stored.epochs
    note_flat_loss(stage, stored.epochs, "train_loss", f"{parts.settings.rate_key(role)}, {role}.epochs")
    return kept(running.folder / f"{stage}.safetensors", stored.path)


def made_of(parts: Parts, stage: str) -> dict[str, Any]:
    """Plain data: everything that the weights of a network trained on labels depend on; `stage` as in `labels_only`."""
    settings = parts.settings
    role = "student" if stage == "baseline" else stage
    recipe = parts.recipes[role]
    own = settings.student if stage == "baseline" else settings.all_teachers[stage]
    how = settings.for_stage(own.optimizer, "optimizer"), settings.for_stage(own.scheduler, "scheduler")
    return parts.describe(own.node) | {
        "network": own.node,
        # Where they are measured, the data say them. Their last bits depend on the number of threads.
        "mean": settings.dataset.mean,
        "std": settings.dataset.std,
        "source": [source_digest(each, role, settings.trust) for each in (own.node, *how)],
        "role": role,  # it decides the seeds
        "optimizer": how[0],
        "scheduler": how[1],
        "label_smoothing": recipe.label_smoothing,
        "epochs": recipe.epochs,
        "batch_size": settings.batch_size,
        "seed": settings.seed,
        "precision": settings.trainer.precision,
        "channels_last": settings.trainer.channels_last,
        "compile": settings.trainer.compile,
        "device": parts.device.type,
        "deterministic": settings.trainer.deterministic,
        "data": parts.splits.training_fingerprint,
        "augmentation": asdict(parts.view.augmentation),
    }


def train(parts: Parts, running: Running, stage: str, network: nn.Module, recipe: Recipe, progress: Progress) -> Best:
    """Train `network` on labels alone; returns its best epoch on the validation split."""
    module = Classifier(stage, Observed(network), parts.training_batches(recipe), recipe)
    return fitted(parts, running, module, progress)


def distil(parts: Parts, pairing: Pairing, running: Running) -> Best:
    """Train the student on labels and on its teacher; returns its best epoch on the validation split."""
    if pairing.node != parts.settings.student.node:
        log.info(
            "note      the student that is saved has %s parameters: it keeps what its mode needs to predict",
            f"{sum(parameter.numel() for parameter in pairing.student.network.parameters()):,}",
        )
    best = fitted(parts, running, distiller(parts, pairing), running.progress("student"))
    pairing.student.release()
    return best


def distiller(parts: Parts, pairing: Pairing) -> Distiller:
    """The module that trains the student on labels and on its teacher."""
    recipe = parts.recipes["student"]
    strong = strong_view(pairing.modes)
    return Distiller(
        pairing.student,
        pairing.teacher,
        pairing.modes,
        parts.settings.distillation.label_weight,
        parts.temperature,
        parts.training_batches(recipe, strong),
        recipe,
    )


def fitted(parts: Parts, running: Running, module: Classifier, progress: Progress) -> Best:
    """Fit `module`, from where an interrupted run left it, and return its best epoch."""
    fit(module, parts.plain_batches("val"), parts.settings.trainer, running.logger, progress)
    running.earlier += module.seconds_before
    running.epochs[module.stage] = module.history
    assert module.best is not None
    return module.best


def save_student(parts: Parts, pairing: Pairing, running: Running, best: Best) -> dict[str, Path]:
    """The files of the student after its last epoch and after its best."""
    folder, info, images = running.folder, parts.describe(pairing.node), len(parts.splits.val)
    files = {"student": folder / "student_last.safetensors", "best": folder / "student_best.safetensors"}
    epochs = running.epochs.get("finetune") or running.epochs["student"]
    checkpoints.save(files["student"], pairing.student.network.state_dict(), info | validation_record(epochs, images))
    record = validation_record([{"val_accuracy": best.accuracy}], images)
    checkpoints.save(files["best"], best.state, info | record)
    return files


def loaded(parts: Parts, path: Path) -> nn.Module:
    """A network as it was saved."""
    return checkpoints.load(path, parts.settings.trust)[0].to(memory_format=parts.view.memory_format)


def evaluate(
    parts: Parts, files: Mapping[str, Path], networks: Mapping[str, nn.Module], predictions: Predictions, best: Best
) -> dict[str, Any]:
    """The stages' part of the result, from the predictions of the test images."""
    image = torch.zeros(1, *parts.splits.image_shape, device=parts.device)

    stages: dict[str, Any] = {"teacher": None, "baseline": None, "student": None}
    for stage in [stage for stage in stages if stage in files]:
        stages[stage] = {
            **classification_metrics(predictions.logits[stage], predictions.labels),
            **cost(networks[stage], image, stage),
            "latency": latency(networks[stage], image.to(memory_format=parts.view.memory_format)),
            "images_seen": images_seen(parts, stage),
            "correct": {
                **packed(predictions.logits[stage].argmax(1) == predictions.labels),
                "of": parts.splits.test_fingerprint[:16],
            },
            "checkpoint": str(files[stage]),
        }
    at_best = classification_metrics(predictions.logits["best"], predictions.labels)
    stages["student"] |= {
        **pair_metrics(predictions.logits["student"], predictions.logits["teacher"]),
        "best_val": {
            "stage": best.stage,
            "epoch": best.epoch,
            "accuracy": at_best["accuracy"],
            "val_accuracy": best.accuracy,
        },
    }
    teacher, baseline, student = stages.values()
    closed = gap_closed(student["accuracy"], baseline["accuracy"], teacher["accuracy"]) if baseline else None
    return {**stages, "gap_closed": closed}


def show(
    parts: Parts,
    running: Running,
    networks: Mapping[str, nn.Module],
    predictions: Predictions,
    stages: Mapping[str, Any],
) -> None:
    """Keep what is seen in the predictions, and show it in TensorBoard."""
    seen = {**analysed(parts, networks, predictions), "epochs": running.epochs}
    atomic.write_json(running.folder / analysis.NAME, seen, indent=None)
    tracking, writer = parts.settings.tracking, running.logger.experiment
    dashboard.tell(writer, stages)
    if tracking.images:
        dashboard.draw(writer, seen)
    if tracking.embedding:
        dashboard.project(running.logger, predictions, parts.splits.test, parts.splits.classes)
    if tracking.graph:
        dashboard.add_graph(writer, networks["student"], torch.zeros(1, *parts.splits.image_shape, device=parts.device))
    writer.close()


def analysed(parts: Parts, networks: Mapping[str, nn.Module], test: Predictions) -> dict[str, Any]:
    """What is seen in the predictions of the test images; the validation images calibrate."""
    validated = {role: networks[role] for role in analysis.ROLES if role in networks}
    validation = predict(validated, parts.plain_batches("val"), parts.device)
    indices = analysis.spread(len(parts.splits.train), analysis.EXAMPLES)
    _, images, labels = next(parts.source("train").read(indices, len(indices)))
    with torch.inference_mode():
        logits = networks["teacher"](parts.view.normalised(images)).float()
        temperature = float(parts.temperature(1.0))
    taught = analysis.soft_targets(logits, labels, indices, parts.splits.train, temperature)
    return analysis.analysis(test, validation, parts.splits.test, parts.splits.classes, taught)


def images_seen(parts: Parts, stage: str) -> int | None:
    """Views of training images that a stage's network was trained on; None where the network was given.

    An image counts once an epoch and, for a student whose mode has a strong view, twice: both views go through the
    network, the label loss and the mode. A mode's adapters, first shares (`init_share`) and memories see no others.
    """
    recipes = [parts.recipes["student" if stage == "baseline" else stage]]
    if stage == "student" and parts.settings.finetune.epochs:
        recipes.append(parts.recipes["finetune"])
    if stage == "teacher" and parts.settings.teacher.checkpoint is not None:
        return None
    images = len(parts.splits.train)
    images -= images % parts.settings.batch_size == 1  # a last batch of one image is left out
    second = recipes[0].epochs if stage == "student" and strong_view(parts.modes) else 0
    return images * (sum(recipe.epochs for recipe in recipes) + second)


def strong_view(modes: Sequence[Mode]) -> bool:
    """Whether one of the modes that count has the student see a second, strongly augmented view of each image."""
    return any(mode.needs.strong_view for mode in modes if mode.weight > 0)


def kept(path: Path, source: Path) -> Path:
    """`source` under the name `path`, without a second copy where the file system can do that."""
    path.unlink(missing_ok=True)
    try:
        os.link(source, path)
    except OSError:
        shutil.copyfile(source, path)
    return path


def log_final(parts: Parts, logger: RunLogger, stages: dict[str, Any]) -> None:
    """The test metrics as TensorBoard scalars, at the last epoch of their stage."""
    tags = {"accuracy": "test_accuracy", "nll": "test_loss", "agreement": "test_agreement"}
    for stage in ("teacher", "baseline", "student"):
        numbers = stages[stage] or {}
        metrics = {f"{stage}/{tag}": numbers[name] for name, tag in tags.items() if name in numbers}
        logger.log_metrics(metrics, parts.recipes["teacher" if stage == "teacher" else "student"].epochs)
