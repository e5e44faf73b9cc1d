"""`sweep-wd`: runs the range test for several weight decays."""

from typing import Annotated

import typer

from onecycle_cli.cli.options import (
    NO_OVERRIDES,
    RUNS_DIR,
    JsonOption,
    NameOption,
    Overrides,
    ProcessesOption,
    QuietOption,
    RecipeArgument,
    RepeatsOption,
    RunsDirOption,
    TrustCodeOption,
    load_recipe,
    on_ranks,
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
from onecycle_cli.cli.results import figure_line, json_if_it_fails, print_json, train_command
from onecycle_cli.cli.sweep import show_rows, without_result


def add_to(app: typer.Typer) -> None:
    """Adds the command to the root."""
    example = "onecycle sweep-wd cifar10-resnet8 --weight-decays 1e-2,1e-3,1e-4"
    app.command("sweep-wd", cls=RayCommand, epilog=f"Example: {example}")(sweep_wd)


@with_overrides
@preemptible
def sweep_wd(
    recipe: RecipeArgument,
    weight_decays: Annotated[
        str | None, typer.Option("--weight-decays", metavar="WD,WD,...", help="sweep_wd.weight_decays.")
    ] = None,
    overrides: Overrides = NO_OVERRIDES,
    repeats: RepeatsOption = 1,
    refine: Annotated[
        bool,
        typer.Option("--refine", help="Also test the values half-way between the chosen one and its neighbours."),
    ] = False,
    ray: RayOption = None,
    cpus_per_cell: CpusOption = None,
    gpus_per_cell: GpusOption = None,
    retries: RetriesOption = None,
    trust_code: TrustCodeOption = False,
    processes: ProcessesOption = None,
    runs_dir: RunsDirOption = RUNS_DIR,
    name: NameOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run the range test for several weight decays and choose the largest that still allows a high lr.

    The same command resumes an interrupted sweep. Exits with 4 if no curve can be read.
    """
    with on_ranks(processes, goes_on=True) as ranks:
        from onecycle_cli.cli.console import Display, show_pairs
        from onecycle_cli.errors import InputError, NoSuggestionError
        from onecycle_cli.experiments import weight_decay
        from onecycle_cli.experiments.cell_runs import follow_cells
        from onecycle_cli.experiments.session import continued_run, hardware_of
        from onecycle_cli.experiments.sweep_plan import sweep_name
        from onecycle_cli.models import OwnCode
        from onecycle_cli.recipe import as_written
        from onecycle_cli.run_dir.files import SWEEP, SWEEP_FIGURE

        options = ray_options(ray, cpus_per_cell, gpus_per_cell, retries)
        if options is not None and ranks.several:
            raise InputError(
                "--ray cannot be used in a command that several processes run.",
                "Leave --processes or torchrun out: Ray starts its own.",
            )
        values = None if weight_decays is None else f"[{weight_decays}]"
        loaded = ranks.together(lambda: load_recipe(recipe, overrides, runs_dir, weight_decays=values))
        plan = weight_decay.weight_decay_plan(loaded, repeats)
        display, code = Display(quiet=quiet), OwnCode(trust_code)
        hardware = ranks.together(lambda: hardware_of(loaded, ranks))
        name = name or sweep_name("sweep-wd", plan, hardware.precision)
        with on_ray(options, hardware, display):
            session = continued_run(
                "sweep-wd", loaded, runs_dir=runs_dir, name=name, report=display, code=code, ranks=ranks
            )
            run = session.run
            if not ranks.first:
                follow_cells(session)
                return
            with json_if_it_fails(run, as_json and not quiet, weight_decay=None, max_lr=None), display:
                swept = weight_decay.sweep_wd(plan, session, source=recipe, refine=refine, ray=options)
        chosen = swept.reading.chosen
        if as_json and not quiet:
            print_json(run, swept.summary)
        if chosen is None:
            raise NoSuggestionError(swept.reading.reason, f"The curves are in {run.path}.")
        if quiet:
            print(as_written(chosen.weight_decay))
        elif not as_json:
            # The largest weight decay first, wherever a refinement came in.
            show_rows(swept.columns, sorted(swept.rows, key=lambda row: -row["weight_decay"]))
            print()
            inner = run.path / weight_decay.value_folder(chosen.weight_decay)
            show_pairs(
                [
                    ("weight_decay", as_written(chosen.weight_decay)),
                    ("max_lr", f"{chosen.max_lr:g}"),
                    ("why", swept.reading.reason),
                    ("table", str(run.path / SWEEP)),
                    *figure_line(run, SWEEP_FIGURE),
                    ("next", train_command(type(run)(inner), trust_code=trust_code)),
                    *without_result(["weight_decay"], swept.rows),
                ]
            )
