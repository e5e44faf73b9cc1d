import pytest

from onecycle_cli.progress import duration


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.05, "0.1 s"), (9.94, "9.9 s"), (45, "45 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations_are_said_as_a_person_says_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
