"""The imports of the fork server, which take long. Only the fork server may import this module, as its first one.

The import makes the fork server the leader of its own session, so that a terminal's Ctrl-C reaches the driver alone,
and has the kernel kill it when the driver is killed.
"""

from __future__ import annotations

import importlib
import os
import warnings

from kd_runner.processes import die_with_parent
from kd_runner.threads import settle_threads

os.setsid()
die_with_parent(os.getppid())
settle_threads()
# Python 3.12 warns of every thread there is. These are numpy's and scipy's, which OpenBLAS ends before a fork.
warnings.filterwarnings("ignore", "This process .* is multi-threaded, use of fork", DeprecationWarning)
for name in (
    "torch",
    "torchvision",
    "pytorch_lightning",
    "tensorboard",
    "kd_runner.runs.run",
    "kd_runner.datasets.digits",
):
    importlib.import_module(name)
