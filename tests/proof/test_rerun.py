"""`kd-runner again`: the same run to the digit, with changes, and of folders that strangers made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from jobs import Job, result_in
from stored_runs import SHORT, change_json

from kd_runner.command_line.again import Again, read_again
from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError
from kd_runner.notes import collected_notes
from kd_runner.proof.numbers import Pair
from kd_runner.proof.rerun import Comparison, compare, own_settings, pairs_of


@pytest.fixture
def run(stored_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stored_run, tmp_path / "run"))


def again(folder: Path, *words: str) -> tuple[int, str, str]:
    job = Job(folder, "again", *words, out="again")
    return job.wait(), job.text("out"), job.text("err")


@pytest.mark.slow
def test_a_run_is_made_again_to_the_digit_without_the_store(run: Path, tmp_path: Path) -> None:
    code, out, err = again(tmp_path, "run", "hydra.run.dir=new")
    assert code == 0, err
    assert "Equal to the digit: all " in out
    files = "teacher.safetensors, baseline.safetensors, student_last.safetensors, student_best.safetensors"
    assert f"The same weights to the bit: {files}." in out
    assert "reused from store" not in out
    assert not (tmp_path / "outputs").exists(), "the store was one of its own, which is gone"
    assert result_in(tmp_path / "new")["overrides"] == list(SHORT), "the command is the plain one"


@pytest.mark.slow
def test_a_run_that_became_another_one_is_told_how_far(run: Path, tmp_path: Path) -> None:
    """With a changed number in the first result, and of another version."""

    def change(result: dict[str, Any]) -> None:
        result["student"]["nll"] *= 1.25
        result["environment"] |= {"kd_runner": "0.1.0", "git": "abc"}

    change_json(run / "result.json", change)
    code, out, _ = again(tmp_path, "run", "hydra.run.dir=new")
    assert code == 1
    assert "numbers differ, by at most 20 % (student nll)." in out
    assert "the run was made with others: kd_runner was 0.1.0, is " in out
    assert any("kd_runner was 0.1.0" in text for text in result_in(tmp_path / "new")["notes"])


@pytest.mark.slow
def test_a_change_makes_another_run(run: Path, tmp_path: Path) -> None:
    code, out, err = again(tmp_path, "run", "distillation=dkd", "hydra.run.dir=new")
    assert code == 0, err
    assert "With distillation=dkd, " in out.splitlines()[-3]
    assert "The same weights to the bit: teacher.safetensors, baseline.safetensors." in out
    assert result_in(tmp_path / "new")["overrides"] == [*SHORT, "distillation=dkd"]


def test_typed_words_replace_or_take_away_recorded_ones(run: Path) -> None:
    assert read_again([str(run)]).words == list(SHORT)
    assert read_again([str(run / "report.html")]) == read_again([str(run)])
    assert read_again([str(run)]).changes == []
    changed = read_again([str(run), "student.epochs=2", "seed=1"])
    assert changed.words == ["teacher.epochs=1", "student.epochs=2", "seed=1"]
    assert changed.changes == ["student.epochs=2", "seed=1"]
    assert read_again(["~student.epochs", str(run)]).words == ["teacher.epochs=1"]
    aside = read_again([str(run), "store=elsewhere", "hydra.run.dir=x", "trainer.threads=2"])
    assert (aside.changes, aside.has_store, aside.has_threads) == ([], True, True)


def test_settings_in_braces_leave_the_recorded_option_or_callable(run: Path) -> None:
    record = run / ".hydra" / "overrides.yaml"
    for network in ("student=mlp", "'++student={_target_: torch.nn.Identity}'"):
        record.write_text(f"- {network}\n")
        words = read_again([str(run), "student={epochs: 2}"]).words
        assert words == [network.strip("'"), "student={epochs: 2}"]
        assert read_again([str(run), "student={_target_: a.b}"]).words == ["student={_target_: a.b}"]


def test_wrong_words_are_one_line(run: Path, tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.json").write_text("{}")
    for words, message in (
        ([], r"^again: must name the folder of one run, .*, got none$"),
        ([str(run), "b"], r"^again: must name the folder of one run, .*/run and b$"),
        (["nowhere"], r"^again: must be the folder of a run, got nowhere: no folder /"),
        ([str(tmp_path)], r"^again: must be the folder of a run, .* holds none$"),
        ([f"{tmp_path}/sweep/"], r"holds a sweep: name one of its runs, such as .*/sweep/0$"),
        ([str(run), "-m"], r"^again: makes one run anew: leave -m out$"),
        ([str(run), "--nonsense"], r"^--nonsense: no such option"),
        ([str(run), "resume=x"], r"^resume: has no effect beside again"),
    ):
        with pytest.raises(SettingsError, match=message):
            read_again(words)


def test_what_counts_only_where_it_is_typed_is_not_taken_from_a_folder(run: Path, tmp_path: Path) -> None:
    record = run / ".hydra" / "overrides.yaml"
    for words, message in (
        ("- trust=[os]\n", r"^again: .* was started with 'trust=\[os\]', which counts only .* type kd-runner again "),
        ("- hydra.run.dir=/etc\n", r"^again: .*overrides.yaml must hold settings alone, got hydra.run.dir=/etc"),
        ("- --config-dir=/tmp\n", r"must hold settings alone"),
        ("{", r"^again: .* does not say how it was started"),
    ):
        record.write_text(words)
        with pytest.raises(SettingsError, match=message):
            read_again([str(run)])
    record.write_text("- seed=1\n- resume=/etc\n- store=/etc\n")
    assert read_again([str(run)]).words == ["seed=1"]
    record.unlink()
    record.symlink_to(tmp_path / "other.yaml")
    with pytest.raises(SettingsError, match=r"^again: .* must hold no symbolic link that leads out of it"):
        read_again([str(run)])


def test_defaults_that_became_others_are_those_of_the_run(run: Path, settings: Any) -> None:
    change_json(run / "settings.json", lambda content: content["optimizer"].update(lr=0.25))
    now: Settings = settings("optimizer.lr=0.5", "student.fraction=0.1", "dataset=digits", "++dataset.default_lr=0.1")
    with collected_notes() as notes:
        own = own_settings(run, now)
    assert own.optimizer["lr"] == 0.25
    assert own.store == now.store
    assert any("optimizer.lr is 0.25 (now 0.5)" in text for text in notes)
    change_json(run / "settings.json", lambda content: content["student"].update(_target_="os.system"))
    assert own_settings(run, now).student.target == "os.system", "the door refuses it when it is built"
    (run / "settings.json").write_text("[]")
    with collected_notes() as notes:
        assert own_settings(run, now) == now
    assert any("this version's defaults are used" in text for text in notes)


def test_times_and_places_are_not_compared_and_what_is_gone_differs() -> None:
    stage = {"accuracy": 0.5, "nll": 1.0, "latency": 1.0, "inference": {"one": {"median": 1.0}}, "checkpoint": "a"}
    other = {"accuracy": 0.5, "latency": 2.0, "inference": {"one": {"median": 3.0}}, "checkpoint": "b"}
    before = {"student": stage, "teacher": None, "gap_closed": 0.5}
    pairs = list(pairs_of(before, {"student": other, "teacher": None, "gap_closed": 0.25}))
    assert [(pair.title, pair.reported, pair.measured) for pair in pairs] == [
        ("student accuracy", 0.5, 0.5),
        ("student nll", 1.0, None),
        ("gap_closed", 0.5, 0.25),
    ]
    comparison = Comparison(pairs)
    assert comparison.exit_code == 1
    assert comparison.sentences == ["2 of 3 numbers differ, by at most 50 % (gap_closed)."]


def test_nothing_to_compare_with_is_said() -> None:
    assert (Comparison([]).exit_code, Comparison([]).sentences) == (1, ["Nothing to compare with."])
    equal = Comparison([Pair("student", "accuracy", 0.5, 0.5)], {"teacher.safetensors": True})
    assert equal.exit_code == 0
    assert equal.sentences == [
        "Equal to the digit: all 1 numbers.",
        "The same weights to the bit: teacher.safetensors.",
    ]


@pytest.mark.slow
def test_a_run_that_was_not_completed_is_made_again(run: Path, tmp_path: Path) -> None:
    (run / "result.json").write_text(json.dumps({"status": "interrupted", "overrides": list(SHORT)}))
    code, out, _ = again(tmp_path, "run", "hydra.run.dir=new")
    assert code == 1
    assert "there is nothing to compare with: run has no result of a completed run: interrupted" in out
    assert out.rstrip().endswith("Nothing to compare with.")
    assert result_in(tmp_path / "new")["status"] == "completed"


def test_further_test_images_are_compared_where_their_relative_path_became_another_one(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    folder = begun / "r"
    (folder / ".hydra").mkdir(parents=True)
    record = {"hydra": {"runtime": {"cwd": str(begun)}, "run": {"dir": "r"}}}
    (folder / ".hydra" / "hydra.yaml").write_text(json.dumps(record))

    def result(photos: str) -> dict[str, Any]:
        also = {photos: {"accuracy": 0.5}, "/more": {"accuracy": 0.25}}
        return {"status": "completed", "fingerprint": "a", "student": {"accuracy": 0.75, "also": also}}

    (folder / "result.json").write_text(json.dumps(result("photos")))
    comparison = compare(Again(folder, [], []), result(f"{begun}/photos"), tmp_path / "new")
    assert [(pair.metric, pair.reported, pair.measured) for pair in comparison.pairs] == [
        ("accuracy", 0.75, 0.75),
        (f"also.{begun}/photos.accuracy", 0.5, 0.5),
        ("also./more.accuracy", 0.25, 0.25),
    ]
    assert comparison.exit_code == 0
