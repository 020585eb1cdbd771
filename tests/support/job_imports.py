"""What the processes of `jobs` import, once: their fork server imports this module first."""

from __future__ import annotations

from kd_runner.quick_imports import quick_imports
from kd_runner.threads import settle_threads

settle_threads()
with quick_imports():
    import resvg_py  # noqa: F401
    import torchvision  # noqa: F401

    import kd_runner.cli
    import kd_runner.datasets.digits
    import kd_runner.runs.run
    import kd_runner.store.command  # noqa: F401
