"""The charts have the data they should, and no more than a page can hold. Browsers draw them in test_report_page.py."""

import math
from typing import Any

import numpy as np
import pytest

from onecycle_cli.analysis.lr_range import Curve, Suggestion, shape_of
from onecycle_cli.figures.report.charts import (
    COLORS,
    MOST_A_CURVE,
    MOST_NAMED,
    MOST_POINTS,
    Axis,
    Place,
    RangeTests,
    Training,
    color,
    dash,
    overlay_figure,
    parallel_figure,
    range_test_figure,
    rounded,
    speeds_figure,
    training_figure,
)
from onecycle_cli.figures.report.content import Figure

LRS = list(np.geomspace(1e-4, 10, 50))
LOSSES = list(2.3 - np.linspace(0, 1, 50) + np.linspace(0, 1.2, 50) ** 8)
CURVES = [Curve(LRS, LOSSES), Curve(LRS, [loss + 0.1 for loss in LOSSES])]
FOUND = Suggestion(0.5, 0.2, 0.05, "medium", 0.4, 1.6, 0.25, 1.0, None, "basin", "Because.", {"steep": 0.01, "x": None})


def training(label: str, steps: int = 20, per_epoch: int = 10, lr: float = 0.1, epochs: int | None = None) -> Training:
    count = steps // per_epoch if epochs is None else epochs
    rows = [
        {"step": i, "lr": lr * (i + 1) / steps, "momentum": 0.9, "train_loss": 2.0 - i / steps} for i in range(steps)
    ]
    scores = [
        {"epoch": e, "step": e * per_epoch - 1, "train_loss": 2.0 / e, "valid_loss": 2.1 / e}
        | {"train_accuracy": 0.45 * e, "valid_accuracy": 0.4 * e}
        for e in range(1, count + 1)
    ]
    return Training(label, rows, scores, per_epoch)


def layers(figure: Figure) -> list[dict[str, Any]]:
    return [layer for panel in figure.panels for layer in panel.spec["layer"]]


def test_a_range_test_has_its_curves_its_suggestion_its_band_and_the_peers() -> None:
    tests = [(curve.lrs, curve.losses) for curve in CURVES]
    figure = range_test_figure(
        "f", title="t", tests=tests, shape=shape_of(CURVES), suggestion=FOUND, valid=[(0.1, 2.0)]
    )
    assert len(figure.data["raw"]["x"]) == 100
    assert set(figure.data["raw"]["test"]) == {0, 1}
    assert figure.data["band"] == {"low": [0.25], "high": [1.0]}
    assert figure.data["max_lr"]["x"] == [0.5]
    assert figure.data["conservative_max_lr"]["x"] == [0.2]
    assert figure.data["peers"] == {"x": [0.01], "rule": ["steep"]}
    assert figure.data["valid"] == {"x": [0.1], "y": [2.0]}
    assert all(layer["encoding"]["x"]["scale"]["type"] == "log" for layer in layers(figure))
    assert "max_lr 0.5 with medium confidence" in figure.said
    assert "from 0.25 to 1" in figure.said
    assert [entry.label for entry in figure.legend][:2] == ["train loss of each batch, 2 tests", "smoothed"]


def test_a_range_test_without_a_suggestion_has_its_curve_alone() -> None:
    none = Suggestion(None, None, None, None, None, None, None, None, None, "basin", "No.", {})
    for found in (None, none):
        figure = range_test_figure("f", title="t", tests=[(LRS, LOSSES)], shape=shape_of(CURVES[:1]), suggestion=found)
        assert set(figure.data) == {"raw", "smooth"}


