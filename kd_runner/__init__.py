"""kd-runner: train a teacher, distil it into a small student, and see how much of the teacher survived."""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kd_runner.deploy.predictor import load as load

try:
    __version__ = version("kd-runner")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> object:
    # Lazy, because torch takes seconds to import and `kd-runner --help` must not wait for it.
    if name == "load":
        from kd_runner.deploy.predictor import load

        return load
    raise AttributeError(f"module 'kd_runner' has no attribute {name!r}")
