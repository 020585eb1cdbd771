"""The teacher's outputs for batches: the logits of the network in evaluation mode, once or for two views."""

from __future__ import annotations

import pytest
import torch
from small_training import SHAPE, data, network, sgd, view

from kd_runner.input_pipeline.batches import PlainBatches, TrainingBatches
from kd_runner.models.plain_cnn import plain_cnn
from kd_runner.networks.observed import Observed
from kd_runner.schedule import Constant
from kd_runner.training.recipe import Recipe
from kd_runner.training.teacher_outputs import OnlineTeacher

RECIPE = Recipe(sgd, Constant(), 2, 0)
CPU = torch.device("cpu")


@pytest.mark.parametrize("strong", [False, True])
def test_the_outputs_are_those_of_the_network_in_evaluation_mode(strong: bool) -> None:
    teacher = network(2).train()
    batches = TrainingBatches(data(), view(), 8, seed=0, strong=strong)
    online = OnlineTeacher(Observed(teacher))
    online.begin(batches, RECIPE, CPU, is_asked=True)
    assert not any(module.training for module in teacher.modules())
    batch = next(batches.batches())
    outputs = online.of_batch(batch)
    torch.testing.assert_close(outputs.logits, teacher(batch.images), rtol=1e-5, atol=1e-6)
    assert not outputs.logits.is_inference()
    assert not outputs.logits.requires_grad
    if strong:
        assert outputs.strong is not None
        torch.testing.assert_close(outputs.strong.logits, teacher(batch.strong), rtol=1e-5, atol=1e-6)
    else:
        assert outputs.strong is None


def test_a_last_smaller_batch_passes_with_as_many_images_as_the_others() -> None:
    teacher = plain_cnn(3, SHAPE, [4, 6], [8], pool=0, batch_norm=False)  # which nothing makes faster
    sizes: list[int] = []
    teacher.register_forward_hook(lambda _module, inputs, _output: sizes.append(len(inputs[0])))
    batches = TrainingBatches(data(19), view(), 8, seed=0)
    online = OnlineTeacher(Observed(teacher))
    online.begin(batches, RECIPE, CPU, is_asked=True)
    logits = {len(batch.labels): online.of_batch(batch).logits for batch in batches.batches()}
    assert sizes == [8, 8, 8]
    last = list(batches.batches())[-1]
    torch.testing.assert_close(logits[3], teacher(last.images), rtol=1e-5, atol=1e-6)
    # The logits of an image are the same whichever batch it is in.
    rest = next(batches.batches(torch.cat([last.indices, torch.arange(5)])))
    assert torch.equal(online.of_batch(rest).logits[:3], logits[3])
    assert torch.equal(online.logits_of(last.images), logits[3])


def test_a_batch_of_validation_images_goes_through_the_network_once() -> None:
    teacher = network(2)
    calls: list[int] = []
    teacher.register_forward_hook(lambda *_: calls.append(1))
    online = OnlineTeacher(Observed(teacher))
    online.begin(TrainingBatches(data(), view(), 8, seed=0), RECIPE, CPU, is_asked=False)
    validation = list(PlainBatches(data(), view(), 20))
    first = [online.of_validation(batch) for batch in validation]
    again = [online.of_validation(batch) for batch in validation]
    assert len(calls) == len(validation)
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))


def test_batches_of_validation_images_of_another_size_are_other_batches() -> None:
    """Runs that share logits: 44 images in batches of 28 and 16, and in batches of 16, 16 and 12."""
    images = data(44)
    online = OnlineTeacher(Observed(network(2)))
    online.begin(TrainingBatches(images, view(), 8, seed=0), RECIPE, CPU, is_asked=False)
    for size in (28, 16, 28):
        for batch in PlainBatches(images, view(), size):
            with torch.inference_mode():
                assert torch.equal(online.of_validation(batch), network(2).eval()(batch.images))
    assert list(online.validation_logits) == [(0, 28), (28, 16), (0, 16), (16, 16), (32, 12)]
