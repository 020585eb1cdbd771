"""The file formats of an export: what each needs and can do, and the functions that write and run it."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from kd_runner.deploy.export.silence import silence
from kd_runner.errors import SettingsError, one_line

# The module of each format, which is imported when it is asked for: their libraries take seconds.
MODULES = {
    "onnx": "kd_runner.deploy.export.export_onnx",
    "torch_export": "kd_runner.deploy.export.export_torch",
    "openvino": "kd_runner.deploy.export.export_openvino",
    "executorch": "kd_runner.deploy.export.export_executorch",
    "safetensors": "kd_runner.deploy.export.export_safetensors",
}
INPUT, OUTPUT, BATCH = "images", "logits", "batch"  # names in an exported file
SIDES = ("height", "width")  # names of the input's dimensions where they may have any size
SAMPLE = 2  # images that a network is traced with: with one, PyTorch takes the batch for a constant
INT8, BF16, FP16 = "int8", "bf16", "fp16"
HALVES = {BF16: torch.bfloat16, FP16: torch.float16}
Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Export:
    """A file that is to be written, and how.

    Args:
        network: The network, in evaluation mode and on the CPU, from its input to logits [N, K].
        sample: Two images as the network takes them.
        metadata: Texts by name, for the file.
        quantize: The numbers inside: int8, bf16 or fp16; None: float32.
        calibration: Training images as the network takes them, for int8.
        free: The dimensions of the input, beside the first, that may have any size: height and width of pictures.
    """

    network: nn.Module
    sample: Tensor
    metadata: Mapping[str, str]
    quantize: str | None = None
    calibration: Tensor | None = None
    free: tuple[int, ...] = ()


@dataclass(frozen=True)
class Runtime:
    """An exported file, opened by the library that will run it.

    Args:
        name: The library and its version.
        run: Images [N, …] to logits float32 [N, K].
        largest: The most images at once; None: any number.
    """

    name: str
    run: Run
    largest: int | None = None


@dataclass(frozen=True)
class Format:
    """A file format.

    Args:
        ending: The ending of the file's name, with its dot.
        libraries: The modules that must be there, by their whole names.
        extra: The extra of kd-runner that installs them.
        quantized: The values that `--quantize` may have, and the modules that each needs as well.
        graph: True where the file holds the computation, and not weights alone.
        write: Writes the file, and perhaps others beside it that begin with its stem.
        open: Opens it in its own runtime; what holds weights alone also takes the packages that are trusted.
        any_size: True where its input may have any height and width, so that resizing can be in the file.
        beside: The endings of the files that lie beside it and belong to it.
    """

    ending: str
    libraries: tuple[str, ...]
    extra: str
    quantized: Mapping[str, tuple[str, ...]]
    graph: bool
    write: Callable[[Export, Path], None]
    open: Callable[..., Runtime]
    any_size: bool = False
    beside: tuple[str, ...] = ()


def format_of(name: str, quantize: str | None, preprocessing: bool) -> Format:
    """The format of that name.

    Raises:
        SettingsError: it cannot hold what is asked for, or a library is not installed.
    """
    chosen: Format = importlib.import_module(MODULES[name]).FORMAT
    if quantize is not None and quantize not in chosen.quantized:
        can = " or ".join(chosen.quantized)
        raise SettingsError(f"--quantize: must be {can} with --format {name}, got {quantize}")
    if preprocessing and not chosen.graph:
        raise SettingsError(f"--with-preprocessing: has no effect with --format {name}, which holds weights alone")
    needed = [*chosen.libraries, *(chosen.quantized[quantize] if quantize else ())]
    missing = [_library(module) for module in needed if not is_installed(_library(module))]
    install = f"pip install 'kd-runner[{chosen.extra}]'"
    if missing:
        raise SettingsError(f"--format {name}: needs {' and '.join(missing)}, not installed here: {install}")
    for module in needed:
        try:
            with silence():
                importlib.import_module(module)
        except Exception as error:  # of a version that fits neither Python, PyTorch nor another library here
            raise SettingsError(
                f"--format {name}: {_library(module)} {version_of(_library(module))} cannot be used here, with PyTorch "
                f"{torch.__version__} ({one_line(error)[:150]}): another version of it may fit: {install}"
            ) from error
    return chosen


def _library(module: str) -> str:
    return module.partition(".")[0]


def version_of(library: str) -> str:
    """The version of an installed library, for a message."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "(of an unknown version)"


def is_installed(library: str) -> bool:
    """True where the module can be imported, as far as its file tells."""
    try:
        return importlib.util.find_spec(library) is not None
    except (ImportError, ValueError):
        return False


def not_exportable(error: Exception, step: str) -> SettingsError:
    """The error for a network that a library cannot export: the step, and its reason in one line, not too long."""
    reason, cause = one_line(error), error.__cause__ or error
    if isinstance(error, ImportError) or isinstance(cause, ImportError):  # the network is not to blame
        return SettingsError(
            f"{step} of PyTorch {torch.__version__} does not go together with another library here ({reason[:200]}): "
            "pip install --upgrade 'kd-runner[export]'"
        )
    return SettingsError(f"this network cannot be exported ({step}): {reason[:300]}{'…' * (len(reason) > 300)}")
