"""The command line: parses arguments, calls an experiment, prints its result, and sets the exit code.

Torch, pandas and matplotlib are imported inside the commands that need them: `onecycle --help` has to be quick.
"""

import typer

from onecycle_cli.cli import (
    batch_size,
    compare,
    data,
    diagnose,
    export,
    find_lr,
    model,
    models,
    recipes,
    report,
    reproduce,
    runs,
    runs_annotate,
    runs_pack,
    runs_push,
    runs_remove,
    runs_show,
    runs_watch,
    schedule,
    suggest,
    sweep,
    sweep_wd,
    train,
    tune,
)
from onecycle_cli.cli.root import Root, version

app = typer.Typer(
    name="onecycle",
    cls=Root,
    help="Leslie Smith's discipline for hyper-parameters: a learning rate range test, then one cycle.",
    epilog="Start with: onecycle find-lr digits",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.callback()(version)
find_lr.add_to(app)
suggest.add_to(app)
train.add_to(app)
sweep.add_to(app)
sweep_wd.add_to(app)
batch_size.add_to(app)
tune.add_to(app)
reproduce.add_to(app)
schedule.add_to(app)
models.add_to(app)
export.add_to(app)
compare.add_to(app)
diagnose.add_to(app)
runs_annotate.add_to(runs.app)
runs_remove.add_to(runs.app)
runs_pack.add_to(runs.app)
runs_show.add_to(runs.app)
runs_watch.add_to(runs.app)
runs_push.add_to(runs.app)
app.add_typer(runs.app, name="runs")
report.add_to(app)
app.add_typer(recipes.app, name="recipes")
app.add_typer(data.app, name="data")
app.add_typer(model.app, name="model")


def main() -> None:
    """The `onecycle` command."""
    app()
