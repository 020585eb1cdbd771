"""`kd-runner help`: what it says of settings, groups and options, and that it leaves none out."""

from __future__ import annotations

import pytest
from conftest import composed

from kd_runner.command_line.explain import ABOUT, comments_of, description_of, explanation, kind_of
from kd_runner.command_line.messages import help_text
from kd_runner.command_line.option_files import options_of
from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.errors import SettingsError


def test_the_help_fits_a_screen_and_says_what_to_type_and_where_results_are() -> None:
    lines = help_text().splitlines()
    assert 24 <= len(lines) <= 40
    assert max(map(len, lines)) <= 120
    text = "\n".join(lines)
    wanted = ["  kd-runner  ", "outputs/runs/", "report.html", "kd-report", "kd-predict", "kd-runner store"]
    assert [word for word in [*wanted, *ABOUT] if word not in text] == []
    assert "${" not in text


def test_a_setting_with_its_comment_range_and_default() -> None:
    assert explanation(["student.pruning.scope"]) == (
        "student.pruning.scope\n"
        "  layer: the same share of each layer; global: the smallest weights of the network\n"
        "  takes    one of global, layer\n"
        "  default  layer\n"
        "  type     kd-runner student.pruning.scope=layer"
    )
    assert explanation(["optimizer.lr"]).endswith("  default  0.01\n  type     kd-runner optimizer.lr=0.01")
    kinds = {
        "student.fraction": "number, above 0 and at most 1",
        "seed": "whole number, 0 or more",
        "teacher.label_smoothing": "number, 0 or more and below 1",
        "trainer.quantize": "int8 or null",
        "baseline": "true or false",
        "tags": "list of text",
        "dataset.rand_augment_magnitude": "whole number, 0 to 30",
        "nothing.of.this": "",
    }
    assert {key: kind_of(key) for key in kinds} == kinds


def test_an_option_a_group_a_bare_name_and_a_setting_of_other_options() -> None:
    assert "2 to 8 on CIFAR-100" in explanation(["distillation=dkd"])
    assert explanation(["dkd"]) == explanation(["distillation=dkd"])
    group = explanation(["temperature"])
    assert all(f"  {option} " in group for option in options_of("temperature"))
    assert explanation(["student.depth"]).startswith("student.depth: a setting of these options of student\n\n  stud")
    assert explanation(["patience"]).startswith("early_stopping.patience\n  epochs without improvement")
    assert explanation(["grad_clip"]).startswith("grad_clip: no such setting; type trainer.gradient_clip_val=…")
    with pytest.raises(
        SettingsError, match=r"^help: optimzer is no setting, group, option or command \(did you mean optim"
    ):
        explanation(["optimzer"])
    with pytest.raises(SettingsError, match=r"^help: student=nope is no option; there is cifar_cnn, "):
        explanation(["student=nope"])


def test_a_command_and_what_has_its_name() -> None:
    assert explanation(["stop"]) == (
        "stop: a command: kd-runner stop SWEEP [JOB …] ends a sweep that runs in another terminal, or some of its "
        "jobs; kd-runner stop --help"
    )
    for word in ("export", "kd-export", "onnx", "openvino"):
        assert explanation([word]).startswith(f"{word}: a command: kd-export RUN --format ")
    report, store = explanation(["verify"]).split("\n")
    assert report.startswith("verify: a command: kd-report --verify RUN ")
    assert store.endswith("; kd-runner store --help")
    first, setting = explanation(["store"]).split("\n\n")
    assert first.startswith("store: a command: kd-runner store [list|verify|prune] lists")
    assert setting.startswith("store\n  folder of networks")
    assert "evaluate.corruptions" in explanation(["evaluate"])
    assert "\n\nstudent.pruning.start\n" in explanation(["start"])
    assert "\n\nstudent.init\n" in explanation(["init"])
    with pytest.raises(SettingsError, match=r"^help: exprot is no .* \(did you mean export\?\)"):
        explanation(["exprot"])


def test_the_list_has_every_setting_and_every_option() -> None:
    text = explanation([])
    lacking = [key for key in composed() if f"  {key}" not in text]
    assert lacking == []
    assert [option for group in ABOUT for option in options_of(group) if option not in text] == []
    assert max(map(len, text.splitlines())) <= 100
    assert [group.name for group in CONF_DIR.iterdir() if group.is_dir() and group.name not in {*ABOUT, "hydra"}] == []


def test_comments_above_behind_and_below_a_key() -> None:
    comments = comments_of(CONF_DIR / "config.yaml")
    assert (
        comments["student.pruning.amount"]
        == "share of the weights of convolutions and dense layers, such as 0.8; 0: none"
    )
    assert comments["student.fraction"].startswith("share of the training images of each class")
    assert comments["teacher_outputs"].startswith("Where the teacher's outputs for training images come from.")
    pack = comments_of(CONF_DIR / "hydra" / "launcher" / "pool.yaml")["pack"]
    assert pack.endswith("auto: as many as keep all slots busy; off: none")
    assert description_of(CONF_DIR / "distillation" / "none.yaml").startswith("The student learns from labels alone")


def test_a_default_that_the_data_set_may_replace_is_shown_as_it_is_typed() -> None:
    assert "  distillation.weight=1000.0 (dataset=digits: 30.0)" in explanation(["distillation=at"])
    assert "  optimizer.lr=0.001 (dataset=digits: 0.01)" in explanation(["optimizer=adam"])
    assert "  temperature.value=4.0 (or distillation.default_temperature)" in explanation(["temperature=constant"])
