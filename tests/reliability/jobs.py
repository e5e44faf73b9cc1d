"""Runs each command with each fault at each place, in workers, and keeps a row for each in a CSV file.

`main` is the command line of faults.py and memory.py, whose kinds of faults are a `Study`.
"""

import argparse
import csv
import io
import os
import platform
import random
import sys
import tempfile
import traceback
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from commands import LIBRARY, SCENARIOS, Prepared, Server, fast_folder, load, prepared, start_with_interposer
from interposer import build


class Study(ABC):
    """Faults that a command can have.

    `seen` are the columns of what is seen of one. `counted` are those by which they are counted, beside command, fault
    and end. `sources` are preloaded.
    """

    faults: tuple[str, ...]
    seen: tuple[str, ...]
    counted: tuple[str, ...]
    sources: tuple[Path, ...] = ()

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.folder = server, folder

    @abstractmethod
    def numbers(self, one: Prepared, fault: str) -> Iterable[int]:
        """Returns the places of a command at which it can have a fault."""

    def kind(self, one: Prepared, number: int) -> Hashable:
        """Returns what a place has in common with those that are like it, in any command; one of each comes first."""
        return one.name, number

    @abstractmethod
    def disturbed(self, one: Prepared, number: int, fault: str) -> str:
        """Runs a command with a fault, and lets it go on; returns how it ended. `AssertionError` says what is wrong."""

    @abstractmethod
    def what_was_seen(self) -> tuple[object, ...]:
        """Returns what was seen of the last fault."""


def work(study: Study, asked: argparse.Namespace, turn: int, turns: int) -> None:
    """Runs the jobs of each `turns`th place from the one number `turn` on, if the log does not have them yet."""
    study.folder.mkdir()
    done = {(row["command"], int(row["number"]), row["fault"]) for row in rows_of(asked.log)}
    ready = [prepared(study.server, study.folder, command) for command in asked.command]
    for one, number, fault in jobs_of(study, ready, asked)[:: asked.every]:
        if number % turns != turn or (one.name, number, fault) in done:
            continue
        try:
            end, problem = study.disturbed(one, number, fault), ""
        except AssertionError as error:
            end, problem = "wrong", str(error)
        line = io.StringIO()
        row = (one.name, number, fault, *study.what_was_seen(), end, problem)
        csv.writer(line, lineterminator="\n").writerow(row)
        with asked.log.open("a") as file:
            file.write(line.getvalue())  # one write, since other workers append too


def jobs_of(study: Study, ready: Sequence[Prepared], asked: argparse.Namespace) -> list[tuple[Prepared, int, str]]:
    """Returns all jobs, those at one place one after the other, in a mixed order.

    A place of each kind comes first, so that what is done by the time somebody stops it has seen most.
    """
    firsts: list[tuple[Prepared, int, str]] = []
    others: list[tuple[Prepared, int, str]] = []
    seen: set[Hashable] = set()
    for one in ready:
        faults: dict[int, list[str]] = {}
        for fault in asked.fault:
            for number in asked.number or study.numbers(one, fault):
                faults.setdefault(number, []).append(fault)
        numbers = sorted(faults)
        random.Random(0).shuffle(numbers)
        for number in numbers:
            kind = study.kind(one, number)
            (others if kind in seen else firsts).extend((one, number, fault) for fault in faults[number])
            seen.add(kind)
    return firsts + others


def run_all(kind: type[Study], library: Path, asked: argparse.Namespace) -> None:
    """Runs the jobs in as many workers as there are processors."""
    load()
    if not asked.log.exists():
        asked.log.parent.mkdir(parents=True, exist_ok=True)
        asked.log.write_text(",".join(("command", "number", "fault", *kind.seen, "end", "problem")) + "\n")
    one_is_enough = asked.every > 100 or asked.number  # each worker prepares for some seconds
    turns = 1 if one_is_enough else len(os.sched_getaffinity(0))
    children = []
    for turn in range(turns):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                work(kind(Server(library), library.with_name(f"worker-{turn}")), asked, turn, turns)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert not any(codes), f"workers ended with {codes}"


def rows_of(log: Path) -> list[dict[str, str]]:
    """Returns the rows of a log; none if there is no such file."""
    if not log.exists():
        return []
    with log.open(newline="") as file:
        return list(csv.DictReader(file))


def write_counts(file: Path, rows: Sequence[dict[str, str]], counted: Sequence[str]) -> None:
    """Writes how many faults there were by command, what is `counted`, fault and end."""
    names = ("command", *counted, "fault", "end")
    counts = Counter(tuple(row[name] for name in names) for row in rows)
    here = (f"{datetime.now(UTC):%Y-%m-%d}", platform.machine(), platform.python_version(), metadata.version("torch"))
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(("date", "machine", "python", "torch", *names, "faults"))
        writer.writerows((*here, *values, count) for values, count in sorted(counts.items()))


def main(kind: type[Study], doc: str | None) -> int:
    """Runs the faults; prints the number of them by command, fault and end, and each wrong end. 1 if there is one."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--number", type=int, action="append")
    parser.add_argument("--command", action="append", choices=SCENARIOS)
    parser.add_argument("--fault", action="append", choices=kind.faults)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--counts", type=Path)
    asked = parser.parse_args()
    if LIBRARY not in os.environ:
        with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
            return start_with_interposer(build(Path(folder)), *(build(Path(folder), one) for one in kind.sources))
    library = Path(os.environ[LIBRARY])
    asked.log = asked.log or library.with_name("log.csv")
    asked.command, asked.fault = asked.command or [*SCENARIOS], asked.fault or [*kind.faults]
    run_all(kind, library, asked)
    rows = rows_of(asked.log)
    if asked.counts:
        write_counts(asked.counts, rows, kind.counted)
    for (command, fault, end), number in sorted(Counter((r["command"], r["fault"], r["end"]) for r in rows).items()):
        print(f"{number:6}  {command:8} {fault:10} {end}", flush=True)
    wrong = [row for row in rows if row["end"] == "wrong"]
    for row in wrong:
        seen = " ".join(row[name] for name in kind.seen)
        print(f"\n{row['command']} {row['fault']} at {row['number']}, {seen}: {row['problem']}")
    print(f"\n{len(rows)} faults, {len(wrong)} with a wrong end.")
    return 1 if wrong else 0
