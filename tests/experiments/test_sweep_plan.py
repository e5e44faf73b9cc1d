"""The plan of a sweep: which folder holds it, and which plans fit together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from onecycle_cli.errors import InputError
from onecycle_cli.experiments.ownership import shared
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.sweep_plan import SweepPlan, agreed, joined, sweep_name
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe, to_yaml
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "float32")
Tiny = Callable[..., Recipe]
DECAYS = [{"optimizer.weight_decay": value} for value in (1e-3, 1e-4)]


@pytest.fixture
def new_run(tmp_path: Path, tiny: Tiny) -> Callable[[], RunDir]:
    def make() -> RunDir:
        return RunDir.create(
            tmp_path, command="sweep", recipe_name="d", recipe_yaml=to_yaml(tiny()), facts={}, name=None
        )

    return make


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mode": "range"}, "mode"),
        ({"variations": [{"model.width": 1.0}]}, "fields"),
        ({"values": {"data.batch_size": 64}}, "data.batch_size differ"),
        ({"values": {"seed": 3}}, "seed differ"),
    ],
)
def test_another_sweep_under_the_same_name_is_refused(
    new_run: Callable, tiny: Tiny, changes: dict[str, Any], says: str
) -> None:
    run = new_run()
    joined(SweepPlan(tiny(), "train", DECAYS, 1), run, "float32")
    other = SweepPlan(tiny(changes.get("values")), changes.get("mode", "train"), changes.get("variations", DECAYS), 1)
    with pytest.raises(InputError, match=f"holds another sweep: .*{says}"):
        joined(other, run, "float32")


def test_the_same_command_finds_the_same_folder_and_another_one_does_not(tiny: Tiny) -> None:
    plan = SweepPlan(tiny(), "train", DECAYS, 1)
    name = sweep_name("sweep", plan, "float32")
    assert name.startswith("sweep-digits-")
    assert sweep_name("sweep", SweepPlan(tiny(), "train", DECAYS, 1), "float32") == name
    others = [
        SweepPlan(tiny(), "train", DECAYS, 2),
        SweepPlan(tiny(), "train", DECAYS[:1], 1),
        SweepPlan(tiny({"seed": 1}), "train", DECAYS, 1),
    ]
    assert name not in {sweep_name("sweep", other, "float32") for other in others}


def test_a_command_that_joins_takes_the_saved_plan_and_leaves_it_as_it_is(new_run: Callable, tiny: Tiny) -> None:
    run, plan = new_run(), SweepPlan(tiny(), "train", DECAYS, 1)
    session = Session(run, CPU, silent)
    with shared(run) as first:
        assert agreed(plan, session, first).variations == DECAYS
        before = (run.path / "sweep.json").read_bytes()
        with shared(run) as second:
            assert agreed(SweepPlan(tiny(), "train", DECAYS[1:], 1), session, second).variations == DECAYS
            # Sizes around the recipe's follow from speeds: whoever joins takes those that were measured.
            with pytest.raises(InputError, match="Another process is using"):
                agreed(SweepPlan(tiny(), "train", [{"optimizer.weight_decay": 1.0}], 1), session, second)
            with pytest.raises(InputError, match="holds another sweep: mode differ"):
                agreed(SweepPlan(tiny(), "range", DECAYS, 1), session, second)
    assert (run.path / "sweep.json").read_bytes() == before


def test_a_command_without_values_joins_with_those_that_were_measured(new_run: Callable, tiny: Tiny) -> None:
    run, sizes = new_run(), [{"data.batch_size": 32, "schedule.epochs": 3}]
    with shared(run) as first:
        agreed(SweepPlan(tiny(), "train", sizes, 1), Session(run, CPU, silent), first)
        with shared(run) as second:
            assert agreed(SweepPlan(tiny(), "train", [], 1), Session(run, CPU, silent), second).variations == sizes
