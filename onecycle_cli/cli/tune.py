"""`tune`: tunes a recipe within a budget of time."""

from typing import Annotated

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
    seconds_in,
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
from onecycle_cli.cli.results import json_if_it_fails, print_json
from onecycle_cli.cli.suggest import error_bar_pairs


def add_to(app: typer.Typer) -> None:
    """Adds the command to the root."""
    app.command("tune", cls=RayCommand, epilog="Example: onecycle tune cifar10-resnet8 --budget 20m")(tune)


@with_overrides
@preemptible
def tune(
    recipe: RecipeArgument,
    budget: Annotated[
        str, typer.Option("--budget", metavar="TIME", help="The time it may take, such as 90s, 10m or 2h.")
    ] = "10m",
    overrides: Overrides = NO_OVERRIDES,
    ray: RayOption = None,
    cpus_per_cell: CpusOption = None,
    gpus_per_cell: GpusOption = None,
    retries: RetriesOption = None,
    trust_code: TrustCodeOption = False,
    runs_dir: RunsDirOption = RUNS_DIR,
    name: NameOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Tune batch size, weight decay and momentum by short runs, then max_lr by range tests, within a budget of time.

    Writes tuned.yaml, a complete recipe for train, and tune.md, a report of each decision with its evidence. The same
    command resumes an interrupted tuning. Exits with 4 if no short run learned anything and no range test gives a
    max_lr.
    """
    from onecycle_cli.cli.console import Display, show_line, show_note, show_pairs, show_table
    from onecycle_cli.experiments import tune as module
    from onecycle_cli.experiments.session import continued_run, hardware_of
    from onecycle_cli.experiments.tune_report import told
    from onecycle_cli.models import OwnCode
    from onecycle_cli.run_dir.facts import command_line
    from onecycle_cli.run_dir.files import TUNE_REPORT, TUNED_RECIPE

    options = ray_options(ray, cpus_per_cell, gpus_per_cell, retries)
    loaded = load_recipe(recipe, overrides, runs_dir)
    seconds = seconds_in(budget, "--budget")
    display, hardware, code = Display(quiet=quiet), hardware_of(loaded), OwnCode(trust_code)
    name = name or module.tune_name(loaded, hardware.precision, seconds)
    with on_ray(options, hardware, display):
        session = continued_run("tune", loaded, runs_dir=runs_dir, name=name, report=display, code=code)
        run = session.run
        with json_if_it_fails(run, as_json and not quiet, max_lr=None, recipe=None), display:
            tuned = module.tune(loaded, session, budget=seconds, source=recipe, ray=options)
    if tuned.confidence == "low" and (quiet or as_json):
        show_note(f"The confidence in max_lr {tuned.max_lr:g} is low. {tuned.reason}")
    if quiet:
        show_line(run.path / TUNED_RECIPE)
    elif as_json:
        print_json(run, tuned.summary)
    else:
        rows = [(decision.stage, told(decision.was), told(decision.chosen)) for decision in tuned.decisions]
        show_table(("stage", "was", "chosen"), rows)
        print()
        pairs = [("max_lr", f"{tuned.max_lr:g}"), ("confidence", tuned.confidence)]
        pairs += error_bar_pairs(tuned.error_bar)
        pairs += [("no time for", ", ".join(tuned.left_out))] if tuned.left_out else []
        report_path, recipe_path = str(run.path / TUNE_REPORT), str(run.path / TUNED_RECIPE)
        pairs += [("why", tuned.reason), ("report", report_path), ("recipe", recipe_path)]
        show_pairs([*pairs, ("next", command_line(["train", recipe_path, *trust_flag(trust_code)]))])
