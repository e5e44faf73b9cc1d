"""Rebuilds what a power cut may leave of a command's files, at each moment, and checks what can be read and resumed.

    python tests/reliability/power_cut.py [--resume-every K] [--command NAME]...

A command runs once, undisturbed, and its writes, renames and flushes are recorded. After each of them, what was not
flushed may be lost, in any part: content of a file, until the file is flushed; names, until their folder is. Of these
states are built: with no name of those that were not flushed, all, each subset of up to four, or else each prefix, all
but one, and each one alone; with none of the content, all, the first half, all but the first write (zeros in its
place), and for each file alone. In each state, a file under its final name must be one that was written whole, or a
table that grows. In each Kth, the command goes on, and must give the result of the undisturbed run. After
its end, nothing may be lost.

The cache of decoded images is written through memory that is mapped to a file, and by C's buffers, which are not
recorded: it counts as flushed.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from commands import (
    LIBRARY,
    SCENARIOS,
    Prepared,
    Server,
    fast_folder,
    go_on,
    load,
    prepared,
    start_with_interposer,
)
from interposer import Entry, build, entries

GROWING = {"steps.csv", "epochs.csv", "lr_range.csv", "verify.csv"}
"""The tables to which rows are appended under their final name. `train --resume` cuts what no checkpoint knows."""

Content = bytes
Files = dict[str, Content]
"""The files of a state, by their path below the folder of the command."""


@dataclass(eq=False)
class File:
    """A file: the content that is surely on disk, and the writes since: (offset, data), or (size, None) for a cut."""

    flushed: Content = b""
    writes: list[tuple[int, Content | None]] = field(default_factory=list)
    mapped: bool = False

    def content(self, kept: str = "all") -> Content:
        """Returns the content with none of the writes, all, the first half of them, or all but the first."""
        found = bytearray(self.flushed)
        for number, (at, data) in enumerate(self.writes):
            if kept == "none" or (kept == "half" and number > len(self.writes) // 2):
                break
            if data is None:
                del found[at:]
                continue
            if kept == "half" and number == len(self.writes) // 2:
                data = data[: len(data) // 2]
            if kept == "holes" and number == 0:
                data = bytes(len(data))
            found.extend(bytes(max(0, at - len(found))))
            found[at : at + len(data)] = data
        return bytes(found)


@dataclass(eq=False)
class Folder:
    """A folder: the names that are surely on disk, and those that the processes see."""

    flushed: "dict[str, Node]" = field(default_factory=dict)
    names: "dict[str, Node]" = field(default_factory=dict)


Node = File | Folder
Change = list[tuple[Folder, str, Node | None]]
"""Names that appear or disappear (None) together."""


class Disk:
    """The files below a folder, as a record changes them."""

    def __init__(self, root: Path, base: Path) -> None:
        self._root = root
        self._open: dict[int, Node] = {}
        self.top = _read(base)
        self.pending: list[Change] = []
        self.whole: dict[str, set[Content]] = {}
        self.written_in_place: set[str] = set()
        self._keep_whole("", self.top)

    def apply(self, entry: Entry) -> bool:
        """Applies an entry; whether it changed something."""
        match entry.call:
            case "open":
                self._opened(entry)
            case "dup" if entry.offset in self._open:
                self._open[entry.fd] = self._open[entry.offset]
                return False
            case "close":
                self._open.pop(entry.fd, None)
                return False
            case "write" | "truncate":
                self._written(entry)
            case "mmap":
                mapped = self._open[entry.fd]
                assert isinstance(mapped, File)
                mapped.mapped = True
            case "fsync":
                self._flush(self._open[entry.fd])
            case "mkdir":
                self._change([(*self._place(entry.first), Folder())])
            case "unlink":
                self._change([(*self._place(entry.first), None)])
            case "rename":
                node = self._at(entry.first)
                self._change([(*self._place(entry.second), node), (*self._place(entry.first), None)])
                self._keep_whole(self._below(entry.second), node)
            case _:
                assert entry.call == "allocate", entry.call  # of the cache, which is mapped
                return False
        return True

    def _keep_whole(self, path: str, node: Node) -> None:
        """Keeps the content that a file, or the files of a folder, have when they get their final name."""
        if isinstance(node, Folder):
            for name, inner in node.names.items():
                self._keep_whole(f"{path}/{name}".lstrip("/"), inner)
        else:
            self.whole.setdefault(path, set()).add(node.content())

    def _written(self, entry: Entry) -> None:
        file = self._open[entry.fd] if entry.fd >= 0 else self._at(entry.first)
        assert isinstance(file, File)
        file.writes.append((entry.offset, entry.data if entry.call == "write" else None))
        place = self._below(entry.first)
        if self._find(place) is file:
            self.written_in_place.add(place)

    def _opened(self, entry: Entry) -> None:
        folder, name = self._place(entry.first)
        if name and name not in folder.names and entry.flags & os.O_CREAT:
            self._change([(folder, name, File())])
        node = folder.names[name] if name else folder
        if entry.flags & os.O_TRUNC and isinstance(node, File) and node.content():
            node.writes.append((0, None))
        self._open[entry.fd] = node

    def _change(self, change: Change) -> None:
        for folder, name, node in change:
            _set(folder.names, name, node)
        self.pending.append(change)

    def _flush(self, node: Node) -> None:
        if isinstance(node, File):
            node.flushed, node.writes = node.content(), []
            return
        kept = []
        for change in self.pending:
            if any(folder is node for folder, _, _ in change):
                for folder, name, one in change:
                    _set(folder.flushed, name, one)
            else:
                kept.append(change)
        self.pending = kept

    def _below(self, path: str) -> str:
        return os.path.relpath(path, self._root)

    def _place(self, path: str) -> tuple[Folder, str]:
        below = self._below(path)
        if below == ".":
            return self.top, ""
        above = self._find(str(Path(below).parent))
        assert isinstance(above, Folder), path
        return above, Path(below).name

    def _find(self, below: str) -> Node | None:
        node: Node | None = self.top
        for part in Path(below).parts:
            node = node.names.get(part) if isinstance(node, Folder) else None
        return node

    def _at(self, path: str) -> Node:
        node = self._find(self._below(path))
        assert node is not None, path
        return node


def _set(names: dict[str, Node], name: str, node: Node | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


def _read(folder: Path) -> Folder:
    names: dict[str, Node] = {}
    for path in folder.iterdir():
        names[path.name] = _read(path) if path.is_dir() else File(path.read_bytes())
    return Folder(dict(names), names)


def files_of(top: Folder, kept: "str | dict[int, str]", changes: Sequence[Change]) -> Files:
    """Returns the files of a state: the flushed names with some changes, the content with some writes.

    `kept` says which writes, as in `File.content`: for all files, or by the `id` of a file.
    """
    added: dict[int, list[tuple[str, Node | None]]] = {}
    for change in changes:
        for folder, name, node in change:
            added.setdefault(id(folder), []).append((name, node))
    found: Files = {}

    def walk(folder: Folder, above: str) -> None:
        names = dict(folder.flushed)
        for name, node in added.get(id(folder), []):
            _set(names, name, node)
        for name, node in names.items():
            if isinstance(node, Folder):
                walk(node, f"{above}{name}/")
            else:
                found[above + name] = node.content(kept if isinstance(kept, str) else kept.get(id(node), "none"))

    walk(top, "")
    return found


def states(disk: Disk) -> Iterator[Files]:
    """Yields what a power cut may leave at this moment."""
    dirty = _dirty(disk)
    contents: list[str | dict[int, str]] = ["all"]
    if dirty:
        contents += ["none", "half", "holes"]
    if len(dirty) > 1:
        contents += [{id(one): "all"} for one in dirty]
        contents += [{id(other): "all" for other in dirty if other is not one} for one in dirty]
    for changes in _subsets(disk.pending):
        for kept in contents:
            yield files_of(disk.top, kept, changes)


def _subsets(pending: Sequence[Change]) -> list[Sequence[Change]]:
    if len(pending) <= 4:
        return [some for size in range(len(pending) + 1) for some in combinations(pending, size)]
    prefixes = [pending[:size] for size in range(len(pending) + 1)]
    without = [[*pending[:number], *pending[number + 1 :]] for number in range(len(pending))]
    return [*prefixes, *without, *([one] for one in pending)]


def _dirty(disk: Disk) -> list[File]:
    found: dict[int, File] = {}

    def walk(names: dict[str, Node]) -> None:
        for node in names.values():
            if isinstance(node, Folder):
                walk(node.names)
            elif node.writes:
                found[id(node)] = node

    walk(disk.top.names)
    return [*found.values()]


def must_be_whole(files: Files, disk: Disk) -> None:
    """Checks that each file under its final name was written whole; `AssertionError` names one that was not."""
    for path, content in files.items():
        parts = Path(path).parts
        if _is_aside(path) or parts[-1] in GROWING:
            continue
        assert content in disk.whole.get(path, set()), f"{path} is not whole: {content[:200]!r}"


@dataclass
class Counts:
    """The moments and the different states of a command, and how many of them went on."""

    moments: int = 0
    states: int = 0
    resumed: int = 0


def replayed(record: bytes, disk: Disk, counts: Counts) -> Iterator[tuple[str, Files]]:
    """Applies a record; yields each state that may be left and that was not seen before, with its moment in words.

    `AssertionError` says which file is not whole in a state, or is lost at the end.
    """
    known: set[int] = set()
    for number, entry in enumerate(entries(record)):
        if entry.call == "counted" or not disk.apply(entry):
            continue
        counts.moments += 1
        for files in states(disk):
            digest = hash(frozenset(files.items()))
            if digest in known:
                continue
            known.add(digest)
            counts.states += 1
            at = f"after entry {number}: {entry.call} of {entry.first}"
            try:
                must_be_whole(files, disk)
            except AssertionError as error:
                raise AssertionError(f"{at}: {error}") from None
            yield at, files
    ended = {path: content for path, content in files_of(disk.top, "all", disk.pending).items() if not _is_aside(path)}
    lost = {path for files in states(disk) for path, content in ended.items() if files.get(path) != content}
    assert not lost, f"the command has ended, and a power cut loses {sorted(lost)}"
    in_place = {Path(path).name for path in disk.written_in_place if not _is_aside(path)} - GROWING
    assert not in_place, f"written under their final names: {in_place}"


def power_cuts(server: Server, one: Prepared, folder: Path, resume_every: int) -> Counts:
    """Cuts the power of a scenario at each moment; `AssertionError` says what cannot be read or does not go on."""
    place, record = folder / "place", folder / "record"
    shutil.copytree(one.template, place)
    end = server.run(place, one.scenario.words, record=record)
    assert end.code == one.code, end
    cache = _read(place)
    shutil.rmtree(place)
    counts = Counts()
    for at, files in replayed(record.read_bytes(), Disk(place, one.template), counts):
        if counts.states % resume_every == 0:
            _write(place, files, cache)
            try:
                go_on(server, one, place)
            except AssertionError as error:
                raise AssertionError(f"{one.name}, {at}: {error}") from None
            shutil.rmtree(place)
            counts.resumed += 1
    return counts


def _is_aside(path: str) -> bool:
    """Whether a file is none of a run, or has a hidden name, under which nobody reads it."""
    return not path.startswith("runs/") or any(part.startswith(".") for part in Path(path).parts)


def _write(place: Path, files: Files, whole: Folder) -> None:
    """Writes the files of a state; those of the cache, of which some are mapped, are whole or missing."""
    cached = files_of(whole, "all", [])
    for path, content in files.items():
        target = place / path
        target.parent.mkdir(parents=True, exist_ok=True)
        is_cache = path.startswith("images.onecycle-cache/")
        target.write_bytes(cached.get(path, content) if is_cache else content)
    (place / "tmp").mkdir(exist_ok=True)


def main() -> int:
    """Cuts the power of each command, and prints how many states there were."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resume-every", type=int, default=25)
    parser.add_argument("--command", action="append", choices=SCENARIOS)
    asked = parser.parse_args()
    if LIBRARY not in os.environ:
        with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
            return start_with_interposer(build(Path(folder)))
    library = Path(os.environ[LIBRARY])
    load()
    server = Server(library)
    # A tuning is many trainings and range tests: its states would take hours.
    for name in asked.command or [name for name in SCENARIOS if name != "tune"]:
        place = library.with_name(f"power-{name}")
        place.mkdir()
        counts = power_cuts(server, prepared(server, place, name), place, asked.resume_every)
        print(f"{name}: {counts.states} states of {counts.moments} moments, {counts.resumed} went on", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
