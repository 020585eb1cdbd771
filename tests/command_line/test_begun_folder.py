"""A run or a sweep that goes on from another folder: its relative paths are those of the folder where it was begun."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from kd_runner.command_line.again import read_again
from kd_runner.command_line.begun_folder import begun_in, place_settings, placed_word
from kd_runner.command_line.resume import command_of_folder, go_on_command, remarks_on_places
from kd_runner.sweeps.folder import refuse_other_grid


def write_run(begun: Path, words: list[str]) -> Path:
    """The folder `r` of a run that was begun in the folder `begun`."""
    folder = begun / "r"
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text(json.dumps(words))
    record = {"hydra": {"runtime": {"cwd": str(begun)}, "run": {"dir": "${now:%Y}" if not words else "r"}}}
    OmegaConf.save(OmegaConf.create(record), folder / ".hydra" / "hydra.yaml")
    settings = {"store": "outputs/store", "student": {"fraction": 1}, "dataset": {"default_weights": None}}
    (folder / "settings.json").write_text(json.dumps(settings))
    return folder


def write_sweep(begun: Path, words: list[str]) -> Path:
    """The folder `sw` of a sweep that was begun in the folder `begun`."""
    folder = begun / "sw"
    folder.mkdir(parents=True)
    hydra = {"overrides": {"task": words, "hydra": []}, "runtime": {"cwd": str(begun)}, "sweep": {"dir": "sw"}}
    OmegaConf.save(OmegaConf.create({"hydra": hydra}), folder / "multirun.yaml")
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another folder, which is the current one."""
    folder = tmp_path / "b"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_a_run_goes_on_in_the_store_that_it_was_begun_with(tmp_path: Path, elsewhere: Path) -> None:
    folder = write_run(tmp_path / "a", [])
    assert f'store="{tmp_path}/a/outputs/store"' in command_of_folder([f"resume={folder}"])
    assert remarks_on_places([f"resume={folder}"]) == []


def test_a_store_of_settings_that_went_on_before_stays(tmp_path: Path, elsewhere: Path) -> None:
    folder = write_run(tmp_path / "a", ["seed=1"])
    settings = json.loads((folder / "settings.json").read_text())
    (folder / "settings.json").write_text(json.dumps({**settings, "store": "/kept"}))
    assert 'store="/kept"' in command_of_folder([f"resume={folder}"])


def test_in_its_own_folder_the_words_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_run(tmp_path / "a", ["dataset.root=pets", "store=nets"])
    monkeypatch.chdir(tmp_path / "a")
    assert command_of_folder([f"resume={folder}"])[:2] == ["dataset.root=pets", "store=nets"]


def test_each_relative_path_of_a_run_counts_from_where_it_was_begun(tmp_path: Path, elsewhere: Path) -> None:
    words = ["dataset.root=pets", "dataset.cache='c d'", "teacher.checkpoint=/t.pt", "evaluate.also=[x,/y]", "seed=1"]
    folder, begun = write_run(tmp_path / "a", [*words, "store=${oc.env:HOME}/s"]), f"{tmp_path}/a"
    placed = [
        f'dataset.root="{begun}/pets"',
        f'dataset.cache="{begun}/c d"',
        "teacher.checkpoint=/t.pt",
        f'evaluate.also=["{begun}/x",/y]',
        "seed=1",
        "store=${oc.env:HOME}/s",
    ]
    assert command_of_folder([f"resume={folder}"])[:6] == placed


def test_a_path_that_is_typed_counts_from_the_current_folder(tmp_path: Path, elsewhere: Path) -> None:
    folder = write_run(tmp_path / "a", ["dataset.root=pets", "store=nets"])
    words = command_of_folder(["dataset.root=cats", "store=here", f"resume={folder}"])
    assert words[:2] == [f'dataset.root="{elsewhere}/cats"', f'store="{elsewhere}/here"']


def test_a_sweep_and_its_jobs_go_on_in_the_store_of_the_sweep(tmp_path: Path, elsewhere: Path) -> None:
    folder = write_sweep(tmp_path / "a", ["seed=0,1", "dataset.root=p,q"])
    begun = f"{tmp_path}/a"
    placed = ["-m", "seed=0,1", f'dataset.root="{begun}/p","{begun}/q"']
    assert command_of_folder([f"resume={folder}"])[:3] == placed
    assert f'store="{begun}/outputs/store"' in command_of_folder([f"resume={folder}"])
    jobs = {"jobs": ["dataset.root=p seed=0"], "folders": ["0"]}
    (folder / "sweep.json").write_text(json.dumps(jobs))
    refuse_other_grid(folder, [["seed=0", f'dataset.root="{begun}/p"']], resumed=True)
    refuse_other_grid(folder, [["seed=0", f"dataset.root={begun}/p"]], resumed=True)
    (folder / "0").mkdir()
    (folder / "0" / "kd-runner.log").touch()
    (folder / "0" / "result.json").write_text('{"overrides": ["seed=0"]}')
    assert f'store="{begun}/outputs/store"' in command_of_folder([f"resume={folder}/0"])


