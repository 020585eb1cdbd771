"""Every recipe composes, its networks are those of its name, and its comment says whether it was run."""

from __future__ import annotations

import re

import pytest
import torch
from conftest import composed
from torch import nn

from kd_runner.command_line.option_files import options_of, published_options
from kd_runner.config.build import build, build_partial
from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.config.settings import Settings, check

EXPERIMENTS = options_of("experiment")
SHAPES = {"MNIST": (1, 28, 28), "FashionMNIST": (1, 28, 28), "CIFAR10": (3, 32, 32), "CIFAR100": (3, 32, 32)}
# Parameters at 100 classes; of the VGGs without the biases in front of batch norm.
OF_THE_TABLES = {
    "resnet20": 278_324, "resnet32": 472_756, "resnet56": 861_620, "resnet110": 1_736_564, "resnet8x4": 1_233_540,
    "resnet32x4": 7_433_860, "wrn16_2": 703_284, "wrn40_1": 569_780, "wrn40_2": 2_255_156, "vgg8": 3_963_556,
    "vgg13": 9_459_236, "resnet50": 23_705_252, "mobilenet_v2": 812_836, "shufflenet_v1": 949_258,
    "shufflenet_v2": 1_355_528,
}  # fmt: skip
PAIRS = (
    "resnet56_resnet20", "resnet110_resnet20", "resnet110_resnet32", "resnet32x4_resnet8x4", "wrn40_2_wrn16_2",
    "wrn40_2_wrn40_1", "vgg13_vgg8", "vgg13_mobilenet_v2", "resnet50_mobilenet_v2", "resnet50_vgg8",
    "resnet32x4_shufflenet_v1", "resnet32x4_shufflenet_v2", "wrn40_2_shufflenet_v1",
)  # fmt: skip


def of(experiment: str, *overrides: str) -> Settings:
    root = ("dataset.root=x",) if "imagenet" in experiment else ()
    return check(composed(f"experiment={experiment}", *root, *overrides))


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_builds(experiment: str) -> None:
    settings = of(experiment)
    data = settings.dataset.node
    side = data.get("image_size")
    shape = SHAPES[data["name"]] if "name" in data else (3, side, side) if side else (1, 8, 8)  # the digits
    with torch.device("meta"):
        for role in ("teacher", "student"):
            network = build(getattr(settings, role).node, role, num_classes=10, image_shape=shape)
            assert network(torch.zeros(2, *shape)).shape == (2, 10)


@pytest.mark.parametrize("pair", PAIRS)
def test_pairs_of_the_published_tables(pair: str) -> None:
    settings = of(f"published/cifar100_{pair}")
    with torch.device("meta"):
        counts = [
            parameters(build(getattr(settings, role).node, role, num_classes=100, image_shape=(3, 32, 32)))
            for role in ("teacher", "student")
        ]
    teacher = max((name for name in OF_THE_TABLES if pair.startswith(f"{name}_")), key=len)
    student = pair.removeprefix(f"{teacher}_")
    assert counts == [OF_THE_TABLES[teacher], OF_THE_TABLES[student]]
    light = student.startswith(("mobilenet", "shufflenet"))
    assert settings.for_stage(settings.student.optimizer, "optimizer")["lr"] == (0.01 if light else 0.05)
    assert settings.for_stage(settings.teacher.optimizer, "optimizer")["lr"] == 0.05
    assert (settings.teacher.epochs, settings.student.epochs, settings.batch_size) == (240, 240, 64)


def test_the_recipe_of_the_published_tables() -> None:
    settings = of("published/cifar100_recipe")
    optimizer = build_partial(settings.optimizer, "optimizer", "params")([nn.Parameter(torch.zeros(1))])
    group = optimizer.param_groups[0]
    assert isinstance(optimizer, torch.optim.SGD)
    assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (0.05, 0.9, 5e-4, False)
    schedule = build(settings.scheduler, "scheduler")
    assert [epoch for epoch in range(1, 240) if schedule(epoch / 240) < schedule((epoch - 1) / 240)] == [150, 180, 210]
    assert (settings.dataset.crop_padding, settings.dataset.flip) == (4, True)
    assert settings.dataset.node["name"] == "CIFAR100"
    assert (settings.distillation.label_weight, settings.distillation.weight) == (0.1, 0.9)
    assert build(settings.temperature, "temperature")(0.5) == 4


def test_a_recipe_leaves_the_other_groups_open() -> None:
    settings = of(
        "published/cifar100_vgg13_vgg8", "distillation=hard", "temperature=cosine", "scheduler=cosine", "optimizer=adam"
    )
    assert settings.distillation.target.endswith(".Hard")
    for node, key in ((settings.temperature, "temperature"), (settings.scheduler, "scheduler")):
        build(node, key)
    build_partial(settings.optimizer, "optimizer", "params")([nn.Parameter(torch.zeros(1))])
    settings = of("published/cifar100_recipe", "teacher=cnn", "student=shufflenet_v1", "student.optimizer={lr: 0.01}")
    assert settings.for_stage(settings.student.optimizer, "optimizer")["lr"] == 0.01


def test_the_imagenet_recipe() -> None:
    settings = of("published/imagenet_resnet34_resnet18")
    schedule = build(settings.scheduler, "scheduler")
    assert [epoch for epoch in range(1, 100) if schedule(epoch / 100) < schedule((epoch - 1) / 100)] == [30, 60, 90]
    assert settings.optimizer["lr"] == 0.1
    assert settings.optimizer["weight_decay"] == 1e-4
    with torch.device("meta"):
        counts = [
            parameters(build(getattr(settings, role).node, role, num_classes=1000, image_shape=(3, 224, 224)))
            for role in ("teacher", "student")
        ]
    assert counts == [21_797_672, 11_689_512]


def test_a_recipe_says_what_it_gave_or_that_nobody_ran_it() -> None:
    for name in EXPERIMENTS:
        comment = " ".join(re.findall(r"^#(.*)$", (CONF_DIR / "experiment" / f"{name}.yaml").read_text(), re.MULTILINE))
        if name in published_options("experiment"):
            assert re.search(
                r"Nobody has run it here[.; ]|docs/articles.md has what article_\d, which is this, gave", comment
            ), name
            assert "ource" in comment or name.endswith("self_distill"), name
        elif name.startswith("founding/"):
            assert re.search(r"gave, in percent on the [\d,]+ test images.*\d\d\.\d", comment), name
        elif "Nobody has run it here" not in comment:
            assert re.search(r"gave.*teacher \d\d\.\d\d.*student \d\d\.\d\d.*gain", comment), name


@pytest.mark.parametrize("pair", PAIRS)
def test_published_numbers_say_of_which_epoch_they_are(pair: str) -> None:
    text = (CONF_DIR / "experiment" / "published" / f"cifar100_{pair}.yaml").read_text()
    assert re.search(r"last epoch \(CRD, table [12]\): teacher \d\d\.\d\d, student alone \d\d\.\d\d, distilled", text)
    assert "best test epoch (DKD): distilled by dkd" in text or "no number for this pair" in text


def test_the_founding_experiments_leave_out_the_classes_of_the_paper() -> None:
    names = [path.stem for path in (CONF_DIR / "experiment" / "founding").glob("*.yaml")]
    absent = {name: of(f"founding/{name}").student.without_classes for name in names}
    assert absent == {"few_digits": [], "mnist": [], "no_threes": ["3"], "sevens_and_eights": [*"01234569"]}
