"""A task on its node, run in this process: what it lacks, it says, and what it needs, it takes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from onecycle_cli.experiments.cell_work import locked
from onecycle_cli.experiments.cells import begin_attempt, is_done, plan_cells
from onecycle_cli.experiments.ray_node import Order, run_order
from onecycle_cli.recipe import Recipe
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware


@pytest.fixture
def order(new_sweep: Callable[[], RunDir], two_splits: Recipe) -> Order:
    sweep = new_sweep()
    begin_attempt(sweep)
    cells = plan_cells(two_splits, [{"seed": 0}], mode="train", precision="float32", repeats=1, source="r")
    hardware = Hardware(torch.device("cpu"), "float32")
    return Order(cells[0], sweep.path, sweep.facts["attempt"], None, hardware, 1, False, Path.cwd())


def test_a_node_that_shares_the_folder_works_there(order: Order) -> None:
    threads = torch.get_num_threads()
    try:
        assert run_order(order, None, None).how == "ran"
    finally:
        torch.set_num_threads(threads)
    assert is_done(order.cell, RunDir(order.sweep))
    assert RunDir(order.sweep / order.cell.name).facts["threads"] == 1


def test_a_cell_that_another_process_has_is_left_to_it(order: Order) -> None:
    with locked(order.cell, RunDir(order.sweep)):
        assert run_order(order, None, None).how == "busy"


def test_a_node_without_the_images_says_so(order: Order) -> None:
    assert run_order(replace(order, images="of other files"), None, None).how == "no images"
    (Path.cwd() / "photos" / "train" / "a" / "0.png").unlink()
    assert run_order(replace(order, images="of other files"), None, None).how == "no images"


@pytest.mark.parametrize("changes", [{"attempt": "of another folder"}, {"sweep": Path("/no/such/folder")}])
def test_a_node_without_the_folder_asks_for_a_receiver(order: Order, changes: dict) -> None:
    assert run_order(replace(order, **changes), None, None).how == "no receiver"
