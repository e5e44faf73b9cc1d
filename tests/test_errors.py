"""Names that are not UTF-8, in files that are."""

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onecycle_cli.errors import all_from_utf8, from_utf8, missing_packages, to_utf8


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
