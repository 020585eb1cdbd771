"""TensorBoard on a real sweep, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import Browser
from jobs import Job
from tensorboard_servers import Server, opened, serving

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.slow

WORDS = ("-m", "teacher=mlp", "teacher.hidden=[32]", "teacher.epochs=2", "student.epochs=2", "hydra.sweep.dir=sweep")
SWEPT = ("distillation=soft,dkd", "distillation.weight=1,1e38", "seed=0,1")
FINISHED = ("0_soft_weight=1_s0", "1_soft_weight=1_s1", "4_dkd_weight=1_s0", "5_dkd_weight=1_s1")
FAILED = ("2_soft_weight=1e+38_s0", "3_soft_weight=1e+38_s1", "6_dkd_weight=1e+38_s0", "7_dkd_weight=1e+38_s1")
SHARED = ("teacher_mlp_s0", "teacher_mlp_s1", "baseline_plain_cnn_s0", "baseline_plain_cnn_s1")
MEANS = ("mean_row1_dkd", "mean_row2_soft", "mean_teacher_mlp", "mean_baseline_plain_cnn")
ALL = len(FINISHED) + len(FAILED) + len(SHARED) + len(MEANS) + 1  # and the leaderboard


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight jobs of two modes with settings of their own, on two seeds; two jobs of each mode fail."""
    folder = tmp_path_factory.mktemp("tensorboard")
    job = Job(folder, *WORDS, *SWEPT, "tracking.graph=true", "tracking.embedding=true")
    assert job.wait(400) == 1, job.text("err")
    said = [line for line in job.text("out").splitlines() if line.startswith("tensorboard --logdir ")]
    assert said == [f"tensorboard --logdir {folder / 'sweep' / 'tensorboard'}"]
    return folder / "sweep"


@pytest.fixture(scope="module")
def server(sweep: Path) -> Iterator[Server]:
    with serving(sweep / "tensorboard") as found:
        found.until(ALL)
        yield found


def test_each_run_is_there_once_by_its_name(server: Server, sweep: Path) -> None:
    names = server.until(ALL)
    assert sorted(names) == sorted([*FINISHED, *FAILED, *SHARED, *MEANS, "leaderboard"])
    with serving(sweep) as above:
        assert sorted(above.until(ALL)) == sorted(f"tensorboard/{name}" for name in names)


def test_means_are_charts_with_bands_above_those_of_single_runs(browser: Browser, server: Server) -> None:
    page = opened(browser, server, "custom_scalars")
    charts = page.locator("tf-custom-scalar-margin-chart-card")
    charts.locator(".area").first.wait_for(state="attached")
    page.wait_for_timeout(2000)
    browser.picture(page, "tensorboard_means", whole=False)
    titles = ("accuracy, validation images", "accuracy, training images", "loss, validation images")
    boxes = [page.get_by_text(title).first.bounding_box() for title in titles]
    places = [(box["y"], box["x"]) for box in boxes if box]
    assert len(places) == 3
    assert places == sorted(places)
    assert charts.first.locator(".area").count() == len(MEANS)


def test_the_table_has_every_run_and_its_status(browser: Browser, server: Server) -> None:
    page = opened(browser, server, "hparams")
    for name in (*FINISHED, *FAILED):
        page.get_by_text(name[:12]).first.wait_for()
    browser.picture(page, "tensorboard_hparams")
    table = page.locator("tf-hparams-table-view")
    assert [table.get_by_text(word, exact=True).count() for word in ("finished", "failed")] == [4, 4]
    for heading in ("distillation.weight", "student test accuracy", "distillation.direction"):
        assert table.get_by_text(heading, exact=True).count() == 1


def test_the_parallel_coordinates_have_every_run_with_a_result(browser: Browser, server: Server) -> None:
    page = opened(browser, server, "hparams")
    page.get_by_text("PARALLEL COORDINATES VIEW").click()
    lines = page.locator("tf-hparams-parallel-coords-plot g.foreground path")
    lines.first.wait_for(state="attached")
    page.wait_for_timeout(1000)
    browser.picture(page, "tensorboard_parallel_coordinates")
    assert lines.count() == len(FINISHED)
    drawn = [line.get_attribute("d") or "" for line in lines.all()]
    assert len(set(drawn)) == len(FINISHED)
    assert not any("NaN" in path for path in drawn)


@pytest.mark.parametrize(
    ("tab", "words"),
    [
        ("timeseries", ("0_soft_weight=1", "accuracy/validation")),
        ("custom_scalars", ("Means over seeds", "Teacher, baseline, student", "Distillation")),
        ("images", ("images/Confusion matrices", "0_soft_weight=1")),
        ("text", ("run/command", "leaderboard", "kd-runner teacher=mlp")),
        ("pr_curves", ("precision_recall_baseline/0",)),
        ("graphs", ("Tag",)),
    ],
)
def test_tabs(browser: Browser, server: Server, tab: str, words: tuple[str, ...]) -> None:
    page = opened(browser, server, tab)
    for word in words:
        page.get_by_text(word).first.wait_for(state="attached")
    page.wait_for_timeout(2000)
    browser.picture(page, f"tensorboard_{tab}", whole=False)


def test_the_projector_shows_images_by_their_logits(browser: Browser, server: Server) -> None:
    page = opened(browser, server, "projector")
    frame = page.frame_locator("iframe").frame_locator("iframe")
    for word in ("Points: 500", "Dimension: 10"):
        frame.get_by_text(word).first.wait_for()
    browser.picture(page, "tensorboard_projector", whole=False)
