"""Figures come out as PNG with what they should show, also from curves with little on them.

What a figure looks like is for eyes; these tests hold that each can be drawn, and that its data are in it.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.figure
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from onecycle_cli.analysis.lr_range import Curve, Suggestion, shape_of
from onecycle_cli.analysis.lr_range.peers import PEERS as PEER_RULES
from onecycle_cli.figures.plots import (
    MOST_LABELS,
    PEER_MARKERS,
    Overlaid,
    Trained,
    plot_comparison,
    plot_confusion,
    plot_lr_range,
    plot_schedule,
    plot_sweep,
    plot_training,
)
from onecycle_cli.run_dir.files import ERROR_BAR

pytestmark = pytest.mark.draws

LRS = list(np.geomspace(1e-4, 10, 50))
LOSSES = list(2.3 - np.linspace(0, 1, 50) + np.linspace(0, 1.2, 50) ** 8)
PEERS = {"steep": 0.01, "valley": 0.02, "slide": None, "minimum": 0.3}
FOUND = Suggestion(0.5, 0.2, 0.05, "medium", 0.4, 1.6, 0.25, 1.0, None, "basin", "Because.", PEERS)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved."""
    figures = []
    save = matplotlib.figure.Figure.savefig

    def keep(figure: Figure, *arguments: Any, **options: Any) -> None:
        figures.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", keep)
    return figures


Columns = dict[str, list[float | None]]


def legend(figure: Figure, axes: int = 0) -> list[str]:
    return [text.get_text() for text in figure.axes[axes].get_legend().get_texts()]


def is_png(path: Path) -> bool:
    with Image.open(path) as image:
        return image.format == "PNG" and min(image.size) > 300


def range_figure(path: Path, *losses: list[float], **changes: Any) -> None:
    tests = [(LRS[: len(one)], one) for one in losses or [LOSSES]]
    plain: dict[str, Any] = {
        "title": "t",
        "tests": tests,
        "shape": shape_of([Curve(*test) for test in tests]),
        "suggestion": FOUND,
    }
    plot_lr_range(path, **(plain | changes))


def test_a_range_test_shows_the_curve_and_every_suggestion(tmp_path: Path, drawn: list[Figure]) -> None:
    range_figure(tmp_path / "a.png", valid=[(0.01, 2.0), (0.1, 1.9)])
    assert is_png(tmp_path / "a.png")
    assert legend(drawn[0])[2:] == [
        "validation loss",
        "max_lr 0.5, confidence medium",
        "best max_lr from 0.25 to 1 (90 %)",
        "conservative_max_lr 0.2",
        "steep 0.01",
        "valley 0.02",
        "minimum 0.3",
    ]
    assert drawn[0].axes[0].get_xscale() == "log"


def test_the_band_behind_max_lr_is_where_the_best_one_is(tmp_path: Path, drawn: list[Figure]) -> None:
    range_figure(tmp_path / "a.png")
    (band,) = drawn[0].axes[0].patches
    assert band.get_extents().transformed(drawn[0].axes[0].transData.inverted()).intervalx == pytest.approx([0.25, 1])
    assert band.get_zorder() < min(line.get_zorder() for line in drawn[0].axes[0].get_lines())


def test_several_range_tests_show_their_median_in_a_band(tmp_path: Path, drawn: list[Figure]) -> None:
    range_figure(tmp_path / "a.png", LOSSES, [loss + 0.1 for loss in LOSSES])
    assert legend(drawn[0])[:3] == ["2 tests, train loss of each batch", "smoothed", "from lowest to highest"]


def test_every_peer_has_a_mark_of_its_own() -> None:
    assert len(set(PEER_MARKERS)) == len(PEER_RULES)


def test_an_explosion_does_not_press_the_curve_flat(tmp_path: Path, drawn: list[Figure]) -> None:
    range_figure(tmp_path / "a.png", [*LOSSES[:-1], 1e6])
    low, high = drawn[0].axes[0].get_ylim()
    assert low < min(LOSSES)
    assert LOSSES[0] < high < 5