def test_every_layer_names_data_that_are_there() -> None:
    tests = [(curve.lrs, curve.losses) for curve in CURVES]
    figures = [
        range_test_figure("f", title="t", tests=tests, shape=shape_of(CURVES), suggestion=FOUND),
        training_figure("f", title="t", trainings=[training("a")], places=[Place(1, 0, 1)]),
        training_figure("f", title="t", trainings=[training("a"), training("b")]),
        training_figure("f", title="t", trainings=[training("a", epochs=0)]),
        overlay_figure("f", title="t", tests=[RangeTests("a", shape_of(CURVES), 0.5)], mark="max_lr", chosen="a"),
        parallel_figure("f", title="t", axes=[Axis("lr", [0.0], [(0.0, "1")])], names=["a"], shades=[0.0]),
        speeds_figure("f", title="t", sizes=[16, 32], speeds=[100.0, 150.0], chosen=32),
    ]
    for figure in figures:
        for layer in layers(figure):
            columns = figure.data[layer["data"]["name"]]
            named = [part["field"] for part in layer["encoding"].values() if isinstance(part, dict) and "field" in part]
            tips = [tip["field"] for tip in layer["encoding"].get("tooltip", [])]
            assert {*named, *tips} <= set(columns), (figure.title, layer)
            assert len({len(column) for column in columns.values()}) == 1
            assert columns["x" if "x" in columns else next(iter(columns))], "a layer without data has no scale"


def test_a_training_has_losses_accuracy_lr_and_momentum_over_the_same_epochs() -> None:
    figure = training_figure("f", title="t", trainings=[training("a")], places=[Place(2, 0.5, 1.0)])
    assert [panel.title for panel in figure.panels] == ["loss", "accuracy", "lr", "momentum"]
    assert figure.data["steps"]["x"][0] == pytest.approx(0.1)  # the first step ends a tenth of the epoch
    assert figure.data["epochs"]["x"] == [1, 2]
    assert figure.data["places"] == {"first": [0.5], "last": [1.0], "number": ["2"]}
    domains = {tuple(layer["encoding"]["x"]["scale"]["domain"]) for layer in layers(figure)}
    assert domains == {(0.0, 2.0)}
    assert [panel.can_log for panel in figure.panels] == [True, False, False, False]
    assert "2 epochs, train loss 1, validation loss 1.05, validation accuracy 0.8000" in figure.said


def test_each_chart_of_a_training_has_the_legend_of_its_own_curves() -> None:
    places = [Place(1, 0, 1), Place(2, 1, 2), Place(3, 0.25, 0.5)]
    figure = training_figure("f", title="t", trainings=[training("a")], places=places)
    legends = [[(entry.label, entry.color) for entry in panel.legend] for panel in figure.panels]
    assert legends[0][:3] == [
        ("train loss of each step", None),
        ("train loss of each epoch", 0),
        ("validation loss", 1),
    ]
    assert [label for label, _ in legends[0][3:]] == [
        "statement 1, from the start",
        "statement 2, from the end of epoch 1",
        "statement 3, from epoch 0.25",
    ]
    assert legends[1:] == [[("train accuracy", 0), ("validation accuracy", 1)], [], []]
    assert figure.legend == []


def test_a_training_of_an_older_version_has_its_validation_accuracy_alone() -> None:
    whole = training("a")
    old = [{name: value for name, value in row.items() if name != "train_accuracy"} for row in whole.epochs]
    figure = training_figure("f", title="t", trainings=[Training("a", whole.steps, old, 10)])
    assert figure.panels[1].title == "validation accuracy"
    assert [entry.label for entry in figure.panels[1].legend] == ["validation accuracy"]


def test_no_peak_touches_the_edge_of_its_chart() -> None:
    whole = training("a")
    peak = [{**whole.epochs[0], "valid_loss": 3.9}, *whole.epochs[1:]]  # the first loss is 2, the lowest 1
    figure = training_figure("f", title="t", trainings=[Training("a", whole.steps, peak, 10)])
    tops = [panel.spec["layer"][0]["encoding"]["y"]["scale"]["domain"][1] for panel in figure.panels]
    assert all(top > highest for top, highest in zip(tops, (3.9, 0.9, 0.1, 0.9), strict=True))
    exploded = [{**whole.epochs[0], "valid_loss": 1e6}, *whole.epochs[1:]]
    figure = training_figure("f", title="t", trainings=[Training("a", whole.steps, exploded, 10)])
    assert figure.panels[0].spec["layer"][0]["encoding"]["y"]["scale"]["domain"][1] < 5


def test_a_training_without_an_epoch_has_only_what_its_steps_show() -> None:
    figure = training_figure("f", title="t", trainings=[training("a", epochs=0)])
    assert [panel.title for panel in figure.panels] == ["loss", "lr", "momentum"]
    assert [entry.label for entry in figure.panels[0].legend] == ["train loss of each step"]


