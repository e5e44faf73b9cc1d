"""A figure that fails, or lacks a character, costs a note."""

import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from onecycle_cli.errors import InputError, OnecycleError
from onecycle_cli.experiments.drawing import draw, draw_file
from onecycle_cli.experiments.session import Session
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "float32")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, command="train", recipe_name="r", recipe_yaml="", facts={}, name="run")


def plotting(error: Exception | None = None, missing: str = "") -> Callable[[Path], str]:
    """Draws a figure, half of it where it fails, as loudly as matplotlib can."""

    def plot(path: Path) -> str:
        path.write_text("figure")
        warnings.warn("Glyph 20013 missing", UserWarning, stacklevel=1)
        logging.getLogger("matplotlib.font_manager").warning("findfont: Font family 'x' not found.")
        if error is not None:
            raise error
        return missing

    return plot


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("ParseException: $x_$"), "ParseException: $x_$"),
        (InputError("No curve.", "Wait."), "No curve."),
        (ImportError("no matplotlib"), "no matplotlib"),
        (MemoryError(), "MemoryError"),
        (OSError(28, "No space left on device", "a.png"), "[Errno 28] No space left on device: 'a.png'"),
    ],
)
def test_a_figure_of_a_run_that_fails_costs_a_note(run: RunDir, error: Exception, reason: str) -> None:
    told: list = []
    draw(Session(run, CPU, told.append), "a.png", plotting(error))
    assert told == run.facts["notes"] == [f"{run.path / 'a.png'} could not be drawn: {reason}"]
    assert sorted(path.name for path in run.path.iterdir()) == ["recipe.yaml", "run.json"]


def test_memory_that_a_library_lacks_and_does_not_tell_costs_a_note(
    run: RunDir, capfd: pytest.CaptureFixture[str]
) -> None:
    class Font:
        def __del__(self) -> None:
            raise MemoryError  # Python prints and ignores it, as when matplotlib cannot read a font

    def plot(path: Path) -> str:
        path.write_text("figure without its text")
        Font()
        return ""

    told: list = []
    draw(Session(run, CPU, told.append), "a.png", plot)
    assert run.facts["notes"] == [f"{run.path / 'a.png'} could not be drawn: MemoryError"]
    assert not (run.path / "a.png").exists()
    assert capfd.readouterr().err == ""


def test_a_figure_without_a_glyph_costs_a_note_and_is_there(run: RunDir, caplog: pytest.LogCaptureFixture) -> None:
    told: list = []
    draw(Session(run, CPU, told.append), "a.png", plotting(missing="中文"))
    (note,) = run.facts["notes"]
    assert told == [note]
    assert "shows some characters as escapes (\\u4e2d, \\u6587): no font" in note
    assert (run.path / "a.png").is_file()
    assert caplog.text == ""
    assert logging.getLogger("matplotlib").level == logging.NOTSET


def test_a_good_figure_says_nothing(run: RunDir) -> None:
    told: list = []
    draw(Session(run, CPU, told.append), "a.png", plotting())
    assert told == run.facts["notes"] == []


def test_a_figure_that_was_asked_for_may_fail(tmp_path: Path) -> None:
    told: list = []
    draw_file(tmp_path / "a.png", told.append, plotting(missing="中"))
    assert "\\u4e2d" in told[0]
    with pytest.raises(OnecycleError, match=r"b\.png could not be drawn: x"):
        draw_file(tmp_path / "b.png", told.append, plotting(ValueError("x")))
    for error in (InputError("x", "y"), OSError("x")):
        with pytest.raises(type(error)):
            draw_file(tmp_path / "b.png", told.append, plotting(error))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
