"""Teachers and baselines: networks trained on labels alone, once."""

from __future__ import annotations

import copy
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from kd_runner import redaction
from kd_runner.config.build import source_digest
from kd_runner.config.fingerprint import ADDED_TO_NETWORKS, digest, older_node, without_defaults
from kd_runner.config.sections import ExtraTeacherSettings, StudentSettings, TeacherSettings
from kd_runner.config.settings import Settings
from kd_runner.errors import RunFailed
from kd_runner.files import ownership
from kd_runner.files.failed_trainings import fails_once
from kd_runner.files.file_digest import file_digest
from kd_runner.files.home import with_home
from kd_runner.files.run_folder import BASELINE_EMA, weights_file
from kd_runner.files.stages import BASELINE
from kd_runner.networks import checkpoints
from kd_runner.networks.observed import Observed
from kd_runner.networks.random_draws import draws_random_numbers
from kd_runner.notes import note
from kd_runner.runs.data import Data, is_teacher
from kd_runner.runs.judging.flat_losses import note_flat_loss
from kd_runner.runs.resume import corrected
from kd_runner.runs.stages.outcome import Outcome, fit_to_best, rate_in_error
from kd_runner.runs.stages.teacher_student import noise
from kd_runner.store.entries import Stored, is_stored, key_of, trained_once
from kd_runner.tracking.logger import RunLogger
from kd_runner.tracking.shared_networks import SharedNetwork
from kd_runner.training.classifier import Classifier
from kd_runner.training.recipe import Recipe
from kd_runner.training.resume_state import ResumeState

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelsOnly:
    """A network that is trained on labels alone.

    Args:
        stage: A teacher's name, or 'baseline'.
        role: The section of the settings that it trains with: the teacher's name, or 'student'. It decides the seeds.
        network: The network, which gets its final weights.
        recipe: The recipe of its training.
    """

    stage: str
    role: str
    network: nn.Module
    recipe: Recipe

    def section(self, settings: Settings) -> TeacherSettings | ExtraTeacherSettings | StudentSettings:
        """The network's section of the settings."""
        return settings.student if self.stage == BASELINE else settings.all_teachers[self.stage]


@dataclass(frozen=True)
class TrainedNetwork:
    """A network's file in the folder of a run, and its training.

    Args:
        epochs: The metrics of each epoch.
        seconds_before: The seconds that this run trained it before an interruption.
        average_path: The file of the average of its weights, where there is one.
    """

    path: Path
    epochs: list[dict[str, float]]
    seconds_before: float
    average_path: Path | None = None


def train_or_load(
    trainee: LabelsOnly, settings: Settings, data: Data, logger: RunLogger, folder: Path
) -> TrainedNetwork:
    """Bring a network to its final weights: from the store, or trained now and put there."""
    stage, role = trainee.stage, trainee.role
    trained_now: list[Outcome] = []

    def train(resume_state: ResumeState) -> tuple[nn.Module, list[dict[str, float]]]:
        if not trained_now:  # for the average of its weights
            with fails_once(folder, stage, key):
                trained_now.append(train_on_labels(trainee, settings, data, logger, resume_state))
        return trainee.network, trained_now[-1].epochs

    def train_average(resume_state: ResumeState) -> tuple[nn.Module, list[dict[str, float]]]:
        train(resume_state)
        average = copy.deepcopy(trainee.network)
        average.load_state_dict(trained_now[-1].average or {})
        return average, []  # the epochs' metrics are those of the network that trained

    root = with_home(settings.store)
    info = data.record(trainee.section(settings).node) | {"val_images": len(data.splits.val)}
    made_of = ingredients(trainee, settings, data)
    key = key_of(made_of)
    average_path, decay = None, trainee.recipe.switches.ema
    if decay is not None:
        average_of = {**made_of, "ema": decay}
        if is_stored(root, key) and not is_stored(root, key_of(average_of)):
            log.info("%-9s trains again, for the average of its weights (student.ema)", stage)
        average = trained_once(
            root, stage, average_of, info, train_average, masked_ingredients(average_of, role), network=trainee.network
        )
        average_path = take_weights(average, folder / BASELINE_EMA)
    shown, validation = masked_ingredients(made_of, role), data.splits.val_fingerprint
    stored = trained_once(root, stage, made_of, info, train, shown, validation, trainee.network)
    path = take_weights(stored, folder / weights_file(stage))
    trainee.network.load_state_dict(checkpoints.read_checkpoint(path)[0])
    if stored.reused and not trained_now:
        logger.retell(shared_network(trainee, settings, key), stored.epochs)
        note_other_validation(stage, stored, data)
    note_flat_loss(stage, stored.epochs, "train_loss", f"{settings.rate_key(role)}, {role}.epochs")
    seconds_before = sum(outcome.seconds_before for outcome in trained_now)
    return TrainedNetwork(path, stored.epochs, seconds_before, average_path)


