"""`model show`."""

from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

Command = Callable[..., Result]


def test_it_shows_each_layer_with_its_group_and_the_sums(onecycle: Command) -> None:
    result = onecycle("model", "show", "digits", "--classes", 3, "--set", "model.width=0.5")
    assert result.exit_code == 0
    table, _, pairs = result.stdout.partition("\n\n")
    first, *rows = [line.split() for line in table.splitlines()]
    assert first == ["group", "layer", "kind", "shapes", "parameters"]
    assert rows[0] == ["stem", "stem.0", "Conv2d", "weight", "8x1x3x3", "72"]
    assert rows[-1][:3] == ["head", "head", "Linear"]
    lines = dict(line.split(maxsplit=1) for line in pairs.splitlines())
    assert lines["network"] == "a resnet8"
    assert lines["groups"].startswith("stem 88, layer1 ")
    total = sum(int(row[-1].replace(",", "")) for row in rows)
    assert lines["parameters"] == f"{total:,}"


def test_csv_goes_to_a_new_file_or_to_standard_output(onecycle: Command) -> None:
    words = ("model", "show", "digits", "--classes", 3, "--csv")
    assert onecycle(*words, "layers.csv").exit_code == 0
    written = Path("layers.csv").read_text()
    assert written.splitlines()[0] == "group,layer,kind,shapes,parameters"
    assert onecycle(*words, "-").stdout == written
    again = onecycle(*words, "layers.csv")
    assert again.exit_code == 2
    assert "layers.csv" in again.stderr


def test_what_cannot_be_built_is_told(onecycle: Command) -> None:
    words = ("--set", "model.source=timm", "--set", "model.architecture=resnet10x")
    result = onecycle("model", "show", "digits", "--classes", 3, *words)
    assert result.exit_code == 2
    assert "Did you mean resnet10t" in result.stderr
