"""`export`: writes a trained model for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from onecycle_cli.cli.models import BestOption, trained_run
from onecycle_cli.cli.options import RUNS_DIR, JsonOption, QuietOption, RunArgument, RunsDirOption, TrustCodeOption


def add_to(app: typer.Typer) -> None:
    """Adds the command to the root."""
    app.command("export", epilog="Example: onecycle export runs/my-run --format onnx")(export)


def export(
    run: RunArgument,
    form: Annotated[
        str,
        typer.Option("--format", metavar="onnx|torch-export|torchscript|safetensors", help="The format of the file."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="A new file; by default exported-model.* in the run's folder."),
    ] = None,
    normalization: Annotated[
        str | None,
        typer.Option(
            "--normalization",
            metavar="inside|outside",
            help="inside: the file takes pixels from 0 to 1. outside: it takes (pixel - mean) / std of them. "
            "Default: inside; for safetensors, which has weights alone, outside.",
        ),
    ] = None,
    best: BestOption = False,
    check_images: Annotated[
        int, typer.Option("--check-images", min=1, metavar="N", help="Check the file on at most N images.")
    ] = 10_000,
    trust_code: TrustCodeOption = False,
    runs_dir: RunsDirOption = RUNS_DIR,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a trained model to a file that other programs read, after a check that its answers are the same.

    Its input is float32 (N, channels, height, width), for any N; its output is the logits (N, classes). Its metadata
    has the classes, the image size, the normalization and what it takes. It is checked on images of the run: equal
    classes, logits within 0.001. If the check fails, it exits with 2 and there is no file. Format onnx needs the extra:
    pip install 'onecycle-cli[export]'. --quiet prints the path of the file.
    """
    from onecycle_cli.cli.console import Display, show_json, show_line, show_pairs
    from onecycle_cli.experiments.classifier import load_model
    from onecycle_cli.experiments.export import default_output
    from onecycle_cli.experiments.export import export as export_model

    _, recipe, weights = trained_run(run, runs_dir, best, None)
    display = Display(quiet=quiet)
    with display:
        done = export_model(
            load_model(weights, trust_code=trust_code),
            recipe,
            output or default_output(weights, form),
            form=form,
            normalization=normalization,
            report=display,
            most_checked=check_images,
        )
    if quiet:
        show_line(done.file)
    elif as_json:
        show_json(done)
    else:
        check, told = done.check, done.metadata
        ties = f" ({check.ties:,} others are ties)" if check.ties else ""
        show_pairs(
            [
                ("file", str(done.file)),
                ("format", f"{done.format}, {done.bytes:,} bytes"),
                ("input", told["input"]),
                ("output", told["output"]),
                ("normalization", f"{told['normalization']}: mean {_listed(told['mean'])}, std {_listed(told['std'])}"),
                ("metadata", ", ".join(told)),
                ("checked on", f"{check.images:,} images, {check.checked_on}"),
                ("same class", f"{check.same_class:,} of {check.images:,}{ties}"),
                ("logits differ", f"by {check.largest_difference:.1e} at most; {check.tolerance:.1e} is allowed"),
            ]
        )


def _listed(values: list[float]) -> str:
    return " ".join(f"{value:.4f}" for value in values)
