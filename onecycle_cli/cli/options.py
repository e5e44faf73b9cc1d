"""The arguments and options that several commands share, and how a recipe is loaded from them."""

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from onecycle_cli.errors import InputError

if TYPE_CHECKING:
    from onecycle_cli.progress import Report
    from onecycle_cli.recipe import Recipe
    from onecycle_cli.training.ranks import Ranks

T = TypeVar("T")

RecipeArgument = Annotated[str, typer.Argument(metavar="RECIPE", help="A YAML file, or the name of a shipped recipe.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its name in the runs folder.")]
RunsArgument = Annotated[
    list[str], typer.Argument(metavar="RUN...", help="Folders of runs or sweeps, or their names in the runs folder.")
]
MaxLrOption = Annotated[float | None, typer.Option("--max-lr", help="schedule.max_lr: the peak of lr.")]
DeviceOption = Annotated[str | None, typer.Option("--device", help="runtime.device: auto, cpu, cuda, cuda:N or mps.")]
# typer would call a folder without permission wrong input, with exit code 2: readable=False leaves that to the reader.
RunsDirOption = Annotated[Path, typer.Option("--runs-dir", readable=False, help="Where runs are kept.")]
NameOption = Annotated[str | None, typer.Option("--name", help="Name of the run's folder, instead of the time.")]
ProcessesOption = Annotated[
    int | None,
    typer.Option(
        "--processes",
        min=1,
        max=1024,
        metavar="N",
        help="Compute each step in N processes of this machine, one for each GPU, as torchrun does.",
    ),
]
RepeatsOption = Annotated[
    int,
    typer.Option("--repeats", min=1, max=100, metavar="K", help="The number of range tests, each with its own seed."),
]
TrustCodeOption = Annotated[
    bool,
    typer.Option(
        "--trust-code", help="Run the Python code that the recipe names in model.function. Read that code first."
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
DeadlineOption = Annotated[
    str | None,
    typer.Option(
        "--deadline",
        metavar="TIME",
        help="Stop after this time, such as 90s, 55m or 1h30m, so that it can be resumed: exit code 75.",
    ),
]
RequeueOption = Annotated[
    bool,
    typer.Option(
        "--requeue",
        help="In a SLURM job: when a signal or --deadline stops the command, "
        "queue the job again; the next start resumes.",
    ),
]
CsvOption = Annotated[
    str | None,
    typer.Option("--csv", metavar="FILE|-", help="Write the table as CSV to a new file; - is standard output."),
]
NoPlotOption = Annotated[bool, typer.Option("--no-plot", help="Draw no curve in the terminal.")]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", readable=False, metavar="FILE", help="Draw a figure to a new PNG file.")
]

RUNS_DIR = Path("runs")

LONGEST = 1e9
"""The longest time that an option takes, in seconds: 31 years. The system's timers end at some 292."""

FIELDS = {
    "max_lr": "schedule.max_lr",
    "epochs": "schedule.epochs",
    "batch_size": "data.batch_size",
    "weight_decay": "optimizer.weight_decay",
    "weight_decays": "sweep_wd.weight_decays",
    "valid_every": "find_lr.valid_every",
    "mode": "find_lr.mode",
    "init": "model.init",
    "seed": "seed",
    "device": "runtime.device",
}
"""The field of a recipe that each plain flag stands for."""


@dataclass(frozen=True)
class Overrides:
    """The options that override a recipe. Every command that loads a recipe has them all.

    `with_overrides` makes an option of each field. A field is None where its option is not given.
    """

    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Override any field, such as model.width=2. Repeatable."),
    ] = None
    epochs: Annotated[int | None, typer.Option("--epochs", help="schedule.epochs.")] = None
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="data.batch_size.")] = None
    weight_decay: Annotated[float | None, typer.Option("--weight-decay", help="optimizer.weight_decay.")] = None
    init: Annotated[
        str | None,
        typer.Option(
            "--init",
            metavar="RUN|FILE",
            help="model.init: start from the weights of this training, or of this .safetensors file.",
        ),
    ] = None
    seed: Annotated[int | None, typer.Option("--seed", help="The seed of weights, order and augmentation.")] = None
    device: DeviceOption = None


NO_OVERRIDES = Overrides()


def with_overrides(command: Callable[..., None]) -> Callable[..., None]:
    """Replaces the parameter `overrides` of a command by one option for each field of `Overrides`, for Typer."""
    shared = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=field.type)
        for field in fields(Overrides)
    ]
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        own = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        parameters += shared if parameter.name == "overrides" else [own]

    def replaced(**given: Any) -> None:
        overrides = Overrides(**{field.name: given.pop(field.name) for field in fields(Overrides)})
        command(overrides=overrides, **given)

    replaced.__name__, replaced.__doc__ = command.__name__, command.__doc__
    replaced.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    replaced.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return replaced


