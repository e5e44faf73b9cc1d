r"""Errors for the user, each with an exit code, and text that any terminal and any file can hold.

An error states what is wrong and where (`what`), and how to fix it (`fix`). Any other exception is a bug.

A file name on Linux is any bytes. Python represents a byte that is not UTF-8 as a lone surrogate (`os.fsdecode`), which
no UTF-8 file can hold. So the files of a run write a byte like 0xff as `\xff`. A backslash that would then be read as
the start of a byte is written as `\x5c`. All other text is unchanged.
"""

import errno
import mmap
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_NOT_UTF8 = re.compile(r"[\udc80-\udcff]|\\(?=x(?:5c|[89a-f][0-9a-f]))")
_WRITTEN = re.compile(r"\\x(5c|[89a-f][0-9a-f])")


class OnecycleError(Exception):
    """The base class of all errors that a user can mend.

    `what` says what is wrong and where, `fix` how to correct it; `exit_code` is that of the command.
    """

    exit_code = 1

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what}\n{fix}")
        self.what = what
        self.fix = fix
        self.of_disk = False
        """Whether the disk or a permission is the cause, which other work on the same files would meet too."""
        self.is_of_group = False
        """Whether all processes of a training have this error, or its message names those that have it."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Lets an error travel to another process."""
        return type(self), (self.what, self.fix), vars(self)


class InputError(OnecycleError):
    """An argument, the command line, the recipe or the data is wrong."""

    exit_code = 2


class NoSuggestionError(OnecycleError):
    """The range test gives no max_lr: raised by `train(max_lr="auto")`. `find_lr` and `suggest` return max_lr None."""

    exit_code = 4


class MachineError(OnecycleError):
    """The machine failed (disk, permission, memory, network, a lost process), or a package of an extra is missing."""

    exit_code = 5


class ReportedElsewhere(OnecycleError):
    """The error of another process of the same training, which prints it: this process ends without a message."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("Another rank failed.", "Read its message.")
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.exit_code,), vars(self)


def missing_packages(what: str, packages: str, extra: str) -> MachineError:
    """Returns the error that `what` needs optional packages which are not installed, and the extra that has them."""
    return MachineError(
        f"{what} needs {packages}, which cannot be imported.", f"Install it: pip install 'onecycle-cli[{extra}]'."
    )


TRY_AGAIN = 75
"""The exit code of a command that was ended in good time and can go on: EX_TEMPFAIL of sysexits.h."""


class Terminated(BaseException):
    """Raised on a signal that ends the process, such as SIGTERM. `number` is the signal's.

    Like KeyboardInterrupt, it is not an Exception, so that no `except Exception` catches it. Its exit code is the one
    that a shell reports of a process which the signal has killed.
    """

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__(number)
        self.number = number
        self.exit_code = 128 + number


def printable(text: str, but: str = "") -> str:
    r"""Escapes unprintable characters of `text`, because a file name, for instance, may contain terminal commands.

    A byte of a name that is not UTF-8 becomes `\xff`, as in the files of a run. Characters in `but` are not escaped.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in but else _escape(char) for char in text)


def _escape(char: str) -> str:
    return f"\\x{ord(char) - 0xDC00:02x}" if "\udc80" <= char <= "\udcff" else repr(char)[1:-1]


NO_MEMORY = re.compile(
    r"out of memory|can(no|')t allocate|bad_alloc|bad allocation|ALLOC_FAILED|could not (create|execute) a primitive$"
    r"|can't start new thread|failed to map segment|cannot map zero-fill|cannot create shared object"
    r"|without exception set$|returned NULL without setting an exception$",
    re.IGNORECASE | re.MULTILINE,
)
"""What messages have in common that tell of a lack of memory: those of CUDA, cuBLAS, cuDNN, torch's allocator on a CPU,
C++ and oneDNN; of threads, for whose stacks there is no room; of libraries for which there is none. And of Python 3.11,
which loses some MemoryErrors: with 14 to 44 MiB for `onecycle runs`, three of thirty were a SystemError without one."""


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether the machine or a GPU is out of memory.

    Libraries raise a MemoryError, an OSError of that number, or an error of another kind whose message tells it:
    `NO_MEMORY`, looked for where no name that a person gave is expected. An error that such an error has led to counts
    as well; an `OnecycleError` has its own words.
    """
    seen: BaseException | None = error
    for _ in range(DEEPEST):
        if seen is None or isinstance(seen, OnecycleError):
            return False
        if isinstance(seen, MemoryError) or (isinstance(seen, OSError) and seen.errno == errno.ENOMEM):
            return True
        if _is_of_a_library(seen) and NO_MEMORY.search(str(seen)):
            return True
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return False


def _is_of_a_library(error: BaseException) -> bool:
    """Whether an error is of a kind that libraries raise for lack of memory.

    The message of another one may quote a person, as in "No such file: /data/out of memory/a.png". What dlopen fails
    to map, in ctypes, is an OSError itself, without a number. safetensors is too large to import for its error.
    """
    if type(error) is OSError:
        return error.errno is None
    return isinstance(error, RuntimeError | ImportError | SystemError) or type(error).__name__ == "SafetensorError"


DEEPEST = 20
"""How many errors are looked at, each of which led to the one before it."""

ROOM_FOR_SCIPY = 2**27
"""The bytes of address space that must be free before scipy, or scikit-learn with it, is loaded.

