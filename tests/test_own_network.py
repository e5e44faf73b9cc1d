"""A network of one's own through every command: ten lines in a file, and only with --trust-code."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import Result

import onecycle_cli as onecycle_library
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.resume import resume
from onecycle_cli.experiments.session import new_run
from onecycle_cli.experiments.training import train
from onecycle_cli.models import OwnCode
from onecycle_cli.progress import Progress, silent
from onecycle_cli.recipe import Recipe

Command = Callable[..., Result]
Tiny = Callable[..., Recipe]

NET = """from torch import nn

def tiny(channels, classes, width=16):
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1), nn.GroupNorm(2, width), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Dropout(0.1),
        nn.Flatten(), nn.Linear(16 * width, classes),
    )
"""
MODEL = "--set=model.source=module", "--set=model.function=net.py:tiny", "--set=model.arguments={width: 8}"
TRUSTED = OwnCode(trusted=True)


@pytest.fixture(autouse=True)
def net(tmp_path: Path) -> Path:
    file = tmp_path / "net.py"
    file.write_text(NET)
    return file


@pytest.fixture
def own(tiny: Tiny, net: Path) -> Callable[..., Recipe]:
    section = {"source": "module", "function": f"{net}:tiny", "arguments": {"width": 8}}
    return lambda **values: tiny({"model": section, "schedule.max_lr": 0.2} | values)


def words(tiny_digits: list[str]) -> list[str]:
    """The digits recipe made tiny, without the fields of our own networks."""
    values = [word for word in tiny_digits[2::2] if not word.startswith("model.")]
    return ["digits", *(f"--set={value}" for value in values), *MODEL]


def test_each_command_asks_for_trust_and_runs_with_it(onecycle: Command, tiny_digits: list[str]) -> None:
    recipe = words(tiny_digits)
    trained = onecycle("train", *recipe, "--name", "t", "--trust-code", "--quiet")
    assert trained.exit_code == 0, trained.stderr
    assert Path("runs/t/network.py").read_text() == NET
    assert len(json.loads(Path("runs/t/run.json").read_text())["network_sha256"]) == 64
    assert "--trust-code" in onecycle("find-lr", *recipe, "--name", "f", "--trust-code").stdout  # the next command
    Path("digit.png").write_bytes(b"")
    for command in (
        ("find-lr", *recipe),
        ("train", *recipe),
        ("train", "--resume", "t"),
        ("sweep", *recipe, "--param", "optimizer.weight_decay=0,1e-4"),
        ("sweep-wd", *recipe),
        ("tune", *recipe, "--budget", "1s"),
        ("find-batch-size", *recipe),
        ("model", "show", *recipe),
        ("evaluate", "t"),
        ("predict", "t", "digit.png"),
    ):
        refused = onecycle(*command)
        assert refused.exit_code == 2, command
        if command[:2] != ("train", "--resume"):  # this run has come to its end
            assert "is code that is not part of onecycle" in refused.stderr, command
            assert "--trust-code" in refused.stderr
    scored = onecycle("evaluate", "t", "--trust-code", "--quiet")
    assert float(scored.stdout) == pytest.approx(float(trained.stdout), abs=1e-4)
    shown = onecycle("model", "show", *recipe, "--trust-code")
    assert "the network of " in shown.stdout
    assert "GroupNorm" in shown.stdout


def test_without_trust_nothing_of_the_file_runs(onecycle: Command, tiny_digits: list[str], net: Path) -> None:
    net.write_text("from pathlib import Path\nPath('it-ran').touch()\n" + NET)
    assert onecycle("train", *words(tiny_digits)).exit_code == 2
    assert not Path("it-ran").exists()
    assert not Path("runs").exists()


@pytest.mark.slow
def test_cells_of_a_sweep_run_it_side_by_side_too(onecycle: Command, tiny_digits: list[str]) -> None:
    recipe = [*words(tiny_digits), "--epochs", 1, "--set", "schedule.pct_start=0.4", "--trust-code"]
    swept = onecycle("sweep", *recipe, "--param", "model.arguments={width: 4},{width: 6}", "--jobs", 2, "--json")
    assert swept.exit_code == 0, swept.stderr
    assert json.loads(swept.stdout)["finished"] == 2


def test_each_cell_of_a_sweep_keeps_the_file(onecycle: Command, tiny_digits: list[str]) -> None:
    recipe = [*words(tiny_digits), "--set", "find_lr.num_steps=12", "--trust-code", "--name", "swept"]
    assert onecycle("sweep-wd", *recipe, "--weight-decays", "1e-3,1e-4").exit_code in (0, 4)
    cells = [folder for folder in Path("runs/swept").iterdir() if folder.is_dir()]
    assert len(cells) == 2
    for cell in cells:
        assert (cell / "network.py").read_text() == NET
        assert "network_sha256" in json.loads((cell / "run.json").read_text())


def test_the_range_test_of_a_file_that_has_changed_is_refused(
    onecycle: Command, tiny_digits: list[str], net: Path
) -> None:
    recipe = [*words(tiny_digits), "--trust-code"]
    assert onecycle("find-lr", *recipe, "--name", "f").exit_code == 0
    net.write_text(NET.replace("Dropout(0.1)", "Dropout(0.2)"))
    stale = onecycle("train", *recipe, "--max-lr-from", "f")
    assert stale.exit_code == 2
    assert "network_sha256" in stale.stderr
    net.write_text(NET)
    assert onecycle(
        "train", *recipe, "--max-lr-from", "f", "--epochs", 1, "--set", "schedule.pct_start=0.4"
    ).exit_code in (
        0,
        3,
    )


def test_a_stage_that_has_nothing_to_train_and_a_group_that_is_missing_are_told_at_once(tiny: Tiny) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    for parameter in model[3].parameters():
        parameter.requires_grad_(False)
    head = tiny({"fine_tune": {"stages": [{"freeze_to": "head", "epochs": 2}]}})
    with pytest.raises(InputError, match="frozen has nothing to train"):
        onecycle_library.train(head, model=model)
    both = [{"freeze_to": "layer9", "epochs": 1}, {"freeze_to": None, "epochs": 1}]
    with pytest.raises(InputError, match="freeze_to layer9, but the network has the layer groups stem, head"):
        onecycle_library.train(
            tiny({"fine_tune": {"stages": both}, "schedule.max_lr": None}), max_lr="auto", model=model
        )
    assert not list(Path("runs").rglob("lr_range.csv"))


class Stopped(BaseException):
    """As a kill: nothing in the training gets to say a word."""


def test_a_training_that_is_stopped_goes_on_to_the_same_bits_and_only_with_the_same_file(
    own: Callable[..., Recipe], net: Path
) -> None:
    def stop(news: Progress | str) -> None:
        if isinstance(news, Progress) and (news.work, news.done) == ("training", 14):
            raise Stopped

    recipe = own(**{"runtime.checkpoint_seconds": 0.0})
    whole, stopped = (new_run("train", recipe, name=name, code=TRUSTED) for name in ("whole", "stopped"))
    train(recipe, whole)
    with pytest.raises(Stopped), stopped.run.recording():
        train(recipe, new_session(stopped, stop))
    net.write_text(NET + "# changed\n")
    with pytest.raises(InputError, match=r"net.py has changed since the run began"):
        resume(stopped.run, silent, code=TRUSTED)
    net.write_text(NET)
    with pytest.raises(InputError, match="is code that is not part of onecycle"):
        resume(stopped.run, silent)
    resume(stopped.run, silent, code=TRUSTED)
    for name in ("model.safetensors", "steps.csv"):
        assert (stopped.run.path / name).read_bytes() == (whole.run.path / name).read_bytes()


def new_session(session: Any, report: Callable[[Progress | str], None]) -> Any:
    return type(session)(session.run, session.hardware, report, session.code)


def test_a_network_object_is_trained_from_its_weights_and_loaded_into_one_like_it(tiny: Tiny) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, 10))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    recipe = tiny({"schedule.max_lr": 0.2})
    one = onecycle_library.train(recipe, model=model, name="one")
    assert one.status == "finished"
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert one.run.recipe.model.source == "python"
    again = onecycle_library.train(recipe, model=model, name="two")
    weights = [result.model().model.state_dict() for result in (one, again)]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    with pytest.raises(InputError, match="an object of class Sequential that was given in Python"):
        onecycle_library.load_model("runs/one")
    loaded = onecycle_library.load_model("runs/one", model=model)
    assert torch.equal(loaded.model.get_parameter("1.weight"), weights[0]["1.weight"])
    with pytest.raises(InputError, match="do not fit the network"):
        onecycle_library.load_model("runs/one", model=nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    found = onecycle_library.find_lr(recipe, model=model, name="found")
    assert found.run.status == "finished"


def test_a_function_is_trained_from_python_with_trust(own: Callable[..., Recipe]) -> None:
    with pytest.raises(InputError, match="trust_code=True"):
        onecycle_library.train(own())
    result = onecycle_library.train(own(), trust_code=True, name="t")
    assert result.model().classes == tuple("0123456789")
    with pytest.raises(InputError, match="is code that is not part of onecycle"):
        onecycle_library.load_model("runs/t")
    assert onecycle_library.load_model("runs/t", trust_code=True).image_size == 8