def test_a_loss_that_explodes_starts_on_a_log_scale() -> None:
    tame = training("a")
    wild = Training("a", [*tame.steps, {**tame.steps[-1], "step": 20, "train_loss": 1e9}], [], 10)
    assert not training_figure("f", title="t", trainings=[tame]).starts_log
    assert training_figure("f", title="t", trainings=[wild]).starts_log
    endless = Training("a", [{**tame.steps[0], "train_loss": math.nan}], [], 10)
    assert training_figure("f", title="t", trainings=[endless]).data["steps"]["loss"] == [None]


def test_runs_with_the_same_label_look_the_same_and_have_one_entry() -> None:
    figure = training_figure("f", title="t", trainings=[training("a"), training("b"), training("a")])
    assert [entry.label for entry in figure.legend] == ["a", "b"]
    assert list(figure.labels) == ["a", "b"]
    assert sorted({*zip(figure.data["epochs"]["n"], figure.data["epochs"]["run"], strict=True)}) == [
        (0, 0),
        (1, 1),
        (2, 0),
    ]


def test_lrs_that_are_far_apart_have_a_log_scale() -> None:
    def lr_scale(*lrs: float) -> Any:
        figure = training_figure("f", title="t", trainings=[training(str(lr), lr=lr) for lr in lrs])
        (panel,) = [panel for panel in figure.panels if panel.title == "lr"]
        return panel.spec["layer"][0]["encoding"]["y"]["scale"].get("type")

    assert lr_scale(0.1, 0.5) is None
    assert lr_scale(0.01, 0.5) == "log"


def test_a_hundred_long_runs_are_thinned_and_the_figure_says_so() -> None:
    figure = training_figure("f", title="t", trainings=[training(f"run {n}", 1_000) for n in range(100)])
    assert len(figure.data["steps"]["x"]) <= MOST_POINTS
    assert figure.note is not None
    assert "of 100,000 steps" in figure.note
    assert len(figure.legend) == MOST_NAMED + 1
    assert figure.legend[-1].label == f"and {100 - MOST_NAMED} more"
    alone = training_figure("f", title="t", trainings=[training("a", 1_000)])
    assert len(alone.data["steps"]["x"]) <= MOST_A_CURVE


def test_an_overlay_marks_each_curve_at_its_lr_and_the_chosen_one_is_bold() -> None:
    tests = [RangeTests("a", shape_of(CURVES[:1]), 0.5), RangeTests("b", shape_of(CURVES[1:]), None)]
    figure = overlay_figure("f", title="t", tests=tests, mark="reach_lr", chosen="b")
    assert figure.data["marks"]["x"] == [0.5]
    assert figure.data["marks"]["run"] == [0]
    assert set(figure.data["chosen"]["run"]) == {1}
    assert len(figure.data["chosen"]["x"]) == 50
    bold = [layer["mark"]["strokeWidth"] for layer in layers(figure) if layer["data"]["name"] == "chosen"]
    assert bold == [4]
    assert [entry.label for entry in figure.legend] == ["a", "b (chosen)"]
    assert "a: 0.5" in figure.said


def test_parallel_coordinates_name_the_best_cell_if_there_is_one() -> None:
    axes = [Axis("max_lr", [0.0, 1.0], [(0.0, "0.1"), (1.0, "1")]), Axis("valid_loss", [0.2, None], [(0.0, "0.5")])]
    figure = parallel_figure("f", title="t", axes=axes, names=["a", "b"], shades=[0.0, 1.0])
    assert figure.data["lines"]["height"] == [0.0, 1.0, 0.2, None]
    assert "best cell is a" in figure.said
    alike = parallel_figure("f", title="t", axes=axes, names=["a", "b"], shades=[0.3, 0.3])
    assert "best" not in alike.said


def test_24_curves_look_different() -> None:
    assert len({(color(n), str(dash(n))) for n in range(4 * COLORS)}) == 24


def test_numbers_are_short_and_what_is_not_finite_is_a_gap() -> None:
    assert rounded(0.123456789) == 0.12346
    assert rounded(math.inf) is None
    assert rounded(math.nan) is None
    assert rounded(None) is None
