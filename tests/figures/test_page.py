"""Any text in a figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib import font_manager
from matplotlib.text import Text

from onecycle_cli.analysis.lr_range import Curve, Suggestion, shape_of
from onecycle_cli.figures import plots
from onecycle_cli.figures.page import LAST_FONT, new_page
from onecycle_cli.figures.plots import Overlaid, Trained

pytestmark = pytest.mark.draws

HOSTILE = (
    *(
        "$x_$",
        "$",
        "$\\frac",
        "a$b$c",
        "\\$",
        "_a",
        "__",
        "中文",
        "한국",
        "ع",
        "אב",
        "😀",
        "👩\u200d🔬",
        "\ue000",
        "हि",
    ),
    *(
        "\udcff",
        "a\nb",
        "\x1b[2J",
        "\u2028",
        '"q"',
        "{}",
        "^",
        "%s",
        "",
        " ",
        "x" * 255,
        "\\udcff",
        "\u200b",
        "e\u0301",
    ),
)
SHAPE = shape_of([Curve([0.1, 0.2, 0.4], [2.0, 1.0, 3.0])])
STEPS: dict[str, Sequence[float | None]] = {
    "step": [0, 1],
    "lr": [0.1, 0.2],
    "momentum": [0.9, 0.8],
    "train_loss": [2.0, 1.0],
}
EPOCHS = {name: [1.0] for name in ("step", "train_loss", "valid_loss", "train_accuracy", "valid_accuracy")}
TRAINED = [{"step": 0, "lr": 0.1}], [{"epoch": 1, "train_loss": 1.0, "valid_loss": 1.0, "valid_accuracy": 0.5}]

FIGURES = {
    "lr range": lambda path, text: plots.plot_lr_range(
        path,
        title=text,
        tests=[([0.1, 0.2], [2.0, 1.0])],
        shape=SHAPE,
        suggestion=Suggestion(0.1, 0.1, 0.01, "low", 1.0, 3.0, 0.05, 0.2, None, "basin", "Because.", {}),
    ),
    "training": lambda path, text: plots.plot_training(path, title=text, steps=STEPS, epochs=EPOCHS),
    "schedule": lambda path, text: plots.plot_schedule(path, title=text, lrs=[0.1], momentums=[0.9]),
    "sweep": lambda path, text: plots.plot_sweep(
        path, title=text, curves=[Overlaid(text, SHAPE, 0.2)], fields=text, chosen=text
    ),
    "comparison": lambda path, text: plots.plot_comparison(
        path, trainings=[Trained(text, *TRAINED)], tests=[Overlaid(text, SHAPE, 0.2)]
    ),
    "confusion": lambda path, text: plots.plot_confusion(
        path, title=text, classes=[text, "b"], counts=[[1, 0], [0, 1]]
    ),
}


@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_takes_any_text_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: str
) -> None:
    monkeypatch.setattr("onecycle_cli.figures.page.DPI", 20)  # what is drawn is the same, and sooner
    for text in (" ".join(HOSTILE), *(HOSTILE if figure == "confusion" else ("$", "_a", "\udcff中"))):
        FIGURES[figure](tmp_path / "a.png", text)
        assert (tmp_path / "a.png").stat().st_size > 0


def test_text_is_drawn_as_it_stands_and_never_as_mathematics(tmp_path: Path) -> None:
    with new_page(tmp_path / "a.png", 3, 3) as page:
        for text in ("$x$", "\\$", "a\\$b$c", "$\\frac", "_a", "ع", "é"):
            drawn: Any = Text(text=page.text(text))
            assert drawn._preprocess_math(drawn.get_text()) == (text, False)
    assert page.missing == ""


@pytest.mark.parametrize(
    ("lrs", "labels"),
    [((1e-4, 100), "10⁻⁴ 10⁻² 10⁰ 10²"), ((1.5e-13, 9e-13), "2*10⁻¹³ 3*10⁻¹³ 4*10⁻¹³ 6*10⁻¹³")],
)
def test_a_log_axis_has_its_powers_as_plain_text(tmp_path: Path, lrs: tuple[float, float], labels: str) -> None:
    with new_page(tmp_path / "a.png", 4, 3) as page:
        axes = page.figure.add_subplot()
        axes.plot(lrs, [0, 1])
        axes.set(xscale="log", xlim=lrs)
    drawn = [
        label
        for text in axes.get_xticklabels(which="both")
        if (label := text.get_text().replace("\N{MULTIPLICATION SIGN}", "*"))
    ]
    assert set(labels.split()) <= set(drawn)
    assert not any("$" in label for label in drawn)


@pytest.mark.parametrize("figure", ["lr range", "comparison"])
def test_a_figure_leaves_no_glyphs_in_the_memory_of_the_fonts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: str
) -> None:
    # A font keeps the glyphs of mathematics. matplotlib knows it by its file, and that of other text by all its files.
    font = font_manager.get_font(font_manager.findfont(font_manager.FontProperties(family=LAST_FONT)))
    before = font.get_num_glyphs()
    monkeypatch.setattr("onecycle_cli.figures.page.DPI", 21)  # of a size that no other test has drawn and left cached
    FIGURES[figure](tmp_path / "a.png", "$")
    assert font.get_num_glyphs() == before


def test_what_cannot_be_drawn_becomes_an_escape_and_is_named(tmp_path: Path) -> None:
    with new_page(tmp_path / "a.png", 3, 3) as page:
        assert page.text("a中\U000e0100b\udcff\n") == "a\\u4e2d\\U000e0100b\\xff\\n"
        assert page.text("x" * 50, 10) == "xxxxxxx..."
    assert set(page.missing) <= {"中", "\U000e0100"}


def test_a_font_that_the_person_has_set_draws_what_the_usual_one_lacks(tmp_path: Path) -> None:
    (mark,) = "⌒"  # STIXGeneral, which comes with matplotlib, has it; DejaVu Sans has it not
    with new_page(tmp_path / "a.png", 3, 3) as page:
        assert page.text(mark) == "\\u2312"
    families: Any = {"font.family": ["a font that is nowhere", "STIXGeneral"]}
    with mpl.rc_context(families), new_page(tmp_path / "a.png", 3, 3) as page:
        assert page.text(mark) == mark
        page.figure.text(0, 0, page.text(f"{mark} and $"))


def test_a_label_stays_in_the_legend_though_it_begins_with_an_underscore(tmp_path: Path) -> None:
    with new_page(tmp_path / "a.png", 3, 3) as page:
        axes = page.figure.add_subplot()
        axes.plot([0, 1], label=page.label("_a"))
        (text,) = axes.legend().get_texts()
        assert text.get_text().lstrip("\u200b") == "_a"


def test_what_a_person_has_set_for_latex_does_not_matter(tmp_path: Path) -> None:
    with mpl.rc_context({"text.usetex": True}), new_page(tmp_path / "a.png", 3, 3) as page:
        page.figure.text(0, 0, page.text("$x_"))
    assert (tmp_path / "a.png").is_file()
