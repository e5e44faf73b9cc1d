r"""How a name that is not UTF-8 is written to a file, and read back without loss.

A file name on Linux is any bytes. Python holds a byte that is not UTF-8 as a lone surrogate (`os.fsdecode`), which no
UTF-8 file can hold. So every file of ours writes such a byte as `\xff`. A backslash that would then be read as the
start of such a byte is written as `\x5c`. All other text stays as it is.
"""

import re
from typing import Any

_NOT_UTF8 = re.compile(r"[\udc80-\udcff]|\\(?=x(?:5c|[89a-f][0-9a-f]))")
_WRITTEN = re.compile(r"\\x(5c|[89a-f][0-9a-f])")


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
