"""kd-runner: train a teacher, distil it into a small student, and see how much of the teacher survived."""

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kd_runner import losses as losses
    from kd_runner.deploy.predictor import load as load
    from kd_runner.interface.result import RunResult as RunResult
    from kd_runner.interface.run import run as run

try:
    __version__ = version("kd-runner")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"

# Lazy, because torch takes seconds to import and `kd-runner --help` must not wait for it.
_MODULES = {
    "load": "kd_runner.deploy.predictor",
    "run": "kd_runner.interface.run",
    "RunResult": "kd_runner.interface.result",
}


def __getattr__(name: str) -> object:
    if name == "losses":
        return importlib.import_module("kd_runner.losses")
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'kd_runner' has no attribute {name!r}")
