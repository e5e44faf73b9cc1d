"""`sweep`: runs a grid of trainings or range tests."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from onecycle_cli.cli.options import (
    NO_OVERRIDES,
    RUNS_DIR,
    JsonOption,
    NameOption,
    Overrides,
    QuietOption,
    RecipeArgument,
    RunsDirOption,
    TrustCodeOption,
    load_recipe,
    trust_flag,
    with_overrides,
)
from onecycle_cli.cli.preemption import preemptible
from onecycle_cli.cli.ray_options import (
    CpusOption,
    GpusOption,
    RayCommand,
    RayOption,
    RetriesOption,
    on_ray,
    ray_options,
)
from onecycle_cli.cli.results import figure_line, json_if_it_fails, print_json

if TYPE_CHECKING:
    from onecycle_cli.experiments.sweep import Row, Sweep
    from onecycle_cli.experiments.sweep_plan import SweepPlan
    from onecycle_cli.run_dir.run import RunDir


NOTHING_FINISHED = 3
NO_SUGGESTION = 4


def add_to(app: typer.Typer) -> None:
    """Adds the command to the root."""
    example = "onecycle sweep digits --param optimizer.weight_decay=1e-3,1e-4 --seeds 3"
    app.command("sweep", cls=RayCommand, epilog=f"Example: {example}")(sweep)


@with_overrides
@preemptible
def sweep(
    recipe: RecipeArgument,
    params: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="FIELD=V,V,...", help="A field and its values. Repeatable: all combinations."),
    ] = None,
    preset: Annotated[
        Literal["momentum", "batch-size"] | None,
        typer.Option("--preset", help="Values that Smith's report asks for, instead of --param."),
    ] = None,
    mode: Annotated[
        Literal["train", "range"], typer.Option("--mode", help="Whether a cell is a training or a range test.")
    ] = "train",
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=100, metavar="K", help="Seeds for each combination of values.")
    ] = 1,
    max_lr: Annotated[
        str | None,
        typer.Option("--max-lr", metavar="LR|auto", help="max_lr of all cells; auto runs the range test in each cell."),
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", min=1, max=64, metavar="N", help="The number of cells that run in parallel.")
    ] = 1,
    ray: RayOption = None,
    cpus_per_cell: CpusOption = None,
    gpus_per_cell: GpusOption = None,
    retries: RetriesOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the cells and what they cost, and run none.")
    ] = False,
    overrides: Overrides = NO_OVERRIDES,
    trust_code: TrustCodeOption = False,
    runs_dir: RunsDirOption = RUNS_DIR,
    name: NameOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train, or run the range test, for each combination of values of some fields.

    The same command resumes an interrupted sweep; a finished cell never runs again. Started twice at once on one
    machine, both work on the cells. If max_lr is null in the recipe, each cell finds its own. Exits with 3 if no
    training finished, with 4 if no range test gives a max_lr.
    """
    from onecycle_cli.cli.console import Display, show_line, show_note
    from onecycle_cli.experiments import sweep as module
    from onecycle_cli.experiments.session import continued_run, hardware_of
    from onecycle_cli.experiments.sweep_plan import SweepPlan, sweep_name
    from onecycle_cli.models import OwnCode

    options = ray_options(ray, cpus_per_cell, gpus_per_cell, retries, jobs=jobs)
    found_in_each = max_lr == "auto" or (preset == "batch-size" and max_lr is None)
    loaded = load_recipe(recipe, overrides, runs_dir, max_lr="null" if found_in_each else max_lr)
    plan = SweepPlan(loaded, mode, _variations(params, preset), seeds)
    hardware = hardware_of(loaded)
    precision = hardware.precision
    if plan.variations:
        plan.cells(precision, recipe)  # what cannot be run is told before anything is made
    if dry_run:
        _show_cost(plan, recipe, precision)
        return
    display, name = Display(quiet=quiet), name or sweep_name("sweep", plan, precision)
    with on_ray(options, hardware, display):
        session = continued_run("sweep", loaded, runs_dir=runs_dir, name=name, report=display, code=OwnCode(trust_code))
        run = session.run
        with json_if_it_fails(run, as_json and not quiet), display:
            swept = module.sweep(plan, session, jobs=jobs, ray=options, source=recipe)
    finished = swept.summary["finished"]
    if not finished and (quiet or as_json):
        show_note(f"None of the {len(swept.rows)} cells has a result. {_reasons(swept.rows)}")
    if quiet:
        show_line(run.path / swept.best.name if swept.best else run.path)
    elif as_json:
        print_json(run, swept.summary)
    else:
        _show(swept, plan, run, trust_code=trust_code)
    if not finished:
        raise typer.Exit(NOTHING_FINISHED if mode == "train" else NO_SUGGESTION)


def _reasons(rows: "list[Row]") -> str:
    """Returns the reasons of cells without a result, each once."""
    ends = dict.fromkeys(row["error"].splitlines()[0] if row["error"] else f"status {row['status']}" for row in rows)
    return "; ".join(ends)


