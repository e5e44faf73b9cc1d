r"""Errors for people, each with its exit code, and text that any terminal and any file can hold.

An error says what is wrong and where (`what`), and how to fix it (`fix`). Any other exception is a bug.

A file name on Linux is any bytes. Python holds a byte that is not UTF-8 as a lone surrogate (`os.fsdecode`), which no
UTF-8 file can hold. So every file of a run writes such a byte as `\xff`. A backslash that would then be read as the
start of such a byte is written as `\x5c`. All other text stays as it is.
"""

import re
from typing import Any

_NOT_UTF8 = re.compile(r"[\udc80-\udcff]|\\(?=x(?:5c|[89a-f][0-9a-f]))")
_WRITTEN = re.compile(r"\\x(5c|[89a-f][0-9a-f])")


class OnecycleError(Exception):
    """The root of all errors that are meant to be read by a person."""

    exit_code = 1

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what}\n{fix}")
        self.what = what
        self.fix = fix


class InputError(OnecycleError):
    """The command line, the recipe or the data cannot be used as they are."""

    exit_code = 2


class NoSuggestionError(OnecycleError):
    """The range test gave a curve that no learning rate can be read from."""

    exit_code = 4


class MachineError(OnecycleError):
    """The machine refused: disk, permission, memory, network."""

    exit_code = 5


class Terminated(BaseException):
    """SIGTERM came. Like KeyboardInterrupt, it is no Exception, so that nothing swallows it on the way out."""

    exit_code = 143


def printable(text: str, but: str = "") -> str:
    r"""`text` as a terminal can show it: what a person did not write, such as a file's name, may be commands to it.

    A byte of a name that is not UTF-8 becomes `\xff`, as in our files. `but` holds marks that stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(mark if mark.isprintable() or mark in but else _escape(mark) for mark in text)


def _escape(mark: str) -> str:
    return f"\\x{ord(mark) - 0xDC00:02x}" if "\udc80" <= mark <= "\udcff" else repr(mark)[1:-1]


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, of the machine or of a GPU.

    torch says so with OutOfMemoryError or a RuntimeError of CUDA, cuBLAS or cuDNN on a GPU, and with a RuntimeError of
    its allocator on a CPU.
    """
    told = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(say in str(error) for say in told)
    )


def to_utf8(text: str) -> str:
    r"""`text` as a UTF-8 file can hold it: the byte 0xff of a name becomes `\xff`. `from_utf8` gives `text` back."""
    return _NOT_UTF8.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", text)


def from_utf8(text: str) -> str:
    """The text that `to_utf8` was given; `os.fsencode` of it gives the bytes of the file name."""
    return _WRITTEN.sub(lambda found: bytes.fromhex(found[1]).decode("utf-8", "surrogateescape"), text)


def all_from_utf8(value: Any) -> Any:
    """`from_utf8` of every text in a value that was read from JSON or YAML, whose keys may be other than text."""
    if isinstance(value, dict):
        return {all_from_utf8(key): all_from_utf8(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [all_from_utf8(inner) for inner in value]
    return from_utf8(value) if isinstance(value, str) else value
