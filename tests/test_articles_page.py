"""docs/articles.md has the table that its files give, and an article's row says its numbers or that nobody ran it."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
articles = pytest.importorskip("articles", reason="the page belongs to a checkout")


def test_the_page_is_up_to_date() -> None:
    text = (ROOT / "docs" / "articles.md").read_text()
    assert text == articles.page(), "run python tools/articles.py table"
    assert all(f"## Article {number}:" in text and f"experiment=article_{number}`" in text for number in range(5))


def test_rows_have_mean_and_spread_of_their_seeds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    results, estimates = tmp_path / "results.csv", tmp_path / "estimates.csv"
    results.write_text("article,seed,teacher,baseline,student\n3,0,0.9,0.8,0.82\n3,1,0.92,0.8,0.81\n")
    estimates.write_text("article,cpu_minutes\n1,600\n3,12.4\n")
    monkeypatch.setattr(articles, "RESULTS", results)
    monkeypatch.setattr(articles, "ESTIMATES", estimates)
    rows = [line.strip("|").split(" | ") for line in articles.table().splitlines()[2:]]
    assert [row[3] for row in rows] == ["not run", "not run", "not run", "91.00 ± 1.41", "not run"]
    assert rows[3][4:] == ["80.00 ± 0.00", "81.50 ± 0.71", "+1.50 ± 0.71", "about 12 min "]
    assert rows[1][-1] == "about 10 h "
    assert rows[0][1] == "`kd-runner -m experiment=article_0 seed=0,1,2`"
