"""`safetensors`: the weights with what builds the network again, which `kd_runner.load` reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from kd_runner import __version__
from kd_runner.deploy.export.export_formats import BF16, FP16, HALVES, Export, Format, Runtime
from kd_runner.networks import checkpoints


def write(export: Export, path: Path) -> None:
    """Write the file; `bf16` and `fp16` store weights in 16 bits, which become float32 again when they are loaded."""
    import json

    kind = HALVES[export.quantize] if export.quantize else torch.float32
    state = {
        name: tensor.to(kind) if tensor.is_floating_point() else tensor
        for name, tensor in export.network.state_dict().items()
    }
    checkpoints.save(path, state, json.loads(export.metadata["kd_runner"]))


def open_file(path: Path, trust: Sequence[str] = ()) -> Runtime:
    """The file in PyTorch, through `kd_runner.load`."""
    network = checkpoints.load(path, trust)[0].float()

    def run(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            logits: np.ndarray = network(torch.from_numpy(images)).numpy()
            return logits

    return Runtime(f"kd_runner {__version__} and PyTorch {torch.__version__}", run)


FORMAT = Format(".safetensors", (), "export", {BF16: (), FP16: ()}, False, write, open_file)
