"""Why a network from a file may be wrong."""

from __future__ import annotations

import torch

from kd_runner.runs.judging.doubts import as_it_was, best_order, one_class_for_all, other_order


def test_a_relabelling_that_fits_by_chance_does_not_count() -> None:
    generator = torch.Generator().manual_seed(0)
    for images in (20, 60, 126, 1000):
        logits = torch.randn(images, 10, generator=generator)
        assert other_order(logits, torch.arange(images) % 10, list("abcdefghij")) == []


def one_hot(classes: list[int], num_classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(classes), num_classes).float()


def test_one_class_for_all_images_is_named_where_the_labels_differ() -> None:
    labels = torch.tensor([0, 1, 2, 1])
    assert one_class_for_all(one_hot([1, 1, 1, 1], 3), labels, ["a", "b", "c"]) == ['it says "b" for every image']
    assert one_class_for_all(one_hot([1, 1, 1, 0], 3), labels, ["a", "b", "c"]) == []
    assert one_class_for_all(one_hot([1, 1], 3), torch.tensor([2, 2]), ["a", "b", "c"]) == []


def test_classes_that_are_rotated_are_put_in_order() -> None:
    labels = torch.arange(90) % 3
    (text,) = other_order(one_hot(((labels + 1) % 3).tolist(), 3), labels, ["a", "b", "c"])
    assert text == "its classes seem to be in another order: 100.0 % with a→c, b→a, c→b ('teacher.classes=[c,a,b]')"
    (text,) = other_order(
        one_hot(((labels + 1) % 3).tolist(), 3), labels, ["a", "b", "c d"], "teachers.x.classes", ["b", "e", "a", "c d"]
    )
    assert text.endswith("""('teachers.x.classes=[a,e,"c d",b]')""")
    assert best_order((labels + 1) % 3, labels, 3).tolist() == [2, 0, 1]


def test_a_class_that_no_image_speaks_for_keeps_its_place() -> None:
    assert best_order(torch.tensor([0, 0]), torch.tensor([0, 0]), 4).tolist() == [0, 1, 2, 3]


def test_a_network_comes_back_to_its_mode() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout().eval())
    with as_it_was(network):
        assert not any(module.training for module in network.modules())
    assert (network.training, network[0].training, network[1].training) == (True, True, False)
