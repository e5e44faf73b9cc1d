from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
import torch

from onecycle_cli.recipe import Recipe, to_yaml

Module = Callable[[str], ModuleType]

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without CUDA is what this is about")


@pytest.fixture
def images(image_folder: Callable[..., Path]) -> Path:
    return image_folder(
        *(f"{split}/{name}" for split in ("train", "test") for name in ("cat", "dog")), images=8, size=(32, 32)
    )


@without_cuda
def test_without_a_gpu_the_script_says_so(start: Callable[..., str]) -> None:
    with pytest.raises(SystemExit) as end:
        start("gpu.py", ".")
    assert end.value.code == "There is no CUDA device, so there is nothing to measure here."


@pytest.mark.usefixtures("in_this_process")
def test_whole_commands_are_timed(
    module: Module,
    images: Path,
    tiny: Callable[..., Recipe],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    gpu = module("gpu")
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(to_yaml(tiny({"data.batch_size": 8, "find_lr.num_steps": 20})))
    monkeypatch.setattr(gpu, "RECIPE", str(recipe))
    monkeypatch.setattr(gpu, "TRAININGS", {"train tiny": (str(recipe), 60)})
    rows = list(gpu.commands(images, quick=False))
    assert [row["measurement"].split(",")[0] for row in rows] == ["find-lr", "sweep-wd of four values", "train tiny"]
    assert rows[-1]["accuracy"] >= 0
    assert all(row["seconds"] > 0 and row["status"] for row in rows)


def test_a_step_of_ours_and_one_of_the_bare_loop_train(module: Module, images: Path) -> None:
    gpu = module("gpu")
    tiny = {"model.architecture": "resnet8", "model.width": 0.25, "data.batch_size": 8}
    step = gpu.ours(images, "cpu", tiny)
    assert [step().step for _ in range(3)] == [0, 1, 2]
    gpu.bare_loop("cpu", depth=8, batch_size=4)()


@pytest.mark.slow
def test_an_epoch_is_timed_on_several_devices(module: Module, images: Path) -> None:
    """Here on several processes of the CPU, which stand for GPUs."""
    tiny = {"model.architecture": "resnet8", "model.width": 0.25, "data.batch_size": 8, "runtime.device": "cpu"}
    words = [word for name, value in tiny.items() for word in ("--set", f"{name}={value}")]
    rows = list(module("gpu").several(images, 3, words))
    names = ["an epoch on 1 GPUs", "an epoch on 2 GPUs", "an epoch on 2 GPUs, synchronized batch norm"]
    assert [row["measurement"] for row in rows] == names
    assert all(row["seconds"] > 0 for row in rows)
    assert list(module("gpu").several(images, 1)) == []


def test_kernels_at_once_count_once(module: Module) -> None:
    assert module("gpu").busy([(5, 6), (0, 2), (1, 4), (2, 3)]) == 5
    assert module("gpu").busy([]) == 0


def test_a_row_has_the_facts_of_the_machine(module: Module, results: Path) -> None:
    module("gpu").write({"measurement": "some", "seconds": 1.5}, "some GPU")
    (row,) = pd.read_csv(results / "gpu.csv").to_dict("records")
    assert (row["measurement"], row["seconds"], row["gpu"]) == ("some", 1.5, "some GPU")
    assert row["torch"] == torch.__version__.split("+")[0]


@pytest.mark.gpu
def test_on_a_gpu_a_step_is_timed(module: Module) -> None:
    seconds, share = module("gpu").rate("bare loop", module("gpu").bare_loop(depth=8, batch_size=8))
    assert seconds["seconds"] > 0
    assert 0 < share["share"] <= 1.1
