"""The trash: removed runs are moved to a folder beside the others, from where they come back unchanged."""

import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from uuid import uuid4

from onecycle_cli.errors import InputError
from onecycle_cli.run_dir.at_rest import must_rest
from onecycle_cli.run_dir.files import RUN, TRASH
from onecycle_cli.run_dir.run import RunDir, put
from onecycle_cli.run_dir.writing import make_folder

ENTRY = re.compile(r"(\d{8}-\d{6})(?:\.\d+)?-(.+)", re.DOTALL)
"""The name of a folder in the trash: when its run was removed, and the name of the run."""

DELETING = ".deleting-"
"""The start of the name of what is being deleted; a kill may leave a part of it behind."""


@dataclass(frozen=True)
class RemovedRun:
    """A run in the trash: its folder there, its name before, and when it was removed (UTC)."""

    path: Path
    name: str
    removed: datetime


def place_of(run: RunDir) -> Path:
    """Returns the absolute path of a run without `..`, which would hide its name and that of the folder around it.

    A link stays one if it is the last part.
    """
    path = run.path.absolute()
    if path.name == "..":
        return path.resolve()
    return path.parent.resolve() / path.name if ".." in path.parts else path


def must_be_removable(run: RunDir, *, elsewhere_ended: bool = False) -> None:
    """Checks that a run can go to the trash; `InputError` if it runs, is a link, or is inside another run.

    `elsewhere_ended` is that of `must_rest`.
    """
    path = place_of(run)
    if path.is_symlink():
        raise InputError(f"{run.path} is a link to {path.resolve()}.", "Name that folder, or delete the link yourself.")
    if (path.parent / RUN).is_file():
        what = f"{run.path} is a part of the run {path.parent}, which would not be complete without it."
        raise InputError(what, "Remove the whole run.")
    if path.parent.name == TRASH:
        raise InputError(f"{run.path} is in the trash already.", "`onecycle runs trash --empty` deletes what is there.")
    must_rest(run, elsewhere_ended=elsewhere_ended)


def move_to_trash(run: RunDir, *, elsewhere_ended: bool = False) -> RemovedRun:
    """Moves a run to the trash beside it, in one step; `InputError` if `must_be_removable` raises it.

    The folder stays on its file system and keeps its content.
    """
    path, now = place_of(run), datetime.now(UTC).replace(microsecond=0)
    must_be_removable(RunDir(path), elsewhere_ended=elsewhere_ended)
    trash = path.parent / TRASH
    if trash.is_symlink():
        raise InputError(f"{trash} is a link: a run cannot move there in one step.", "Make it a folder.")
    make_folder(trash)
    stamp = f"{now:%Y%m%d-%H%M%S}"
    with run.alone():
        places = (trash / f"{stamp}{'' if nth == 1 else f'.{nth}'}-{path.name}" for nth in count(1))
        place = next(place for place in places if not os.path.lexists(place) and put(path, place))
    return RemovedRun(place, path.name, now)


def removed_runs(runs_dir: Path) -> list[RemovedRun]:
    """Returns the runs in the trash of `runs_dir`, in the order in which they were removed."""
    trash = runs_dir / TRASH
    found = []
    for path in sorted(trash.iterdir()) if trash.is_dir() else []:
        if parts := ENTRY.fullmatch(path.name):
            with suppress(ValueError):  # a name that only looks like one of ours
                removed = datetime.strptime(parts[1], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
                found.append(RemovedRun(path, parts[2], removed))
    return found


def restore(runs_dir: Path, texts: Sequence[str]) -> list[RunDir]:
    """Moves runs from the trash back to where they were, and returns them.

    Each text is the name of a run or of its folder in the trash. `InputError`, before the first one is moved, if the
    trash has no such run or several, or if a run of that name exists now. All of them move, or none.
    """
    wanted = list(dict.fromkeys(_removed_run(runs_dir, text) for text in texts))
    names = [one.name for one in wanted]
    for one in wanted:
        if names.count(one.name) > 1 or os.path.lexists(runs_dir / one.name):
            raise _is_taken(runs_dir / one.name)
    done: list[RemovedRun] = []
    try:
        for one in wanted:
            if not put(one.path, runs_dir / one.name):
                raise _is_taken(runs_dir / one.name)
            done.append(one)
    except (InputError, OSError):
        for one in done:
            (runs_dir / one.name).rename(one.path)
        raise
    return [RunDir(runs_dir / name) for name in names]


def _removed_run(runs_dir: Path, text: str) -> RemovedRun:
    known = removed_runs(runs_dir)
    name = Path(text).name
    found = [one for one in known if one.path.name == name] or [one for one in known if one.name == name]
    if not found:
        raise InputError(f"The trash of {runs_dir} has no run '{text}'.", "`onecycle runs trash` lists what it has.")
    if len(found) > 1:
        listed = "\n".join(f"  {one.path.name}" for one in found)
        raise InputError(f"The trash of {runs_dir} has {len(found)} runs '{text}':\n{listed}", "Name one of these.")
    return found[0]


def _is_taken(path: Path) -> InputError:
    return InputError(f"There is a run {path} now, which is not overwritten.", "Rename or remove it first.")


def delete_for_good(removed: Sequence[RemovedRun]) -> None:
    """Deletes runs in the trash. Nothing brings them back."""
    for one in removed:
        # Renamed first: if the command is killed, what is left cannot be restored as if it were whole.
        one.path.rename(one.path.with_name(f"{DELETING}{uuid4().hex}"))
        _delete_rest(one.path.parent)


def delete_rests(runs_dir: Path) -> None:
    """Deletes what killed commands left of runs that they were deleting."""
    if (runs_dir / TRASH).is_dir():
        _delete_rest(runs_dir / TRASH)


def _delete_rest(trash: Path) -> None:
    for path in trash.glob(f"{DELETING}*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:  # a person has put it there
            path.unlink()


def bytes_in(folder: Path) -> int:
    """Returns the size of all files in a folder and below, in bytes; links are not followed.

    A file or a link in place of a folder has its own size.
    """
    if folder.is_symlink() or not folder.is_dir():
        return folder.lstat().st_size
    total = 0
    for inner, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # a file of another process that is gone by now
                total += Path(inner, name).lstat().st_size
    return total
