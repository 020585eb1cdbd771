"""The imports of the fork server, which take long. Only the fork server may import this module, as its first one.

The import makes the fork server the leader of its own session, so that a terminal's Ctrl-C reaches the driver alone,
and has the kernel kill it when the driver is killed.
"""

from __future__ import annotations

import importlib
import os

from kd_runner.sweeps.engines.child import die_with_parent
from kd_runner.threads import settle_threads

os.setsid()
die_with_parent(os.getppid())
settle_threads()
for name in (
    "torch",
    "torchvision",
    "pytorch_lightning",
    "tensorboard",
    "kd_runner.runs.run",
    "kd_runner.datasets.digits",
):
    importlib.import_module(name)
