"""Finding the runs that are there."""

from contextlib import suppress
from pathlib import Path

from onecycle_cli.errors import InputError
from onecycle_cli.run_dir.files import RUN, SUGGESTION, UNFINISHED
from onecycle_cli.run_dir.run import RunDir


def run_at(path: str | Path) -> RunDir:
    """The run in the folder `path`; `InputError` where there is none."""
    path = Path(path)
    if not (path / RUN).is_file():
        raise InputError(f"{path} is not a run: it has no {RUN}.", "`onecycle runs` lists the runs.")
    return RunDir(path)


def all_runs(runs_dir: Path) -> list[RunDir]:
    """The runs in `runs_dir`, oldest first, but for damaged ones; those inside a sweep are the sweep's own."""
    if not runs_dir.is_dir():
        return []
    started = {}
    for path in runs_dir.iterdir():
        if path.name[0] != "." and (path / RUN).is_file():
            with suppress(InputError):
                started[path] = str(RunDir(path).facts["started"])
    return [RunDir(path) for path in sorted(started, key=started.__getitem__)]


def find_run(runs_dir: Path, text: str) -> RunDir:
    """The run that a person means: a folder, or the name of one in `runs_dir`, though there be images of that name."""
    path, named = Path(text).expanduser(), runs_dir / text
    here = (path / RUN).is_file() or (path.exists() and not named.exists())
    return run_at(path if here else named)


def runs_in(run: RunDir) -> list[RunDir]:
    """The runs that a folder stands for, by name: those inside a sweep, damaged ones too, or else itself.

    What an interrupt left of a cell that was run again is none of them.
    """
    folders = [path for path in sorted(run.path.iterdir()) if path.name[0] != "." and UNFINISHED not in path.name]
    inner = [RunDir(path) for path in folders if (path / RUN).is_file()]
    return inner or [run]


def suggesting_runs(runs_dir: Path) -> list[RunDir]:
    """The runs that suggest a max_lr, oldest first, but for damaged ones; each value of a sweep is one of its own."""
    found = [run for outer in all_runs(runs_dir) for run in (outer, *all_runs(outer.path)) if _suggests(run)]
    return sorted(found, key=lambda run: str(run.facts["started"]))


def latest_suggestions(runs_dir: Path, recipe_name: str) -> list[RunDir]:
    """The finished range tests with a suggestion for a recipe of this name, newest first: of find-lr and of sweeps."""
    found = []
    for run in reversed(suggesting_runs(runs_dir)):
        facts = run.facts
        told = (facts["recipe"], facts["status"]) == (recipe_name, "finished")
        if told and facts["command"] in ("find-lr", "sweep", "sweep-wd"):
            found.append(run)
    if found:
        return found
    raise InputError(
        f"{runs_dir} holds no finished range test with a suggestion for a recipe named '{recipe_name}'.",
        "Run `onecycle find-lr` with this recipe first, or give --max-lr.",
    )


def _suggests(run: RunDir) -> bool:
    if not (run.path / SUGGESTION).is_file():
        return False
    with suppress(InputError):
        return run.read_json(SUGGESTION)["max_lr"] is not None
    return False
