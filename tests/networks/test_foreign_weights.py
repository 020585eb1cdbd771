"""The weights of a network in files of others: found bit by bit the same, or refused with the file's own names."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import composed
from foreign_files import GOOD, NOISE, mlp, refusal, same, taken, under
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from kd_runner.config.settings import check
from kd_runner.errors import SettingsError
from kd_runner.networks import checkpoints
from kd_runner.networks.foreign_weights import weights_of
from kd_runner.networks.weight_files import Entry, read_tensors
from kd_runner.notes import collected_notes
from kd_runner.runs.assembly import assemble

WRAPPED: list[tuple[Any, list[str]]] = [
    (GOOD, []),
    (under("_orig_mod."), ["prefix '_orig_mod.' removed"]),
    ({"epoch": 3, "state_dict": under("model.")}, ["weights taken from 'state_dict', prefix 'model.' removed"]),
    ({"net": under("module."), "acc": 93.1}, ["weights taken from 'net', prefix 'module.' removed"]),
    ({"state_dict": GOOD, "args": argparse.Namespace(lr=0.1)}, ["weights taken from 'state_dict'"]),
    (
        {"a": [0, {"b": {"whatever": under("_orig_mod.module.backbone.")}}]},
        ["weights taken from 'a.1.b.whatever', prefix '_orig_mod.module.backbone.' removed"],
    ),
    (
        {name.replace("1.", "1._orig_mod.", 1) if name[0] == "1" else name: value for name, value in GOOD.items()},
        ["'_orig_mod' removed from 2 names"],
    ),
    (
        {"net": {f"module.{name}" if name[0] == "1" else name: value for name, value in GOOD.items()}},
        ["weights taken from 'net', 'module' removed from 2 names"],
    ),
    (
        {"model": {"1": {"weight": GOOD["1.weight"], "bias": GOOD["1.bias"]}, "3": {**{
            name.removeprefix("3."): value for name, value in GOOD.items() if name[0] == "3"}}}},
        ["weights taken from 'model'"],
    ),
    (
        {"n_averaged": torch.tensor(3), **under("module.")},
        ["prefix 'module.' removed", "passed over, as it is not of the network: n_averaged"],
    ),
    (
        {**GOOD, "total_ops": torch.zeros(1), "1.total_params": torch.zeros(1), "criterion.weight": torch.ones(10)},
        ["passed over, as it is not of the network: total_ops, 1.total_params, criterion.weight"],
    ),
    (
        {"state_dict": {**under("model."), "loss_fn.weight": torch.ones(10), "projector.weight": torch.ones(2, 2)}},
        ["weights taken from 'state_dict', prefix 'model.' removed",
         "passed over, as it is not of the network: state_dict.loss_fn.weight, state_dict.projector.weight"],
    ),
    ({"model": GOOD, "ema": {name: value.clone() for name, value in GOOD.items()}}, ["weights taken from 'model'"]),
    ({name: nn.Parameter(value) for name, value in GOOD.items()}, []),
    (
        {name: value.numpy() for name, value in GOOD.items()},
        ["NumPy arrays are read as tensors: 1.weight and 3 more"],
    ),
    ({"model": GOOD, "optimizer": {"state": {0: {"exp_avg": torch.zeros(16, 64)}}}}, ["weights taken from 'model'"]),
]  # fmt: skip


@pytest.mark.parametrize(("content", "notes"), WRAPPED)
def test_weights_are_found_in_any_wrapping_and_it_is_said(tmp_path: Path, content: Any, notes: list[str]) -> None:
    weights = taken(content, tmp_path / "net.pth")
    assert same(weights.state, GOOD)
    assert weights.notes == [f"net.pth: {text}" for text in notes]


def test_safetensors_with_a_prefix(tmp_path: Path) -> None:
    save_file(under("model.module."), tmp_path / "net.safetensors")
    weights = weights_of(
        mlp(), read_tensors(tmp_path / "net.safetensors")[0], None, "teacher.checkpoint", "net.safetensors"
    )
    assert same(weights.state, GOOD)
    assert weights.notes == ["net.safetensors: prefix 'model.module.' removed"]


SEVERAL: list[tuple[Any, str, str]] = [
    ({"state_dict": NOISE, "state_dict_ema": GOOD, "epoch": 3}, "state_dict", "state_dict_ema"),
    ({"params_ema": GOOD, "params": NOISE}, "params", "params_ema"),
    ({"ema": {"module": under("model.")}, "model": NOISE}, "model", "ema.module.model"),
    ({"state_dict": {**under("student."), **under("teacher.", NOISE)}}, "state_dict.teacher", "state_dict.student"),
    ({"optim": {"exp_avg": GOOD}, "weights": NOISE}, "weights", "optim.exp_avg"),
]


@pytest.mark.parametrize(("content", "usual", "other"), SEVERAL)
def test_among_several_the_usual_is_taken_and_the_key_of_the_other_is_said(
    tmp_path: Path, content: Any, usual: str, other: str
) -> None:
    weights = taken(content, tmp_path / "net.pth")
    assert same(weights.state, NOISE)
    assert f"not from {other!r}, which fits, too (teacher.checkpoint_key={other} takes it)" in weights.notes[0]
    short = other.split(".")[-1]  # what stands before it may be left out
    for key, state in ((usual, NOISE), (other, GOOD), (short, NOISE if short == usual else GOOD)):
        chosen = taken(content, tmp_path / "net.pth", key)
        assert same(chosen.state, state), key
        assert "which fits, too" not in chosen.notes[0]


def test_a_wrong_key_is_refused_with_the_keys_that_there_are(tmp_path: Path) -> None:
    content = {"state_dict": NOISE, "state_dict_ema": GOOD, "optimizer": {"state": {0: {"step": torch.ones(1)}}}}
    assert refusal(content, tmp_path / "net.pth", "ema") == (
        "teacher.checkpoint_key: net.pth has no 'ema'; it has state_dict, state_dict_ema, optimizer.state.0"
    )
    assert refusal(content, tmp_path / "net.pth", "optimizer").startswith(
        "teacher.checkpoint_key: 'optimizer' of net.pth does not fit the network: 1.weight is missing, and "
    )
    assert refusal(GOOD, tmp_path / "net.pth", "model").endswith(
        "net.pth has no 'model'; it has no keys above 1.weight, 1.bias, 3.weight and 1 more"
    )


parts = st.sampled_from(["state_dict", "model", "net", "module", "_orig_mod", "weights", "x", "a.b", "0", "1", "ema"])


@hypothesis_settings(max_examples=50, deadline=None, derandomize=True)
@given(
    wrappers=st.lists(parts, max_size=4),
    prefix=st.lists(parts, max_size=3),
    beside=st.lists(st.sampled_from(["epoch", "optimizer", "other"]), unique=True),
    listed=st.booleans(),
)
def test_any_nesting_and_prefix_loads_bit_by_bit(
    tmp_path_factory: pytest.TempPathFactory, wrappers: list[str], prefix: list[str], beside: list[str], listed: bool
) -> None:
    extras = {"epoch": 3, "optimizer": {"state": {0: torch.ones(2)}}, "other": {"1.weight": torch.ones(3, 3)}}
    content: Any = under("".join(f"{part}." for part in prefix))
    for wrapper in wrappers:
        content = {**{name: extras[name] for name in beside}, wrapper: [content] if listed else content}
    weights = taken(content, tmp_path_factory.mktemp("any") / "net.pth")
    assert same(weights.state, GOOD)
    assert len(weights.notes) == (1 if wrappers or prefix else 0)


def given_teacher(path: Path, *overrides: str) -> tuple[nn.Module, list[str]]:
    fixed = ("teacher=mlp", "teacher.hidden=[16]", f"teacher.checkpoint={path}", f"store={path.parent / 'store'}")
    with collected_notes() as notes:
        teacher = assemble(check(composed(*fixed, *overrides))).teacher
    return teacher, notes


def test_a_run_says_what_it_took_and_what_the_file_leaves_open(tmp_path: Path) -> None:
    path = tmp_path / "with_ema.pth.tar"
    torch.save({"state_dict": NOISE, "state_dict_ema": GOOD, "epoch": 3, "metric": 88.1}, path)
    teacher, notes = given_teacher(path)
    assert same(teacher.state_dict(), NOISE)
    assert notes[0].startswith(
        f"{path} does not say how its images were normalised: it is given mean [0.3058] and std "
    )
    assert notes[0].endswith("(dataset.mean, dataset.std); its outputs are taken as '0', '1', '2', …")
    _, unused = given_teacher(path, "teacher.head=none", "distillation=rkd")
    assert unused[0].endswith("(dataset.mean, dataset.std); its last layer is not used")
    assert notes[1] == (
        f"{path}: weights taken from 'state_dict', not from 'state_dict_ema', which fits, too "
        "(teacher.checkpoint_key=state_dict_ema takes it)"
    )
    teacher, notes = given_teacher(
        path, "teacher.checkpoint_key=state_dict_ema", "dataset.mean=[0.5]", "dataset.std=[1]"
    )
    assert same(teacher.state_dict(), GOOD)
    assert "mean [0.5] and std [1.0], as set (dataset.mean, dataset.std)" in notes[0]
    _, notes = given_teacher(path, "dataset.mean=[0.3]", "teacher.label_smoothing=0.1")
    assert "mean as set, std measured on the training images (dataset.mean, dataset.std)" in notes[0]
    with pytest.raises(
        SettingsError, match=r"^teacher\.checkpoint_key: .* has no 'foo'; it has state_dict, state_dict"
    ):
        given_teacher(path, "teacher.checkpoint_key=foo")


def test_the_chosen_weights_are_those_that_a_run_teaches_with(result_of: Callable[..., Any], tmp_path: Path) -> None:
    options = ("teacher=mlp", "teacher.hidden=[16]", "baseline=false")
    trained = result_of(*options, "teacher.epochs=3", "optimizer.lr=0.01")
    good = {entry.name: entry.tensor for entry in read_tensors(tmp_path / "run0" / "teacher.safetensors")[0]}
    path = tmp_path / "with_ema.pth.tar"
    torch.save({"state_dict": NOISE, "state_dict_ema": under("module.", good)}, path)
    raw = result_of(*options, f"teacher.checkpoint={path}")
    averaged = result_of(*options, f"teacher.checkpoint={path}", "teacher.checkpoint_key=state_dict_ema")
    assert averaged["teacher"]["accuracy"] == trained["teacher"]["accuracy"] > raw["teacher"]["accuracy"] + 0.2
    assert any("teacher.checkpoint_key=state_dict_ema.module takes it" in text for text in raw["notes"])
    assert averaged["fingerprint"] != raw["fingerprint"]


def saved(path: Path, **changes: Any) -> Path:
    """A file of kd-runner's own, of the digits."""
    info = {
        "network": {"_target_": "kd_runner.models.mlp.mlp", "hidden": [16]},
        "num_classes": 10,
        "image_shape": [1, 8, 8],
        "classes": [str(number) for number in range(10)],
        "mean": [0.5],
        "std": [0.4],
    }
    checkpoints.save(path, GOOD, {**info, **changes})
    return path


