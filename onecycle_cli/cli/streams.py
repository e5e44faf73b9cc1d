"""Standard output and standard error, whatever their encoding. Does not import rich, so that --help is fast."""

import codecs
import sys
from io import TextIOWrapper


def never_refuse_text() -> None:
    r"""Makes standard output and standard error accept any text.

    A character that the encoding lacks is replaced by an escape such as `\u4e2d`. On standard output a byte of a path
    that is not UTF-8 is written as it is, so that a shell can use the path.
    """
    codecs.register_error("onecycle", _replaced)
    for stream, errors in ((sys.stdout, "onecycle"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=errors)


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    mark, end = error.object[error.start], error.start + 1
    if "\udc80" <= mark <= "\udcff":
        return bytes([ord(mark) & 0xFF]), end
    return mark.encode("ascii", "backslashreplace").decode("ascii"), end
