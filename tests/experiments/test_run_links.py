"""What runs name by their paths."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onecycle_cli.experiments.run_links import absolute_paths, links_of, links_to
from onecycle_cli.recipe import Recipe, to_yaml
from onecycle_cli.run_dir.files import RECIPE, RUN
from onecycle_cli.run_dir.run import RunDir


@pytest.fixture
def make(tmp_path: Path, tiny: Callable[..., Recipe]) -> Callable[..., RunDir]:
    def new(name: str, values: dict[str, Any] | None = None, **facts: Any) -> RunDir:
        yaml = to_yaml(tiny(values))
        folder = tmp_path / "runs"
        return RunDir.create(folder, command="train", recipe_name="digits", recipe_yaml=yaml, facts=facts, name=name)

    return new


Make = Callable[..., RunDir]


def named(*targets: RunDir) -> list[tuple[str, str]]:
    return sorted((link.run.path.name, link.field) for link in links_to(targets))


def test_a_run_is_named_by_its_folder_by_a_file_in_it_and_in_facts(make: Make) -> None:
    base, found = make("base"), make("found")
    make("other", {"model.init": str(make("unrelated").path)})
    make("tuned", {"model.init": str(base.path)})
    make("of-best", {"model.init": str(base.path / "best.safetensors")})
    make("scored", trained_run=str(base.path))
    make("trained", max_lr_from=str(found.path / "weight_decay=1e-3"))
    assert named(base) == [("of-best", "model.init"), ("scored", "trained_run"), ("tuned", "model.init")]
    assert named(found) == [("trained", "max_lr_from")]
    assert named(make("nothing")) == []


def test_what_is_named_by_runs_of_the_same_removal_or_by_itself_does_not_count(make: Make) -> None:
    base = make("base")
    tuned = make("tuned", {"model.init": str(base.path)})
    base.update(trained_run=str(base.path))
    assert named(base, tuned) == []


def test_a_cell_names_too(make: Make, tiny: Callable[..., Recipe]) -> None:
    base = make("base")
    make("sweep").inner("seed=0", to_yaml(tiny({"model.init": str(base.path)})))
    assert named(base) == [("seed=0", "model.init")]


def test_a_path_that_is_relative_or_of_another_place_means_the_run_of_that_name(make: Make, tmp_path: Path) -> None:
    base = make("base")
    make("a", trained_run="runs/base")
    make("b", trained_run="/another/machine/runs/base/model.safetensors")
    make("c", trained_run=str(tmp_path / "runs" / "a"))
    make("d", trained_run="/another/base/of/all/things")
    assert named(base) == [("a", "trained_run"), ("b", "trained_run")]


def test_damaged_runs_name_nothing(make: Make) -> None:
    base, one, two = make("base"), make("one", trained_run=5), make("two")
    (one.path / RECIPE).write_bytes(b"model:\n  init: \xff")
    (two.path / RECIPE).write_text("model:\n  init: [")
    assert named(base) == []
    (two.path / RUN).write_text("{")
    assert list(links_of(two)) == []
    assert absolute_paths(two) == []


def test_the_absolute_paths_of_a_run_are_those_of_its_recipe_and_its_facts_once(
    make: Make, tiny: Callable[..., Recipe]
) -> None:
    photos = {"data.source": "image_folder", "data.path": "/photos"}
    run = make("a", photos | {"model.init": "/runs/base"}, max_lr_from="/runs/found")
    run.inner("cell", to_yaml(tiny(photos)))
    found = [(link.field, str(link.path)) for link in absolute_paths(run)]
    assert found == [("max_lr_from", "/runs/found"), ("data.path", "/photos"), ("model.init", "/runs/base")]
    own = make("own")
    own.write_text(RECIPE, "model:\n  source: module\n  function: /code/networks.py:small\n")
    assert [(link.field, str(link.path)) for link in absolute_paths(own)] == [("model.function", "/code/networks.py")]
    assert absolute_paths(make("plain")) == []