def note_other_validation(stage: str, stored: Stored, data: Data) -> None:
    """Note where the metrics of a network's epochs, from the store, are of other validation images than the run's."""
    if stored.validation not in (None, data.splits.val_fingerprint):
        note(
            "data",
            f"the curves of the {stage} are of the validation images of the run that trained it, which are others "
            "(store); its accuracy in the result is that on the images of this run",
        )


def shared_network(trainee: LabelsOnly, settings: Settings, key: str) -> SharedNetwork:
    """The network under its key in the store, as charts call it."""
    return SharedNetwork(trainee.stage, trainee.section(settings).node, settings.seed_of(trainee.role), key)


def train_on_labels(
    trainee: LabelsOnly, settings: Settings, data: Data, logger: RunLogger, resume_state: ResumeState
) -> Outcome:
    """Train a network on labels alone, from where an interrupted run left it."""
    with rate_in_error(settings, trainee.role):
        return fit_to_best(classifier(trainee, data), data, settings.trainer, logger, resume_state)


def classifier(trainee: LabelsOnly, data: Data) -> Classifier:
    """The module that trains a network on labels alone."""
    batches = data.training_batches(trainee.role, trainee.recipe)
    return Classifier(trainee.stage, Observed(trainee.network), batches, trainee.recipe)


def ingredients(trainee: LabelsOnly, settings: Settings, data: Data) -> dict[str, Any]:
    """Everything that the weights of a network trained on labels depend on, as plain data."""
    section, recipe = trainee.section(settings), trainee.recipe
    optimizer = settings.for_stage(section.optimizer, "optimizer")
    scheduler = settings.for_stage(section.scheduler, "scheduler")
    return data.describe(section.node) | {
        "network": without_defaults(section.node, ADDED_TO_NETWORKS),
        # Where they are measured, the data say them. Their last bits depend on the number of threads.
        "mean": settings.dataset.mean,
        "std": settings.dataset.std,
        "source": [source_digest(node, trainee.role, settings.trust) for node in (section.node, optimizer, scheduler)],
        "role": trainee.role,
        "optimizer": older_node(optimizer),
        "scheduler": older_node(scheduler),
        "label_smoothing": recipe.label_smoothing,
        "epochs": recipe.epochs,
        "batch_size": settings.batch_size,
        "seed": settings.seed_of(trainee.role),
        "precision": settings.trainer.precision,
        "channels_last": settings.trainer.channels_last,
        "compile": settings.trainer.compile,
        **({"graph": True} if recipe.graph else {}),
        **_rounding(trainee.role, settings),
        "device": data.device.type,
        "deterministic": settings.trainer.deterministic,
        "data": data.splits.training_fingerprint,
        "augmentation": data.view_of(trainee.role).augmentation.record(),
        **_order(trainee.role, settings),
        **_part_of_images(trainee.role, data),
        **({} if recipe.steps is None else {"steps": recipe.steps}),
        **_replayed_views(trainee, data),
        **corrected.of_labels(trainee.role, recipe, data),
        **corrected.of_drawn_images(trainee.role, recipe, settings, data),
        **_early_end(recipe),
        **_channels_of_frozen_layers(recipe),
        **_validation(recipe, data),
        **_switches(recipe, settings),
        **_injected_start(trainee, settings),
        **processes_that_draw([trainee.network], settings, data),
    }


def processes_that_draw(networks: Sequence[nn.Module], settings: Settings, data: Data) -> dict[str, int]:
    """The ingredient that is the number of processes, each of which draws for itself in networks with dropout and such.

    There is none with one process, or where no network draws random numbers: the result is that of one process then.
    """
    count = settings.trainer.process_count
    return {"processes": count} if count > 1 and any_draws(networks, data) else {}


def any_draws(networks: Sequence[nn.Module], data: Data) -> bool:
    """True where one of the networks draws random numbers in training."""
    images = noise(data.splits.image_shape)
    return any(draws_random_numbers(network, images) for network in networks)


def _rounding(role: str, settings: Settings) -> dict[str, str]:
    """The ingredient that is the rounding of a network that is to be quantized; none for a teacher."""
    quantize = settings.trainer.quantize
    return {} if is_teacher(role) or quantize is None else {"quantize": quantize}


