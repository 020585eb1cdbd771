"""A typed setting without effect is named with the reason; one that counts, and a plain run, is passed in silence."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import composed
from mode_names import OF_PEERS
from omegaconf import OmegaConf
from PIL import Image

from kd_runner.command_line.option_files import option_settings, options_of
from kd_runner.command_line.typed_words import typed_settings
from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.config.fingerprint import flat_keys  # fmt: skip
from kd_runner.config.sections import (
    DatasetSettings,
    DistillationSettings,
    FinetuneSettings,
    StudentSettings,
    TeacherSettings,
    TrackingSettings,
    TrainerSettings,
)
from kd_runner.config.settings import Settings, check
from kd_runner.datasets.splits import Split, Splits
from kd_runner.runs.assembly import assemble
from kd_runner.runs.checks.rehearsal import rehearse
from kd_runner.runs.checks.unused_settings import ALWAYS, RULES, covers, unused_settings
from kd_runner.runs.parts import Parts
from kd_runner.sweeps.preflight import examine

# Of the many pairs of the published tables one, which differ in their networks alone.
EXPERIMENTS = [
    name
    for name in options_of("experiment")
    if "cifar100_" not in name or name.endswith(("cifar100_recipe", "cifar100_wrn40_2_shufflenet_v1"))
]
TEMPERED = {
    "ard", "cwd", "dist", "dkd", "dml", "function_matching", "hybrid", "kdcl", "logit_standardization", "mlkd", "nkd",
    "normkd",
    "ofa", "rslad", "sdd", "soft", "tf_kd_reg", "tf_kd_self", "ttm", "wsld", "wttm",
}  # fmt: skip


def images(count: int = 20, shape: tuple[int, ...] = (1, 8, 8), classes: int = 10) -> Splits:
    """Splits of noise."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)
    split = Split(pixels, torch.arange(count) % classes)
    return Splits(split, split, split, [str(name) for name in range(classes)])


@functools.cache
def digits() -> Splits:
    return images(200)


@functools.cache
def plain() -> dict[str, Any]:
    """The default settings."""
    return {name: section for name, section in composed().items() if name != "hydra"}


def parts_of(*words: str, splits: Splits | None = None) -> Parts:
    return assemble(check(composed(*words)), splits or digits())


