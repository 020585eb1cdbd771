from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import composed
from image_folders import write_classes, write_image
from manifests import write_manifest
from stored_networks import store_network

import kd_runner
from kd_runner.config.settings import check
from kd_runner.deploy.evaluate_command import main
from kd_runner.runs.run import run

Printed = pytest.CaptureFixture[str]
CLASSES = ("ant", "bee", "cat")
METRICS = ("accuracy", "top5_accuracy", "precision", "recall", "f1", "nll", "ece")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on pictures: its folder `run`, and its test pictures in `data/test`."""
    top = tmp_path_factory.mktemp("evaluated")
    for split, start, count in (("train", 0, 12), ("test", 100, 6)):
        write_classes(top / "data" / split, list(CLASSES), count, start)
    words = [f"dataset.root={top / 'data'}", "dataset.image_size=8", "dataset.cache=null", f"store={top / 'store'}"]
    words += ["teacher.epochs=1", "student.epochs=1", "teacher=mlp", "student=mlp", "trainer.channels_last=true"]
    words += ["tracking.images=false"]
    run(check(composed("dataset=image_folder", *words)), top / "run")
    return top


def printed_json(capsys: Printed, *words: str) -> dict[str, object]:
    assert main([*words, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_runs_own_test_is_its_result_to_the_digit(folder: Path, capsys: Printed) -> None:
    content = printed_json(capsys, str(folder / "run"))
    result = json.loads((folder / "run/result.json").read_text())
    for stage in ("teacher", "baseline", "student"):
        measured = content["networks"][stage]
        assert {name: measured[name] for name in METRICS} == {name: result[stage][name] for name in METRICS}
    for name in ("agreement", "kl_to_teacher", "against_teacher"):
        assert content["networks"]["student"][name] == result["student"][name]
    assert content["networks"]["student_best"]["accuracy"] == result["student"]["best_val"]["accuracy"]
    analysis = json.loads((folder / "run/analysis.json").read_text())["networks"]["student"]
    for name in ("confusion", "class_accuracy", "precision_recall"):
        assert content["networks"]["student"][name] == analysis[name]


def test_the_pictures_of_the_test_give_the_same_metrics(folder: Path, capsys: Printed) -> None:
    own = printed_json(capsys, str(folder / "run"))
    pictures = printed_json(capsys, str(folder / "run"), str(folder / "data"), "--batch-size", "4")
    assert pictures["images"] == own["images"] == 18
    for name, metrics in own["networks"].items():
        for metric in METRICS:
            assert pictures["networks"][name][metric] == pytest.approx(metrics[metric], abs=1e-6)


def test_a_prediction_is_the_runs_own(folder: Path) -> None:
    predict = kd_runner.load(folder / "run")
    assert predict.input.origin == "files"
    paths = sorted((folder / "data/test").glob("*/*.png"), key=lambda path: (path.parent.name, path.name))
    names = predict(paths).names
    right = sum(name == path.parent.name for name, path in zip(names, paths, strict=True))
    student = json.loads((folder / "run/result.json").read_text())["student"]
    assert right / len(paths) == pytest.approx(student["accuracy"])
    names = kd_runner.load(folder / "run", network="student_best")(paths).names
    right = sum(name == path.parent.name for name, path in zip(names, paths, strict=True))
    assert right / len(paths) == pytest.approx(student["best_val"]["accuracy"])


def test_the_networks_that_are_chosen(folder: Path, capsys: Printed) -> None:
    assert printed_json(capsys, str(folder / "run"))["described"] == "student"
    content = printed_json(capsys, str(folder / "run"), "--network", "student_best", "--network", "baseline")
    assert list(content["networks"]) == ["baseline", "student_best"]
    assert content["described"] == "student_best"


@pytest.mark.parametrize("name", ["run", "run/report.html"])
def test_the_teacher_of_a_run_is_its_teacher_and_not_its_student(folder: Path, capsys: Printed, name: str) -> None:
    file, teacher = str(folder / "run/student_last.safetensors"), str(folder / "run/teacher.safetensors")
    (folder / "run" / "report.html").touch()
    of_file = printed_json(capsys, file, "--teacher", teacher)
    assert printed_json(capsys, file, "--teacher", str(folder / name)) == of_file
    assert of_file["networks"]["network"]["agreement"] < 1


def test_a_run_beside_its_own_teacher_has_nothing_replaced(folder: Path, capsys: Printed) -> None:
    assert main([str(folder / "run"), "--teacher", str(folder / "run"), "--format", "json"]) == 0
    assert "in place of" not in capsys.readouterr().err


def test_one_network_beside_a_teacher(folder: Path, capsys: Printed) -> None:
    file, teacher = str(folder / "run/student_last.safetensors"), str(folder / "run/teacher.safetensors")
    content = printed_json(capsys, file, "--teacher", teacher)
    assert list(content["networks"]) == ["teacher", "network"]
    result = json.loads((folder / "run/result.json").read_text())
    assert content["networks"]["network"]["agreement"] == result["student"]["agreement"]
    baseline = str(folder / "run/baseline.safetensors")
    assert main([str(folder / "run"), "--teacher", baseline, "--format", "json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == f"kd-evaluate: note: {baseline} is the teacher, in place of {teacher}\n"
    networks = json.loads(printed.out)["networks"]
    assert networks["teacher"]["accuracy"] == networks["baseline"]["accuracy"]


def test_the_table(folder: Path, capsys: Printed) -> None:
    assert main([str(folder / "run"), str(folder / "data/test")]) == 0
    output = capsys.readouterr().out
    result = json.loads((folder / "run/result.json").read_text())
    rows = {line.split("  ")[0].strip(): line for line in output.splitlines()}
    for stage in ("teacher", "baseline", "student"):
        assert f"{100 * result[stage]['accuracy']:.2f} %" in rows[stage]
    assert f"{100 * result['student']['agreement']:.2f} %" in rows["student"]
    assert {"student best", "ant", "bee", "cat"} <= set(rows)
    assert "Accuracy in each class, and the class that student takes most of its mistakes for:" in output
    assert max(map(len, output.splitlines())) <= 120


def test_what_is_left_out_is_said(
    folder: Path, tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder / "data/test", "data")
    Path("data/ant").rename("data/wasp")
    Path("data/bee/100.png").write_bytes(b"")
    store_network(Path("net.safetensors"), CLASSES)
    assert main(["net.safetensors", "data", "--output", "x.json"]) == 1
    errors = capsys.readouterr().err
    assert "note: 1 folder under data is no class of the network, and 6 pictures in it left out: wasp" in errors
    assert "note: 1 of 3 classes has no picture under data (ant)" in errors
    assert "kd-evaluate: data/bee/100.png cannot be read: it is empty" in errors
    content = json.loads(Path("x.json").read_text())
    assert content["images_of_class"] == [0, 5, 6]
    assert content["unreadable"] == [{"image": "data/bee/100.png", "reason": "it is empty"}]


def test_a_table_gives_the_same_metrics_as_its_pictures_in_folders(
    folder: Path, tmp_path: Path, capsys: Printed
) -> None:
    own = printed_json(capsys, str(folder / "run"), str(folder / "data/test"))
    pictures = sorted((folder / "data").glob("*/*/*.png"))
    rows = [(path.relative_to(folder), path.parent.name, path.parts[-3]) for path in pictures]
    table = str(write_manifest(tmp_path / "m.csv", rows, ("path", "label", "set")))
    words = [str(folder / "run"), table, "--image-root", str(folder), "--column", "split=set"]
    content = printed_json(capsys, *words)
    assert content["images"] == 18
    for name, metrics in own["networks"].items():
        for metric in METRICS:
            assert content["networks"][name][metric] == pytest.approx(metrics[metric], abs=1e-6)
    assert main([*words[:-2], "--format", "json"]) == 0  # without splits, all are judged
    printed = capsys.readouterr()
    assert json.loads(printed.out)["images"] == 54
    (line,) = [line for line in printed.err.splitlines() if "saw them before" in line]
    assert line == (
        f"kd-evaluate: note: 33 training images and 3 validation images of {folder / 'run'} are among the 54 that are "
        "judged, and its networks saw them before"
    )


def test_a_table_of_several_labels(label_run: Path, tmp_path: Path, capsys: Printed) -> None:
    rows = [(f"{number}.png", "|".join(str(digit) for digit in range(number))) for number in range(4)]
    for number, (path, _) in enumerate(rows):
        write_image(tmp_path / path, number)
    content = printed_json(capsys, str(label_run), str(write_manifest(tmp_path / "m.csv", rows, ("path", "labels"))))
    assert content["images_of_class"][:4] == [3, 2, 1, 0]
    assert content["images"] == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["net.safetensors", "data", "--column", "label=x"], "--column: has no effect where DATA is no table, got lab"),
        (["net.safetensors", "--image-root", "x"], "--image-root: has no effect where DATA is no table, got x"),
        (["net.safetensors", "none.csv"], "no file .*none.csv: it must be a manifest"),
        (["net.safetensors"], "net.safetensors is in no folder of a run: name the pictures to evaluate on"),
        (["net.safetensors", "nothing"], "no folder .*nothing"),
        (["nothing.safetensors", "data"], "no file .*nothing.safetensors"),
        (["net.safetensors", "data", "--root", "x"], "--root: has no effect beside data, got x"),
        (["net.safetensors", "data", "--teacher", "data"], "data is not the folder of a run"),
        (["empty"], "empty is not the folder of a run"),
        (["net.safetensors", "data", "--network", "student"], "--network: has no effect on net.safetensors, which is"),
        (["net.safetensors", "--max-pixels", "9"], "--max-pixels: has no effect without DATA, .* settings say, got 9$"),
        (
            ["empty", "data", "--network", "student", "--network", "teacher", "--teacher", "net.safetensors"],
            "--network teacher: has no effect beside --teacher net.safetensors$",
        ),
    ],
)
def test_what_cannot_work_gets_one_clear_line(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_classes(tmp_path / "data", list(CLASSES), 1)
    (tmp_path / "empty").mkdir()
    store_network(tmp_path / "net.safetensors", CLASSES)
    assert main(words) == 2
    errors = capsys.readouterr().err.strip()
    assert re.fullmatch(f"kd-evaluate: {message}.*", errors)


def test_an_archive_gives_what_its_folder_gives(folder: Path, tmp_path: Path, capsys: Printed) -> None:
    for split in ("train", "test"):
        shutil.copytree(folder / "data" / split, tmp_path / "data" / split)
    (tmp_path / "data/test/ant/broken.png").write_bytes(b"<html>")
    (tmp_path / "data/test/ant/notes.txt").write_text("x")
    shutil.rmtree(tmp_path / "data/test/cat")
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "data"))
    contents, said = [], []
    for data in (tmp_path / "data", packed):
        assert main([str(folder / "run"), str(data), "--format", "json"]) == 1
        output, errors = capsys.readouterr()
        contents.append(json.loads(output))
        said.append(errors)
    assert contents[1].pop("data") == str(packed)
    assert contents[1].pop("unreadable") == [
        {"image": f"{packed}/data/test/ant/broken.png", "reason": "it is a web page"}
    ]
    assert {name: contents[0][name] for name in contents[1]} == contents[1]
    assert said[1].replace(f"{packed}/data", "X") == said[0].replace(f"{tmp_path}/data", "X")
    assert f"no picture under {packed}/data/test (cat)" in said[1]


def test_an_archive_that_is_refused(folder: Path, tmp_path: Path, capsys: Printed) -> None:
    (tmp_path / "broken.zip").write_bytes(b"x")
    assert main([str(folder / "run"), str(tmp_path / "broken.zip")]) == 2
    assert f"kd-evaluate: {tmp_path}/broken.zip cannot be unpacked: " in capsys.readouterr().err
    (tmp_path / "notes.txt").write_text("x")
    assert main([str(folder / "run"), str(tmp_path / "notes.txt")]) == 2
    line = "DATA: must be a folder of class folders, an archive of one (.zip, .tar, .tar.gz, .tgz, .tar.bz2, .tar.xz), "
    assert f"kd-evaluate: {line}or a table (.csv" in capsys.readouterr().err
