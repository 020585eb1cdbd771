"""The way from settings to the parts of a run, before anything trains."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import nn

from kd_runner.config.build import build, build_loss, build_partial, refusal
from kd_runner.config.field_types import ONLINE
from kd_runner.config.fingerprint import digest
from kd_runner.config.sections import DistillationSettings, NetworkSettings, StudentSettings, TrainerSettings
from kd_runner.config.settings import Settings
from kd_runner.datasets.inspection import survey
from kd_runner.datasets.labels.unlabelled import TransferSet
from kd_runner.datasets.splits import Splits
from kd_runner.distributed_launch import launch_from_environment
from kd_runner.errors import SettingsError, code_error
from kd_runner.evaluation.corruptions.corrupt import CHANNELS
from kd_runner.files.home import with_home
from kd_runner.files.stages import FINETUNE, STUDENT
from kd_runner.models.own_input import OwnInput, inner, own_shape
from kd_runner.networks.channels import refuse_missing_library
from kd_runner.networks.fake_quantization import round_layers
from kd_runner.networks.lazy_layers import settle_lazy_layers
from kd_runner.notes import note
from kd_runner.outputs import needs_of
from kd_runner.process_group import SINGLE_PROCESS, ProcessGroup
from kd_runner.randomness import derived_seed, seeded_generator
from kd_runner.runs.checks.chain_checks import refuse_chain
from kd_runner.runs.checks.image_weights import check_image_weights
from kd_runner.runs.checks.multi_label_checks import modes_for, refuse_settings
from kd_runner.runs.checks.peer_checks import refuse_peers
from kd_runner.runs.companions import Companions
from kd_runner.runs.data import (
    Data,
    absent_classes,
    chosen_images,
    classes_without_images,
    data_set_name,
    is_teacher,
    read_data,
    student_choices,
    view_of,
    views_of_teachers,
)
from kd_runner.runs.parts import Link, Parts
from kd_runner.runs.results.further_tests import further_tests
from kd_runner.runs.stages.data_free import images_to_be_made
from kd_runner.runs.stages.given_teacher import load_given_weights, refuse_missing_file
from kd_runner.runs.stages.headless import is_headless, refuse_headless, silence
from kd_runner.runs.stages.probe import head_name, note_first_weights
from kd_runner.runs.stages.training_switches import (
    check_class_weights,
    check_modes,
    check_optimizer,
    check_switches,
    freeze_layers,
    refuse_no_weights,
    switches_of,
    without_layer_decay,
)
from kd_runner.runs.stages.unlabelled_images import images_to_teach_on
from kd_runner.tracking.trackers import refuse_missing
from kd_runner.training.allocator import keep_memory
from kd_runner.training.attack import attack_of
from kd_runner.training.device import device_of
from kd_runner.training.mode import Mode
from kd_runner.training.precision import slow_bfloat16, takes_each_gradient
from kd_runner.training.pruning import Pruning
from kd_runner.training.recipe import Recipe
from kd_runner.training.stopping import Stopping

log = logging.getLogger(__name__)

# Dropout's recipe begins at 10 (Hinton et al. 2012), and no published one is above; those of LARS have another scale.
LARGEST_RATE = 10


def assemble(
    settings: Settings,
    splits: Splits | None = None,
    companions: Companions | None = None,
    process_group: ProcessGroup = SINGLE_PROCESS,
) -> Parts:
    """Build every part, the quick ones first.

    Args:
        splits: The data set, where it has been read before.
        companions: The runs of this process, with which the run shares what it reads; None for a run that is alone.
        process_group: The processes that share the run, of which the first one alone writes.

    Raises:
        SettingsError: a part that cannot be built.
    """
    _refuse_unfit_settings(settings, writes=not process_group.rank)
    if settings.trainer.threads:
        torch.set_num_threads(settings.trainer.threads)
    recipes = _recipes(settings)
    temperature = build(settings.temperature, "temperature", settings.trust)
    modes = _modes(settings)
    data = _data(settings, splits, companions or Companions(), process_group)
    _refuse_unfit_images(settings, data)
    return Parts(
        settings=settings,
        data=data,
        modes=modes_for(data.splits, settings, modes, recipes),
        recipes=recipes,
        temperature=temperature,
        teachers={name: _teacher(settings, name, data) for name in settings.all_teachers},
        student=_student(settings, data),
        further_tests=further_tests(settings, data.splits, data.view),
        chain=_links(settings.chain, settings, data),
        peers=_links(settings.peer_students, settings, data),
    )


def _refuse_unfit_settings(settings: Settings, writes: bool) -> None:
    """Refuse what cannot work on this machine, before the images are read, which may take minutes.

    Args:
        writes: True for the process that writes to the store.
    """
    _check_trainer(settings.trainer)
    if settings.student.pruning.amount and settings.student.pruning.structured:
        refuse_missing_library("student.pruning.structured")
    check_switches(settings)
    refuse_missing(settings.tracking.loggers)
    if writes:
        _check_store(settings.store)
    for name, teacher in settings.all_teachers.items():
        refuse_missing_file(name, teacher)


def _refuse_unfit_images(settings: Settings, data: Data) -> None:
    """Refuse settings that do not fit the images of the run."""
    channels = data.splits.image_shape[0]
    if settings.evaluate.corruptions and channels not in CHANNELS:
        raise SettingsError(
            f"evaluate.corruptions: must be false for images of other than 1 or 3 channels, got true and "
            f"{channels} channels"
        )
    check_image_weights(settings, data)
    check_class_weights(settings, data)


def _recipes(settings: Settings) -> dict[str, Recipe]:
    """The recipes of the teachers, of the student and of finetuning, by stage."""
    sections = {**settings.all_teachers, STUDENT: settings.student, FINETUNE: settings.finetune}
    return {stage: _recipe(settings, stage, section) for stage, section in sections.items()}


def _teacher(settings: Settings, name: str, data: Data) -> nn.Module:
    """A teacher with its first weights, or with those of a file."""
    section, splits = settings.all_teachers[name], data.splits
    network = _network(settings, name, section, data)
    if section.checkpoint is not None:

        def make(num_classes: int) -> nn.Module:
            return inner(_network(settings, name, section, data, num_classes))

        load_given_weights(network, name, section, settings.dataset, splits, data.view, make)
    elif section.head != "trained":
        note_first_weights(name, section)
    if section.head != "trained":
        head = head_name(network, name, splits)  # which is refused where there is none
        if is_headless(settings):
            silence(network, head)
    if section.is_trained:
        refuse_no_weights(network, name, section.bare_node["_target_"])
    freeze_layers(network, name, section.freeze)
    return network


def _student(settings: Settings, data: Data) -> nn.Module:
    """The student with its first weights; where it is to be quantized, with layers that round."""
    network = _network(settings, STUDENT, settings.student, data)
    refuse_no_weights(network, STUDENT, settings.student.bare_node["_target_"])
    freeze_layers(network, STUDENT, settings.student.freeze)
    if settings.trainer.quantize and not round_layers(network):
        raise SettingsError(
            "trainer.quantize: must be null for a student without convolutions and dense layers of PyTorch's own "
            f"kinds, got {settings.trainer.quantize}"
        )
    return network


def _links(sections: Mapping[str, StudentSettings], settings: Settings, data: Data) -> tuple[Link, ...]:
    """The networks between teacher and student, or beside the student, with their first weights."""
    links = []
    for stage, section in sections.items():
        network = _network(settings, stage, section, data)
        refuse_no_weights(network, stage, section.bare_node["_target_"])
        freeze_layers(network, stage, section.freeze)
        as_student = settings.model_copy(update={"student": section})
        recipe = _recipe(as_student, stage, section)
        links.append(Link(stage=stage, section=section, network=network, recipe=recipe))
    return tuple(links)


def _data(settings: Settings, read_before: Splits | None, companions: Companions, process_group: ProcessGroup) -> Data:
    """The data of a run; runs of one process share the images and, where they see them alike, what is made of them."""
    node, seed, trainer = settings.dataset.node, settings.data_seed, settings.trainer
    key = digest([node, seed, settings.dataset.residency, settings.dataset.label_noise, settings.folds, settings.fold])
    splits = companions.once(("splits", key), lambda: read_before or read_data(settings))
    refuse_settings(settings, splits)
    _check_shares(settings, splits)
    log.info("data      %s: %s", data_set_name(settings.dataset), survey.line(splits))
    if settings.folds is not None:
        log.info("data      the test is fold %s of %s, from 0", settings.fold, settings.folds)
    survey.write_notes(splits, splits.copies)
    device = _prepare_device(trainer)
    view = view_of(settings.dataset, splits, trainer.channels_last)
    chosen = chosen_images(settings, splits)
    if chosen is not None:
        absent = absent_classes(settings, splits)
        line = survey.student_line(len(chosen), len(splits.train), student_choices(settings), absent)
        log.info("student   %s", line)
    transfer: TransferSet | None = images_to_be_made(settings, splits.image_shape)
    if transfer is None:
        transfer = images_to_teach_on(settings, splits, chosen, classes_without_images(settings, splits))
    views = views_of_teachers(settings, splits, view)
    key_parts = [settings.dataset.model_dump(), settings.student.fraction, settings.batch_size, trainer.channels_last]
    key_parts += [settings.replayed_views, settings.student.without_classes, settings.student.shots_per_class]
    key_parts += [None if transfer is None else transfer.digest]
    largest = _largest_input(settings, splits.image_shape)
    key_parts += [largest, trainer.accelerator, {role: repr(view.augmentation) for role, view in views.items()}]
    return companions.once(
        ("data", key, digest(key_parts)),
        lambda: Data(
            settings=settings.dataset,
            splits=splits,
            view=view,
            device=device,
            batch_size=settings.batch_size,
            chosen=chosen,
            views=views,
            replayed_views=settings.replayed_views,
            process_group=process_group,
            transfer=transfer,
            largest_input=largest,
        ),
    )


def _largest_input(settings: Settings, image_shape: Sequence[int]) -> tuple[int, int] | None:
    """Height and width of the largest images that a network of the run makes of its own; None: none enlarges them."""
    height, width = image_shape[1:]
    networks = [*settings.all_teachers.values(), settings.student, *settings.chain.values()]
    networks += settings.peer_students.values()
    shapes = (own_shape(image_shape, **network.input.changes()) for network in networks)
    largest = max(((rows, columns) for _, rows, columns in shapes), key=math.prod)
    return largest if math.prod(largest) > height * width else None


def _check_trainer(trainer: TrainerSettings) -> None:
    """Refuse what this machine's devices cannot do."""
    if trainer.accelerator == "gpu" and not torch.cuda.is_available():
        raise SettingsError("trainer.accelerator: must be auto or cpu on a machine without a CUDA GPU, got gpu")
    if trainer.graph == "on" and device_of(trainer).type == "cpu":
        raise SettingsError("trainer.graph: must be auto or off on a CPU, which has no CUDA graphs, got on")
    if trainer.precision == "16-mixed" and device_of(trainer).type == "cpu":
        raise SettingsError("trainer.precision: must be 32 or bf16-mixed on a CPU, got 16-mixed")
    if trainer.profile == "nvtx" and device_of(trainer).type == "cpu":
        raise SettingsError(
            "trainer.profile: must be torch or null on a CPU, nvtx marks are for NVIDIA's GPUs, got nvtx"
        )
    if trainer.quantize and trainer.process_count > 1:
        raise SettingsError(
            f"trainer.quantize: must be null where {trainer.process_count} devices share the run, as the range of a "
            f"layer's input is that of the whole batch, got {trainer.quantize}"
        )
    if trainer.graph == "on" and trainer.process_count > 1:
        raise SettingsError(
            f"trainer.graph: must be auto or off where {trainer.process_count} devices share the run, got on"
        )
    if launch_from_environment() is not None:
        return
    if trainer.nodes > 1:
        raise SettingsError(
            f"trainer.nodes: must be 1 where neither torchrun nor srun starts the command on each machine, "
            f"got {trainer.nodes}"
        )
    gpus = torch.cuda.device_count()
    if device_of(trainer).type == "cuda" and trainer.devices > gpus:
        raise SettingsError(
            f"trainer.devices: must be at most {gpus}, the number of GPUs that this process sees, got {trainer.devices}"
        )


