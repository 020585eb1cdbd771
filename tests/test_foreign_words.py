"""Words of other tools, the answers that they get, and that all settings exist which the table names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pytest
from conftest import composed
from hydra.errors import HydraException
from omegaconf import OmegaConf

from kd_runner.command_line.messages import one_line_message
from kd_runner.command_line.option_files import option_settings, options_of
from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.config.fingerprint import flat_keys
from kd_runner.config.settings import check
from kd_runner.errors import SettingsError
from kd_runner.foreign_words import answer_for, number_for, option_for, table

FREEZE = "type 'student.freeze=[layer1]' (patterns of layers' names; 'student.layers=?' lists them)"
TRACKERS = (
    "there is nothing of the kind here: runs write TensorBoard's event files, which those services read, such as by "
    "wandb sync; name=…, notes=… and 'tags=[…]' are kept in each run"
)
NETWORKS = "kd-runner help student lists them; any network of timm is student=timm student.name=NAME"
TEACHERS = "kd-runner help teacher lists them; any network of timm is teacher=timm teacher.name=NAME"
STEPS = "scheduler=steps 'scheduler.milestones=[0.625,0.75,0.875]'"
# The word as it is typed, and the answer.
ANSWERS = {
    # The nine words of a new user.
    "early_stopping=true": "type early_stopping.metric=val_accuracy (the number of epochs that it waits is "
    "early_stopping.patience)",
    "student.ema=0.999": "type student.ema=0.999",
    "class_weights=balanced": "type dataset.class_weights=balanced",
    "student.freeze=layer1": FREEZE,
    "tracking.wandb=true": TRACKERS,
    "distillation.alpha=0.9": "type distillation.weight=0.9 distillation.label_weight=0.1 (two weights, since alpha "
    "means either of them elsewhere)",
    "lr=0.1": "type optimizer.lr=0.1",
    "gradient_clip_val=1.0": "type trainer.gradient_clip_val=1.0",
    # torchdistill
    "num_epochs=30": "type student.epochs=30 (teacher.epochs is that of the teacher)",
    "max_grad_norm=5": "type trainer.gradient_clip_val=5",
    "grad_accum_step=4": "type trainer.accumulate_grad_batches=4",
    "frozen_modules=[fc]": FREEZE.replace("layer1", "fc"),
    "src_ckpt=t.pt": "type teacher.checkpoint=t.pt",
    "forward_hook=x": "type 'student.layers=[layer3]' 'teacher.layers=[layer3]' ('student.layers=?' lists the layers)",
    "criterion=soft": "type distillation=soft (kd-runner help distillation lists the modes)",
    "test_only=true": "there is nothing of the kind here: another command evaluates a student: "
    "kd-evaluate MODEL FOLDER; evaluate.also and evaluate.corruptions are settings of a run",
    "cache_output=x": "type teacher_outputs=cache",
    # mdistiller
    "SOLVER.LR=0.05": "type optimizer.lr=0.05",
    "SOLVER.LR_DECAY_STAGES=[150,180]": f"type {STEPS} (shares of the stage's epochs, not their numbers)",
    "SOLVER.LR_DECAY_RATE=0.1": "type scheduler=steps scheduler.factor=0.1",
    "KD.TEMPERATURE=4": "type temperature.value=4",
    "KD.LOSS.CE_WEIGHT=0.1": "type distillation.label_weight=0.1",
    "KD.LOSS.KD_WEIGHT=0.9": "type distillation.weight=0.9",
    "DKD.ALPHA=1": "type distillation=dkd distillation.target_weight=1",
    "DKD.BETA=8": "type distillation=dkd distillation.other_weight=8",
    "DISTILLER.STUDENT=resnet": f"type student=resnet ({NETWORKS})",
    "DISTILLER.TYPE=dkd": "type distillation=dkd (kd-runner help distillation lists the modes)",
    "EXPERIMENT.TAG=a": "type 'tags=[a]'",
    "--logit-stand": "type distillation.standardize=true",
    # RepDistiller
    "--path_t=t.pth": "type teacher.checkpoint=t.pth",
    "--model_s=resnet": f"type student={'resnet'} ({NETWORKS})",
    "--model_t=vgg": f"type teacher=vgg ({TEACHERS})",
    "--kd_T=4": "type temperature.value=4",
    "--nce_k=16384": "type distillation=crd distillation.negatives=16384",
    "--feat_dim=128": "type distillation=crd distillation.dimensions=128",
    "--hint_layer=2": "type 'student.layers=[layer3]' 'teacher.layers=[layer3]' ('student.layers=?' lists the layers)",
    "--print_freq=100": "type trainer.log_every=100",
    "--trial=1": "type seed=1",
    # timm
    "--model-ema": "type student.ema=0.999",
    "--clip-grad=1": "type trainer.gradient_clip_val=1",
    "--layer-decay=0.75": "type optimizer.layer_decay=0.75",
    "--smoothing=0.1": "type student.label_smoothing=0.1 (teacher.label_smoothing is that of the teacher, which then "
    "teaches less)",
    "--opt=adamw": "type optimizer=adamw (kd-runner help optimizer lists them)",
    "--sched=cosine": "type scheduler=cosine (kd-runner help scheduler lists them)",
    "--warmup-epochs=5": "type scheduler.warmup=0.05 (a share of the stage's epochs, not their number; "
    "distillation.warmup is that of the mode's weight)",
    "--min-lr=1e-5": "type scheduler.floor=0.01 (a share of optimizer.lr, not a learning rate)",
    "--reprob=0.25": "type dataset.random_erasing=0.25",
    "--amp": "type trainer.precision=bf16-mixed (on a GPU also 16-mixed)",
    "--torchcompile": "type trainer.compile=true",
    "--kd-model-name=vgg": f"type teacher=vgg ({TEACHERS})",
    "--num-classes=10": "there is nothing of the kind here: the number of classes is read from the data; without some "
    "of them: 'student.without_classes=[3]'",
    # Lightning
    "dropout=0.2": "type student.dropout=0.2 (an argument of networks that have it: kd-runner help student.dropout)",
    "max_epochs=5": "type student.epochs=5 (teacher.epochs is that of the teacher)",
    "trainer.max_epochs=5": "type student.epochs=5 (teacher.epochs is that of the teacher)",
    "accumulate_grad_batches=2": "type trainer.accumulate_grad_batches=2",
    "gpus=2": "type trainer.devices=2",
    "log_every_n_steps=10": "type trainer.log_every=10",
    "fast_dev_run=true": "type teacher.epochs=1 student.epochs=1 student.fraction=0.1 (every run tries its networks "
    "and losses on a few images before it trains)",
    "ckpt_path=x": "type resume=FOLDER (the folder of an interrupted run)",
    "strategy=ddp": "type trainer.devices=2 (several devices share a run by DistributedDataParallel)",
    # Hydra's templates, W&B
    "paths.data_dir=/data": "type dataset=image_folder dataset.root=/data",
    "hparams_search=x": "type -m hydra/sweeper=optuna hydra.sweeper.trials=20 'temperature.value=interval(1,8)'",
    "task_name=a": "type name=a",
    "logger=wandb": "there is nothing of the kind here: each run writes TensorBoard events into its folder, and a "
    "report: kd-runner help tracking",
    "wandb.project=a": TRACKERS,
    "project=a": TRACKERS,
    "run_name=a": "type name=a",
    "student.lr=0.1": "type 'student.optimizer={lr: 0.1}'",
    "val_split=a b": "type dataset.val_fraction=…",
}


# Words whose answer has an example, with values that the answer can hold, and with others.
VALUES = {
    "trials=2": "type -m hydra/sweeper=optuna hydra.sweeper.trials=2 'temperature.value=interval(1,8)'",
    "warmup_ratio=0.1": "type scheduler.warmup=0.1",
    "lr_steps=[0.5,0.75]": "type scheduler=steps 'scheduler.milestones=[0.5,0.75]'",
    "seeds=3": "type -m seed=0,1,2",
    "num_seeds=[4,5]": "type -m seed=4,5",
    "seeds=100": "type -m seed='range(100)'",
    "num_runs=few": "type -m seed=0,1,2,3",
    "alpha=0.7": "type distillation.weight=0.7 distillation.label_weight=0.3",
    "alpha=7": "type distillation.weight=0.9 distillation.label_weight=0.1",
    "logit_stand=False": "type distillation.standardize=false",
    "hint_layers=[layer1,layer2]": "type 'student.layers=[layer1,layer2]' 'teacher.layers=[layer1,layer2]'",
    "class_weights=[1,2]": "type 'dataset.class_weights=[1,2]'",
    "class_weight=true": "type dataset.class_weights=balanced",
    "balanced=false": "type dataset.balanced_sampling=false",
    "freeze=features": "type 'student.freeze=[features]'",
    "freeze=true": "type 'student.freeze=[layer1]'",
    "ema_decay=0.99": "type student.ema=0.99",
    "model_ema=true": "type student.ema=0.999",
    "randaugment=3": "type dataset.rand_augment=3",
    "aa=rand-m9": "type dataset.rand_augment=2",
    "hflip=0.5": "type dataset.flip=true",
    "padding=2": "type dataset.crop_padding=2",
    "crop=224": "type dataset.crop_padding=4",
    "min_scale=0.2": "type dataset.resized_crop=0.2",
    "cutout_length=8": "type dataset.cutout=8",
    "n_holes=1": "type dataset.cutout=16",
    "mean=[0.1,0.2,0.3]": "type 'dataset.mean=[0.1,0.2,0.3]'",
    "std=0.3": "type 'dataset.std=[0.3]'",
    "n_splits=10": "type -m folds=10",
    "device=cpu": "type trainer.accelerator=cpu",
    "device=cuda:0": "type trainer.accelerator=auto",
    "compile=false": "type trainer.compile=false",
    "deterministic=false": "type trainer.deterministic=false",
    "monitor=val_loss": "type early_stopping.metric=val_loss",
    "patience=7": "type early_stopping.metric=val_accuracy early_stopping.patience=7",
    "resume_from=outputs/runs/a": "type resume=outputs/runs/a",
    "ckpt_path=a/last.ckpt": "type resume=FOLDER",
    "partition=short": "type -m hydra/launcher=slurm hydra.launcher.partition=short",
    "partition": "type -m hydra/launcher=slurm hydra.launcher.partition=NAME",
    "recipe=article_mlp": "type experiment=article_mlp",
    "config=conf/mine.yaml": "type experiment=NAME",
}


@pytest.mark.parametrize(("typed", "answer"), VALUES.items())
def test_a_value_is_kept_where_the_answer_can_hold_it(typed: str, answer: str) -> None:
    said = answer_for(*typed.partition("=")[::2])
    assert said is not None
    assert said.partition(" (")[0] == answer


def test_every_example_fits_its_entry() -> None:
    for entry in table()["settings"]:
        if "values" in entry and entry["example"].islower() | entry["example"][0].isdigit():
            assert re.fullmatch(entry["values"], entry["example"]), entry["words"]
        assert ("values" in entry) <= ("example" in entry), entry["words"]


@pytest.mark.parametrize(("typed", "answer"), ANSWERS.items())
def test_a_word_of_another_tool_and_its_answer(typed: str, answer: str) -> None:
    assert answer_for(*typed.partition("=")[::2]) == answer


def test_a_number_and_a_name_of_elsewhere_in_place_of_an_option() -> None:
    assert number_for("temperature", "4") == "type temperature.value=4"
    assert number_for("temperature", "warm") is number_for("student", "4") is None
    named = {"distillation=KD": "soft", "distillation=hint": "fitnets", "scheduler=MultiStepLR": "steps"}
    named |= {
        "student=resnet8x4": "resnet_x4 student.depth=8",
        "teacher=wrn_40_2": "wide_resnet teacher.depth=40 teacher.widen_factor=2",
    }
    assert {word: option_for(*word.split("=")) for word in named} == named
    assert option_for("distillation", "nothing") is None


def test_a_line_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def said(word: str, error: str) -> str:
        monkeypatch.setattr("sys.argv", ["kd-runner", word])
        return one_line_message(HydraException(error))

    assert said("lr=0.1", "Could not override 'lr'.\nx") == "lr: no such setting; type optimizer.lr=0.1"
    group = said("temperature=4", "Config group override must be a string or a list. Got int")
    assert group == "temperature: must be one of constant, cosine, learned, linear, got 4; type temperature.value=4"
    listed = "Could not find 'optimizer/SGD'\n\nAvailable options in 'optimizer':\n\tadam\n\tsgd\nConfig"
    assert said("optimizer=SGD", listed) == "optimizer: must be one of adam, sgd, got SGD (did you mean sgd?)"
    # A word that is nearly a setting of the same section is misspelt, whatever it means elsewhere.
    near = said("optimizer.beta=1", "Could not override 'optimizer.beta'.\nx")
    assert near.startswith("optimizer.beta: no such setting (did you mean optimizer.betas?)")


def settings_that_exist() -> set[str]:
    """All keys of the settings with any option, those of Hydra's that conf has, and the groups."""
    keys = {key for key, _ in flat_keys(composed())} | {"hydra.run.dir", "hydra.sweep.dir"}
    keys |= {key.rpartition(".")[0] for key in keys}
    for group in sorted(path.name for path in CONF_DIR.iterdir() if path.is_dir() and path.name != "hydra"):
        keys.add(group)
        for option in options_of(group):
            keys |= {f"{group}.{name}" for name in option_settings(CONF_DIR / group / f"{option}.yaml")}
    for kind in ("launcher", "sweeper"):
        keys.add(f"hydra/{kind}")
        for file in (CONF_DIR / "hydra" / kind).glob("*.yaml"):
            keys |= {f"hydra.{kind}.{name}" for name in OmegaConf.load(file)}
    return keys


