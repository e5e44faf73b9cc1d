"""Makes each file-system call of each command fail in turn, in each way, and checks what comes of it.

    python tests/reliability/faults.py [--every K] [--command NAME]... [--fault NAME]... [--log FILE] [--counts FILE]

A command runs on a tiny recipe. Its calls on files of ours (recipe, images, cache, runs, temporary files) are counted.
Then it runs again for each of them and each fault: the call fails with an errno, writes half of its data, or the
process is killed right after it. Each run must end in the right result, or with exit code 5 and a message that names
file and cause. Then `train --resume`, or else the same command again, must give the result of an undisturbed run.

`--log` names a CSV file with a row for each fault; with an existing one, it goes on after its rows. `--counts` names
one for the number of faults by command, call, fault and end; benchmarks/results/faults.csv has ours.
"""

import argparse
import csv
import errno
import io
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from commands import (
    LIBRARY,
    SCENARIOS,
    Prepared,
    Server,
    different,
    fast_folder,
    go_on,
    load,
    prepared,
    results_of,
    start_with_interposer,
    tree,
    whole_files,
)
from interposer import KILL, SHORT, build

FAULTS = {
    "ENOSPC": errno.ENOSPC,
    "EIO": errno.EIO,
    "EACCES": errno.EACCES,
    "EDQUOT": errno.EDQUOT,
    "EINTR": errno.EINTR,
    "short": SHORT,
    "kill": KILL,
}

CHANGES = {
    *("create", "write", "fsync", "truncate", "mkdir", "unlink"),
    *("rename", "link", "chmod", "lock", "mmap", "close"),
}
"""The calls that may change what is on the disk, or wait for it."""

OF_CHANGES = {"ENOSPC", "EDQUOT", "kill"}
"""The faults of these calls alone: reading needs no space, and a kill after it leaves what the call before left."""

OF_DATA = {"read", "write"}
"""The calls that can be short."""

COLUMNS = ("command", "number", "fault", "call", "path", "end", "problem")


def one_fault(server: Server, one: Prepared, folder: Path, number: int, name: str) -> tuple[str, str, str]:
    """Runs the scenario with one fault and then goes on; returns the call, its path, and how it ended.

    `AssertionError` says what is wrong.
    """
    place = shutil.copytree(one.template, folder / "place")
    fault = FAULTS[name]
    before = tree(place / "runs" / "earlier")
    try:
        end = server.run(place, one.scenario.words, number, fault)
        call, path = server.interposer.hit or ("", place)
        at = f"{call} of {path.relative_to(place)}"
        assert end.code is not None, f"{at}: hangs\n{end.err}"
        assert "Traceback" not in end.err, f"{at}: {end.err}"
        whole_files(place)
        if not call:
            how = "not reached"
        elif end.code == -signal.SIGKILL and fault == KILL:
            how = "killed"
        elif end.code == one.code:
            how = "right result"
        else:
            assert end.code == 5, f"{at}: exit code {end.code}\n{end.out}{end.err}"
            told = os.strerror(fault) if fault > 0 else ""
            assert told in end.err, f"{at}: the message lacks the cause\n{end.err}"
            named = any(part.lstrip(".") in end.err for part in (path.name, path.parent.name))
            assert named, f"{at}: the message lacks the file\n{end.err}"
            how = "exit code 5"
        if how in ("killed", "exit code 5"):
            go_on(server, one, place, at)
        else:
            found = results_of(place, one.scenario)
            assert found == one.result, f"{at}: another result: {different(found, one.result)}\n{end.err}"
        assert tree(place / "runs" / "earlier") == before, f"{at}: an earlier run was changed"
        return call, str(path.relative_to(place)), how
    finally:
        shutil.rmtree(place)


def can_have(fault: str, calls: Sequence[str]) -> list[int]:
    """Returns the numbers of the calls that can have a fault."""
    kinds = CHANGES if fault in OF_CHANGES else OF_DATA if fault == "short" else {*calls}
    return [number for number, call in enumerate(calls) if call in kinds]


def work(library: Path, folder: Path, asked: argparse.Namespace, turn: int, turns: int) -> None:
    """Runs each `turns`th job from the one number `turn` on, if the log does not have it yet; appends to the log."""
    server = Server(library)
    folder.mkdir()
    done = {(row["command"], int(row["number"]), row["fault"]) for row in rows_of(asked.log)}
    for command in asked.command:
        one = prepared(server, folder, command)
        jobs = [(command, number, fault) for fault in asked.fault for number in can_have(fault, one.calls)]
        random.Random(0).shuffle(jobs)  # what is done by the time somebody stops it is then a fair sample
        for job in jobs[turn * asked.every :: turns * asked.every]:
            if job in done:
                continue
            _, number, fault = job
            try:
                call, path, end = one_fault(server, one, folder, number, fault)
                problem = ""
            except AssertionError as error:
                call, at = server.interposer.hit or ("", folder / "place")
                path, end, problem = str(at).partition("/place/")[2], "wrong", str(error)
            line = io.StringIO()
            csv.writer(line, lineterminator="\n").writerow((*job, call, path, end, problem))
            with asked.log.open("a") as file:
                file.write(line.getvalue())  # one write, since other workers append too


def run_all(library: Path, asked: argparse.Namespace) -> None:
    """Runs the jobs in as many workers as there are processors."""
    load()
    if not asked.log.exists():
        asked.log.parent.mkdir(parents=True, exist_ok=True)
        asked.log.write_text(",".join(COLUMNS) + "\n")
    turns = 1 if asked.every > 100 else len(os.sched_getaffinity(0))  # each worker prepares for some seconds
    children = []
    for turn in range(turns):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                work(library, library.with_name(f"worker-{turn}"), asked, turn, turns)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert not any(codes), f"workers ended with {codes}"


def rows_of(log: Path) -> list[dict[str, str]]:
    if not log.exists():
        return []
    with log.open(newline="") as file:
        return list(csv.DictReader(file))


def write_counts(file: Path, rows: Sequence[dict[str, str]]) -> None:
    """Writes how many faults there were by command, call, fault and end."""
    counts = Counter(tuple(row[name] for name in ("command", "call", "fault", "end")) for row in rows)
    here = (f"{datetime.now(UTC):%Y-%m-%d}", platform.machine(), platform.python_version(), metadata.version("torch"))
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(("date", "machine", "python", "torch", "command", "call", "fault", "end", "faults"))
        writer.writerows((*here, *names, count) for names, count in sorted(counts.items()))


def main() -> int:
    """Runs the faults; prints the number of them by command, fault and end, and each wrong end. 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--command", action="append", choices=SCENARIOS)
    parser.add_argument("--fault", action="append", choices=FAULTS)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--counts", type=Path)
    asked = parser.parse_args()
    if LIBRARY not in os.environ:
        with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
            return start_with_interposer(build(Path(folder)))
    library = Path(os.environ[LIBRARY])
    asked.log = asked.log or library.with_name("faults.csv")
    asked.command, asked.fault = asked.command or [*SCENARIOS], asked.fault or [*FAULTS]
    run_all(library, asked)
    rows = rows_of(asked.log)
    if asked.counts:
        write_counts(asked.counts, rows)
    for (command, fault, end), number in sorted(Counter((r["command"], r["fault"], r["end"]) for r in rows).items()):
        print(f"{number:6}  {command:8} {fault:8} {end}", flush=True)
    wrong = [row for row in rows if row["end"] == "wrong"]
    for row in wrong:
        print(f"\n{row['command']} {row['fault']} at call {row['number']}: {row['problem']}")
    print(f"\n{len(rows)} faults, {len(wrong)} with a wrong end.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
