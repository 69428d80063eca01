"""Report of an evaluation: plots as PNG, tables as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

mpl.use("agg")

_COLUMNS = (
    ("n", "faces", "{:d}"),
    ("age_mae", "age MAE", "{:.2f}"),
    ("age_bias", "age bias", "{:+.2f}"),
    ("age_cs5", "within 5 years", "{:.1%}"),
    ("interval_coverage", "80 % interval holds", "{:.1%}"),
    ("gender_accuracy", "gender right", "{:.1%}"),
)
_CORRUPTION_COLUMNS = (("missed", "faces missed", "{:.1%}"), *_COLUMNS[1:])
_OVERALL = (
    ("n", "faces", "{:d}"),
    ("missed", "faces missed", "{:d}"),
    ("age_mae", "age: mean absolute error, years", "{:.3f}"),
    ("age_rmse", "age: root mean square error, years", "{:.3f}"),
    ("age_cs5", "age: within 5 years", "{:.2%}"),
    ("age_bias", "age: mean error, years", "{:+.3f}"),
    ("interval_coverage", "age: 80 % interval holds", "{:.2%}"),
    ("interval_width", "age: width of that interval, years", "{:.2f}"),
    ("gender_accuracy", "gender: accuracy", "{:.2%}"),
    ("gender_accuracy_from_15", "gender: accuracy, ages 15 and over", "{:.2%}"),
    ("gender_auc", "gender: area under the curve", "{:.4f}"),
    ("gender_log_loss", "gender: log-loss", "{:.4f}"),
    ("gender_ece", "gender: expected calibration error", "{:.4f}"),
)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def overall_table(report: Mapping[str, Any]) -> str:
    """All figures: aligned, aligned with flip averaging, end to end, every image as it stands."""
    columns = {
        "aligned": report["aligned"],
        "aligned, flip averaged": report["aligned"]["flip"],
        "end to end": report["end_to_end"],
        "every image as it stands": report["raw"],
    }
    rows = [
        [title, *(_cell(column, key, form) for column in columns.values())]
        for key, title, form in _OVERALL
        if any(key in column for column in columns.values())
    ]
    return markdown_table(["", *columns], rows)


def group_table(by: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The figures by age band, gender and ethnicity."""
    columns = _columns_with_values(
        _COLUMNS, [row for members in by.values() for row in members.values()]
    )
    rows = [
        [f"{kind}: {name}", *(_cell(row, key, form) for key, _, form in columns)]
        for kind, members in by.items()
        for name, row in members.items()
    ]
    return markdown_table(["group", *(title for _, title, _ in columns)], rows)


def robustness_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The figures by kind and strength of corruption."""
    columns = _columns_with_values(_CORRUPTION_COLUMNS, rows)
    return markdown_table(
        ["corruption", "strength", *(title for _, title, _ in columns)],
        [
            [row["kind"], row["strength"], *(_cell(row, key, form) for key, _, form in columns)]
            for row in rows
        ],
    )


def plot_evaluation(report: Mapping[str, Any], path: Path) -> None:
    """Four panels: errors by age band and ethnicity, calibration of interval and of gender."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    axes = figure.subplots(2, 2)
    by = report["aligned"]["by"]
    _plot_bars(axes[0, 0], by["age"], ("age_mae", "age_bias"), "age error by age band, years")
    _plot_bars(axes[0, 1], by["age"], ("gender_accuracy",), "gender right, by age band")
    axes[0, 1].set_ylim(0.5, 1)
    levels = report["aligned"].get("interval_coverage_by_level", {})
    expected = [float(level) for level in levels]
    _plot_calibration(
        axes[1, 0], expected, list(levels.values()), "age interval: nominal and observed coverage"
    )
    rows = report["aligned"].get("gender_reliability", [])
    expected, observed = [row["said"] for row in rows], [row["was"] for row in rows]
    _plot_calibration(axes[1, 1], expected, observed, "female: predicted and observed")
    figure.savefig(path, dpi=90)


def plot_robustness(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Plot age error, gender accuracy and missed faces per corruption."""
    figure = Figure(figsize=(11, 0.26 * len(rows) + 1.2), layout="constrained")
    names = [f"{row['kind']} {row['strength']}" for row in rows]
    drawn = (
        ("age_mae", "age MAE, years"),
        ("gender_accuracy", "gender right"),
        ("missed", "missed"),
    )
    axes = figure.subplots(1, len(drawn), sharey=True)
    for axis, (key, title) in zip(axes, drawn, strict=True):
        values = [row.get(key, 0) for row in rows]
        axis.barh(names, values)
        axis.axvline(values[0], color="black", linewidth=0.8)
        axis.set_title(title)
    axes[1].set_xlim(0.5, 1)
    axes[0].invert_yaxis()
    figure.savefig(path, dpi=90)


def plot_curves(history: Path, path: Path) -> None:
    """Loss and metrics by epoch, from a run's `history.jsonl`."""
    rows = [json.loads(line) for line in history.read_text().splitlines()]
    shown = sorted(
        key.removeprefix("val_")
        for key in {key for row in rows for key in row}
        if key.startswith("val_")
    )
    figure = Figure(figsize=(4 * len(shown), 3.5), layout="constrained")
    epochs = [row["epoch"] for row in rows]
    for axis, key in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        axis.plot(epochs, [row.get(key) for row in rows], label="training (augmented)")
        axis.plot(epochs, [row.get("val_" + key) for row in rows], label="validation")
        axis.set_title(key)
        axis.set_xlabel("epoch")
        axis.legend()
    figure.savefig(path, dpi=90)


def _plot_bars(
    axis: Axes, members: Mapping[str, Mapping[str, Any]], keys: Sequence[str], title: str
) -> None:
    width = 0.8 / len(keys)
    for i, key in enumerate(keys):
        at = [j + i * width for j in range(len(members))]
        axis.bar(at, [row.get(key, 0) for row in members.values()], width, label=key)
    middle = 0.4 - width / 2
    axis.set_xticks([j + middle for j in range(len(members))], list(members))
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_title(title)
    axis.legend()


def _plot_calibration(
    axis: Axes, expected: Sequence[float], observed: Sequence[float], title: str
) -> None:
    axis.plot([0, 1], [0, 1], color="gray", linewidth=0.8)
    axis.plot(expected, observed, marker="o")
    axis.set_title(title)
    axis.set_xlabel("predicted")
    axis.set_ylabel("observed")


def _columns_with_values(
    columns: Sequence[tuple[str, str, str]], rows: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str, str]]:
    return [column for column in columns if any(column[0] in row for row in rows)]


def _cell(row: Mapping[str, Any], key: str, form: str) -> str:
    return form.format(row[key]) if key in row else "–"
