"""No script of benchmarks/ is forgotten."""

from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
HERE = Path(__file__).parent


def test_every_script_has_a_test_that_starts_it() -> None:
    """A test of the same name; it starts a script by its path, or through SCRIPT, as a process."""
    missing = []
    for script in sorted(BENCHMARKS.rglob("*.py")):
        name = script.relative_to(BENCHMARKS)
        test = HERE / name.parent / f"test_{name.name}"
        text = test.read_text() if test.is_file() else ""
        runs = '__name__ == "__main__"' in script.read_text()
        if not text or (runs and f'start("{name.as_posix()}"' not in text and f'"{name.name}"' not in text):
            missing.append(str(name))
    assert missing == []
