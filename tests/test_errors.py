"""Names that are not UTF-8, in files that are; errors of the disk, and every way to say that memory is out."""

import errno
import os
import runpy
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import UnidentifiedImageError
from safetensors import SafetensorError

from onecycle_cli import errors
from onecycle_cli.errors import (
    InputError,
    MachineError,
    all_from_utf8,
    from_utf8,
    is_out_of_memory,
    machine_error,
    missing_packages,
    naming,
    reading_error,
    to_utf8,
)


@given(st.binary(max_size=20) | st.text(alphabet="\\x5cf9\udcff\udc80", max_size=20).map(os.fsencode))
@example(b"\\xff")
@example(b"\\\xff")
@example(b"\\x5cxff")
@example(b"\\x5\xff")
def test_any_bytes_are_written_as_utf8_and_come_back(name: bytes) -> None:
    written = to_utf8(os.fsdecode(name)).encode("utf-8")
    assert os.fsencode(from_utf8(written.decode("utf-8"))) == name


@pytest.mark.parametrize("text", ["cat", "a\\b", "C:\\x", "中文", "😀", "a\nb", "\\xFF", "\\u4e2d"])
def test_what_is_utf8_and_looks_like_no_escape_stays_as_it_is(text: str) -> None:
    assert to_utf8(text) == from_utf8(text) == text


def test_a_byte_that_is_not_utf8_is_written_in_hexadecimal() -> None:
    assert to_utf8(os.fsdecode(b"caf\xe9")) == "caf\\xe9"
    assert to_utf8("\\xe9") == "\\x5cxe9"


def test_every_text_in_a_json_value_is_read_back() -> None:
    assert all_from_utf8({"\\xff": ["\\x5cxff", 1, None]}) == {"\udcff": ["\\xff", 1, None]}


def test_a_missing_package_is_an_error_of_the_machine_that_says_how_to_install_it() -> None:
    error = missing_packages("The format onnx", "onnx and onnxscript", "export")
    assert str(error) == (
        "The format onnx needs onnx and onnxscript, which cannot be imported.\n"
        "Install it: pip install 'onecycle-cli[export]'."
    )
    assert error.exit_code == 5


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("could not create a primitive"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"),
        RuntimeError("can't start new thread"),
        RuntimeError("unable to mmap 600 bytes from file <x>: Cannot allocate memory (12)"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        ImportError("libgomp.so.1: cannot allocate memory in static TLS block"),
        OSError("libtorch_cpu.so: cannot create shared object descriptor: Cannot allocate memory"),
        SystemError("out of memory"),
        SystemError("error return without exception set"),
        SystemError("<function Command.make_context at 0x7f183acb0220> returned NULL without setting an exception"),
        SafetensorError("Error while deserializing header: Cannot allocate memory (os error 12)"),
    ],
    ids=str,
)
def test_libraries_say_in_many_ways_that_memory_is_out(error: Exception) -> None:
    assert is_out_of_memory(error)
    told = machine_error(error)
    assert isinstance(told, MachineError)
    assert "memory" in told.fix
    assert is_out_of_memory(raised(ValueError("what came of it"), after=error))


def test_a_library_that_cannot_be_mapped_may_also_be_where_nothing_may_run() -> None:
    told = machine_error(ImportError("libtorch_cpu.so: failed to map segment from shared object"))
    assert told is not None
    assert "ulimit -v" in told.fix
    assert "noexec" in told.fix


def raised(error: Exception, after: Exception) -> Exception:
    """An error as it is raised while another one is handled."""
    try:
        try:
            raise after
        except Exception:
            raise error  # noqa: B904
    except Exception as caught:
        return caught


def test_another_error_or_one_with_words_of_its_own_is_no_lack_of_memory() -> None:
    others = (RuntimeError("could not create a primitive descriptor for a kernel"), ValueError("memory"), OSError())
    assert not any(map(is_out_of_memory, others))
    assert not is_out_of_memory(raised(InputError("The table is too large.", "Split it."), after=MemoryError()))
    hidden = raised(ValueError("other"), after=MemoryError())
    hidden.__suppress_context__ = True
    assert not is_out_of_memory(hidden)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory", "/data/out of memory/a.png"),
        OSError(errno.EIO, "Input/output error", "/data/out of memory/a.png"),
        UnidentifiedImageError("cannot identify image file '/data/out of memory/a.png'"),
        ValueError("class 'out of memory' unknown"),
        KeyError("out of memory"),
    ],
    ids=str,
)
def test_a_name_that_a_person_gave_is_no_lack_of_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_an_error_on_a_read_gets_the_name_of_its_file_and_keeps_one_that_it_has() -> None:
    for named, kept in ((None, "a.csv"), ("b.csv", "b.csv")):
        with pytest.raises(OSError, match=f"Input/output error: '{kept}'"), naming(Path("a.csv")):
            raise OSError(errno.EIO, "Input/output error", named)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        *((number, MachineError) for number in (errno.EIO, errno.EACCES, errno.EINTR, errno.ESTALE, errno.ENOSPC)),
        *((number, InputError) for number in (errno.ENOENT, errno.EISDIR, errno.ELOOP, None)),
    ],
)
def test_a_file_that_cannot_be_read_is_the_fault_of_the_disk_or_of_its_place(number: int | None, kind: type) -> None:
    assert type(reading_error(OSError(number, "why"), "what", "fix")) is kind


@pytest.mark.parametrize("number", [errno.EINTR, errno.ENOLCK, errno.EBUSY, errno.EOPNOTSUPP, errno.EXDEV])
def test_what_a_system_says_of_a_file_is_no_traceback(number: int) -> None:
    error = machine_error(OSError(number, os.strerror(number), "runs/a"))
    assert error is not None
    assert error.what == f"{os.strerror(number)}: runs/a."


def test_a_timeout_may_be_that_of_a_connection() -> None:
    told = machine_error(TimeoutError(errno.ETIMEDOUT, "Connection timed out"))
    assert told is not None
    assert told.fix == "Look after the disk or the network drive, or the network, then start again."


def test_both_numbers_of_what_a_file_system_cannot_do_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS they differ; on Linux they are one."""
    monkeypatch.setattr(errno, "EOPNOTSUPP", 102)
    known = runpy.run_path(errors.__file__)["MACHINE_ERRORS"]
    assert known[102] == known[errno.ENOTSUP]
