"""What may go wrong for a person, each with the exit code that a shell script sees.

An error says what is wrong and where (`what`), and how to mend it (`mend`). Anything else that is raised is a bug.
"""


class OnecycleError(Exception):
    """The root of all errors that are meant to be read by a person."""

    exit_code = 1

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(f"{what}\n{mend}")
        self.what = what
        self.mend = mend


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