def _check_shares(settings: Settings, splits: Splits) -> None:
    """Refuse batches and validation images of which some processes would have none."""
    count = settings.trainer.process_count
    if settings.batch_size < count:
        raise SettingsError(
            f"trainer.devices: must be at most batch_size ({settings.batch_size}), one image for each device, "
            f"got {count}"
        )
    if count > 1 and settings.teacher_outputs != ONLINE:
        raise SettingsError(
            f"teacher_outputs: must be online where {count} devices share the run, got {settings.teacher_outputs}"
        )
    if len(splits.val) < count:
        raise SettingsError(
            f"trainer.devices: must leave each device a validation image, of which there are {len(splits.val)}, "
            f"got {count} devices"
        )


def _check_store(store: str) -> None:
    """Refuse a store that could not be written to; it is made when there is something to store."""
    root = with_home(store)
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"store: must be a folder that can be written, got {store} ({error})") from error
    finally:
        for folder in missing:
            with suppress(OSError):  # another job may use it already
                folder.rmdir()


def _recipe(settings: Settings, stage: str, section: Any) -> Recipe:
    """The recipe of a stage, whose optimizer has been tried on one number.

    Messages name the key that the person can change: the stage's where it has one, else the shared one.
    """
    optimizer_key = f"{stage}.optimizer" if section.optimizer else "optimizer"
    node = without_layer_decay(settings.for_stage(section.optimizer, "optimizer"))
    make = build_partial(node, optimizer_key, "params", settings.trust)
    try:
        parameter = nn.Parameter(torch.zeros(1))
        parameter.grad = torch.zeros(1)
        optimizer = make([parameter])
        if isinstance(optimizer, torch.optim.Optimizer):
            optimizer.step()
    except Exception as error:  # anyone's optimizer
        raise SettingsError(refusal(error, node, optimizer_key)) from error
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise SettingsError(f"{optimizer_key}: must be an optimizer, got {type(optimizer).__name__}")
    if takes_each_gradient(optimizer) and settings.trainer.precision == "16-mixed":
        raise SettingsError("trainer.precision: must be 32 or bf16-mixed with this optimizer, got 16-mixed")
    check_optimizer(settings, takes_each_gradient(optimizer))
    _note_large_rate(node, optimizer_key)
    scheduler_key = f"{stage}.scheduler" if section.scheduler else "scheduler"
    trainer = settings.trainer
    steps = section.steps if isinstance(section, StudentSettings) else None
    takes_graphs = trainer.graph != "off" and trainer.accumulate_grad_batches == 1
    return Recipe(
        optimizer=make,
        schedule=build(settings.for_stage(section.scheduler, "scheduler"), scheduler_key, settings.trust),
        epochs=section.epochs if steps is None else min(section.epochs, steps),
        seed=derived_seed(settings.seed_of(stage), stage),
        precision=trainer.precision,
        compile=trainer.compile,
        log_every=trainer.log_every,
        label_smoothing=(settings.teacher if is_teacher(stage) else settings.student).label_smoothing,
        order_seed=derived_seed(settings.order_seed_of(stage), stage),
        graph=takes_graphs and device_of(trainer).type == "cuda",
        stopping=Stopping.of(settings.early_stopping_of(stage)),
        pruning=_pruning(settings, stage),
        attack=attack_of(settings, stage),
        switches=switches_of(settings, stage),
        steps=steps,
    )


