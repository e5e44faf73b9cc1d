"""`suggest`: reads a range test that any tool ran. Also formats suggestions, for `find-lr` too."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onecycle_cli.cli.options import JsonOption, QuietOption

if TYPE_CHECKING:
    from onecycle_cli.analysis.lr_range import ErrorBar, Suggestion


def add_to(app: typer.Typer) -> None:
    """Adds the command to the root."""
    app.command("suggest", epilog="Example: onecycle suggest curve.csv --loss-column train_loss")(suggest)


def suggest(
    curve: Annotated[str, typer.Argument(metavar="CURVE.csv", help="A CSV file; - is standard input.")],
    lr_column: Annotated[str, typer.Option("--lr-column", metavar="NAME", help="The column of learning rates.")] = "lr",
    loss_column: Annotated[
        str | None,
        typer.Option("--loss-column", metavar="NAME", help="The column of losses; loss or train_loss if left out."),
    ] = None,
    optimizer: Annotated[str, typer.Option("--optimizer", help="The optimizer of the test: sgd or adamw.")] = "sgd",
    div_factor: Annotated[
        float, typer.Option("--div-factor", help="initial_lr = max_lr / div_factor of the cycle to come.")
    ] = 10.0,
    total_steps: Annotated[
        int | None, typer.Option("--total-steps", help="The steps of the cycle to come; about 200 if left out.")
    ] = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Suggest a max_lr for one cycle from the curve of a learning rate range test that any tool ran.

    The file has a line for each step, with its lr and its raw loss, not a moving average. Several range tests have a
    column seed, as in lr_range.csv. Exits with 4 if no number can be trusted. Then only --json prints to standard
    output, with max_lr null.
    """
    from onecycle_cli.analysis.lr_range import suggest as suggest_from_curves
    from onecycle_cli.analysis.lr_range.from_arrays import plan_of
    from onecycle_cli.cli.console import show_json, show_pairs
    from onecycle_cli.errors import NoSuggestionError
    from onecycle_cli.experiments.curve_file import read_curves

    plan = plan_of(optimizer, div_factor, total_steps)
    source = "standard input" if curve == "-" else curve
    found = read_curves(_text(curve), source, lr_column=lr_column, loss_column=loss_column)
    suggestion = suggest_from_curves(found.curves, plan)
    if as_json and not quiet:
        read = {"curve": source, "loss_column": found.loss_column, "curves": len(found.curves)}
        show_json(read | vars(suggestion))
    if suggestion.max_lr is None:
        raise NoSuggestionError(suggestion.refusal, f"The curve is {found.loss_column} in {source}.")
    show_doubt(suggestion, quiet=quiet, as_json=as_json)
    if quiet:
        print(f"{suggestion.max_lr:g}")
    elif not as_json:
        tests = "" if len(found.curves) == 1 else f" of {len(found.curves)} seeds"
        show_pairs([*suggestion_pairs(suggestion), ("curve", f"{found.loss_column}{tests} in {source}")])


def suggestion_pairs(suggestion: "Suggestion") -> list[tuple[str, str]]:
    """Formats a suggestion that has a max_lr as names and values."""
    peers = ", ".join(f"{rule} {lr:.2g}" for rule, lr in suggestion.peers.items() if lr is not None)
    spread = f"a factor of {suggestion.spread:.3g} between single tests" if suggestion.spread else None
    return [
        ("max_lr", f"{suggestion.max_lr:g}"),
        ("conservative_max_lr", f"{suggestion.conservative_max_lr:g}"),
        ("initial_lr", f"{suggestion.initial_lr:g}"),
        ("confidence", str(suggestion.confidence)),
        *error_bar_pairs(suggestion.error_bar),
        ("why", suggestion.reason),
        *([("spread", spread)] if spread else []),
        ("others say", peers or "nothing: too few points"),
    ]


def error_bar_pairs(bar: "ErrorBar | None") -> list[tuple[str, str]]:
    """Formats an error bar as names and values; no line if there is none."""
    if bar is None:
        return []
    best = f"from {bar.lowest_max_lr:g} to {bar.highest_max_lr:g} with 90 % probability"
    return [("accuracy lost", bar.told), ("best max_lr", best)]


def show_doubt(suggestion: "Suggestion", *, quiet: bool, as_json: bool) -> None:
    """Prints a note on low confidence to standard error if the result is printed for a program."""
    from onecycle_cli.cli.console import show_note

    if suggestion.confidence == "low" and (quiet or as_json):
        show_note(f"The confidence in max_lr {suggestion.max_lr:g} is low. {suggestion.reason}")


def _text(curve: str) -> str:
    from onecycle_cli.errors import InputError, naming

    path = Path(curve).expanduser()
    try:
        with naming(path):
            written = sys.stdin.buffer.read() if curve == "-" else path.read_bytes()
        return written.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{curve} is not text in UTF-8, so it is no CSV file.", "Save it as UTF-8.") from None
    except IsADirectoryError:
        fix = f"Name the file in it: {path / 'lr_range.csv'}." if (path / "lr_range.csv").is_file() else "Name a file."
        raise InputError(f"{curve} is a folder.", fix) from None
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"There is no file {curve}.", "Name a CSV file, or - for standard input.") from None