@pytest.mark.parametrize("points", [0, 1, 2])
def test_a_range_test_that_ended_at_once_can_be_drawn(tmp_path: Path, points: int) -> None:
    numbers = ("max_lr", "conservative_max_lr", "initial_lr", "confidence", *ERROR_BAR)
    none = replace(FOUND, peers=dict.fromkeys(PEERS), **dict.fromkeys(numbers))
    range_figure(tmp_path / "a.png", LOSSES[:points] or [math.nan], suggestion=none)
    assert is_png(tmp_path / "a.png")


def test_a_training_run_shows_losses_accuracy_lr_and_momentum(tmp_path: Path, drawn: list[Figure]) -> None:
    steps: Columns = {"step": [0, 1, 2, 3], "lr": [0.1, 0.2, 0.1, 0.0], "momentum": [0.95, 0.85, 0.95, 0.95]}
    steps["train_loss"] = [2.3, 2.0, 1.5, 1.2]
    epochs: Columns = {"step": [1, 3], "train_loss": [2.1, 1.3], "valid_loss": [2.0, 1.4]}
    epochs |= {"train_accuracy": [0.2, 0.5], "valid_accuracy": [0.3, 0.45]}
    plot_training(tmp_path / "a.png", title="t", steps=steps, epochs=epochs)
    assert is_png(tmp_path / "a.png")
    assert [axes.get_ylabel() for axes in drawn[0].axes] == ["loss", "accuracy", "lr", "momentum"]
    assert np.asarray(drawn[0].axes[2].get_lines()[0].get_ydata()).tolist() == steps["lr"]


def test_a_run_that_diverged_in_its_first_epoch_can_be_drawn(tmp_path: Path) -> None:
    steps: Columns = {"step": [0, 1], "lr": [0.1, 0.2], "momentum": [0.95, 0.85], "train_loss": [2.3, float("nan")]}
    epochs: Columns = {name: [] for name in ("step", "train_loss", "valid_loss", "train_accuracy", "valid_accuracy")}
    plot_training(tmp_path / "a.png", title="t", steps=steps, epochs=epochs)
    assert is_png(tmp_path / "a.png")