OpenBLAS, which they load, asks for 32 MiB again and again, forever, where it gets none: with a limit 45 to 60 MiB above
what the process had. With 100 MiB it is loaded.
"""


def need_room_for_scipy() -> None:
    """Raises an `OSError` if there is no memory to load scipy, which would wait for it forever."""
    mmap.mmap(-1, ROOM_FOR_SCIPY).close()  # only reserved, never used


DISK = "Look after the disk or the network drive"

MACHINE_ERRORS = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some space",
    errno.EFBIG: "Raise the limit on file sizes",
    errno.EACCES: "Choose another folder, or change its permissions",
    errno.EPERM: "Choose another folder, or change its permissions",
    errno.ENOENT: "Put it back: it was there before",
    errno.ENOTDIR: "Choose another folder: a part of this path is a file",
    errno.EISDIR: "Choose another name: this is a folder",
    errno.ENOTEMPTY: "Empty it, or choose another folder",
    errno.EEXIST: "Choose another folder: this is a file",
    errno.ELOOP: "Choose another path: links in it lead back to themselves",
    errno.ENAMETOOLONG: "Choose a shorter name",
    errno.EIO: DISK,
    errno.ENXIO: DISK,
    errno.ENODEV: DISK,
    errno.ESTALE: DISK,
    errno.ETIMEDOUT: f"{DISK}, or the network",
    errno.EINTR: DISK,
    errno.EBUSY: "Wait until nothing else uses it",
    errno.EAGAIN: "Wait until nothing else uses it, or raise the limit on processes (ulimit -u)",
    errno.ETXTBSY: "Wait until nothing else uses it",
    errno.EDEADLK: "Wait until nothing else uses it",
    errno.ENOLCK: "Choose a folder whose file system can lock files",
    errno.EOPNOTSUPP: "Choose a folder on another file system: this one cannot do it",
    errno.ENOTSUP: "Choose a folder on another file system: this one cannot do it",
    errno.ENOSYS: "Choose a folder on another file system: this one cannot do it",
    errno.EXDEV: "Choose a folder on the same file system",
    errno.EMLINK: "Choose a folder with fewer entries",
    errno.EROFS: "Choose another folder: this one cannot be written to",
    errno.EMFILE: "Raise the limit on open files (ulimit -n)",
    errno.ENFILE: "Close programs: the machine has too many open files",
    errno.ENOMEM: "Free some memory",
}
"""How to fix an error of the operating system, by its number."""


OF_INPUT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG}
"""Errors on reading that come from the name or the place of a file that a person gave, not from the machine."""


def is_of_machine(error: Exception) -> bool:
    """Returns whether an error on reading a file of a person is one of the disk, of permissions or of memory.

    A missing file, or one whose content is wrong, is not.
    """
    return is_out_of_memory(error) or (isinstance(error, OSError) and error.errno in MACHINE_ERRORS.keys() - OF_INPUT)


def reading_error(error: Exception, what: str, fix: str) -> OnecycleError:
    """Returns the error that a file of a person cannot be read: `MachineError` or `InputError`, as `is_of_machine`."""
    if is_out_of_memory(error):
        return MachineError(what, "Free some memory, then start again.")
    if not is_of_machine(error):
        return InputError(what, fix)
    found = MachineError(what, fix)
    found.of_disk = True
    return found


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Adds the name of a file to an `OSError` of the block that lacks one, such as that of a read or a write."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def machine_error(error: Exception) -> MachineError | None:
    """Returns an error of the disk, permissions or memory as a `MachineError`; None for other errors."""
    if isinstance(error, OSError) and error.errno in MACHINE_ERRORS:
        where = f": {error.filename}" if error.filename else ""
        return MachineError(f"{error.strerror}{where}.", f"{MACHINE_ERRORS[error.errno]}, then start again.")
    if is_out_of_memory(error):
        said = (str(error) or type(error).__name__).splitlines()[0]
        fix = "Free some memory, or use a smaller --batch-size, data.image_size or network."
        if "thread" in said:
            fix = "Free some memory, or raise the limit on processes (ulimit -u)."
        elif "map segment" in said:
            fix = "Free some memory, raise the limit on it (ulimit -v), or install outside of a noexec mount."
        elif "shared object" in said:
            fix = "Free some memory, or raise the limit on it (ulimit -v)."
        return MachineError(f"Out of memory: {said}", fix)
    return None


def to_utf8(text: str) -> str:
    r"""Escapes `text` for a UTF-8 file: the byte 0xff of a file name becomes `\xff`. `from_utf8` is the inverse."""
    return _NOT_UTF8.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", text)


def from_utf8(text: str) -> str:
    """Returns the text that `to_utf8` escaped; its `os.fsencode` is the bytes of the file name."""
    return _WRITTEN.sub(lambda found: bytes.fromhex(found[1]).decode("utf-8", "surrogateescape"), text)


def all_from_utf8(value: Any) -> Any:
    """Applies `from_utf8` to every string in a value from JSON or YAML, keys included; keys may be of any type."""
    if isinstance(value, dict):
        return {all_from_utf8(key): all_from_utf8(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [all_from_utf8(inner) for inner in value]
    return from_utf8(value) if isinstance(value, str) else value
