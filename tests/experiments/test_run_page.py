"""Everything about a run, from folders that are made up: no run is needed to read one."""

from collections.abc import Callable

from onecycle_cli.experiments.run_page import File, read_page
from onecycle_cli.recipe import load, shipped_path, to_yaml
from onecycle_cli.run_dir.annotations import Annotations, add_labels
from onecycle_cli.run_dir.run import RunDir

Make = Callable[..., RunDir]


def test_the_fields_that_differ_from_the_shipped_recipe_are_told(make: Make) -> None:
    run = make("train")
    changed = {one.field: (one.there, one.here) for one in read_page(run).changed}
    assert changed["schedule.epochs"] == (15, 2)
    assert changed["schedule.max_lr"] == (None, 0.1)
    run.write_text("recipe.yaml", to_yaml(load(shipped_path("digits"))))
    assert read_page(run).changed == []
    run.update(recipe="mine")
    page = read_page(run)
    assert (page.changed, page.damage) == ([], []), "there is no shipped recipe of this name"


def test_files_have_their_sizes_and_folders_the_sum_of_theirs(make: Make) -> None:
    run = make("sweep")
    (run.path / ".lock").touch()
    (run.path / "sweep.png").write_bytes(b"123")
    cell = make("sweep", runs_dir=run.path, name="cell", cell="x")
    files = {file.name: file.bytes for file in read_page(run).files}
    assert files["sweep.png"] == 3
    assert files["cell/"] == sum(path.stat().st_size for path in cell.path.iterdir())
    assert files.keys() == {"recipe.yaml", "run.json", "sweep.png", "cell/"}


def test_the_cells_have_their_statuses_and_the_damaged_ones_too(make: Make) -> None:
    run = make("sweep")
    assert read_page(run).cells == {}
    make("sweep", "finished", run.path, "one", cell="x")
    make("sweep", "failed", run.path, "two", cell="x")
    (make("sweep", "failed", run.path, "three", cell="x").path / "run.json").write_text("{")
    assert read_page(run).cells == {"one": "finished", "three": "damaged", "two": "failed"}


def test_the_main_table_is_named(make: Make) -> None:
    run = make("sweep")
    assert read_page(run).table is None
    (run.path / "sweep.csv").touch()
    assert read_page(run).table == "sweep.csv"
    (run.path / "ranking.csv").touch()
    assert read_page(run).table == "ranking.csv", "it has the means over the seeds"


def test_a_damaged_main_table_is_told(make: Make) -> None:
    run = make("evaluate", "finished")
    run.write_text("per_class.csv", "class,images\n3\n")
    page = read_page(run)
    assert (page.table, page.damage) == (None, ["runs/r/per_class.csv is damaged: a row is incomplete."])


def test_of_a_damaged_run_json_the_files_are_left(make: Make) -> None:
    run = make("train")
    (run.path / "run.json").write_text("{}")
    page = read_page(run)
    assert (page.status, page.facts, page.next) == ("damaged", {}, {})
    assert "it has no command, recipe, started, status" in page.damage[0]
    assert File("run.json", 2) in page.files


def test_a_diagnosis_of_another_version_is_left_out(make: Make) -> None:
    run = make("train", "finished")
    run.write_json("summary.json", {"diagnosis": {"rule": "old"}})
    assert read_page(run).diagnosis is None
    place = {"unit": "epoch", "first": 2, "last": 2}
    statement = {"rule": "underfitting", "place": place, "text": "It is.", "evidence": {}, "advice": "Go on."}
    run.write_json("summary.json", {"diagnosis": statement})
    assert read_page(run).diagnosis == "underfitting, epoch 2. It is. Go on."


def test_labels_and_notes_of_people_are_read_and_damage_to_them_is_told(make: Make) -> None:
    run = make("train")
    assert read_page(run).annotations == Annotations()
    add_labels(run, ["paper"])
    assert read_page(run).annotations.labels == ("paper",)
    (run.path / "annotations.json").write_text("{}")
    page = read_page(run)
    assert (page.annotations, len(page.damage)) == (Annotations(), 1)