def test_a_schedule_shows_lr_over_momentum(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_schedule(tmp_path / "a.png", title="t", lrs=[0.1, 0.2], momentums=[0.9, 0.8])
    assert [axes.get_ylabel() for axes in drawn[0].axes] == ["lr", "momentum"]


def test_a_sweep_marks_the_chosen_curve_and_each_onset(tmp_path: Path, drawn: list[Figure]) -> None:
    shape, nothing = shape_of([Curve(LRS, LOSSES)]), shape_of([Curve([0.1], [math.nan])])
    curves = [Overlaid("1e-2", shape, LRS[45]), Overlaid("1e-3", shape, LRS[47]), Overlaid("1e-1", nothing, None)]
    plot_sweep(tmp_path / "a.png", title="t", curves=curves, fields="weight_decay", chosen="1e-3")
    assert legend(drawn[0]) == ["1e-2", "1e-3 (chosen)", "1e-1"]
    lines = drawn[0].axes[0].get_lines()
    wide = [line.get_linewidth() for line in lines if str(line.get_label()).startswith("1e")]
    assert wide[1] > wide[0] == wide[2]
    assert [np.asarray(line.get_xdata())[0] for line in lines if line.get_marker() == "v"] == [LRS[45], LRS[47]]


def training(label: str, *valid_losses: float, train_loss: float = 1.0) -> Trained:
    epochs = [
        {"epoch": number, "train_loss": train_loss, "valid_loss": loss, "valid_accuracy": 0.5}
        for number, loss in enumerate(valid_losses, start=1)
    ]
    return Trained(label, [{"step": 0, "lr": 0.1}, {"step": 1, "lr": 0.2}], epochs)


def panels(figure: Figure) -> dict[str, Axes]:
    return {axes.get_title().split(" of ")[0]: axes for axes in figure.axes}


def test_compared_trainings_show_their_losses_accuracy_and_lr(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_comparison(tmp_path / "a.png", trainings=[training("a", 2.0, 1.5), training("b", 2.5)], tests=[])
    assert is_png(tmp_path / "a.png")
    assert list(panels(drawn[0])) == ["train loss", "validation loss", "validation accuracy", "lr"]
    one, other = panels(drawn[0])["validation loss"].get_lines()
    assert tuple(np.asarray(line.get_ydata()).tolist() for line in (one, other)) == ([2.0, 1.5], [2.5])
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["a", "b"]


def test_lrs_that_lie_far_apart_are_drawn_on_a_log_scale(tmp_path: Path, drawn: list[Figure]) -> None:
    low, near, far = (Trained("a", [{"step": 0, "lr": lr}], []) for lr in (0.1, 0.5, 10.0))
    plot_comparison(tmp_path / "a.png", trainings=[low, near], tests=[])
    plot_comparison(tmp_path / "b.png", trainings=[low, far], tests=[])
    assert [panels(figure)["lr"].get_yscale() for figure in drawn] == ["linear", "log"]


def test_compared_range_tests_have_a_panel_of_their_own_with_a_mark_each(tmp_path: Path, drawn: list[Figure]) -> None:
    shape = shape_of([Curve(LRS, LOSSES)])
    tests = [Overlaid("a", shape, LRS[40]), Overlaid("b", shape, None)]
    plot_comparison(tmp_path / "a.png", trainings=[], tests=tests)
    plot_comparison(tmp_path / "b.png", trainings=[training("b", 2.0)], tests=tests)
    alone, both = map(panels, drawn)
    assert list(alone) == ["smoothed loss"]
    assert len(both) == 5
    assert both["smoothed loss"].get_xscale() == "log"
    marks = [line for line in both["smoothed loss"].get_lines() if line.get_marker() == "v"]
    assert [np.asarray(line.get_xdata())[0] for line in marks] == [LRS[40]]
    # The training named b looks as the test named b.
    assert both["lr"].get_lines()[0].get_color() == both["smoothed loss"].get_lines()[-1].get_color()


def test_runs_of_one_label_look_the_same_and_stand_in_the_legend_once(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_comparison(tmp_path / "a.png", trainings=[training(label, 2.0) for label in "abba"], tests=[])
    colors = [line.get_color() for line in panels(drawn[0])["lr"].get_lines()]
    assert colors[0] == colors[3] != colors[1] == colors[2]
    assert len(drawn[0].legends[0].get_texts()) == 2


@pytest.mark.parametrize(("runs", "entries"), [(MOST_LABELS, MOST_LABELS), (24, MOST_LABELS)])
def test_many_runs_look_different_and_the_legend_stays_legible(
    tmp_path: Path, drawn: list[Figure], runs: int, entries: int
) -> None:
    plot_comparison(tmp_path / "a.png", trainings=[training(str(i), 2.0) for i in range(runs)], tests=[])
    lines = panels(drawn[0])["lr"].get_lines()
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == runs
    texts = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert len(texts) == entries
    assert texts[-1] == ("and 13 more" if runs == 24 else str(runs - 1))


def test_a_run_that_explodes_or_has_no_epoch_yet_leaves_the_others_in_view(tmp_path: Path, drawn: list[Figure]) -> None:
    runs = [training("a", 2.0, 1.0), training("b", 2.2, 1e20, math.nan), training("c", 2.1, 1.1), training("d")]
    plot_comparison(tmp_path / "a.png", trainings=runs, tests=[])
    low, high = panels(drawn[0])["validation loss"].get_ylim()
    assert low < 1.0
    assert 2.2 < high < 4
    plot_comparison(tmp_path / "b.png", trainings=runs[3:], tests=[])
    assert is_png(tmp_path / "b.png")


@pytest.mark.parametrize("classes", [2, 30])
def test_a_confusion_matrix_tells_counts_where_there_is_room(tmp_path: Path, drawn: list[Figure], classes: int) -> None:
    counts = [[7 if i == j else 0 for j in range(classes)] for i in range(classes)]
    counts[0] = [0] * classes  # a class without images
    plot_confusion(tmp_path / "a.png", title="t", classes=[f"class {i}" for i in range(classes)], counts=counts)
    assert is_png(tmp_path / "a.png")
    assert len(drawn[0].axes[0].texts) == (classes**2 if classes <= 25 else 0)


def test_no_display_is_needed_whatever_backend_the_user_has_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setitem(mpl.rcParams, "backend", "tkagg")
    range_figure(tmp_path / "a.png")
    assert is_png(tmp_path / "a.png")
