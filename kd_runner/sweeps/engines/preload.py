"""The first work of every job, done once: the fork server imports this module alone, as its first one.

The import makes the fork server the leader of its own session, so that a terminal's Ctrl-C reaches the driver alone,
and has the kernel kill it when the driver is killed.
"""

from __future__ import annotations

import importlib
import os
import warnings

from kd_runner.parent_process import die_with_parent
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
    "kd_runner.distillation.soft",
    "kd_runner.log_handlers",
    "kd_runner.models.plain_cnn",
    "kd_runner.schedule",
    "torch.utils.serialization.config",
    "hydra._internal.logging_config",
)


def prepare() -> None:
    """Fill the caches of what every job does: Hydra's plugins and its parser, options, the page of a run, pictures."""
    from hydra.core.plugins import Plugins
    from PIL import Image

    from kd_runner.charts import png
    from kd_runner.command_line.parsers import warm_up_parsers
    from kd_runner.config.build import warm_up_adapters
    from kd_runner.config.door import option_names
    from kd_runner.distillation.soft import Soft
    from kd_runner.files import result_schema, tolerant_json
    from kd_runner.models.plain_cnn import plain_cnn
    from kd_runner.reports.html import TEMPLATES, pages
    from kd_runner.runs.checks.unused_settings import RULES, covers

    Plugins.instance()
    warm_up_parsers()
    option_names()
    for target in (Soft, plain_cnn):
        warm_up_adapters(target)
    for shape in (result_schema.RESULT, result_schema.ANALYSIS):
        tolerant_json.remove_misshapen({}, shape)
    for pattern, _ in RULES:
        covers(pattern, "")
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