def _note_large_rate(node: Mapping[str, Any], key: str) -> None:
    """Note a learning rate that is above those of all published recipes, such as 1e3 where 1e-3 was meant."""
    rate = node.get("lr")
    if isinstance(rate, int | float) and rate > LARGEST_RATE and "lars" not in str(node["_target_"]).lower():
        note("settings", f"{key}.lr is {rate:g}: a learning rate above {LARGEST_RATE} is seldom meant; 1e-3 is 0.001")


def _pruning(settings: Settings, stage: str) -> Pruning | None:
    """The pruning of the student's stage, which is the baseline's, too; finetuning goes on with the pruned network."""
    if stage not in (STUDENT, FINETUNE):
        return None
    pruning = Pruning.of(settings.student.pruning)
    return pruning.at_once() if pruning is not None and stage == FINETUNE else pruning


def _modes(settings: Settings) -> tuple[Mode, ...]:
    """The modes of the settings, whose first weights are seeded by the run.

    Raises:
        SettingsError: the modes do not fit the other settings.
    """
    sections = {"distillation": settings.distillation}
    sections |= {f"plus.{name}": section for name, section in settings.plus.items()}
    with seeded_generator(settings.seed, "distillation", "weights"):
        modes = tuple(_mode(key, section, settings.trust) for key, section in sections.items())
    if settings.distillation.label_weight == 0 and not any(mode.weight for mode in modes):
        raise SettingsError("distillation.weight: must be above 0 where label_weight is 0, got 0: nothing would train")
    refuse_chain(settings, modes)
    refuse_peers(settings, modes)
    refuse_headless(settings, modes)
    check_modes(settings, modes)
    return modes


