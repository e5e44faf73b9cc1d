"""The programs of docs/python.md run as they stand, each in a process of its own."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

PAGE = (Path(__file__).parent.parent / "docs" / "python.md").read_text()
SECTION = PAGE.partition("## In your own training loop")[2].partition("\n## ")[0]
PROGRAMS = dict(re.findall(r"^### (.+?)\n.*?^```python\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL))
NEEDS = {"PyTorch": "torch", "Lightning": "lightning", "Hugging Face Trainer": "transformers", "fastai": "fastai"}
MOST_LINES = 40
SEEDED = "import random, numpy, torch\nrandom.seed(0), numpy.random.seed(0), torch.manual_seed(0)\n"
"""Stands before each program, so that the same commit gives the same answer."""


def test_there_is_a_program_for_each_of_them() -> None:
    assert set(PROGRAMS) == set(NEEDS)


@pytest.mark.parametrize("name", NEEDS)
def test_a_program_fits_on_a_screen(name: str) -> None:
    assert len(PROGRAMS[name].splitlines()) < MOST_LINES


@pytest.mark.parametrize("name", NEEDS)
def test_a_program_finds_a_max_lr_and_learns_the_digits(started: Callable, name: str, tmp_path: Path) -> None:
    pytest.importorskip(NEEDS[name], reason=f"{NEEDS[name]} is of the extra `benchmark`")
    program = started("-c", SEEDED + PROGRAMS[name], HF_HUB_OFFLINE="1", MPLCONFIGDIR=str(tmp_path))
    out, err = program.communicate()
    assert program.returncode == 0, err[-2000:]
    max_lr, accuracy = (float(re.search(rf"{word} (\S+)", out)[1]) for word in ("max_lr", "accuracy"))
    assert 1e-5 < max_lr < 5
    assert accuracy > 0.9  # a training that is not broken has 0.97 and more


def test_the_page_names_every_public_name() -> None:
    import onecycle_cli

    for name in onecycle_cli.__all__:
        assert f"`{name}" in PAGE or name == "__version__", name
