"""State dicts of published teachers, under the names of our networks (`teacher.checkpoint_format`).

RepDistiller (Tian et al. 2020, arXiv:1910.10699) publishes teachers for CIFAR-100, and mdistiller (Zhao et al. 2022,
arXiv:2203.08679) the same files and others of the same form: dictionaries that `torch.save` wrote, the state dict under
'model'. Both name the tensors alike:

    published                          this package                                           option
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

The published VGG's convolutions have biases, although batch norm takes them out again. Ours have none: a bias is
subtracted from the running mean of the batch norm behind it, which is the same function in evaluation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from kd_runner.networks.candidates import WRAPPERS
from kd_runner.networks.weight_files import Entry, shared_start

VGG_POOLINGS = 3  # of the published networks on images of 32 pixels

_RENAMINGS = (
    (re.compile(r"^block(\d+)\.layer\."), r"layer\1."),
    (re.compile(r"\.convShortcut\."), ".downsample."),
    (re.compile(r"\.shortcut\."), ".downsample."),
    (re.compile(r"^linear\."), "fc."),
)
_OF_VGG = re.compile(r"^block(\d+)\.(\d+)\.(.+)$")


def renamed_entries(entries: Sequence[Entry]) -> list[Entry]:
    """A file's tensors under our names; a prefix that all names of a dictionary share stays in front."""
    dictionaries: dict[tuple[str, ...], dict[str, Tensor]] = {}
    for entry in entries:
        dictionaries.setdefault(entry.path[:-1], {})[entry.path[-1]] = entry.tensor
    return [
        Entry((*path, name), tensor)
        for path, state in dictionaries.items()
        for name, tensor in _rename_below_prefix(state).items()
    ]


def _rename_below_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    parts = {name: name.split(".") for name in state}
    shared = len(shared_start([name_parts[:-1] for name_parts in parts.values()])) if len(state) > 1 else 0
    prefix = "".join(f"{part}." for part in next(iter(parts.values()))[:shared])
    bare = {
        ".".join(part for part in name_parts[shared:] if part not in WRAPPERS): state[name]
        for name, name_parts in parts.items()
    }
    return {f"{prefix}{name}": tensor for name, tensor in rename_entries(bare).items()}


def rename_entries(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` under our names; a name without a counterpart stays, for the network to refuse."""
    if any(_OF_VGG.match(name) for name in state):
        return _rename_vgg(state)
    renamed = {}
    for name, value in state.items():
        for pattern, replacement in _RENAMINGS:
            name = pattern.sub(replacement, name)
        renamed[name] = value
    return renamed


def _rename_vgg(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    matches = {name: match for name in state if (match := _OF_VGG.match(name))}
    stages = 1 + max(int(match[1]) for match in matches.values())
    starts = [0]
    for stage in range(stages):
        numbers = [int(match[2]) for match in matches.values() if int(match[1]) == stage]
        # The ReLU at the end of a stage is not in the published block, and it is a layer of our network.
        starts.append(starts[-1] + max(numbers, default=-1) + 2 + (stage < VGG_POOLINGS))
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        if name in matches:
            block, number, parameter = matches[name].groups()
            renamed[f"{starts[int(block)] + int(number)}.{parameter}"] = value
        else:
            # Behind the last stage: the mean of the maps and the flattening, which have no tensors.
            renamed[name.replace("classifier.", f"{starts[-1] + 2}.", 1)] = value
    return _fold_biases(renamed)


def _fold_biases(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """`state` with the bias of each layer in front of a batch norm moved into the running mean."""
    folded = dict(state)
    for name in [name for name in state if name.endswith(".running_mean")]:
        number = name.partition(".")[0]
        bias = f"{int(number) - 1}.bias" if number.isdecimal() else ""
        if bias in folded and folded[bias].shape == state[name].shape:
            folded[name] = state[name] - folded.pop(bias)
    return folded
