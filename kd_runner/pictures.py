"""The leaderboard as a page with pictures, which needs nothing but itself."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from kd_runner.leaderboard import Group, Missing

matplotlib.rcParams |= {
    "svg.fonttype": "none",
    "svg.hashsalt": "kd_runner",
    "font.family": "sans-serif",
    "font.size": 9,
}

MOST_STRIPS = 40  # rows of the picture of all runs
BLUE, ORANGE, GRAY = "#2f6690", "#d1603d", "#8a8f98"
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1c2430; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: right; white-space: nowrap; }
td { border-bottom: 1px solid #dde2e8; }
th { border-bottom: 2px solid #9aa4b0; } th:nth-child(2), td:nth-child(2) { text-align: left; }
tr:first-child td { font-weight: 600; } p.note { color: #55606e; max-width: 60rem; }
svg { max-width: 100%; height: auto; }
"""


def page(headings: Sequence[str], lines: Sequence[Sequence[str]], groups: Sequence[Group], missing: Sequence[Missing],
         note: str) -> str:  # fmt: skip
    """HTML of the leaderboard, with the pictures that its runs give something to show in."""
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in headings)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Leaderboard</title>',
        f"<style>{STYLE}</style><h1>Leaderboard</h1>",
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>',
        f'<p class="note">{html.escape(note)}</p>',
    ]
    if missing:
        texts = (html.escape(f"{each.folder} ({each.words}): {each.reason}") for each in missing)
        items = "".join(f"<li>{text}</li>" for text in texts)
        parts.append(f"<h2>Runs without a result</h2><ul>{items}</ul>")
    pictures = (
        ("Every run", strips(groups)),
        ("Accuracy and size", pareto(groups)),
        ("Two settings", heat_map(groups)),
    )
    parts += [f"<h2>{title}</h2>{picture}" for title, picture in pictures if picture]
    return "\n".join(parts) + "\n"


def strips(groups: Sequence[Group]) -> str:
    """Each group's runs as points, one a seed, and their mean; baselines and teachers of the same runs behind them."""
    shown = list(groups[:MOST_STRIPS])
    if not shown:
        return ""
    figure, axes = _figure(8.5, 1.1 + 0.28 * len(shown))
    for name, color, offset in (("teacher", GRAY, -0.22), ("baseline", ORANGE, 0.22), ("student", BLUE, 0.0)):
        found = [(row, group.values(name, "accuracy")) for row, group in enumerate(shown)]
        values = np.concatenate([each for _, each in found])
        places = np.concatenate([np.full(len(each), row + offset) for row, each in found])
        if len(values):
            axes.plot(100 * values, places, "o", color=color, markersize=4, alpha=0.75, label=name)
    means = [100 * group.accuracies.mean() for group in shown]
    axes.plot(means, range(len(shown)), "|", color="black", markersize=12)
    axes.set_yticks(range(len(shown)), [shortened(group.name) for group in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlabel("test accuracy, %; a point for each seed, a line at the student's mean")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=8)
    axes.grid(axis="x", color="#e6e9ee")
    return _svg(figure)


def pareto(groups: Sequence[Group]) -> str:
    """Accuracy over parameters, with the groups that no smaller one beats joined by a line; empty of one size alone."""
    points = [
        (float(group.values("student", "parameters").mean()), 100 * float(group.accuracies.mean()), group)
        for group in groups
        if len(group.values("student", "parameters"))
    ]
    if len({size for size, _, _ in points}) < 2:
        return ""
    figure, axes = _figure(7.5, 4.2)
    front: list[tuple[float, float, Group]] = []
    for point in sorted(points, key=lambda each: (each[0], -each[1])):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    axes.plot([size for size, _, _ in points], [accuracy for _, accuracy, _ in points], "o", color=GRAY, markersize=5)
    axes.plot([size for size, _, _ in front], [accuracy for _, accuracy, _ in front], "o-", color=BLUE, markersize=6)
    for size, accuracy, group in front:
        axes.annotate(
            shortened(group.name, 40), (size, accuracy), xytext=(5, 5), textcoords="offset points", fontsize=8
        )
    axes.set_xscale("log")
    axes.set_xlabel("parameters of the student")
    axes.set_ylabel("test accuracy, %")
    axes.grid(color="#e6e9ee")
    return _svg(figure)


def heat_map(groups: Sequence[Group]) -> str:
    """Mean accuracy over the two settings with the most values; empty where fewer than two were swept in a grid."""
    split = [dict(word.partition("=")[::2] for word in group.words) for group in groups]
    values: dict[str, list[str]] = {}
    for words in split:
        for key, value in words.items():
            values.setdefault(key, [])
            if value not in values[key]:
                values[key].append(value)
    swept = sorted((key for key in values if len(values[key]) > 1), key=lambda key: -len(values[key]))[:2]
    if len(swept) < 2:
        return ""
    rows, columns = (sorted(values[key], key=_number_or_text) for key in swept)
    sums, counts = np.zeros((2, len(rows), len(columns)))
    for group, words in zip(groups, split, strict=True):
        if swept[0] in words and swept[1] in words:
            place = rows.index(words[swept[0]]), columns.index(words[swept[1]])
            sums[place] += 100 * group.accuracies.mean()
            counts[place] += 1
    means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    figure, axes = _figure(2.2 + 0.75 * len(columns), 1.2 + 0.4 * len(rows))
    axes.imshow(means, cmap="Blues", aspect="auto")
    middle = (np.nanmin(means) + np.nanmax(means)) / 2
    for (row, column), mean in np.ndenumerate(means):
        if not np.isnan(mean):
            color = "white" if mean > middle else "black"
            axes.text(column, row, f"{mean:.2f}", ha="center", va="center", color=color, fontsize=8)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel(swept[1])
    axes.set_ylabel(swept[0])
    axes.set_title("mean test accuracy of the student, %", fontsize=9)
    return _svg(figure)


def _number_or_text(value: str) -> tuple[int, float, str]:
    try:
        return 0, float(value), ""
    except ValueError:
        return 1, 0.0, value


def shortened(name: str, length: int = 60) -> str:
    """The name, with an ellipsis where it is longer than that."""
    return name if len(name) <= length else f"{name[: length - 1]}…"


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
