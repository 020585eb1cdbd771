"""The number of threads of a run is measured once, and is the same when a run goes on."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import Timeout
from torch import nn

from kd_runner.runs.assembly import assemble
from kd_runner.runs.parts import Parts
from kd_runner.runs.processes import thread_count
from kd_runner.runs.processes.thread_count import CHOICES, choose_threads, fastest_count
from kd_runner.runs.resume.resuming import begin


@pytest.fixture
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def choose(parts: Parts) -> int:
    return choose_threads(parts.settings, parts.data, parts.networks)


def _steps_of(one: float, many: float) -> Callable[..., float]:
    """Seconds of a step that depend on the number of threads alone."""
    return lambda networks, images: one if torch.get_num_threads() == 1 else many


@pytest.mark.parametrize(
    ("one", "many", "count"),
    [(0.002, 0.003, 1), (0.002, 0.00195, 1), (0.002, 0.0012, 2), (0.2, 0.3, 2)],
    ids=["slower", "hardly faster", "faster", "long steps"],
)
def test_small_networks_get_one_thread_where_more_do_not_help(
    one: float, many: float, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread_count, "_seconds_of_step", _steps_of(one, many))
    before = torch.get_num_threads()
    assert fastest_count([nn.Linear(4, 2)], torch.zeros(8, 4), 2) == count
    assert torch.get_num_threads() == before


def test_measuring_changes_neither_networks_nor_random_numbers() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2)).eval()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    randomness = torch.get_rng_state()
    fastest_count([network], torch.randn(8, 1, 2, 2, generator=torch.Generator().manual_seed(0)), 2)
    assert torch.equal(torch.get_rng_state(), randomness)
    assert not network.training
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.usefixtures("two_threads")
def test_a_choice_is_kept_and_made_again(
    settings: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = assemble(settings("trainer.accelerator=cpu"))
    monkeypatch.setattr(thread_count, "_seconds_of_step", _steps_of(0.002, 0.003))
    assert choose(parts) == 1
    assert list(json.loads((tmp_path / "store" / CHOICES).read_text()).values()) == [1]
    torch.set_num_threads(2)
    monkeypatch.setattr(thread_count, "_seconds_of_step", _steps_of(0.003, 0.001))
    assert choose(parts) == torch.get_num_threads() == 1
    torch.set_num_threads(2)
    assert choose(assemble(settings("batch_size=32", "trainer.accelerator=cpu"))) == 2  # another batch, measured anew


@pytest.mark.usefixtures("two_threads")
def test_jobs_that_start_at_once_share_a_choice(
    settings: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = assemble(settings("trainer.accelerator=cpu"))

    @contextmanager
    def locked(path: str | Path, **_: Any) -> Iterator[None]:
        """The lock, after the job that held it has left its choice."""
        (tmp_path / "store" / CHOICES).write_text(json.dumps({thread_count._key(parts.settings, parts.data, 2): 1}))
        yield

    monkeypatch.setattr(thread_count, "lock_of", locked)
    monkeypatch.setattr(thread_count, "fastest_count", lambda *_: pytest.fail("measured beside another job"))
    assert choose(parts) == 1


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("error", [PermissionError, NotImplementedError, Timeout])
def test_without_a_lock_a_choice_is_made_all_the_same(
    error: type[Exception], settings: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise error("threads.json.lock")

    monkeypatch.setattr(thread_count, "lock_of", refused)
    monkeypatch.setattr(thread_count, "_seconds_of_step", _steps_of(0.002, 0.003))
    assert choose(assemble(settings("trainer.accelerator=cpu"))) == 1


@pytest.mark.usefixtures("two_threads")
def test_what_is_set_is_not_measured(settings: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_count, "fastest_count", lambda *_: pytest.fail("measured"))
    assert choose(assemble(settings("trainer.threads=2", "trainer.accelerator=cpu"))) == 2


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("content", ["", "[]", '{"a": "b"}', "\x00"])
def test_choices_that_cannot_be_read_are_measured_anew(
    content: str, settings: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / CHOICES).write_text(content)
    monkeypatch.setattr(thread_count, "_seconds_of_step", _steps_of(0.002, 0.003))
    assert choose(assemble(settings("trainer.accelerator=cpu"))) == 1


@pytest.mark.usefixtures("two_threads")
def test_a_run_that_goes_on_has_the_threads_that_it_had(
    settings: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = assemble(settings("trainer.accelerator=cpu"))
    monkeypatch.setattr(thread_count, "fastest_count", lambda *_: 1)
    begin(tmp_path / "first", "1234", parts.settings, parts.data, parts.networks)
    assert torch.get_num_threads() == 1
    monkeypatch.setattr(thread_count, "fastest_count", lambda *_: pytest.fail("measured"))
    torch.set_num_threads(2)
    begin(tmp_path / "first", "1234", parts.settings, parts.data, parts.networks)
    assert torch.get_num_threads() == 1
