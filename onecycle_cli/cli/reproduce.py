"""`reproduce`: trains the six runs of the 1cycle blog post, and compares them with the published figures."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from onecycle_cli.cli.options import (
    RUNS_DIR,
    DeviceOption,
    JsonOption,
    NameOption,
    Overrides,
    QuietOption,
    RunsDirOption,
    load_recipe,
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
    from onecycle_cli.experiments.reproduce import Reproduction
    from onecycle_cli.run_dir.run import RunDir

NOTHING_FINISHED = 3


def add_to(app: typer.Typer) -> None:
    """Adds the command to the root."""
    example = "onecycle reproduce E1 E2 --scale 0.1"
    app.command("reproduce", cls=RayCommand, epilog=f"Example: {example}")(reproduce)


@preemptible
def reproduce(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(metavar="EXPERIMENT", help="Runs of the blog post: E1, E2, E3, E3b, E4, E4b. Default: all."),
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=100, metavar="K", help="How often each is trained, with its own seed.")
    ] = 3,
    scale: Annotated[
        float, typer.Option("--scale", min=0.005, max=1.0, metavar="X", help="Shorten each by this factor.")
    ] = 1.0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Override a field of all of them, such as data.path=cifar."),
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", min=1, max=64, metavar="N", help="The number of runs side by side.")
    ] = 1,
    ray: RayOption = None,
    cpus_per_cell: CpusOption = None,
    gpus_per_cell: GpusOption = None,
    retries: RetriesOption = None,
    device: DeviceOption = None,
    runs_dir: RunsDirOption = RUNS_DIR,
    name: NameOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train the six runs of the 1cycle blog post, and compare them with what was published.

    At full length, each accuracy is compared with the blog's. On a CPU, --scale 0.1 trains a tenth of the epochs, in
    the same shape; then only the order of the runs is compared. The same command resumes, with further runs or seeds
    too. Exits with 3 if no run came to its end.
    """
    from onecycle_cli.analysis.reproduction import PUBLISHED
    from onecycle_cli.cli.console import Display, show_line
    from onecycle_cli.experiments import reproduce as module
    from onecycle_cli.experiments.session import continued_run, hardware_of

    options = ray_options(ray, cpus_per_cell, gpus_per_cell, retries, jobs=jobs)
    asked = _asked(experiments or ["all"])
    overrides = Overrides(settings=settings, device=device)
    recipes = {one: load_recipe(published.recipe, overrides) for one, published in PUBLISHED.items()}
    plan = module.ReproductionPlan(recipes, asked, seeds, scale)
    module.changed_settings(recipes)  # what cannot be run is told before anything is made
    hardware, display = hardware_of(recipes["E1"]), Display(quiet=quiet)
    name = name or plan.run_name(hardware.precision)
    with on_ray(options, hardware, display):
        session = continued_run("reproduce", plan.scaled("E1"), runs_dir=runs_dir, name=name, report=display)
        with json_if_it_fails(session.run, as_json and not quiet), display:
            result = module.reproduce(plan, session, jobs=jobs, ray=options)
    if quiet:
        show_line(session.run.path)
    elif as_json:
        print_json(session.run, result.summary)
    else:
        _show(result, session.run)
    if not any(row["n"] for row in result.rows):
        raise typer.Exit(NOTHING_FINISHED)


def _asked(words: list[str]) -> list[str]:
    """Returns the experiments that are named, in the published order."""
    from onecycle_cli.analysis.reproduction import PUBLISHED
    from onecycle_cli.errors import InputError

    known = {name.lower(): name for name in PUBLISHED}
    for word in words:
        if word.lower() not in (*known, "all"):
            raise InputError(
                f"There is no experiment '{word}'.", f"The experiments are {', '.join(PUBLISHED)} and all."
            )
    if "all" in map(str.lower, words):
        return list(PUBLISHED)
    return [name for key, name in known.items() if key in map(str.lower, words)]


def _show(result: "Reproduction", run: "RunDir") -> None:
    from onecycle_cli.cli.console import show_pairs, show_table
    from onecycle_cli.run_dir.files import ORDER, REPORT, REPRODUCTION, REPRODUCTION_FIGURE

    show_table(
        ("run", "epochs", "n", "accuracy", "blog", "paper", "points", "verdict"),
        [
            (
                row["experiment"],
                str(row["epochs"]),
                _count(row),
                _percent(row["valid_accuracy"], row["valid_accuracy_sd"]),
                _percent(row["blog_accuracy"]),
                _percent(row["paper_accuracy"], row["paper_accuracy_sd"]),
                _points(row["difference"], row["standard_error"]),
                row["verdict"],
            )
            for row in result.rows
        ],
    )
    if result.orders:
        print()
        show_table(
            ("order", "published", "points", "is"),
            [
                (
                    f"{one.better} > {one.worse}",
                    _points(one.published_difference, one.published_error),
                    _points(one.difference, one.standard_error),
                    one.order,
                )
                for one in result.orders
            ],
        )
    print()
    pairs = [("verdict", result.summary["verdict"]), ("table", str(run.path / REPRODUCTION))]
    pairs += [("orders", str(run.path / ORDER)), *figure_line(run, REPRODUCTION_FIGURE)]
    page = run.path / REPORT
    show_pairs([*pairs, *([("report", str(page))] if page.is_file() else [])])


def _count(row: Any) -> str:
    return f"{row['n']}" + (f" of {row['n'] + row['not_finished']}" if row["not_finished"] else "")


def _percent(accuracy: float | None, deviation: float | None = None) -> str:
    if accuracy is None:
        return ""
    return f"{100 * accuracy:.2f}" + ("" if deviation is None else f" ± {100 * deviation:.2f}")


def _points(difference: float | None, error: float | None) -> str:
    if difference is None:
        return ""
    return f"{100 * difference:+.2f}" + ("" if error is None else f" ± {100 * error:.2f}")