def keys_in(text: str) -> Iterator[str]:
    """The settings that a text of the table names: KEY=…, and names with dots of sections."""
    yield from re.findall(r"([\w./]+)=", text)
    yield from re.findall(r"\b((?:dataset|teacher|student|optimizer|scheduler|trainer|distillation|temperature|"
                          r"early_stopping|tracking|hydra)\.[\w.]+\w)", text)  # fmt: skip


def test_every_setting_that_the_table_names_exists() -> None:
    texts = [entry.get(part, "") for entry in table()["settings"] for part in ("type", "say")]
    texts += table()["numbers"].values()
    texts += [
        f"{group}={option}".replace("{group}", group)
        for group, options in table()["options"].items()
        for option in options.values()
    ]
    named = {key for text in texts for key in keys_in(text)}
    assert len(named) > 60
    assert named - settings_that_exist() == set()
    for group, options in table()["options"].items():
        assert {option.split()[0] for option in options.values()} <= set(options_of(group)), group


def test_each_word_stands_in_the_table_once_and_is_no_setting_of_its_answer() -> None:
    words = Counter(word for entry in table()["settings"] for word in entry["words"])
    assert [word for word, count in words.items() if count > 1] == []
    assert [word for word in words if word != word.lower().replace("-", "_")] == []
    assert len(words) > 400


def test_a_word_that_is_added_is_answered_too() -> None:
    with pytest.raises(SettingsError, match=r"^lr: no such setting; type optimizer.lr=0.1$"):
        check(composed("+lr=0.1"))
    with pytest.raises(
        SettingsError, match=r"^early_stopping: must be settings by their keys, got True; type early_st"
    ):
        check({**composed(), "early_stopping": True})