def _mode(key: str, section: DistillationSettings, trust: list[str]) -> Mode:
    loss = build_loss(section.node, key, trust)
    if section.standardize and not needs_of(loss).teacher_logits:
        raise SettingsError(f"{key}.standardize: has no effect, {section.target} does not compare logits, got true")
    return Mode(
        key=key,
        loss=loss,
        weight=section.weight,
        student_layers=tuple(section.student_layers),
        teacher_layers=tuple(section.teacher_layers),
        warmup=section.warmup,
        init_share=section.init_share,
        standardize=section.standardize,
        adapter_weight_decay=section.adapter_weight_decay,
    )


def _prepare_device(trainer: TrainerSettings) -> torch.device:
    """The device, with its memory kept between steps where the settings want that."""
    device = device_of(trainer)
    if trainer.keep_memory and device.type == "cpu" and keep_memory():
        log.info("memory    kept by the allocator between steps (trainer.keep_memory)")
    if trainer.precision == "bf16-mixed" and slow_bfloat16(device):
        log.info(
            "note      this CPU has no bfloat16 instructions: trainer.precision=bf16-mixed is slower on it than 32"
        )
    return device


def _network(
    settings: Settings, role: str, section: NetworkSettings, data: Data, num_classes: int | None = None
) -> nn.Module:
    """The network of a section. Another student, mode or data order leaves a teacher's first weights alone.

    Args:
        num_classes: The number of its classes; None: that of the data set.
    """
    node, splits, own_input = section.bare_node, data.splits, section.input.changes()
    shape = own_shape(splits.image_shape, **own_input)
    with seeded_generator(settings.seed_of(role), role, "weights"):
        network = build(node, role, settings.trust, num_classes=num_classes or splits.num_classes, image_shape=shape)
        if not isinstance(network, nn.Module):
            raise SettingsError(f"{role}: {node['_target_']} must return an nn.Module, got {type(network).__name__}")
        try:
            settle_lazy_layers(network, shape)
        except Exception as error:  # anyone's network
            size = "x".join(map(str, shape))
            raise SettingsError(f"{role}: failed on images of {size}: {code_error(error)}") from error
    if own_input:
        network = _with_own_input(network, role, own_input, data)
    return network.to(memory_format=torch.channels_last) if settings.trainer.channels_last else network


def _with_own_input(network: nn.Module, role: str, own_input: dict[str, Any], data: Data) -> nn.Module:
    """The network behind its own normalisation, channels and size."""
    try:
        wrapped = OwnInput(network, data.splits.image_shape, **own_input)
    except ValueError as error:
        raise SettingsError(f"{role}.input.{error}") from error
    wrapped.sees(data.view.mean, data.view.std)
    return wrapped
