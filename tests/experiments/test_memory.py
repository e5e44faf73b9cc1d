"""A batch that does not fit in memory, on a CPU whose memory really ends."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from onecycle_cli.errors import InputError, MachineError
from onecycle_cli.experiments.memory import telling_batch_size
from onecycle_cli.recipe import Recipe, to_yaml
from onecycle_cli.run_dir.run import RunDir

Tiny = Callable[..., Recipe]
RUN = RunDir(Path("runs/mine"))

LIMITED = """
import resource
import torch
from onecycle_cli import cli
from onecycle_cli.experiments import range_test

pages = int(open("/proc/self/statm").read().split()[0])
most = pages * resource.getpagesize() + 4 * 2**30
resource.setrlimit(resource.RLIMIT_AS, (most, most))
cli.main()
"""
COMMANDS = {"find-lr": (), "train": ("--max-lr", "0.1")}
FILES = {"find-lr": {"lr_range.csv"}, "train": {"epochs.csv", "steps.csv", "images.npy"}}


@dataclass(frozen=True)
class End:
    """How a command ended: its exit code, what it printed, the folder of its run."""

    code: int
    out: str
    err: str
    run: Path


Ends = Callable[..., End]


@pytest.fixture
def ends(tmp_path: Path, tiny: Tiny, image_folder: Callable[..., Path]) -> Ends:
    """Runs a command in a process without enough memory: `ends("train", "--max-lr", "0.1")`."""
    folder = image_folder("train/a", "train/b", "test/a", "test/b", images=10)
    images = {"data.source": "image_folder", "data.path": str(folder), "data.valid_fraction": 0.0}
    # 256 channels of a million pixels are 1 GiB in float32, for each image: the first layer finds no room. Nearer to
    # the limit it might be oneDNN that finds none, and ends the process.
    huge = {"data.image_size": 1024, "data.batch_size": 20, "model.width": 16}
    few = {"schedule.epochs": 4}  # of one step each, since a cycle takes more than two
    recipe = tiny(images | huge | few | {"model.architecture": "resnet8"})
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe))

    def run(command: str, *more: str) -> End:
        words = [sys.executable, "-c", LIMITED, command, "recipe.yaml", *more, "--name", command]
        done = subprocess.run(words, capture_output=True, text=True)
        return End(done.returncode, done.stdout, done.stderr, tmp_path / "runs" / command)

    return run


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory is Linux's")


@pytest.mark.slow
@LINUX
def test_a_size_that_finds_no_memory_is_a_trial_like_any_other(ends: Ends) -> None:
    found = ends("find-batch-size")
    assert found.code == 5, found.err
    assert "batch size 16: out of memory\nerror: Not even the smallest batch fits" in found.err
    assert (found.run / "batch_size.csv").read_text().splitlines()[1:] == ["16,out of memory,,"]


@pytest.mark.slow
@LINUX
@pytest.mark.parametrize("command", ["find-lr", "train"])
def test_the_batch_size_the_guess_and_the_command_are_told_and_nothing_is_half_written(
    ends: Ends, command: str
) -> None:
    end = ends(command, *COMMANDS[command])
    assert (end.code, end.out) == (5, ""), end.err
    *_, what, fix = end.err.splitlines()
    where = "with data.batch_size 20, of images of 1024x1024 pixels"
    assert what.startswith(f"error: Out of memory {where}: can't alloc")
    told = f"Half of it, --batch-size 8, is a guess; `onecycle find-batch-size runs/{command}/recipe.yaml`"
    assert fix.startswith(told)
    files = {path.name: path.read_text(errors="replace") for path in end.run.iterdir()}
    assert files.keys() - {".lock"} == FILES[command] | {"recipe.yaml", "run.json"}
    facts = json.loads(files["run.json"])
    assert facts["status"] == "failed"
    assert "Out of memory with data.batch_size 20" in facts["error"]
    assert all(text.count("\n") == 1 for name, text in files.items() if name.endswith(".csv"))


@pytest.mark.parametrize("bug", [ValueError("bug"), RuntimeError("bug"), InputError("Wrong.", "Fix it.")])
def test_what_is_no_lack_of_memory_goes_on_as_it_is(tiny: Tiny, bug: Exception) -> None:
    with pytest.raises(type(bug)) as caught, telling_batch_size(tiny(), RUN):
        raise bug
    assert caught.value is bug


def test_on_a_gpu_all_that_torch_says_of_it_is_told(tiny: Tiny) -> None:
    said = "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 139.81 GiB."
    with pytest.raises(MachineError) as caught, telling_batch_size(tiny({"data.batch_size": 4096}), RUN):
        raise torch.OutOfMemoryError(f"{said}\nmore")
    assert caught.value.what.endswith(f"data.batch_size 4096, of images of 8x8 pixels: {said}")
    assert "--batch-size 2048, is a guess" in caught.value.fix
    assert caught.value.fix.endswith(" --set data.accumulate=2 computes the same batch in 2 parts.")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("out of memory")])
def test_where_there_is_no_smaller_size_none_is_guessed(tiny: Tiny, error: Exception) -> None:
    with pytest.raises(MachineError) as caught, telling_batch_size(tiny({"data.batch_size": 8}), RUN):
        raise error
    assert caught.value.fix.startswith("`onecycle find-batch-size runs/mine/recipe.yaml` finds what fits")


def test_where_a_batch_is_in_parts_already_more_of_them_are_told_down_to_two_images(tiny: Tiny) -> None:
    for accumulate, told in ((4, "--set data.accumulate=8"), (8, "takes less.")):
        recipe = tiny({"data.batch_size": 16, "data.accumulate": accumulate})
        with pytest.raises(MachineError) as caught, telling_batch_size(recipe, RUN):
            raise MemoryError
        assert told in caught.value.fix
        assert ("accumulate" in caught.value.fix) is (accumulate == 4)
