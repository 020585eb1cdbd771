"""Notes on a run before it trains: splits that tell little, steps that change nothing."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import nn

from kd_runner.comparison.chance import largest_class
from kd_runner.config.field_types import OF_TEACHER_AND_STUDENT
from kd_runner.config.settings import Settings
from kd_runner.datasets.splits import Images, Splits
from kd_runner.formats import number_of, percent
from kd_runner.input_pipeline.step_plan import batches_per_epoch
from kd_runner.notes import note
from kd_runner.runs.judging.softness import note_low_temperature
from kd_runner.runs.parts import Parts
from kd_runner.training.mode import Mode, without_label_loss
from kd_runner.training.recipe import Recipe

FEW_IMAGES = 100  # fewer validation or test images have a standard error of 3 points or more at 90 %
WIDE = 30  # points on either side of an accuracy: an interval that wide tells nothing
NEARLY_ALL = 0.95  # the share of a class from which on guessing it looks like a result
SAMPLE = 1000  # the number of training images that are looked at
BLANK = 0.5  # the share of images of one colour that is noted
FEW_STEPS = 20  # a stage with fewer steps is noted
POINTS = 16  # the number of points of a schedule that are looked at


def note_what_is_foreseen(parts: Parts, temperature_modes: Collection[str]) -> None:
    """Note, before anything trains, what will make a number chance, and which numbers will tell little.

    Args:
        temperature_modes: The keys of the modes whose loss depends on the temperature, as `rehearsal.rehearse` finds
            them.
    """
    settings, splits = parts.settings, parts.data.splits
    note_small_splits(splits, "val_fraction" in settings.dataset.node)
    if not splits.several_labels:
        note_labels(splits)
    note_images(splits.train)
    images = {stage: len(parts.data.images_of(stage)) for stage in parts.recipes}
    note_stages_that_do_not_stop(settings)
    note_steps(settings, parts.recipes, parts.modes, images)
    note_labels_of_others(settings, parts.modes, parts.data.splits.train.weights is not None)
    note_long_average(settings, parts.recipes["student"], images["student"])
    note_low_temperature(parts.modes, parts.temperature, settings, temperature_modes)


def note_small_splits(splits: Splits, val_fraction: bool) -> None:
    """Note how little a few validation or test images can tell.

    Args:
        val_fraction: The data set has the setting `val_fraction`.
    """
    val, test = len(splits.val), len(splits.test)
    if splits.several_labels:
        for count, name in ((val, "validation"), (test, "test")):
            if count < FEW_IMAGES:
                note(
                    "data",
                    f"{number_of(count, f'{name} image')}: mAP on so few is known but roughly, as some labels are "
                    "rare there",
                )
        return
    if val < FEW_IMAGES:
        setting = "dataset.val_fraction" if val_fraction else "the validation split"
        note(
            "data",
            f"{number_of(val, 'validation image')}: one is {100 / val:.1f} points, so the best epoch, which "
            f"they choose, is close to chance; more of them ({setting}) would choose better",
        )
    if test < FEW_IMAGES:
        widths = [100 * _half_interval(share, test) for share in (0.5, 0.9)]
        effect = (
            "too few to tell anything"
            if max(widths) > WIDE
            else f"one is {100 / test:.1f} points, and an accuracy is known to ±{widths[0]:.0f} points (at 50 %) or "
            f"±{widths[1]:.0f} (at 90 %): smaller differences are chance"
        )
        note("data", f"{number_of(test, 'test image')}: {effect}")


def note_stages_that_do_not_stop(settings: Settings) -> None:
    """Note where the student alone can stop early, by a metric that compares it with its teacher."""
    metric = settings.early_stopping_of("student").metric
    if metric in OF_TEACHER_AND_STUDENT:
        note(
            "settings",
            f"stages on labels alone, such as the baseline, have no {metric} and do not stop by it "
            "(early_stopping.metric)",
        )


def note_labels_of_others(settings: Settings, modes: Sequence[Mode], has_weights: bool) -> None:
    """Note where the label loss is changed for other stages than the student, which has none.

    Args:
        has_weights: True where the images have weights.
    """
    reason = without_label_loss(modes, settings.distillation.label_weight)
    asked = {
        "student.label_smoothing": settings.student.label_smoothing > 0,
        "dataset.class_weights": settings.dataset.class_weights is not None,
        "dataset.weight": has_weights,
    }
    keys = [key for key, is_asked in asked.items() if is_asked]
    stages = ["the baseline"] if settings.baseline else []
    stages += ["finetuning"] if settings.finetune.epochs else []
    if reason is None or not keys or not stages:
        return
    verb = "changes" if len(keys) == 1 else "change"
    note(
        "settings",
        f"{' and '.join(keys)} {verb} {' and '.join(stages)}, not the student under its teacher, whose label loss has "
        f"no weight ({reason}): the two are not trained alike",
    )


def note_labels(splits: Splits) -> None:
    """Note where guessing one class looks like a result."""
    effects = {
        "training": "nothing can be learned",
        "validation": "they cannot tell which epoch is the best",
        "test": "always saying so is right on all of them",
    }
    for (name, effect), split in zip(effects.items(), (splits.train, splits.val, splits.test), strict=True):
        commonest, share = largest_class(split.labels)
        label = splits.classes[commonest]
        if share == 1:
            note("data", f'all {len(split):,} {name} images are of class "{label}": {effect} (dataset=?)')
        elif share > NEARLY_ALL:
            note(
                "data",
                f'{percent(share, 1)} of the {len(split):,} {name} images are of class "{label}": always guessing it '
                "is right as often; read F1, recall and precision beside the accuracy (dataset=?)",
            )


def note_images(images: Images) -> None:
    """Note where training images are blank, or all the same."""
    pixels = images.sample(SAMPLE).flatten(2)
    blank = float((pixels.amax(2) == pixels.amin(2)).all(1).double().mean())
    if len(pixels) > 1 and bool((pixels[0] == pixels).all()):
        colour = "the same" if bool(pixels[0].any()) else "black"
        note("data", f"all {len(pixels):,} training images that were looked at are {colour}: nothing can be learned")
    elif blank > BLANK:
        note(
            "data", f"{percent(blank, 1)} of {len(pixels):,} training images that were looked at are of one colour each"
        )


def note_steps(
    settings: Settings, recipes: Mapping[str, Recipe], modes: Sequence[Mode], images: Mapping[str, int]
) -> None:
    """Note where a stage has few steps, or none that changes anything.

    Args:
        recipes: The recipes of the stages.
        images: The number of training images of each stage.
    """
    from_files = [name for name, teacher in settings.all_teachers.items() if not teacher.is_trained]
    trained = {stage: recipe for stage, recipe in recipes.items() if recipe.epochs and stage not in from_files}
    size = settings.batch_size
    for count in dict.fromkeys(images[stage] for stage in trained if size >= images[stage]):
        stages = {stage: recipe for stage, recipe in trained.items() if images[stage] == count}
        passes = [f"{recipe.epochs} of the {stage}" for stage, recipe in stages.items() if recipe.steps is None]
        budgets = [f"{recipe.steps} steps of the {stage}" for stage, recipe in stages.items() if recipe.steps]
        effect = f"every epoch is one step ({', '.join(passes)})" if passes else "every step takes them all"
        more = f"; {', '.join(budgets)}" if passes and budgets else f" ({', '.join(budgets)})" if budgets else ""
        note("settings", f"batch_size={size} is all {count:,} training images: {effect}{more}")
    for stage, recipe in trained.items():
        steps = _steps_of_stage(recipe, images[stage], size)
        is_told = size >= images[stage]  # by the note above
        if steps < FEW_STEPS and not is_told:
            keys = f"{stage}.epochs, batch_size" if recipe.steps is None else f"{stage}.steps"
            keys += ", trainer.accumulate_grad_batches" if recipe.switches.accumulate > 1 else ""
            note("settings", f"the {stage} trains for {steps} step{'s' if steps > 1 else ''} in all ({keys})")
        _note_rate(stage, recipe, settings.rate_key(stage), _points(steps))
    steps = _steps_of_stage(recipes["student"], images["student"], size)
    _note_modes(modes, settings.distillation.label_weight, _points(steps))


def _steps_of_stage(recipe: Recipe, images: int, batch_size: int) -> int:
    """The number of steps of the optimizer in a stage, each of one batch or of several."""
    if recipe.steps is not None:
        return recipe.steps
    batches = batches_per_epoch(images, batch_size)
    return recipe.epochs * -(-batches // recipe.switches.accumulate)


def note_long_average(settings: Settings, recipe: Recipe, images: int) -> None:
    """Note where an average of the weights reaches back beyond the first steps of the student's stage.

    Args:
        recipe: The student's recipe.
        images: The number of training images that it learns from.
    """
    decay = recipe.switches.ema
    steps = _steps_of_stage(recipe, images, settings.batch_size)
    if decay is not None and 2 / (1 - decay) > steps:
        note(
            "settings",
            f"student.ema={decay:g} is an average over about {round(1 / (1 - decay)):,} steps, of {steps:,} that the "
            "student trains for: much of it are weights that had hardly begun to learn; a smaller decay forgets them",
        )


def _note_rate(stage: str, recipe: Recipe, key: str, points: Sequence[float]) -> None:
    """Note where the learning rate of a stage is 0 at every step.

    Args:
        key: The key of the learning rate.
        points: The shares of the stage that are looked at.
    """
    rate = recipe.optimizer([nn.Parameter(torch.zeros(1))]).param_groups[0]["lr"]
    if rate == 0:
        note("settings", f"the learning rate of the {stage} is 0: it will not learn ({key})")
    elif all(recipe.schedule(point) == 0 for point in points):
        note(
            "settings",
            f"the learning rate of the {stage} is 0 at every step by its schedule: it will not learn (scheduler)",
        )


def _note_modes(modes: Sequence[Mode], label_weight: float, points: Sequence[float]) -> None:
    """Note which modes never take part, and where the labels never do."""
    for mode in modes:
        if mode.weight > 0 and not any(mode.weight_at(point) for point in points):
            note(
                "settings",
                f"{mode.key} has a weight of 0 at every step: its warmup is longer than the student trains "
                f"({mode.key}.warmup, student.epochs)",
            )
        if mode.weight > 0 and mode.init_share > points[-1] and label_weight:
            note("settings", f"{mode.key} trains the student alone to the end, never on labels ({mode.key}.init_share)")


def _points(steps: int) -> list[float]:
    """The shares of a stage that are done at some of its steps, with the first and the last."""
    numbers = range(steps) if steps <= POINTS else [number * (steps - 1) // (POINTS - 1) for number in range(POINTS)]
    return [number / steps for number in numbers]


def _half_interval(share: float, images: int) -> float:
    """Half the width of the 95 % interval of a share of so many images."""
    return 1.96 * math.sqrt(share * (1 - share) / images)
