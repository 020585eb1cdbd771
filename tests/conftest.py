from __future__ import annotations

import functools
import gc
import logging
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kd_runner.quick_imports import quick_imports

with quick_imports():
    from kd_runner.runs.run import run
# isort: split
import numpy as np
import pytest
import torch
from browser import browser  # noqa: F401
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from multi_label_runs import label_run  # noqa: F401
from omegaconf import OmegaConf
from stored_runs import stored_run  # noqa: F401
from torch import Tensor

from kd_runner import redaction
from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.config.settings import Settings, check
from kd_runner.datasets import digits
from kd_runner.outputs import Outputs

# Networks this small are fastest on one thread, and several at once must not fight for the cores.
os.environ["OMP_NUM_THREADS"] = "1"
# A shell's background job is started with Ctrl-C ignored, and would hand that on to the commands that are tested.
signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)
# The file of the digits is text, and read for nearly every run; each run makes tensors of its own from it.
digits._table = functools.cache(digits._table)  # type: ignore[assignment]


def pytest_collection_finish() -> None:
    """Have the garbage collector not look again and again through all that was imported."""
    gc.freeze()


# The digits have defaults of their own, for a student that learns from a tenth of them; tests have those of other data.
ALL_DIGITS = ("++dataset.default_fraction=1.0", "++dataset.default_lr=0.001", "++dataset.default_weights=null")


def composed(*overrides: str) -> dict[str, Any]:
    """Settings as the command line composes them, as plain dictionaries.

    Hydra reads the files of the options that the words choose, which takes it 0.1 s, and gives keys their values then.
    The files are read once for all tests that choose the same options.
    """
    words = OverridesParser.create().parse_overrides(list(overrides))
    options = [word for word in words if chooses_option(word)]
    config = pickle.loads(composed_options(*(str(word.input_line) for word in options)))
    ConfigLoaderImpl._apply_overrides_to_config([word for word in words if word not in options], config)
    content = OmegaConf.to_container(config, resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def chooses_option(word: Override) -> bool:
    """True for a word that Hydra looks at before it reads files: one that chooses an option, or that it refuses."""
    key = word.key_or_group
    is_group = (CONF_DIR / key).is_dir() and not isinstance(word.value(), dict)
    return is_group or key.startswith("hydra") or word.is_sweep_override()


@functools.cache
def composed_options(*overrides: str) -> bytes:
    """The settings of all options, serialized, as each test changes its own."""
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return pickle.dumps(compose("config", overrides=list(overrides)))


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command that a test runs in its own process settles logging; the next test must not notice."""
    level, factory, hook = logging.root.level, logging.getLogRecordFactory(), sys.excepthook
    yield
    redaction.forget()
    logging.setLogRecordFactory(factory)
    sys.excepthook = hook
    logging.root.setLevel(level)
    logging.disable(logging.NOTSET)
    for name in [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "kd_runner"]:
        logger = logging.getLogger(name)
        logger.disabled, logger.propagate = False, True
        logger.setLevel(logging.NOTSET)


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Settings]:
    """Checked settings of a run that takes a second: an epoch of each stage on the digits, no charts in TensorBoard.

    The report has the same charts, and they are a quarter of so short a run.
    """

    def make(*overrides: str) -> Settings:
        short = ("teacher.epochs=1", "student.epochs=1", "tracking.images=false", f"store={tmp_path / 'store'}")
        return check(composed(*short, *ALL_DIGITS, *overrides))

    return make


@pytest.fixture
def result_of(settings: Callable[..., Settings], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs with some overrides, each in a folder of its own; gives the result."""
    count = iter(range(1000))

    def make(*overrides: str) -> dict[str, Any]:
        folder = tmp_path / f"run{next(count)}"
        folder.mkdir()
        return run(settings(*overrides), folder, overrides)

    return make


class Golden:
    """The inputs of the golden values: N=4, C=5, float64."""

    def __init__(self) -> None:
        n, c = np.arange(4)[:, None], np.arange(5)[None, :]
        self.zs: np.ndarray = 2 * np.sin(1 + 5 * n + c)
        self.zt: np.ndarray = 4 * np.cos(2 + 1.3 * (5 * n + c))
        self.y: np.ndarray = np.array([0, 3, 1, 4])

    @property
    def student(self) -> Outputs:
        return Outputs(torch.tensor(self.zs))

    @property
    def teacher(self) -> Outputs:
        return Outputs(torch.tensor(self.zt))

    @property
    def labels(self) -> Tensor:
        return torch.tensor(self.y)


@pytest.fixture
def golden() -> Golden:
    return Golden()


def softmax(z: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Row-wise, in float64, written without PyTorch."""
    shifted = z / temperature - (z / temperature).max(1, keepdims=True)
    return np.exp(shifted) / np.exp(shifted).sum(1, keepdims=True)


def finite_with_a_gradient(loss_of: Callable[..., Tensor], temperature: float, dtype: torch.dtype) -> None:
    """Asserts it of a loss of (student's logits, teacher's logits, labels, temperature) at huge logits."""
    student = torch.tensor([[1e4, 0, -1e4], [0, 1e4, 0]], dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4, 0], [1e4, 0, 0]], dtype=dtype)
    loss = loss_of(student, teacher, torch.tensor([0, 2]), temperature)
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
