"""State dicts of published teachers, renamed to the names of our networks (`teacher.checkpoint_format`).

RepDistiller (Tian et al. 2020, arXiv:1910.10699) publishes teachers for CIFAR-100, and mdistiller (Zhao et al. 2022,
arXiv:2203.08679) the same files and others of the same form: dictionaries that `torch.save` wrote, the state dict under
'model'. (Files with their training options in them, called *_last.pth, hold more than plain data and are refused.)
Both name the tensors alike:

    theirs                             ours                                                   option
    resnet8 … resnet110, resnet32x4    the same                                               resnet, resnet_x4
    ResNet50
      shortcut.N                       downsample.N                                           resnet50
      linear                           fc
    wrn_D_K
      blockS.layer.N                   layerS.N                                               wide_resnet
      convShortcut                     downsample
    vggD (with batch norm)
      blockS.N                         N plus the layers of the stages before, each of which  vgg
                                       ends in a ReLU and, the first three, a max-pooling
      classifier                       the layer behind the last ReLU, the mean and flattening

VGG's convolutions have biases there, although batch norm takes them out again. Ours have none: a bias is subtracted
from the running mean of the batch norm behind it, which is the same function in evaluation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

VGG_POOLINGS = 3  # of the published networks on images of 32 pixels

_RENAMED = (
    (re.compile(r"^block(\d+)\.layer\."), r"layer\1."),
    (re.compile(r"\.convShortcut\."), ".downsample."),
    (re.compile(r"\.shortcut\."), ".downsample."),
    (re.compile(r"^linear\."), "fc."),
)
_OF_VGG = re.compile(r"^block(\d+)\.(\d+)\.(.+)$")


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` under our names; what has no counterpart keeps its own, for the network to refuse."""
    if any(_OF_VGG.match(name) for name in state):
        return _renamed_vgg(state)
    ours = {}
    for name, value in state.items():
        for pattern, replacement in _RENAMED:
            name = pattern.sub(replacement, name)
        ours[name] = value
    return ours


def _renamed_vgg(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    places = {name: match for name in state if (match := _OF_VGG.match(name))}
    stages = 1 + max(int(match[1]) for match in places.values())
    starts = [0]
    for stage in range(stages):
        numbers = [int(match[2]) for match in places.values() if int(match[1]) == stage]
        # The ReLU at the end of a stage is not in their block, and it is a layer in ours.
        starts.append(starts[-1] + max(numbers, default=-1) + 2 + (stage < VGG_POOLINGS))
    ours: dict[str, Tensor] = {}
    for name, value in state.items():
        if name in places:
            block, number, rest = places[name].groups()
            ours[f"{starts[int(block)] + int(number)}.{rest}"] = value
        else:
            # Behind the last stage: the mean of the maps and the flattening, which have no tensors.
            ours[name.replace("classifier.", f"{starts[-1] + 2}.", 1)] = value
    return _without_biases(ours)


def _without_biases(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """`state` with the bias of each layer in front of a batch norm moved into the running mean."""
    folded = dict(state)
    for name in [name for name in state if name.endswith(".running_mean")]:
        bias = f"{int(name.partition('.')[0]) - 1}.bias"
        if bias in folded:
            folded[name] = state[name] - folded.pop(bias)
    return folded