VIEW = ("dataset.mean=[0.5]", "dataset.std=[0.4]")


def test_a_file_of_kd_runners_own_says_it_all(tmp_path: Path) -> None:
    teacher, notes = given_teacher(saved(tmp_path / "net.safetensors"), *VIEW)
    assert same(teacher.state_dict(), GOOD)
    assert notes == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"mean": [0.52]}, "was trained with dataset.mean=[0.52], and is given images with [0.5], as this run has it"),
        ({"std": [0.43]}, "was trained with dataset.std=[0.43], and is given images with [0.4], as this run has it"),
        (
            {"network": {"_target_": "kd_runner.models.mlp.mlp", "hidden": [16], "dropout": 0.5}},
            "was saved of a network with other settings, whose weights fit all the same: dropout was 0.5, is ",
        ),
    ],
)
def test_small_differences_of_a_saved_teacher_are_said(tmp_path: Path, changes: Any, text: str) -> None:
    path = saved(tmp_path / "net.safetensors", **changes)
    teacher, notes = given_teacher(path, *VIEW)
    assert same(teacher.state_dict(), GOOD)
    assert len(notes) == 1
    assert notes[0].startswith(f"{path} {text}")


@pytest.mark.parametrize(
    ("changes", "overrides", "text"),
    [
        ({"mean": [0.6]}, (), r"was trained with dataset\.mean=\[0\.6\], this run has \[0\.5\]"),
        (
            {"image_shape": [1, 16, 16]},
            (),
            r"was trained with image_shape \[1, 16, 16\], this run shows it \[1, 8, 8\] \(teacher.input.size",
        ),
        ({"classes": [*"1023456789"]}, (), r"was trained with classes \['1', '0', .*this data set has \['0', '1'"),
        ({}, ("teacher.checkpoint_key=model",), r"was saved by kd-runner: checkpoint_key must be null"),
    ],
)
def test_a_saved_teacher_of_other_images_is_refused(
    tmp_path: Path, changes: Any, overrides: tuple[str, ...], text: str
) -> None:
    path = saved(tmp_path / "net.safetensors", **changes)
    with pytest.raises(SettingsError, match=rf"^teacher\.checkpoint: .*{text}"):
        given_teacher(path, *VIEW, *overrides)


