"""Search for existing runs."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from onecycle_cli.errors import InputError
from onecycle_cli.run_dir.facts import order
from onecycle_cli.run_dir.files import RUN, SUGGESTION, UNFINISHED
from onecycle_cli.run_dir.run import RunDir, Tell, readable_runs, untold


def run_at(path: str | Path) -> RunDir:
    """Returns the run in the folder `path`; `InputError` when there is no folder, or it is not a run."""
    path = Path(path)
    if not (path / RUN).is_file():
        if not path.exists():
            what = f"{path} is not a run: there is no such folder."
            raise InputError(what, "Give the folder of a run, such as runs/my-run; `onecycle runs` lists the runs.")
        raise InputError(f"{path} is not a run: it has no {RUN}.", "`onecycle runs` lists the runs.")
    return RunDir(path)


def file_of(path: Path, name: str) -> Path:
    """Returns the file `name` of the run in the folder `path`, or `path` itself if it is a file.

    `InputError` if it is a file of a run and has changed since the run recorded it.
    """
    file = path / name if path.is_dir() else path
    return RunDir(file.parent).intact(file.name)


def all_runs(runs_dir: Path, tell: Tell = untold) -> list[RunDir]:
    """Returns the runs in `runs_dir`, oldest first, without damaged runs and without the runs inside a sweep."""
    return [run for run, _ in runs_and_facts(runs_dir, tell)]


def runs_and_facts(
    runs_dir: Path, tell: Tell = untold, matters: Callable[[Path], bool] | None = None
) -> list[tuple[RunDir, dict[str, Any]]]:
    """Returns the runs of `all_runs`, each with the content of its `run.json`, which is read once.

    `tell` takes the errors of the folders of which `matters` says so; of all by default.
    """
    if not runs_dir.is_dir():
        return []
    return sorted(readable_runs(runs_dir, tell, matters=matters), key=lambda one: order(one[1]))


def find_run(runs_dir: Path, text: str) -> RunDir:
    """Returns the run that `text` names: a folder, or a run in `runs_dir`; `InputError` when there is no such run.

    A run in `runs_dir` takes precedence over a folder of that name that is not a run, such as one of images.
    """
    path, named = Path(text).expanduser(), runs_dir / text
    here = (path / RUN).is_file() or (path.exists() and not named.exists())
    return run_at(path if here else named)


def runs_in(run: RunDir) -> list[RunDir]:
    """Returns the runs inside a sweep, by name and with damaged ones, or the run itself if none are inside.

    Folders left by interrupted sweep cells that ran again are skipped.
    """
    folders = [path for path in sorted(run.path.iterdir()) if path.name[0] != "." and _is_kept(path)]
    inner = [RunDir(path) for path in folders if (path / RUN).is_file()]
    return inner or [run]


def suggesting_runs(runs_dir: Path, tell: Tell = untold) -> list[RunDir]:
    """Returns the runs that suggest a max_lr, also those of sweeps, oldest first, without damaged ones.

    `tell` takes the error of each damaged run that may have held a suggestion.
    """
    return [run for run, _ in _suggesting(runs_dir, tell)]


def _suggesting(runs_dir: Path, tell: Tell) -> list[tuple[RunDir, dict[str, Any]]]:
    found = []
    for one in runs_and_facts(runs_dir, tell, _may_suggest):
        cells = runs_and_facts(one[0].path, tell, lambda folder: _is_kept(folder) and _may_suggest(folder))
        found += [one, *(cell for cell in cells if _is_kept(cell[0].path))]
    return sorted((one for one in found if _suggests(*one, tell)), key=lambda one: order(one[1]))


def _is_kept(cell: Path) -> bool:
    """Whether the folder of a cell is the one that counts, and not one that another has replaced."""
    return UNFINISHED not in cell.name


def _may_suggest(folder: Path) -> bool:
    """Whether a folder or one inside it has a suggestion, which is hidden if the run is damaged."""
    return any(map(Path.is_file, (folder / SUGGESTION, *folder.glob(f"*/{SUGGESTION}"))))


def latest_suggestions(runs_dir: Path, recipe_name: str) -> list[RunDir]:
    """Returns the finished range tests with a suggestion for the recipe, newest first, of find-lr and of sweeps.

    `InputError` when there are none, or when one may be missing because a run is damaged.
    """
    found: list[RunDir] = []
    damaged: list[InputError] = []
    suggesting = _suggesting(runs_dir, damaged.append)
    if damaged:
        fix = "Name the range test in place of 'latest', or move the folder of the damaged run elsewhere."
        raise InputError(damaged[0].what, f"{fix} If it is part of a sweep, run the sweep again.")
    for run, facts in reversed(suggesting):
        told = (facts["recipe"], facts["status"]) == (recipe_name, "finished")
        if told and facts["command"] in ("find-lr", "sweep", "sweep-wd"):
            found.append(run)
    if found:
        return found
    what = f"{runs_dir} holds no finished range test with a suggestion for a recipe named '{recipe_name}'."
    fix = "Run `onecycle find-lr` with this recipe first, or give --max-lr."
    if (without := _newest_without(runs_dir, recipe_name)) is not None:
        what = f"{without.path}, the newest range test for a recipe named '{recipe_name}', suggests no max_lr."
        fix = "`--max-lr auto` tests again, for longer."
        if isinstance(guess := without.read_json(SUGGESTION).get("typical_max_lr"), float):
            fix = f"Take its guess, --max-lr {guess:g}, or --max-lr auto, which tests again, for longer."
    raise InputError(what, fix)


def _newest_without(runs_dir: Path, recipe_name: str) -> RunDir | None:
    """Returns the newest finished range test of find-lr for the recipe that suggests nothing."""
    for run in reversed(all_runs(runs_dir)):
        facts = run.facts
        if (facts["command"], facts["recipe"], facts["status"]) == ("find-lr", recipe_name, "finished"):
            with suppress(InputError):
                if (run.path / SUGGESTION).is_file() and run.read_json(SUGGESTION).get("max_lr") is None:
                    return run
    return None


def _suggests(run: RunDir, facts: dict[str, Any], tell: Tell) -> bool:
    try:
        return run.has(SUGGESTION, facts) and run.read_json(SUGGESTION, facts).get("max_lr") is not None
    except InputError as error:
        tell(error)
    return False
