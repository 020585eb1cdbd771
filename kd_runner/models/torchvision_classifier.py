"""Any classifier of torchvision by its name, fitted to the shape of the images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision import models
from torchvision.models.vision_transformer import VisionTransformer

from kd_runner.notes import note
from kd_runner.suggestions import did_you_mean

SMALL = 32  # images of this side or less get the small-image stem


def torchvision_classifier(
    num_classes: int, image_shape: Sequence[int], name: str, pretrained: bool = False
) -> nn.Module:
    """torchvision's `name` with `num_classes` logits [N, num_classes] for images of `image_shape`.

    Published networks shrink an image by 4 before their first block, which leaves too little of 32 pixels. For images
    of 32x32 or less the first convolution therefore does not stride (and is 3x3 where it was larger), a max-pooling
    right behind it is dropped, and a vision transformer's patches are 4x4.

    Args:
        image_shape: (channels, height, width) of the images.
        name: Name as in `torchvision.models.list_models()`: resnet18, mobilenet_v2, vit_b_16, …
        pretrained: True starts from the published ImageNet weights (downloaded by torchvision), with a new classifier
            where the number of classes differs. Layers that are fitted to small images start from random weights.

    Raises:
        ValueError: the name is unknown, or the weights cannot be downloaded.
    """
    names = models.list_models(module=models)
    if name not in names:
        hint = did_you_mean(name, names)
        raise ValueError(f"name must be a classifier of torchvision, got {name!r}{hint}; they are {', '.join(names)}")
    small = min(image_shape[1:]) <= SMALL
    network: Any = _published_network(name) if pretrained else _random_network(name, num_classes, image_shape, small)
    replaced = ["classifier"] if pretrained and _fit_classifier(network, num_classes) else []
    if small and isinstance(network, VisionTransformer):
        _small_patches(network, image_shape[1])
        replaced.append("cut into patches")
    if _fit_stem(network, image_shape[0], small):
        replaced.append("first convolution")
        # Weights that were trained with torchvision's own stem can have the same shapes.
        network.fitted = f"of {name} whose first convolution is fitted to images of {min(image_shape[1:])} pixels"
    if pretrained:
        _note_new_layers(name, replaced)
    if small:
        for module in network.modules():
            if isinstance(module, nn.MaxPool2d):
                module.ceil_mode = True  # five poolings would leave nothing of 28 pixels
    return network


def _random_network(name: str, num_classes: int, image_shape: Sequence[int], small: bool) -> nn.Module:
    """torchvision's network with random weights, for images of `image_shape` where it has a setting for that."""
    arguments: dict[str, object] = {"num_classes": num_classes}
    if name in ("googlenet", "inception_v3"):
        # Their auxiliary classifiers return a tuple in training; a network of kd-runner returns logits.
        arguments |= {"aux_logits": False, "init_weights": True}
    if name.startswith("vit_") and not small:
        arguments["image_size"] = image_shape[1]
    network: nn.Module = models.get_model(name, weights=None, **arguments)
    return network


def _note_new_layers(name: str, replaced: Sequence[str]) -> None:
    """Leaves a note that says which layers do not have published weights, and which images these want."""
    preset = models.get_model_weights(name).DEFAULT.transforms()
    new = f", but for a new {' and a new '.join(replaced)} that must be trained" if replaced else ""
    note(
        "network",
        f"{name} starts from torchvision's weights{new}; they want images with mean {list(preset.mean)} and std "
        f"{list(preset.std)} (dataset.mean, dataset.std)",
    )


def _published_network(name: str) -> nn.Module:
    """torchvision's network with its published weights, as it is published."""
    if name.startswith(("googlenet", "inception", "squeezenet")):
        # googlenet and inception rescale their input and have more heads; squeezenet has no dense layer to replace.
        raise ValueError(f"pretrained must be false for {name}")
    try:
        network: nn.Module = models.get_model(name, weights="DEFAULT")
    except ValueError as error:
        raise ValueError(f"pretrained must be false for {name} ({error})") from error
    except OSError as error:
        file = Path(torch.hub.get_dir(), "checkpoints", Path(str(models.get_model_weights(name)["DEFAULT"].url)).name)
        raise ValueError(
            f"pretrained must be false where the weights of {name} cannot be had ({error}); they may lie in {file}"
        ) from error
    return network


def _fit_classifier(network: nn.Module, num_classes: int) -> bool:
    """Replace the last dense layer where it has another number of classes; True where it has."""
    dense = [(path, module) for path, module in network.named_modules() if isinstance(module, nn.Linear)]
    path, classifier = dense[-1]
    if classifier.out_features == num_classes:
        return False
    network.set_submodule(path, nn.Linear(classifier.in_features, num_classes))
    return True


def _fit_stem(network: nn.Module, image_channels: int, small: bool) -> bool:
    """Replace the first convolution where the images need another, without a max-pooling behind it; True where they do.

    Args:
        image_channels: Channels of the images.
        small: True for images that must not shrink at once.
    """
    path, first = next((path, module) for path, module in network.named_modules() if isinstance(module, nn.Conv2d))
    unstride = small and first.stride != (1, 1) and not isinstance(network, VisionTransformer)
    if first.in_channels == image_channels and not unstride:
        return False
    shape: dict[str, Any] = {"kernel_size": first.kernel_size, "stride": first.stride, "padding": first.padding}
    if unstride:
        shape["stride"] = 1
        if first.kernel_size[0] > 3:
            shape |= {"kernel_size": 3, "padding": 1}
        _drop_first_pool(network)
    stem = nn.Conv2d(image_channels, first.out_channels, bias=first.bias is not None, **shape)
    network.set_submodule(path, stem)
    return True


def _drop_first_pool(network: nn.Module) -> None:
    convolutions = 0
    for path, module in network.named_modules():
        convolutions += isinstance(module, nn.Conv2d)
        if isinstance(module, nn.MaxPool2d) and (convolutions == 1 or path in ("maxpool", "maxpool1")):
            network.set_submodule(path, nn.Identity())
            return


def _small_patches(network: VisionTransformer, side: int, patch: int = 4) -> None:
    """Cut images into 4x4 patches, so that an image of 32x32 is a sequence of 64 and not of 4.

    Raises:
        ValueError: the side of the images is not a multiple of the patch.
    """
    if side % patch:
        raise ValueError(f"a vision transformer needs small images whose side is a multiple of {patch}, got {side}")
    published = network.conv_proj
    network.conv_proj = nn.Conv2d(published.in_channels, published.out_channels, patch, patch)
    network.image_size, network.patch_size = side, patch
    network.seq_length = (side // patch) ** 2 + 1
    network.encoder.pos_embedding = nn.Parameter(
        torch.empty(1, network.seq_length, network.hidden_dim).normal_(std=0.02)
    )