def test_a_key_of_a_further_teacher(tmp_path: Path) -> None:
    path = tmp_path / "both.pth"
    torch.save({"state_dict": NOISE, "ema": GOOD}, path)
    second = (
        f"+teachers.b={{_target_: kd_runner.models.mlp.mlp, hidden: [16], checkpoint: {path}, checkpoint_key: ema}}"
    )
    parts = assemble(check(composed(second, f"store={tmp_path / 'store'}")))
    assert same(parts.teachers["teachers.b"].state_dict(), GOOD)
    with pytest.raises(SettingsError, match=r"^teachers\.b\.checkpoint_key: .* has no 'x'; it has state_dict, ema$"):
        assemble(check(composed(second.replace("key: ema", "key: x"), f"store={tmp_path / 'store'}")))


def test_the_chosen_weights_decide_the_result(tmp_path: Path) -> None:
    plain = check(composed("teacher.checkpoint=x.pth")).decisive()
    chosen = check(composed("teacher.checkpoint=x.pth", "teacher.checkpoint_key=ema")).decisive()
    assert "checkpoint_key" not in plain["teacher"]
    assert chosen["teacher"].pop("checkpoint_key") == "ema"
    assert chosen == plain
    for override in ("teacher.checkpoint_key=ema", "+teachers.b={_target_: x, checkpoint_key: ema}"):
        with pytest.raises(
            SettingsError, match=r"checkpoint_key: has no effect without teacher\.checkpoint, got 'ema'"
        ):
            check(composed(override))


def test_places_come_from_entries_alone() -> None:
    entries = [Entry(("x", f"module.{name}"), value) for name, value in GOOD.items()]
    assert same(weights_of(mlp(), entries, "x", "teacher.checkpoint", "file").state, GOOD)


def test_a_torch_file_with_the_name_of_a_safetensors_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    torch.save(GOOD, path)
    teacher, _ = given_teacher(path)
    assert same(teacher.state_dict(), GOOD)


def test_weights_that_fit_under_another_key_are_not_said_to_be_of_no_network(tmp_path: Path) -> None:
    path = tmp_path / "both.pth"
    both = {
        f"{role}.{name}": value
        for role, state in (("student", GOOD), ("teacher", NOISE))
        for name, value in state.items()
    }
    torch.save(both | {"other": torch.zeros(3)}, path)
    teacher, notes = given_teacher(path, "teacher.checkpoint_key=student")
    assert same(teacher.state_dict(), GOOD)
    (unchosen,) = (text for text in notes if "not chosen by teacher.checkpoint_key=student" in text)
    assert "teacher.1.weight" in unchosen
    (passed,) = (text for text in notes if "passed over" in text)
    assert passed.endswith("as it is not of the network: other")