def unused(*words: str, splits: Splits | None = None) -> dict[str, str]:
    """The keys without effect among these words, with the reasons."""
    parts = parts_of(*words, splits=splits)
    return unused_settings(words, parts, rehearse(parts).temperature_modes)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of weights for the usual teacher."""
    path = tmp_path_factory.mktemp("weights") / "teacher.pth"
    torch.save(parts_of().teacher.state_dict(), path)
    return str(path)


SECOND = "+teacher@teachers.second=cnn"
GIVEN = "teacher.checkpoint=WEIGHTS"
SECOND_GIVEN = "+teachers.second.checkpoint=WEIGHTS"


@pytest.mark.parametrize(
    ("words", "reasons"),
    [
        (["distillation=at", "temperature.value=9"],
         {"temperature.value": "the loss does not depend on the temperature (distillation=at)"}),
        (["distillation=none", "temperature=cosine"],
         {"temperature": "no mode takes part, distillation.weight is 0 (distillation=none)"}),
        (["distillation=hard", "temperature={value: 3}"],
         {"temperature.value": "the loss does not depend on the temperature (distillation=hard)"}),
        (["distillation=hybrid", "distillation.soft_share=0", "temperature.value=3"],
         {"temperature.value": "the loss does not depend on the temperature (distillation=hybrid)"}),
        (["distillation=soft", "+distillation@plus.at=at", "plus.at.weight=0", "plus.at.power=4"],
         {"plus.at": "plus.at.weight is 0", "plus.at.power": "plus.at.weight is 0"}),
        (["distillation.weight=0", "distillation.warmup=0.5", "temperature.value=3"],
         {"distillation.warmup": "distillation.weight is 0",
          "temperature.value": "no mode takes part, distillation.weight is 0 (distillation: Soft)"}),
        (["distillation=nkd", "distillation.default_temperature=3", "temperature.value=2"],
         {"distillation.default_temperature": "temperature has another value"}),
        (["+distillation@plus.nkd=nkd", "plus.nkd.default_temperature=3"],
         {"plus.nkd.default_temperature": "the modes share one temperature: temperature.value"}),
        (["temperature.value=1", "distillation.temperature_squared=false"],
         {"distillation.temperature_squared": "the temperature is 1"}),
        (["distillation=crd", "distillation.form=in_batch", "distillation.negatives=99"],
         {"distillation.negatives": "form is in_batch"}),
        (["distillation=hybrid", "distillation.soft_share=1", "distillation.hard_source=teacher_argmax"],
         {"distillation.hard_source": "soft_share is 1"}),
        (["+distillation.adapter_weight_decay=0.1"],
         {"distillation.adapter_weight_decay": "the mode has no adapters"}),
        (["distillation=catkd", "teacher.hidden=[]", "+distillation.adapter_weight_decay=0.1"],
         {"distillation.adapter_weight_decay": "the mode has no adapters"}),
        (["distillation=srrl", "distillation.adapter_weight_decay=0.1"], {}),
        (["distillation=fitnets", "distillation.init_share=1.0", "distillation.label_weight=2"],
         {"distillation.label_weight": "distillation.init_share leaves the labels no part of the stage"}),
        (["distillation=at", "distillation.student_layers=['3','7']", "distillation.teacher_layers=['3','7']",
          "student.layers=['3']"],
         {"student.layers": "the modes name their own, such as distillation.student_layers"}),
        ([GIVEN, "teacher.epochs=3", "teacher.optimizer={lr: 0.1}", "+scheduler@teacher.scheduler=constant",
          "teacher.label_smoothing=0.1"],
         dict.fromkeys(("teacher.epochs", "teacher.optimizer.lr", "teacher.scheduler", "teacher.label_smoothing"),
                       "teacher.checkpoint gives the weights, no teacher is trained")),
        ([SECOND, SECOND_GIVEN, "+teachers.second.epochs=4"],
         {"teachers.second.epochs": "teachers.second.checkpoint gives the weights"}),
        (["teacher.weight=2"], {"teacher.weight": "there is one teacher"}),
        ([GIVEN, "distillation.label_weight=0", "baseline=false", "student.label_smoothing=0.1",
          "dataset.class_weights=balanced"],
         dict.fromkeys(("student.label_smoothing", "dataset.class_weights"),
                       "no stage learns from labels by their loss (distillation.label_weight is 0, "
                       "baseline is false)")),
        (["early_stopping.patience=3"], {"early_stopping.patience": "early_stopping.metric is null"}),
        (["student.pruning.times=3", "finetune.early_stopping={metric: val_loss}"],
         {"student.pruning.times": "student.pruning.amount is 0",
          "finetune.early_stopping.metric": "finetune.epochs is 0"}),
        (["finetune.optimizer={lr: 0.1}", "+scheduler@finetune.scheduler=constant"],
         dict.fromkeys(("finetune.optimizer.lr", "finetune.scheduler"), "finetune.epochs is 0")),
        (["teacher.optimizer={lr: 0.1}", "student.optimizer={lr: 0.2}", "optimizer.lr=0.3"],
         {"optimizer.lr": "each stage that trains has its own, such as student.optimizer"}),
        ([GIVEN, "+scheduler@student.scheduler=constant", "scheduler=steps", "scheduler.factor=0.5"],
         dict.fromkeys(("scheduler", "scheduler.factor"),
                       "each stage that trains has its own, such as student.scheduler")),
        (["optimizer=dot", "optimizer.delta=0.05", "distillation.weight=0"],
         {"optimizer.delta": "the student has one loss"}),
        (["+optimizer@teacher.optimizer=dot", "teacher.optimizer.delta=0.05"],
         {"teacher.optimizer.delta": "this stage has one loss"}),
        (["dataset.rand_augment_magnitude=5"], {"dataset.rand_augment_magnitude": "dataset.rand_augment is 0"}),
        (["dataset.workers=2"], {"dataset.workers": "the images are decoded once and stay in memory"}),
        (["dataset.residency=host"], {"dataset.residency": "on a CPU these images are always in its memory"}),
        (["batch_size=4096"], {}),  # that every epoch is one step is foreseen in a line of its own
        (["teacher=mlp", "student=mlp", "trainer.channels_last=false"],
         {"trainer.channels_last": "no network here has convolutions"}),
        (["trust=[somewhere]"], {"trust": "no _target_ is in somewhere"}),
        ([GIVEN, "baseline=false", "store=elsewhere"],
         {"store": "nothing is trained on labels alone, so nothing is stored"}),
        (["teacher_outputs_dtype=float16"], {"teacher_outputs_dtype": "teacher_outputs is online"}),
        (["peer_updates=together"], {"peer_updates": "there are no peers"}),
        (["distillation=dml", "peers=3", "peer_views=own", "distillation.default_peers=2", "teacher=mlp"],
         {"teacher": "there is no teacher, peers learn from one another",
          "peer_views": "training images are not augmented, so that all peers see the same",
          "distillation.default_peers": "peers has another value"}),
        (["teacher_outputs=cache", "distillation=label_smoothing", "teacher_outputs_dtype=float32"],
         dict.fromkeys(("teacher_outputs", "teacher_outputs_dtype"),
                       "no mode looks at the teacher (distillation=label_smoothing)")),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_named_with_the_reason(words: list[str], reasons: dict[str, str], weights: str) -> None:
    assert unused(*(word.replace("WEIGHTS", weights) for word in words), "trainer.accelerator=cpu") == reasons


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["distillation=hybrid", "distillation.soft_share=0.7", "temperature=cosine", "temperature.start=8"],
        ["+distillation@plus.at=at", "plus.at.weight=500", "temperature.value=2"],  # distillation=[soft,at]
        ["distillation=at", "+distillation@plus.dkd=dkd", "temperature.value=2"],
        ["distillation=nkd", "distillation.default_temperature=3"],
        ["distillation=fitnets", "distillation.init_share=0.5", "distillation.label_weight=2",
         "distillation.adapter_weight_decay=0.1"],
        ["distillation=at", "student.layers=['3','7']", "teacher.layers=['3','7']"],
        ["distillation.weight=0"],
        ["distillation=kdcl", "peers=3", "peer_views=own", "peer_updates=in_turn", "dataset.flip=true"],
        ["distillation=at", "distillation.weight=0"],  # such a mode is handed no features
        ["distillation=none", "teacher.epochs=3", "distillation.label_weight=0.5"],
        ["teacher_outputs=cache", "teacher_outputs_dtype=float16"],
        [GIVEN, "baseline=false", "store=elsewhere", "teacher_outputs=cache"],  # the logits go there
        [SECOND, "teacher.weight=2", "+teachers.second.weight=0.5", "+teachers.second.epochs=2"],
        [SECOND, GIVEN, "teacher.epochs=3", "teacher.optimizer={lr: 0.1}"],  # the second takes them over
        [SECOND, GIVEN, "teacher.label_smoothing=0.1"],
        ["teacher.optimizer={lr: 0.1}", "optimizer.lr=0.3"],
        ["teacher.optimizer={lr: 0.1}", "student.optimizer={lr: 0.2}", "optimizer.weight_decay=0.1"],
        ["optimizer=dot", "optimizer.delta=0.05", "scheduler=steps", "scheduler.factor=0.5"],
        ["finetune.epochs=1", "finetune.optimizer={lr: 0.1}"],
        ["distillation.label_weight=0", "student.label_smoothing=0.1"],  # of the baseline, which is foreseen
        ["distillation.label_weight=0", "baseline=false", "dataset.class_weights=balanced"],  # of the teacher
        [GIVEN, "distillation.label_weight=0", "baseline=false", "finetune.epochs=1", "student.label_smoothing=0.1"],
        ["dataset.rand_augment=2", "dataset.rand_augment_magnitude=5", "dataset.mixup=1", "dataset.cutmix=1"],
        ["dataset.residency=auto", "dataset.workers=null", "dataset.val_fraction=0.2", "data_seed=3", "seed=1"],
        ["batch_size=200", "baseline=false", "store=elsewhere", "resume=null", "trust=[]"],
        ["teacher=mlp", "trainer.channels_last=false", "trainer.compile=true", "trainer.threads=1"],
        ["tracking.images=false", "tracking.graph=true", "tracking.embedding=true", "trainer.log_every=0"],
        [GIVEN, "teacher.optimizer=null", "teacher.scheduler=null"],  # null asks for nothing
        ["student.channels=[4,8]", "dataset.mean=[0.5]", "temperature.value=2"],
    ],
)  # fmt: skip
def test_what_counts_is_passed_in_silence(words: list[str], weights: str) -> None:
    assert unused(*(word.replace("WEIGHTS", weights) for word in words)) == {}


@pytest.mark.slow
def test_which_modes_depend_on_the_temperature_is_measured() -> None:
    temperature_modes = set()
    for path in sorted((CONF_DIR / "distillation").glob("*.yaml")):
        if path.stem == "deit":  # which asks for another student
            continue
        # Without hidden layers, as some modes want a dense layer right behind the maps.
        teacher = plain()["teacher"] | {"hidden": []}
        mode = {"batch_size": plain()["batch_size"]} if path.stem == "semckd" else {}
        node = option_settings(path) | mode
        weight = 1.0 if isinstance(node["weight"], str) else node["weight"]  # the data set has one
        content = plain() | {"distillation": node | {"weight": weight}, "teacher": teacher}
        content["peers"] = 2 if path.stem in OF_PEERS else 1
        content["adversarial"] = content["adversarial"] | {"eps": 0.1 if path.stem in ("ard", "rslad") else 0.0}
        if rehearse(assemble(check(content), digits())).temperature_modes:
            temperature_modes.add(path.stem)
    assert temperature_modes == TEMPERED


def test_anyones_mode_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "modes_of_mine.py").write_text(
        "import torch\n"
        "class Mine(torch.nn.Module):\n"
        "    def __init__(self, warm: bool):\n"
        "        super().__init__()\n"
        "        self.warm, self.calls = warm, 0\n"
        "    def forward(self, student, teacher, labels, temperature):\n"
        "        self.calls += 1\n"
        "        loss = (student.logits - teacher.logits).square().mean() * self.calls + torch.rand(())\n"
        "        return loss * temperature if self.warm else loss\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for warm in (True, False):
        words = ["+distillation.warm=" + str(warm).lower(), "distillation._target_=modes_of_mine.Mine"]
        words += ["~distillation.direction", "~distillation.form", "~distillation.temperature_squared"]
        words += ["trust=[modes_of_mine]", "temperature.value=2"]
        assert list(unused(*words)) == ([] if warm else ["temperature.value"])


def folder_of(root: Path, *splits: str) -> Path:
    for split in splits or ("",):
        for number, name in enumerate("ab"):
            (root / split / name).mkdir(parents=True)
            for count in range(6):
                Image.new("RGB", (8, 8), (40 * count, 100 * number, 5)).save(root / split / name / f"{count}.png")
    return root


@pytest.mark.parametrize(
    ("splits", "keys"),
    [
        ((), []),
        (("train", "test"), ["dataset.test_fraction"]),
        (("train", "val"), ["dataset.val_fraction"]),
        (("train", "val", "test"), ["dataset.val_fraction", "dataset.test_fraction", "data_seed"]),
    ],
)
def test_splits_that_come_with_the_data_are_not_cut(tmp_path: Path, splits: tuple[str, ...], keys: list[str]) -> None:
    words = ["dataset=image_folder", f"dataset.root={folder_of(tmp_path / 'data', *splits)}", "dataset.image_size=8"]
    words += ["dataset.val_fraction=0.3", "dataset.test_fraction=0.3", "data_seed=1", "dataset.cache=null"]
    words += ["batch_size=4"]
    parts = assemble(check(composed(*words)))
    assert list(unused_settings(words, parts, rehearse(parts).temperature_modes)) == keys


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_recipe_sets_nothing_that_has_no_effect(experiment: str) -> None:
    """Were it typed: its own comment would be wrong, or the recipe."""
    content = composed(f"experiment={experiment}", *(["dataset.root=x"] if "imagenet" in experiment else []))
    content["dataset"]["mean"], content["dataset"]["std"] = [0.5], [0.5]
    name = content["dataset"].get("name", "")
    shape = (1, 28, 28) if "MNIST" in name else (3, 32, 32)
    content["trainer"]["accelerator"] = "cpu"
    content["dataset"]["random_resized_crop"] = 0.0  # of whole pictures in their files
    parts = assemble(check(content), images(300, shape))
    recipe: Any = OmegaConf.to_container(OmegaConf.load(CONF_DIR / "experiment" / f"{experiment}.yaml"))
    words = [f"{key}={json.dumps(value)}" for key, value in flat_keys(recipe) if not key.startswith("defaults")]
    chosen = [pair for group in recipe["defaults"] if isinstance(group, dict) for pair in group.items()]
    words += [f"{key.removeprefix('override ').removeprefix('/')}={option}" for key, option in chosen]
    assert len(typed_settings(words)) == len(words)
    assert unused_settings(words, parts, frozenset({"distillation"})) == {}


def test_a_plain_run_has_no_notes(result_of: Callable[..., dict[str, Any]]) -> None:
    assert of_settings(result_of()["notes"]) == []


def of_settings(notes: list[str]) -> list[str]:
    """The notes on settings, among those on what so short a run can show."""
    return [note for note in notes if "no effect" in note]


def test_a_run_keeps_its_notes(result_of: Callable[..., dict[str, Any]]) -> None:
    result = result_of("distillation=at", "temperature.value=3", "baseline=false")
    assert of_settings(result["notes"]) == [
        "temperature.value has no effect: the loss does not depend on the temperature (distillation=at)"
    ]


def test_no_setting_is_forgotten() -> None:
    """Every key is always of effect, or has a rule: a new one must get its line in either table."""
    content = composed("+teacher@teachers.second=cnn", "+distillation@plus.at=at")
    content.pop("hydra", None)
    keys = {key for key, _ in flat_keys(content) if not key.endswith("_target_")}
    fields = {
        "dataset": DatasetSettings, "teacher": TeacherSettings, "student": StudentSettings, "trainer": TrainerSettings,
        "distillation": DistillationSettings, "finetune": FinetuneSettings, "tracking": TrackingSettings,
    }  # fmt: skip
    for section, model in fields.items():
        keys |= {f"{section}.{name}" for name in model.model_fields if name != "target"}
    keys |= {*Settings.model_fields, "experiment", "plus.at", "teachers.second"} - {"teachers", "plus"}
    own = {f"{section}.{name}" for section, model in fields.items() for name in model.model_fields}
    patterns = [*ALWAYS, *(pattern for pattern, _ in RULES if pattern != r"dataset\.\w+")]
    # Arguments of a network or a data set count as long as the thing itself does, which it always does.
    arguments = r"(dataset|teacher|(teachers|assistants|peers)\.[^.]+|student)\.\w+"
    sections = {"finetune", "tracking", "early_stopping", "adversarial", "evaluate", "student.pruning"}
    sections |= {"student.input", "teacher.input"}
    forgotten = [
        key
        for key in keys - sections
        if not any(covers(pattern, key) if not exact(pattern) else re.fullmatch(pattern, key) for pattern in patterns)
        and not (re.match(arguments, key) and key not in own)
    ]
    assert forgotten == []


def exact(pattern: str) -> bool:
    """Whether a pattern of ALWAYS stands for the choice of an option alone, not for all of its keys."""
    return pattern in (ALWAYS[0], r"teachers\.[^.]+(\.weight)?")


def test_the_check_of_a_sweep_finds_them_by_job(tmp_path: Path) -> None:
    jobs = {"0": ["distillation=soft", "temperature.value=4"], "1": ["distillation=at", "temperature.value=4"]}
    store = f"store={tmp_path / 'store'}"
    settings = {job: {k: v for k, v in composed(*words, store).items() if k != "hydra"} for job, words in jobs.items()}
    (tmp_path / "jobs.json").write_text(json.dumps(settings))
    (tmp_path / "overrides.json").write_text(json.dumps(jobs))
    examine([str(tmp_path / "jobs.json"), str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["errors"] == {}
    assert found["unused"] == {
        "0": {},
        "1": {"temperature.value": "the loss does not depend on the temperature (distillation=at)"},
    }
