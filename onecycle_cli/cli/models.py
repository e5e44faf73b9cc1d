"""`evaluate` and `predict`: use a trained model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onecycle_cli.cli.options import (
    RUNS_DIR,
    DeviceOption,
    JsonOption,
    NameOption,
    ProcessesOption,
    QuietOption,
    RunArgument,
    RunsDirOption,
    TrustCodeOption,
    on_ranks,
)
from onecycle_cli.cli.results import figure_line, json_if_it_fails, print_json

if TYPE_CHECKING:
    from onecycle_cli.recipe import Recipe
    from onecycle_cli.run_dir.run import RunDir

BestOption = Annotated[bool, typer.Option("--best", help="Use the weights with the best validation accuracy, if kept.")]


def add_to(app: typer.Typer) -> None:
    """Adds the commands to the root."""
    app.command("evaluate", epilog="Example: onecycle evaluate runs/my-run --data photos/test")(evaluate)
    app.command("predict", epilog="Example: onecycle predict runs/my-run cat.jpg dog.jpg --format csv")(predict)


def evaluate(
    run: RunArgument,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", readable=False, metavar="FOLDER", help="A folder of classes, instead of the test split."
        ),
    ] = None,
    best: BestOption = False,
    device: DeviceOption = None,
    trust_code: TrustCodeOption = False,
    processes: ProcessesOption = None,
    runs_dir: RunsDirOption = RUNS_DIR,
    name: NameOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score a trained model class by class, with a confusion matrix, on its test split or on a folder.

    Without a test split, the images that the recipe held out for validation are used. --quiet prints the accuracy.
    """
    with on_ranks(processes) as ranks:
        from onecycle_cli.cli.console import Display, show_pairs, show_table
        from onecycle_cli.experiments.classifier import load_model
        from onecycle_cli.experiments.evaluate import evaluate_run
        from onecycle_cli.experiments.session import new_run
        from onecycle_cli.models import OwnCode
        from onecycle_cli.run_dir.files import CONFUSION, CONFUSION_FIGURE, PER_CLASS, PER_CLASS_COLUMNS

        trained, recipe, weights = ranks.together(lambda: trained_run(run, runs_dir, best, device))
        display, code = Display(quiet=quiet), OwnCode(trust_code)
        session = new_run("evaluate", recipe, runs_dir=runs_dir, name=name, report=display, code=code, ranks=ranks)
        folder = session.run
        with json_if_it_fails(folder, as_json and not quiet, accuracy=None), display:
            model = ranks.together(lambda: load_model(weights, trust_code=trust_code))
            result = evaluate_run(model, trained, recipe, data, session)
        if quiet:
            print(f"{result.summary['accuracy']:.4f}")
        elif as_json:
            print_json(folder, result.summary | {"per_class": result.per_class})
        else:
            rows = [[_cell(value) for value in row.values()] for row in result.per_class]
            show_table(PER_CLASS_COLUMNS, rows)
            print()
            further = ("balanced_accuracy", "top5_accuracy")
            show_pairs(
                [
                    ("scored", f"{result.summary['images']:,} images, {result.summary['scored']}"),
                    ("accuracy", f"{result.summary['accuracy']:.4f}  (loss {result.summary['loss']:.4f})"),
                    *((name, _cell(result.summary[name])) for name in further if result.summary[name] is not None),
                    ("table", str(folder.path / PER_CLASS)),
                    ("confusion", str(folder.path / CONFUSION)),
                    *figure_line(folder, CONFUSION_FIGURE),
                ]
            )


def predict(
    run: RunArgument,
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Image files, and folders: all images below them.")
    ],
    shape: Annotated[str, typer.Option("--format", metavar="table|csv|json", help="How to print.")] = "table",
    best: BestOption = False,
    device: DeviceOption = None,
    trust_code: TrustCodeOption = False,
    runs_dir: RunsDirOption = RUNS_DIR,
) -> None:
    """Print the class that a trained model predicts for each image, and its probability.

    Files that cannot be read are listed on standard error, after the predictions for the others. Then it exits with 2.
    """
    from onecycle_cli.cli.console import Display, show_csv, show_json, show_table
    from onecycle_cli.errors import InputError
    from onecycle_cli.experiments.classifier import BATCH_SIZE, Unreadable, image_files, load_model, predict, refusal
    from onecycle_cli.experiments.session import hardware_of
    from onecycle_cli.progress import Progress
    from onecycle_cli.run_dir.writing import csv_rows, to_csv

    if shape not in ("table", "csv", "json"):
        raise InputError(f"There is no --format {shape}.", "Give table, csv or json.")
    _, recipe, model = trained_run(run, runs_dir, best, device)
    hardware = hardware_of(recipe)
    columns = ("image", "class", "probability")
    files = image_files(images)
    rows: list[tuple[str, str, float]] = []
    unreadable: list[Unreadable] = []
    done = 0
    with Display(quiet=len(files) <= BATCH_SIZE) as display:
        for answers, others in predict(load_model(model, trust_code=trust_code), files, hardware):
            found = [(str(answer.path), answer.label, answer.probability) for answer in answers]
            if shape == "csv":  # a batch at a time, because a folder may have a million images
                show_csv(to_csv(columns, found) if done == 0 else csv_rows(found))
            else:
                rows += found
            unreadable += others
            done += len(answers) + len(others)
            display(Progress("predicting", done, len(files), "images"))
    match shape:
        case "json":
            show_json([dict(zip(columns, row, strict=True)) for row in rows])
        case "table" if rows:
            show_table(columns, [(path, label, f"{probability:.4f}") for path, label, probability in rows])
    if unreadable:
        raise refusal(unreadable)


def trained_run(run: str, runs_dir: Path, best: bool, device: str | None) -> "tuple[RunDir, Recipe, Path]":
    """Returns a training run, its recipe (with `device`, if given) and the file with its weights."""
    from onecycle_cli.errors import InputError
    from onecycle_cli.recipe import Override, load
    from onecycle_cli.run_dir.files import BEST_MODEL, MODEL, RECIPE
    from onecycle_cli.run_dir.finding import find_run

    found = find_run(runs_dir, run)
    overrides = [Override("runtime.device", device, f"--device {device}")] if device else []
    weights = found.path / (BEST_MODEL if best else MODEL)
    if not weights.is_file():
        fix = "Train with --set runtime.save_best=true." if best else "Name a run of `onecycle train` that finished."
        status = f"{found.facts['command']}, {found.facts['status']}"
        raise InputError(f"{found.path} ({status}) holds no {weights.name}.", fix)
    return found, load(found.intact(RECIPE), overrides), weights


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