def _order(role: str, settings: Settings) -> dict[str, int]:
    """The ingredient that is a seed of the order of images by itself; none where it is the seed of all else."""
    seed = settings.order_seed_of(role)
    return {} if seed == settings.seed_of(role) else {"order_seed": seed}


def _part_of_images(role: str, data: Data) -> dict[str, str]:
    """The ingredient that is the choice of training images; none where a network learns from all of them."""
    if is_teacher(role) or data.chosen is None:
        return {}
    return {"images": digest(data.chosen.tolist())}


def _replayed_views(trainee: LabelsOnly, data: Data) -> dict[str, int]:
    """The ingredient that is the number of replayed views; none where every epoch has a view of its own."""
    views = data.replayed_views
    recipe = trainee.recipe
    all_new = not views or (recipe.steps is None and views >= recipe.epochs)
    return {} if is_teacher(trainee.role) or all_new or views is None else {"views": views}


def _early_end(recipe: Recipe) -> dict[str, Any]:
    """The ingredients that are the rule of stopping early, pruning and attack; none where there is nothing of them."""
    parts = {"early_stopping": recipe.stopping, "pruning": recipe.pruning, "adversarial": recipe.attack}
    return {name: asdict(part) for name, part in parts.items() if part is not None}


def _channels_of_frozen_layers(recipe: Recipe) -> dict[str, str]:
    """The ingredient that frozen layers keep their channels, which earlier versions removed; else none."""
    loses_channels = recipe.pruning is not None and recipe.pruning.structured
    return {"channels_of_frozen_layers": "kept"} if loses_channels and recipe.switches.freeze else {}


def _validation(recipe: Recipe, data: Data) -> dict[str, str]:
    """The ingredient that is the validation images; none where they decide neither weights nor learning rates."""
    follows = recipe.stopping is not None or getattr(recipe.schedule, "after", None) is not None
    return {"validation": data.splits.val_fingerprint} if follows else {}


def _switches(recipe: Recipe, settings: Settings) -> dict[str, Any]:
    """The ingredients that are what is switched on for the training of a stage, and how images are drawn for it."""
    drawn = {"balanced_sampling": True} if settings.dataset.balanced_sampling else {}
    return {**recipe.switches.changes(), **drawn}


def _injected_start(trainee: LabelsOnly, settings: Settings) -> dict[str, str]:
    """The ingredient that is the first weights of a baseline which begins with its teacher's; else none."""
    if trainee.stage != BASELINE or settings.student.init == "random":
        return {}
    return {"start": checkpoints.state_digest(trainee.network.state_dict())}


def masked_ingredients(made_of: dict[str, Any], role: str) -> dict[str, Any]:
    """The ingredients with hidden values replaced; each stands at one of some keys of the settings.

    Args:
        role: The section of the settings that the network trains with.
    """
    sections = {
        "network": [role],
        "augmentation": [f"{role}.dataset", "teacher.dataset", "dataset"],
        "precision": ["trainer.precision"],
    }
    sections |= {
        name: [f"{role}.{name}", name]
        for name in ("optimizer", "scheduler", "early_stopping", "pruning", "adversarial")
    }
    sections |= {name: [f"{role}.{name}", f"teacher.{name}"] for name in ("epochs", "label_smoothing")}
    sections |= {name: [f"dataset.{name}"] for name in ("mean", "std")}
    sections |= {
        name: [f"trainer.{name}"] for name in ("channels_last", "compile", "deterministic", "graph", "quantize")
    }
    return {name: redaction.masked_keys(value, *sections.get(name, [name])) for name, value in made_of.items()}


def take_weights(stored: Stored, path: Path) -> Path:
    """The stored weights under the name `path`, compared with what was written: others may write in a shared store.

    Raises:
        RunFailed: somebody changed them after the store had checked them.
    """
    link_or_copy(path, stored.path)
    if file_digest(path) != stored.sha256:
        path.unlink()
        raise RunFailed(f"{stored.path} was changed while it was read; nothing of it is used, start again")
    return path


def link_or_copy(path: Path, source: Path) -> Path:
    """`source` under the name `path`, without a second copy where that is safe and the file system can do it."""
    path.unlink(missing_ok=True)
    try:
        if ownership.foreign_reason(source):  # a link would change with it
            raise OSError
        os.link(source, path)
    except OSError:
        shutil.copyfile(source, path)
    return path