def _variations(params: list[str] | None, preset: str | None) -> list[dict[str, Any]]:
    from onecycle_cli.errors import InputError
    from onecycle_cli.recipe import choices
    from onecycle_cli.recipe.grid import grid
    from onecycle_cli.recipe.presets import PRESETS

    if params and preset:
        raise InputError("--param and --preset exclude each other.", "Leave one of them out.")
    if not params and not preset:
        raise InputError(
            "A sweep needs either --param or --preset.", "Give --param optimizer.weight_decay=1e-2,1e-3, for instance."
        )
    if preset == "batch-size":
        return []  # they follow from speeds, which are measured first
    if preset is not None:
        return [dict(values) for values in PRESETS[preset]]
    fields = [choices(param, f"--param {param}") for param in params or []]
    named = [field for field, _ in fields]
    if len({*named}) < len(named):
        raise InputError("--param names the same field twice.", "Put all of its values into one --param.")
    if "seed" in named:
        raise InputError("--param cannot vary the seed.", "Give --seeds 3.")
    return grid(dict(fields))


def _show_cost(plan: "SweepPlan", source: str, precision: str) -> None:
    from onecycle_cli.cli.console import show_pairs, show_table
    from onecycle_cli.errors import InputError
    from onecycle_cli.experiments.planning import known_steps_per_epoch
    from onecycle_cli.recipe import lacks_max_lr

    if not plan.variations:
        raise InputError(
            "The cost of --preset batch-size is not known before its speeds are measured.", "Run it without --dry-run."
        )
    cells = plan.cells(precision, source)
    lines: list[tuple[str, str, str]] = []
    totals: list[int | None] = []
    for cell in cells:
        per_epoch = known_steps_per_epoch(cell.recipe)
        tests = cell.recipe.find_lr.num_steps * cell.repeats
        trained = cell.recipe.schedule.epochs
        steps: int | None = tests
        if plan.mode == "range":
            cost = "a range test"
        else:
            found = tests if lacks_max_lr(cell.recipe) else 0
            steps = None if per_epoch is None else trained * per_epoch + found
            cost = f"{trained} epochs" + (f" and a range test of {found} steps" if found else "")
        totals.append(steps)
        lines.append((cell.name, cost, "" if steps is None else f"{steps:,}"))
    show_table(("cell", "cost", "steps"), lines)
    print()
    known = [steps for steps in totals if steps is not None]
    total = f"{sum(known):,} steps" if len(known) == len(totals) else "the steps of an epoch follow from the images"
    show_pairs([("cells", str(len(cells))), ("total", total)])


def _show(swept: "Sweep", plan: "SweepPlan", run: "RunDir", *, trust_code: bool) -> None:
    from onecycle_cli.cli.console import show_pairs
    from onecycle_cli.run_dir.facts import command_line
    from onecycle_cli.run_dir.files import RANKING, RECIPE, SWEEP, SWEEP_FIGURE

    if plan.mode == "range":
        show_rows(swept.columns, swept.rows)
        pairs = [("table", str(run.path / SWEEP)), *figure_line(run, SWEEP_FIGURE)]
    else:
        _show_ranking(swept, plan)
        pairs = [
            ("verdict", str(swept.verdict)),
            ("a run took", _times(swept.seconds)),
            ("table", str(run.path / SWEEP)),
            ("means", str(run.path / RANKING)),
        ]
        if best := swept.best:
            words = ["train", str(run.path / best.name / RECIPE), *trust_flag(trust_code)]
            pairs.append(("next", command_line(words)))
    print()
    show_pairs([*pairs, *without_result(swept.names, swept.rows)])


def without_result(names: list[str], rows: "list[Row]") -> list[tuple[str, str]]:
    """Returns status, values and reason of each cell without a result."""
    return [
        (row["status"], f"{', '.join(f'{name}={row[name]}' for name in names)}: {row['error'].splitlines()[0]}")
        for row in rows
        if row["error"]
    ]


def _times(seconds: list[float]) -> str:
    from onecycle_cli.progress import duration

    return " to ".join(dict.fromkeys(duration(value) for value in (min(seconds), max(seconds)))) if seconds else ""


def show_rows(columns: list[str], rows: "list[Row]") -> None:
    """Prints the rows of range tests, without their errors and error bars, for which a screen has no room."""
    from onecycle_cli.cli.console import show_table
    from onecycle_cli.run_dir.files import ERROR_BAR

    shown = [name for name in columns if name not in ("error", *ERROR_BAR)]
    show_table(shown, [[_number(row[name]) for name in shown] for row in rows])


def _number(value: float | str | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.3g}"


def _show_ranking(swept: "Sweep", plan: "SweepPlan") -> None:
    from onecycle_cli.cli.console import show_table
    from onecycle_cli.recipe import as_written
    from onecycle_cli.recipe.grid import column_names

    show_table(
        (*column_names(plan.fields).values(), "n", "valid_loss", "valid_accuracy", "not finished"),
        [
            (
                *(as_written(row.values.get(field)) for field in plan.fields),
                str(row.n),
                _spread(row.valid_loss, row.valid_loss_sd),
                _spread(row.valid_accuracy, row.valid_accuracy_sd),
                str(row.not_finished or ""),
            )
            for row in swept.ranking
        ],
    )


def _spread(mean: float | None, deviation: float | None) -> str:
    if mean is None:
        return ""
    return f"{mean:.4f}" if deviation is None else f"{mean:.4f} ± {deviation:.4f}"