def load_recipe(
    recipe: str, overrides: Overrides = NO_OVERRIDES, runs_dir: Path = RUNS_DIR, **further: object
) -> "Recipe":
    """Loads a recipe, with the `--set` settings and then the other flags applied (None: not given).

    `further` are flags of the command beside the shared ones. `--init` may name a run in `runs_dir`.
    """
    from onecycle_cli.recipe import Override, find, load, with_max_lr

    changes = []
    for setting in overrides.settings or []:
        field, equals, value = setting.partition("=")
        if not (field and equals):
            raise InputError(f"--set {setting} has no FIELD=VALUE.", "Write it as --set model.width=2.")
        changes.append(Override(field, value, f"--set {setting}"))
    flags = vars(overrides) | {"init": init_path(overrides.init, runs_dir)} | further
    del flags["settings"]
    for name, value in flags.items():
        if value is not None:
            flag = f"--{name.replace('_', '-')} {value}"
            changes.append(Override(FIELDS[name], str(value), flag))
    loaded = load(find(recipe), changes)
    return with_max_lr(loaded, loaded.schedule.max_lr) if further.get("max_lr") is not None else loaded


def starts_ranks(processes: int | None) -> bool:
    """Whether `--processes` makes this process start others, instead of doing the work itself."""
    from onecycle_cli.training.process_group import processes_here

    return processes is not None and processes > 1 and processes_here() == 1


@contextmanager
def on_ranks(processes: int | None, *, goes_on: bool = False) -> "Iterator[Ranks]":
    """Runs the block on every rank of the group that torchrun, or `--processes`, has started this process in.

    Without a group, `--processes` starts this command again as the ranks of one, and exits with the group's exit code.
    If one of them is killed, they start again if the command then `goes_on` with what it has done.
    Enter it before torch is imported.
    """
    from onecycle_cli.run_dir.facts import command_line
    from onecycle_cli.training.joining import joined

    if processes is not None and starts_ranks(processes):
        from onecycle_cli.cli.console import show_note
        from onecycle_cli.training.launching import MOST_STARTS, launch

        starts = MOST_STARTS if goes_on else 1
        raise typer.Exit(launch([sys.executable, *sys.orig_argv[1:]], processes, show_note, most_starts=starts))
    with joined() as ranks:
        if ranks.several:
            ranks.must_agree({"command line": command_line(sys.argv[1:])})
        if processes is not None and processes != ranks.count:
            raise InputError(
                f"--processes {processes}, but this command was started as {ranks.count} processes.",
                "Leave --processes out: torchrun has started them.",
            )
        yield ranks


def seconds_in(text: str, option: str) -> float:
    """Returns the seconds of a length of time, such as 90, 90s, 55m, 1h30m or 2h. `InputError` names the `option`."""
    number = r"([0-9]+(?:\.[0-9]+)?)\s*"
    bare = re.fullmatch(number, text.strip())
    found = re.fullmatch(rf"(?:{number}h)?\s*(?:{number}m)?\s*(?:{number}s)?", text.strip())
    parts = (None, None, bare[1]) if bare else found.groups() if found else ()
    seconds = sum(float(part or 0) * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    if not 0 < seconds <= LONGEST:
        raise InputError(f"{option} {text} is no length of time.", "Write it as 90s, 10m or 2h, or as 1h30m.")
    return seconds


def since_in(text: str, now: datetime) -> datetime:
    """Returns the time that `--since` means: an age such as 90m, 2h, 3d or 2w before `now`, a date or a date and time.

    A time without an offset is that of this machine's clock. `InputError` for other text.
    """
    units = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
    try:
        if age := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([mhdw])", text.strip()):
            return now - timedelta(**{units[age[2]]: float(age[1])})
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError, OSError):  # the last two for the year 1 and before
        fix = "Write an age, such as 2h, 3d or 2w, or a date or time, such as 2026-03-31 or 2026-03-31T14:30."
        raise InputError(f"--since {text} is no time.", fix) from None


def trust_flag(trust_code: bool) -> list[str]:
    """Returns the flag for a command that is printed: `--trust-code` if this one has it."""
    return ["--trust-code"] if trust_code else []


def must_be_new(plot: Path | None, csv: str | None) -> None:
    """Refuses a file of --plot or --csv that exists, or whose folder is missing, before any work is done."""
    from onecycle_cli.run_dir import writing

    for path in (plot, None if csv in (None, "-") else Path(csv)):
        if path is not None:
            writing.must_be_new(path)


def must_be_one_output(csv: str | None, *, as_json: bool) -> None:
    """Refuses `--csv -` beside --json: only one of them can be on standard output."""
    if csv == "-" and as_json:
        what = "--csv - and --json both print to standard output."
        raise InputError(what, "Leave out one of them, or name a file: --csv FILE.")


def init_path(init: str | None, runs_dir: Path) -> str | None:
    """Returns the absolute path of what `--init` names: a file, a run's folder, or a run's name in the runs folder."""
    from onecycle_cli.run_dir.finding import find_run

    if init is None:
        return None
    file = Path(init).expanduser()
    return str((file if file.is_file() else find_run(runs_dir, init).path).absolute())


def draw_first(draw: "Callable[[Report], T]") -> "tuple[T | None, Exception | None]":
    """Draws the figure of `--plot`. Returns an error instead of raising it, so that the table is printed first."""
    from onecycle_cli.cli.console import show_note
    from onecycle_cli.errors import OnecycleError

    try:
        return draw(lambda news: show_note(str(news))), None
    except (OnecycleError, OSError) as error:
        return None, error
