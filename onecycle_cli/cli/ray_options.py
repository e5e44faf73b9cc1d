"""The options of the commands whose cells can run on Ray."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from onecycle_cli.experiments.ray_cluster import RayOptions
    from onecycle_cli.progress import Report
    from onecycle_cli.training.hardware import Hardware

RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="[HOST:PORT]",
        help="Run the cells on Ray: on the cluster with this head node (auto: the one that this machine belongs to), "
        "or without an address on this machine alone.",
    ),
]
CpusOption = Annotated[
    int | None,
    typer.Option("--cpus-per-cell", min=1, metavar="N", help="With --ray: the CPUs and threads of a cell. Default: 1."),
]
GpusOption = Annotated[
    float | None,
    typer.Option("--gpus-per-cell", min=0, metavar="N", help="With --ray: the GPUs of a cell, also 0.5. Default: 0."),
]
RetriesOption = Annotated[
    int | None,
    typer.Option(
        "--retries",
        min=0,
        metavar="N",
        help="With --ray: how often a cell resumes after its worker or node was lost. Default: 2.",
    ),
]

_ADDRESS = re.compile(r"auto|local|\S+://\S*|[^\s/]+:\d+")


class RayCommand(TyperCommand):
    """A command whose `--ray` has a value only if an address follows: what Typer itself has no option for."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, with_local_ray(args))


def with_local_ray(words: list[str]) -> list[str]:
    """Writes a `--ray` that no address follows as `--ray=local`."""
    end = words.index("--") if "--" in words else len(words)
    found = list(words)
    for place, word in enumerate(words[:end]):
        follows = words[place + 1] if place + 1 < end else ""
        if word == "--ray" and not _ADDRESS.fullmatch(follows):
            found[place] = "--ray=local"
    return found


def ray_options(
    address: str | None, cpus: int | None, gpus: float | None, retries: int | None, *, jobs: int = 1
) -> "RayOptions | None":
    """Returns the options of Ray; None without `--ray`. `InputError` if options do not go together."""
    from onecycle_cli.errors import InputError
    from onecycle_cli.experiments.ray_cluster import RayOptions

    if address is None:
        given = {"--cpus-per-cell": cpus, "--gpus-per-cell": gpus, "--retries": retries}
        if alone := [name for name, value in given.items() if value is not None]:
            raise InputError(f"{alone[0]} is an option of --ray.", "Add --ray, or leave it out.")
        return None
    if jobs > 1:
        raise InputError(
            "--jobs and --ray exclude each other: Ray runs as many cells at once as the cluster has room for.",
            "Leave --jobs out.",
        )
    return RayOptions(
        address,
        1 if cpus is None else cpus,
        0.0 if gpus is None else gpus,
        2 if retries is None else retries,
    )


@contextmanager
def on_ray(options: "RayOptions | None", hardware: "Hardware", report: "Report") -> Iterator[None]:
    """Connects to Ray inside the block, if there are options of it."""
    if options is None:
        yield
        return
    from onecycle_cli.experiments.ray_cluster import connected, must_suit

    must_suit(options, hardware)
    with connected(options, report):
        yield
