"""What every job would do first, done once: the fork server imports this module alone, as its first one.

The import makes the fork server the leader of its own session, so that a terminal's Ctrl-C reaches the driver alone,
and has the kernel kill it when the driver is killed.
"""

from __future__ import annotations

import importlib
import os
import warnings

from kd_runner.processes import die_with_parent
from kd_runner.quick_imports import quick_imports
from kd_runner.sweeps.engines.child import DRIVER
from kd_runner.threads import settle_threads

NAMES = (
    "torch",
    "torchvision",
    "pytorch_lightning",
    "tensorboard",
    "resvg_py",
    "kd_runner.cli",
    "kd_runner.runs.run",
    "kd_runner.datasets.digits",
)


def prepare() -> None:
    """Find Hydra's plugins, compile the page of a run, and unpack what its pictures are drawn with."""
    from hydra.core.plugins import Plugins
    from PIL import Image

    from kd_runner.charts import png
    from kd_runner.reports.html import TEMPLATES, pages

    Plugins.instance()
    Image.preinit()
    png.font()
    png.light_style()
    for template in pages(TEMPLATES).list_templates(filter_func=lambda name: not name.startswith("sweep")):
        pages(TEMPLATES).get_template(template)


os.setsid()
die_with_parent(int(os.environ.pop(DRIVER, os.getppid())))
settle_threads()
# Python 3.12 warns of every thread there is. These are numpy's and scipy's, which OpenBLAS ends before a fork.
warnings.filterwarnings("ignore", "This process .* is multi-threaded, use of fork", DeprecationWarning)
with quick_imports():
    for module in NAMES:
        importlib.import_module(module)
    prepare()
