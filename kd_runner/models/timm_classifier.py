"""Any classifier of timm by its name; timm is an extra package, imported when a network is built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from kd_runner.notes import note
from kd_runner.suggestions import did_you_mean


def timm_classifier(num_classes: int, image_shape: Sequence[int], name: str, pretrained: bool = False) -> nn.Module:
    """timm's `name` with `num_classes` logits [N, num_classes] for images of `image_shape`.

    The network is timm's own, and shrinks an image by 4 or more before its first block: for small images the other
    networks of kd-runner suit better. An architecture with one image size (a transformer) is built for `image_shape`.

    Args:
        image_shape: (channels, height, width) of the images.
        name: Name as in `timm.list_models()`: resnet34, vit_tiny_patch16_224, convnext_atto, …
        pretrained: True starts from published weights (downloaded by timm), with a new classifier where the number of
            classes differs.

    Raises:
        ValueError: timm is not installed, the name is unknown, or the weights cannot be downloaded.
    """
    try:
        import timm
    except ImportError as error:
        raise ValueError("timm is not installed: pip install timm") from error
    names = timm.list_models()
    if name.partition(".")[0] not in names:  # behind the dot is the name of published weights
        hint = did_you_mean(name, names)
        raise ValueError(f"name must be a classifier of timm, got {name!r}{hint}; timm.list_models() has them all")
    arguments: dict[str, Any] = {"num_classes": num_classes, "in_chans": image_shape[0]}
    published = timm.models.get_pretrained_cfg(name)
    if published is not None and published.fixed_input_size:
        arguments["img_size"] = tuple(image_shape[1:])
    if not pretrained:
        return timm.create_model(name, pretrained=False, **arguments)
    try:
        network: nn.Module = timm.create_model(name, pretrained=True, **arguments)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"pretrained must be false where the weights of {name} cannot be had ({error})") from error
    _note_new_layers(name, network.pretrained_cfg, num_classes, image_shape)
    return network


def _note_new_layers(name: str, published: Any, num_classes: int, image_shape: Sequence[int]) -> None:
    """Leaves a note that says which layers do not have published weights, and which images these want."""
    changes = []
    if published.get("num_classes") != num_classes:
        changes.append("a new classifier that must be trained")
    if published.get("input_size", (3,))[0] != image_shape[0]:
        changes.append(f"a first layer fitted to {image_shape[0]} channels")
    new = f", with {' and '.join(changes)}" if changes else ""
    note(
        "network",
        f"{name} starts from timm's weights{new}; they want images with mean {list(published.get('mean', ()))} and "
        f"std {list(published.get('std', ()))} (dataset.mean, dataset.std)",
    )
