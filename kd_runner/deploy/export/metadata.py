"""The metadata of a file: how to feed it, what its outputs mean, and where it came from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kd_runner import __version__
from kd_runner.config.fingerprint import names_a_place
from kd_runner.datasets.decoding.image_input import ImageInput
from kd_runner.deploy.export.exportable import Exportable
from kd_runner.deploy.export.preprocessing import Layout
from kd_runner.deploy.model_files import FILES
from kd_runner.files import atomic
from kd_runner.files.file_digest import file_digest
from kd_runner.files.run_folder import RESULT
from kd_runner.files.tolerant_json import texts

PATH = re.compile(r"[/\\~]")  # in a value that is a place on the machine of the training


def metadata(
    exportable: Exportable, quantize: str | None, layout: Layout | None, resizes: bool = False
) -> dict[str, str]:
    """The metadata of an exported file: texts by name, all but the first two in JSON.

    input: The input in words. output: The outputs in words. classes: Their names, in order. preprocessing: The rule
    for pictures, with mean and std. provenance: The run and the versions. kd_runner: The record of kd-runner's own
    file, which builds the network again.
    """
    image_input = exportable.image_input
    rule = {
        **image_input.record(),
        "image_shape": list(image_input.image_shape),
        "mean": list(image_input.mean),
        "std": list(image_input.std),
        "resized_in_the_graph": resizes,
        "normalised_in_the_graph": layout is not None,
    }
    function = "sigmoid of each" if image_input.several_labels else "softmax"
    return {
        "input": input_in_words(image_input, layout, resizes),
        "output": f"logits, float32 [N, {len(image_input.classes)}]: a {function} makes them probabilities",
        "classes": json.dumps(list(image_input.classes)),
        "preprocessing": json.dumps(rule),
        "provenance": json.dumps(provenance(exportable, quantize)),
        "kd_runner": json.dumps(dict(exportable.info)),
    }


def input_in_words(image_input: ImageInput, layout: Layout | None, resizes: bool) -> str:
    """The input of an exported file in one sentence, with what its caller must do before."""
    channels, *size = map(str, image_input.image_shape)
    if layout is None:
        shape = ", ".join([channels, *size])
        return f"normalised images, float32 [N, {shape}]: the caller resizes, cuts and normalises, as in preprocessing"
    size = ["height", "width"] if resizes else size
    shape = ", ".join([*size, channels] if layout == "nhwc" else [channels, *size])
    color = f", {image_input.color}" if image_input.color else ""
    if resizes:
        return f"bytes of upright, opaque pictures of any size{color}, uint8 [N, {shape}]: the file does the rest"
    return f"bytes of images{color}, uint8 [N, {shape}]: the caller resizes and cuts, the file normalises"


def provenance(exportable: Exportable, quantize: str | None) -> dict[str, Any]:
    """The origin of an exported file: its weights, their run, and the versions; no path of the machine."""
    digest = file_digest(exportable.path)
    run = exportable.run if exportable.run is not None and _is_of_run(exportable, digest) else None
    result = _result(run)
    overrides = [word for word in texts(result.get("overrides")) if not _has_a_place(word)]
    return {
        "weights": exportable.path.name,
        "weights_sha256": digest,
        "quantize": quantize,
        "run": None if run is None else {"fingerprint": result.get("fingerprint"), "overrides": overrides},
        "kd_runner": __version__,
        "torch": torch.__version__,
    }


def _has_a_place(word: str) -> bool:
    key, _, value = word.partition("=")
    return bool(PATH.search(value)) or names_a_place(key.lstrip("+~"))


def _is_of_run(exportable: Exportable, digest: str) -> bool:
    """True where the weights lie in the folder of the run, or are those of a file in it; else it only lends images."""
    run = exportable.run
    if run is None or exportable.path.resolve().parent == run.resolve():
        return run is not None
    files = [run / name for name in FILES.values()]
    return any(path.is_file() and not path.is_symlink() and file_digest(path) == digest for path in files)


def _result(run: Path | None) -> Mapping[str, Any]:
    return {} if run is None else atomic.read_json(run / RESULT)
