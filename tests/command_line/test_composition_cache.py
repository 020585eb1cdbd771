"""What a job has of what its sweep composed is what Hydra composes of the job's words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.utils import create_config_search_path
from omegaconf import OmegaConf

from kd_runner.command_line.composition_cache import CompositionCache
from kd_runner.command_line.foreign_files import AS_A_RUN, GuardedLoader, guarded_composition
from kd_runner.command_line.job_composer import JobComposer
from kd_runner.config.conf_dir import CONF_DIR

# Words of similar jobs.
SIMILAR = [
    [["seed=0", "distillation=soft"], ["seed=1", "distillation=soft"]],
    [["temperature.value=2", "student.channels=[1,2]"], ["temperature.value=null", "student.channels=[3]"]],
    [
        ["teacher.optimizer={lr: 0.1}", "hydra.job.name=a"],
        ["teacher.optimizer={weight_decay: 0.1}", "hydra.job.name=a"],
    ],
    [
        ["experiment=fashion_mlp", "batch_size=32", "store=a"],
        ["experiment=fashion_mlp", "batch_size=64", "store=${name}"],
    ],
]


@pytest.fixture
def loader() -> Iterator[Callable[[], GuardedLoader]]:
    """Makes loaders that keep nothing, as the first process of a job has one."""

    def made(*folders: str) -> GuardedLoader:
        loader = GuardedLoader(create_config_search_path(str(CONF_DIR)))
        for folder in folders:
            loader.config_search_path.append("command-line", folder)
        loader.cache = CompositionCache()
        return loader

    with guarded_composition():
        yield made


def composed(loader: GuardedLoader, words: list[str]) -> Any:
    return OmegaConf.to_container(loader._compose("config", words, *AS_A_RUN), resolve=False)


def refuse_to_read(*_: Any, **__: Any) -> Any:
    raise AssertionError("files were read")


@pytest.mark.parametrize("jobs", SIMILAR)
def test_a_job_reads_no_file_and_has_the_settings_of_its_words(
    jobs: list[list[str]], loader: Callable[..., GuardedLoader], monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = [[*words, 'hydra.run.dir="/tmp/a b/{number}"'] for number, words in enumerate(jobs)]
    expected = [composed(loader(), words) for words in commands]
    sweep = JobComposer()
    sweep.begin(loader(), "config")
    handed = [sweep.cache_entry(words) for words in commands]
    monkeypatch.setattr(GuardedLoader, "_load_single_config", refuse_to_read)
    for words, kept, whole in zip(commands, handed, expected, strict=True):
        of_job = loader()
        of_job.cache.add(kept)
        assert composed(of_job, words) == whole


def test_a_sweep_reads_the_files_once_for_similar_jobs(
    loader: Callable[..., GuardedLoader], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = JobComposer()
    sweep.begin(loader(), "config")
    assert sweep.cache_entry(["seed=0", "hydra.run.dir=a"])
    monkeypatch.setattr(GuardedLoader, "_load_single_config", refuse_to_read)
    assert sweep.cache_entry(["seed=1", "hydra.run.dir=b"])
    with pytest.raises(AssertionError, match="files were read"):
        sweep.cache_entry(["seed=1", "distillation=dkd", "hydra.run.dir=c"])


def test_what_was_composed_elsewhere_is_for_no_other_command(
    loader: Callable[..., GuardedLoader], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for one with other words, nor for one with other folders of options or in another folder."""
    sweep = JobComposer()
    sweep.begin(loader(), "config")
    kept = sweep.cache_entry(["seed=3", "hydra.run.dir=a"])
    for folders, words in [([], ["seed=3", "distillation=dkd"]), ([f"file://{tmp_path}"], ["seed=3"])]:
        of_job = loader(*folders)
        of_job.cache.add(kept)
        assert composed(of_job, [*words, "hydra.run.dir=a"]) == composed(loader(*folders), [*words, "hydra.run.dir=a"])
    monkeypatch.chdir(tmp_path)
    of_job = loader()
    of_job.cache.add(kept)
    assert composed(of_job, ["seed=3", "hydra.run.dir=a"])["hydra"]["runtime"]["cwd"] == str(tmp_path)


@pytest.mark.parametrize(
    "words", [["sead=1"], ["resume=a", "seed=1"], ["seed=1", "distillation=none_such"], ["seed==["]]
)
def test_nothing_is_handed_over_where_the_job_must_say_what_is_wrong(
    words: list[str], loader: Callable[..., GuardedLoader]
) -> None:
    sweep = JobComposer()
    assert sweep.cache_entry(words) == b""
    sweep.begin(loader(), "config")
    assert sweep.cache_entry([*words, "hydra.run.dir=a"]) == b""


def test_jobs_of_one_process_have_what_the_first_composed(loader: Callable[..., GuardedLoader]) -> None:
    of_pack = loader()
    of_pack.cache.enable()
    for words in (["seed=1", "optimizer={lr: 0.5}"], ["seed=2", "optimizer={weight_decay: 0.5}"], ["seed=3"]):
        assert composed(of_pack, words) == composed(loader(), words)
