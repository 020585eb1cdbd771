"""The table of what networks cost, in words that say which way."""

from __future__ import annotations

from typing import Any

from kd_runner.reports.cost_table import BESIDE, cost_headings, cost_rows


def stage(scale: float, energy: float | None = None) -> dict[str, Any]:
    return {
        "accuracy": 0.9,
        "parameters": int(1000 * scale),
        "macs": int(20_000 * scale),
        "file_bytes": int(8000 * scale),
        "latency": 0.001 * scale,
        "images_seen": 500,
        "inference": {
            "one": {"images": 1, "median": 0.001 * scale, "p95": 0.002 * scale, "passes": 50},
            "many": {"images": 64, "median": 0.01 * scale, "p95": 0.02 * scale, "passes": 20},
            "peak_memory": {"one": int(10_000 * scale), "many": int(100_000 * scale)},
            "energy": energy,
        },
    }


def test_a_smaller_student_is_fewer_smaller_faster_and_less() -> None:
    result = {"teacher": stage(4.1, 0.004), "baseline": stage(1, 0.001), "student": stage(1, 0.001), "seconds": {}}
    rows = dict(cost_rows(result))
    assert cost_headings(result) == ["teacher", "baseline", "student", BESIDE]
    assert rows["parameters"] == ["4,100", "1,000", "1,000", "4.1 times fewer"]
    assert rows["file of the weights"] == ["32.8 kB", "8,000 bytes", "8,000 bytes", "4.1 times smaller"]
    assert rows["one image, median"] == ["4.1 ms", "1 ms", "1 ms", "4.1 times faster"]
    assert rows["64 images, 95th percentile"] == ["82 ms", "20 ms", "20 ms", "4.1 times faster"]
    assert rows["peak memory, 64 images"] == ["410.0 kB", "100.0 kB", "100.0 kB", "4.1 times less"]
    assert rows["energy of an image"] == ["4 mJ", "1 mJ", "1 mJ", "4.0 times less"]
    assert rows["training images seen"] == ["500", "500", "500", ""]


def test_a_larger_student_is_more_larger_and_slower_and_never_a_part_of_a_time() -> None:
    result = {"teacher": stage(1), "baseline": None, "student": stage(5), "seconds": {}}
    rows = dict(cost_rows(result))
    assert cost_headings(result) == ["teacher", "student", BESIDE]
    assert rows["parameters"][-1] == "5.0 times more"
    assert rows["file of the weights"][-1] == "5.0 times larger"
    assert rows["one image, median"][-1] == "5.0 times slower"
    assert "energy of an image" not in rows, "nobody told"


def test_results_of_earlier_versions_and_students_like_their_teachers_have_rows_too() -> None:
    old = {"accuracy": 0.9, "parameters": 1000, "macs": None}
    rows = dict(cost_rows({"teacher": old, "baseline": None, "student": old}))
    assert rows["parameters"][-1] == "as many"
    assert set(rows) == {"parameters", "training images seen", "time in this run"}
    assert cost_headings({"student": old, "teacher": None}) == ["student"]
