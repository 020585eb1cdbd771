"""trainer.quantize=int8: student and baseline train with 8 bits, their teacher and what is saved do not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import kd_runner
from kd_runner.config.settings import check
from kd_runner.errors import SettingsError
from kd_runner.networks.fake_quantization import RoundedConv2d, RoundedLinear
from kd_runner.runs.assembly import assemble
from kd_runner.runs.data import read_data, view_of
from kd_runner.runs.stages.labels_only import ingredients

SMALL = [f"{role}.{setting}" for role in ("teacher", "student") for setting in ("channels=[4]", "pool=1")]
TINY = ("dataset=digits", "teacher=cnn", "student=cnn", *SMALL)


def test_student_and_baseline_round_the_teacher_does_not_and_the_store_tells_them_apart(settings):
    plain, rounding = assemble(settings(*TINY)), assemble(settings(*TINY, "trainer.quantize=int8"))
    kinds = (RoundedConv2d, RoundedLinear)
    assert sum(isinstance(module, kinds) for module in rounding.student.modules()) == 2
    assert sum(isinstance(module, kinds) for module in rounding.labels_only("baseline").network.modules()) == 2
    assert not any(isinstance(module, kinds) for module in rounding.teacher.modules())
    assert not any(isinstance(module, kinds) for module in plain.student.modules())
    for name, weights in plain.student.state_dict().items():
        assert torch.equal(weights, rounding.student.state_dict()[name])

    def made_of(parts, stage):
        return ingredients(parts.labels_only(stage), parts.settings, parts.data)

    assert made_of(plain, "teacher") == made_of(rounding, "teacher")
    assert made_of(rounding, "baseline") == made_of(plain, "baseline") | {"quantize": "int8"}
    assert "quantize" not in made_of(plain, "baseline")
    assert plain.fingerprint() != rounding.fingerprint()
    assert "quantize" not in json.dumps(plain.settings.decisive())


def test_what_a_mode_deploys_rounds_too(settings):
    parts = assemble(settings(*TINY, "distillation=simkd", "trainer.quantize=int8"))
    pairing = parts.teacher_student_pair()
    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    layers = [module for module in pairing.student.network.modules() if isinstance(module, kinds)]
    assert len(layers) == 5  # the student's convolution, three of the projector, and the teacher's classifier
    assert all(isinstance(layer, (RoundedConv2d, RoundedLinear)) for layer in layers)
    assert not any(isinstance(module, (RoundedConv2d, RoundedLinear)) for module in pairing.teacher.network.modules())


@pytest.mark.slow
def test_a_run_saves_a_network_in_float32_whose_weights_learned_to_be_rounded(result_of, tmp_path):
    results = [result_of(*TINY, *words) for words in ((), ("trainer.quantize=int8",))]
    networks = [kd_runner.load(tmp_path / f"run{number}" / "student_last.safetensors")[0] for number in range(2)]
    assert not any(isinstance(module, RoundedConv2d) for module in networks[1].modules())
    assert not torch.equal(networks[0][0].weight, networks[1][0].weight)
    assert results[0]["teacher"]["accuracy"] == results[1]["teacher"]["accuracy"]
    assert results[0]["fingerprint"] != results[1]["fingerprint"]


@pytest.mark.slow
@pytest.mark.parametrize("words", [("trainer.quantize=int8",), ("trainer.precision=bf16-mixed", "peers=2")])
def test_all_networks_are_judged_in_float32_on_the_validation_images(result_of, settings, tmp_path, words):
    result = result_of(*TINY, *words, "student.epochs=3")
    made = settings(*TINY, *words)
    splits = read_data(made)
    view = view_of(made.dataset, splits, channels_last=False)
    images = view.normalise(splits.val.images.permute(0, 2, 3, 1).contiguous())

    def accuracy(name: str) -> float:
        network, _ = kd_runner.load(tmp_path / "run0" / name)
        with torch.inference_mode():
            return float((network(images).argmax(1) == splits.val.labels).double().mean())

    student = result["student"]
    assert student["val_accuracy"] == pytest.approx(accuracy("student_last.safetensors"))
    assert student["best_val"]["val_accuracy"] == pytest.approx(accuracy("student_best.safetensors"))
    if result["baseline"]:
        assert result["baseline"]["val_accuracy"] == pytest.approx(accuracy("baseline.safetensors"))
    for peer in (result.get("peers") or {}).get("networks", []):
        assert peer["val_accuracy"] == pytest.approx(accuracy(Path(peer["checkpoint"]).name))


def test_several_devices_and_a_wrong_word_are_one_line(settings):
    with pytest.raises(SettingsError, match=r"trainer\.quantize: must be null where 2 devices share the run"):
        assemble(settings(*TINY, "trainer.quantize=int8", "trainer.devices=2", "trainer.accelerator=cpu"))
    with pytest.raises(SettingsError, match=r"trainer\.quantize: must be 'int8', got 'int4'"):
        settings(*TINY, "trainer.quantize=int4")


def test_settings_of_a_version_without_it_are_the_same(settings):
    content = settings(*TINY).plain()
    content["trainer"].pop("quantize")
    assert check(content).decisive() == settings(*TINY).decisive()