def test_a_folder_that_was_moved_is_said_to_count_from_here(tmp_path: Path, elsewhere: Path) -> None:
    folder = write_run(tmp_path / "a", ["seed=1"]).rename(elsewhere / "x")
    assert not any(word.startswith("store=") for word in command_of_folder([f"resume={folder}"]))
    line = f"store: outputs/store is that of the current folder, {elsewhere}: the run was begun in "
    line += f"{tmp_path}/a, and its folder lies elsewhere now; store=… names another"
    assert remarks_on_places([f"resume={folder}"]) == [line]
    assert remarks_on_places([f"resume={folder}", "store=s"]) == []
    (folder / ".hydra" / "hydra.yaml").write_text("{")
    assert "it is not known where the run was begun" in remarks_on_places([f"resume={folder}"])[0]


def test_a_folder_with_another_name_beside_its_old_place_was_moved(tmp_path: Path, elsewhere: Path) -> None:
    folder = write_run(tmp_path / "a", ["seed=1"])
    assert begun_in(folder).is_there
    assert not begun_in(folder.rename(folder.with_name(f"{folder.name}2"))).is_there


@pytest.mark.parametrize("cwd", ["${oc.env:HOME}", "relative", 3])
def test_a_record_that_is_no_plain_path_says_nothing(tmp_path: Path, cwd: object) -> None:
    folder = write_run(tmp_path / "a", ["seed=1"])
    record = f"hydra: {{runtime: {{cwd: '{cwd}'}}, run: {{dir: r}}}}" if isinstance(cwd, str) else "hydra: 3"
    (folder / ".hydra" / "hydra.yaml").write_text(record)
    assert begun_in(folder).folder is None


def test_words_that_name_no_place_stay() -> None:
    words = ["student.epochs=3", "name=a", "store=/abs", "dataset.root=~/p", "dataset.cache=null", "~store"]
    assert [placed_word(word, Path("/begun")) for word in words] == words
    assert placed_word("teacher.checkpoint=t.pt,null", Path("/begun")) == 'teacher.checkpoint="/begun/t.pt",null'
    assert placed_word("dataset.root=2024", Path("/begun")) == 'dataset.root="/begun/2024"'
    assert placed_word("+teachers.b.checkpoint=t.pt", Path("/begun")) == '+teachers.b.checkpoint="/begun/t.pt"'


def test_a_run_that_is_made_again_reads_the_images_that_it_read(tmp_path: Path, elsewhere: Path) -> None:
    words = ["dataset.root=pets", "teacher.checkpoint=t.pt", "store=nets", "seed=1"]
    folder, begun = write_run(tmp_path / "a", words), f"{tmp_path}/a"
    placed = [f'dataset.root="{begun}/pets"', f'teacher.checkpoint="{begun}/t.pt"', "seed=1"]
    assert read_again([str(folder)]).words == placed
    typed = read_again([str(folder), "dataset.root=pets"])
    assert typed.words == [*placed[1:], "dataset.root=pets"]  # which counts from the current folder


def test_a_question_about_the_images_of_a_run_is_no_other_data_set(tmp_path: Path) -> None:
    words = ["dataset=image_folder", "dataset.root=/pets"]
    again = read_again([str(write_run(tmp_path / "a", words)), "dataset=?"])
    assert again.words == [*words, "dataset=?"]
    assert again.changes == []


def test_a_path_that_the_folder_brings_back_is_not_in_the_command_to_go_on(tmp_path: Path, elsewhere: Path) -> None:
    folder = write_run(tmp_path / "a", ["dataset.root=pets", "seed=1"])
    placed = f'dataset.root="{tmp_path}/a/pets"'
    assert placed in command_of_folder([f"resume={folder}"])
    assert go_on_command(folder, [placed, "seed=1"]) == f"kd-runner resume={folder}"
    typed = go_on_command(folder, ["dataset.root=/moved", "seed=1"])
    assert typed == f"kd-runner resume={folder} dataset.root=/moved"


def test_an_option_typed_behind_again_replaces_a_network_of_ones_own(tmp_path: Path) -> None:
    words = ["++student._target_=torch.nn.Linear", "++student.width=3", "student.epochs=5", "~student"]
    folder = str(write_run(tmp_path / "a", words))
    assert read_again([folder]).words == words
    assert read_again([folder, "student=mlp"]).words == ["student.epochs=5", "student=mlp"]
    assert read_again([folder, "~student"]).words == ["student.epochs=5"]


def test_the_paths_in_recorded_settings_count_from_where_a_run_was_begun(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, begun = write_run(tmp_path / "a", ["seed=1"]), f"{tmp_path}/a"
    section = {"root": "pets", "image_root": None, "cache": "~/c", "unlabelled": "/more", "label": "kind"}
    placed = {**section, "root": f"{begun}/pets"}
    assert place_settings(section, "dataset", folder) == placed
    assert place_settings({"also": ["x", "/y"]}, "evaluate", folder) == {"also": [f"{begun}/x", "/y"]}
    moved = folder.rename(tmp_path / "moved")
    assert place_settings(section, "dataset", moved) == section  # as it is not known where it was begun
    moved.rename(folder)
    monkeypatch.chdir(begun)
    assert place_settings(section, "dataset", folder) == section
