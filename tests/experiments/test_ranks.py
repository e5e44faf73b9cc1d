"""Experiments on several ranks: the same results, one folder, and errors that are told once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from safetensors.torch import load_file

from onecycle_cli.errors import InputError, ReportedElsewhere, Terminated
from onecycle_cli.experiments.classifier import load_model
from onecycle_cli.experiments.evaluate import evaluate_run
from onecycle_cli.experiments.range_test import find_lr
from onecycle_cli.experiments.resume import resume
from onecycle_cli.experiments.session import new_run
from onecycle_cli.experiments.training import train
from onecycle_cli.progress import Progress, silent
from onecycle_cli.recipe import Recipe
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.joining import joined

Tiny = Callable[..., Recipe]
OnRanks = Callable[..., list[Any]]

SYNC = {"runtime.sync_batch_norm": True, "schedule.max_lr": 0.002, "runtime.checkpoint_seconds": 0}
"""A low lr: at a high one, a network of a few images amplifies the last digits to differences within 20 steps."""


def trained(recipe: Recipe, name: str, report: Callable[..., None] = silent, **how: Any) -> Callable[[], Any]:
    """Trains on the ranks of a group; returns the status and the accuracy of each."""

    def run() -> Any:
        with joined() as ranks:
            session = new_run("train", recipe, runs_dir="runs", name=name, report=report, ranks=ranks)
            ended = train(recipe, session, **how)
            return ended.status, ended.summary["valid_accuracy"]

    return run


def losses(name: str) -> list[float]:
    return pd.read_csv(Path("runs") / name / "steps.csv").train_loss.tolist()


def bits(name: str) -> dict[str, bytes]:
    """What a training leaves, without its times."""
    folder = Path("runs") / name
    epochs = pd.read_csv(folder / "epochs.csv").drop(columns=["seconds", "images_per_second"]).to_csv().encode()
    files = {file: (folder / file).read_bytes() for file in ("steps.csv", "model.safetensors", "best.safetensors")}
    return files | {"epochs.csv": epochs}


def test_two_ranks_with_synchronized_batch_norm_have_the_losses_of_one_process(tiny: Tiny, on_ranks: OnRanks) -> None:
    recipe = tiny(SYNC)
    alone = trained(recipe, "alone")()
    first, second = on_ranks(2, trained(recipe, "both"))
    assert first == second
    assert first[1] == pytest.approx(alone[1], abs=0.01)
    assert losses("both") == pytest.approx(losses("alone"), abs=1e-4)
    assert {path.name for path in Path("runs/both").iterdir()} == {path.name for path in Path("runs/alone").iterdir()}
    assert RunDir("runs/both").facts["ranks"] == 2
    ours, theirs = (load_file(f"runs/{name}/model.safetensors") for name in ("both", "alone"))
    assert all(ours[name].sub(theirs[name]).abs().max() < 1e-2 for name in theirs)


def test_without_synchronization_a_note_says_that_the_number_of_processes_matters(
    tiny: Tiny, on_ranks: OnRanks
) -> None:
    on_ranks(2, trained(tiny({"schedule.epochs": 1}), "run"))
    assert any("the result depends on the number of processes" in note for note in RunDir("runs/run").facts["notes"])


@pytest.mark.parametrize("interrupted", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_interrupted_group_goes_on_to_the_bits_of_one_that_was_not_stopped(
    interrupted: int, tiny: Tiny, on_ranks: OnRanks
) -> None:
    recipe = tiny({"runtime.ema": 0.9, "runtime.save_best": True, "model.dropout": 0.2, "data.accumulate": 2})
    on_ranks(2, trained(recipe, "undisturbed"))

    def stopped() -> Any:
        import os
        import signal

        def terminated(*_: object) -> None:
            raise Terminated

        def stop(news: Progress | str) -> None:
            if isinstance(news, Progress) and (news.work, news.done) == ("training", 15):
                os.kill(os.getpid(), signal.SIGTERM)

        signal.signal(signal.SIGTERM, terminated)
        with joined() as ranks:
            # What a rank other than the first is told goes nowhere, so it is stopped by its report of the steps.
            session = new_run("train", recipe, runs_dir="runs", name="run", ranks=ranks)
            object.__setattr__(session, "report", stop if ranks.rank == interrupted else silent)
            train(recipe, session)

    with_exit_codes = [type(end) for end in on_ranks(2, _ended(stopped))]
    assert with_exit_codes == [Terminated, ReportedElsewhere]
    assert RunDir("runs/run").status == "interrupted"
    assert len(losses("run")) == 15

    assert on_ranks(2, resumed("run")) == [("finished", 24)] * 2
    assert any("Going on at step 15" in note for note in RunDir("runs/run").facts["notes"])
    assert bits("run") == bits("undisturbed")


def _ended(function: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        try:
            return function()
        except BaseException as end:
            return end

    return run


def resumed(name: str) -> Callable[[], Any]:
    def run() -> Any:
        with joined() as ranks:
            ended = resume(RunDir(Path("runs") / name), silent, ranks=ranks)
            return ended.status, len(losses(name)) if ranks.first else 24

    return run


@pytest.mark.slow
def test_another_number_of_ranks_goes_on_with_the_same_draws_and_schedule(tiny: Tiny, on_ranks: OnRanks) -> None:
    recipe = tiny(SYNC)
    on_ranks(2, trained(recipe, "undisturbed"))

    def killed(news: Progress | str) -> None:
        if isinstance(news, Progress) and (news.work, news.done) == ("training", 15):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(recipe, "run", killed)()
    on_ranks(3, resumed("run"))
    both, one = (pd.read_csv(f"runs/{name}/steps.csv") for name in ("undisturbed", "run"))
    assert one[["step", "lr", "momentum"]].equals(both[["step", "lr", "momentum"]])
    assert one.train_loss.tolist() == pytest.approx(both.train_loss.tolist(), abs=1e-4)
    notes = RunDir("runs/run").facts["notes"]
    assert any("The number of processes is 3, was 1." in note for note in notes)


@pytest.mark.slow
def test_a_range_test_gives_every_rank_the_suggestion_of_the_first(tiny: Tiny, on_ranks: OnRanks) -> None:
    recipe = tiny({"runtime.sync_batch_norm": True})

    def tested() -> Any:
        with joined() as ranks:
            session = new_run("find-lr", recipe, runs_dir="runs", name="test", ranks=ranks)
            return find_lr(recipe, session, repeats=2)

    first, second = on_ranks(2, tested)
    assert first == second
    assert RunDir("runs/test").read_json("suggestion.json")["max_lr"] == first.max_lr
    curve = pd.read_csv("runs/test/lr_range.csv")
    session = new_run("find-lr", recipe, runs_dir="runs", name="alone")
    find_lr(recipe, session, repeats=2)
    alone = pd.read_csv("runs/alone/lr_range.csv")
    assert curve.train_loss[:10].tolist() == pytest.approx(alone.train_loss[:10].tolist(), abs=1e-4)


@pytest.mark.slow
def test_a_max_lr_is_found_and_trained_with_on_ranks(tiny: Tiny, on_ranks: OnRanks) -> None:
    recipe = tiny({"schedule.max_lr": None, "runtime.sync_batch_norm": True})
    first, second = on_ranks(2, trained(recipe, "run", auto=True))
    assert first == second
    assert RunDir("runs/run").facts["found_max_lr"] == RunDir("runs/run").summary["max_lr"]


def test_ranks_score_a_model_as_one_process_does(tiny: Tiny, on_ranks: OnRanks, image_folder: Any) -> None:
    path = image_folder("a", "b", images=9, size=(8, 8))
    recipe = tiny({"data.source": "image_folder", "data.path": str(path), "data.channels": 3, "data.batch_size": 8})
    trained(recipe, "trained")()

    def scored(folder: Path | None, name: str) -> Callable[[], Any]:
        def run() -> Any:
            with joined() as ranks:
                session = new_run("evaluate", recipe, runs_dir="runs", name=name, ranks=ranks)
                model = load_model("runs/trained")
                return evaluate_run(model, RunDir("runs/trained"), recipe, folder, session)

        return run

    for folder in (None, path):
        alone = scored(folder, f"alone-{folder is None}")()
        first, second = on_ranks(2, scored(folder, f"both-{folder is None}"))
        assert first == second
        assert first.per_class == alone.per_class
        assert first.summary["loss"] == pytest.approx(alone.summary["loss"], abs=1e-5)
        tables = [
            pd.read_csv(f"runs/{name}-{folder is None}/wrong_predictions.csv").sort_values("file")
            for name in ("alone", "both")
        ]
        columns = ["image", "file", "true", "predicted"]
        assert tables[0][columns].to_numpy().tolist() == tables[1][columns].to_numpy().tolist()
        assert all((path / file).is_file() for file in tables[0].file)


def test_more_ranks_than_images_score_them_all(tiny: Tiny, on_ranks: OnRanks, image_folder: Any) -> None:
    path = image_folder("a", "b", images=9, size=(8, 8))
    recipe = tiny({"data.source": "image_folder", "data.path": str(path), "data.channels": 3, "data.batch_size": 8})
    trained(recipe, "trained")()
    few = image_folder("a", images=1, size=(8, 8), name="few")

    def run() -> Any:
        with joined() as ranks:
            session = new_run("evaluate", recipe, runs_dir="runs", ranks=ranks)
            return evaluate_run(load_model("runs/trained"), RunDir("runs/trained"), recipe, few, session).summary[
                "images"
            ]

    assert on_ranks(2, run) == [1, 1]


def test_an_unreadable_image_is_told_once(tiny: Tiny, on_ranks: OnRanks, image_folder: Any) -> None:
    path = image_folder("a", "b", images=9, size=(8, 8))
    recipe = tiny({"data.source": "image_folder", "data.path": str(path), "data.channels": 3, "data.batch_size": 8})
    trained(recipe, "trained")()
    (path / "a" / "3.png").write_bytes(b"no image")

    def run() -> Any:
        with joined() as ranks:
            session = new_run("evaluate", recipe, runs_dir="runs", ranks=ranks)
            return evaluate_run(load_model("runs/trained"), RunDir("runs/trained"), recipe, path, session)

    first, second = on_ranks(2, run)
    assert isinstance(first, InputError)
    assert "3.png" in first.what
    assert type(second) is ReportedElsewhere


def test_ranks_that_see_other_images_are_told(tiny: Tiny, on_ranks: OnRanks, image_folder: Any) -> None:
    photos = [image_folder("a", "b", images=count, size=(8, 8), name=f"photos{count}") for count in (12, 13)]

    def run() -> Any:
        with joined() as ranks:
            settings = {"data.source": "image_folder", "data.path": str(photos[ranks.rank]), "data.channels": 3}
            recipe = tiny(settings | {"data.batch_size": 8})
            return train(recipe, new_run("train", recipe, runs_dir="runs", ranks=ranks))

    first, second = on_ranks(2, run)
    assert isinstance(first, InputError)
    assert "Rank 1 on " in first.what
    assert "another set of train images than rank 0" in first.what
    assert type(second) is ReportedElsewhere


def test_ranks_with_other_settings_are_told_which(tiny: Tiny, on_ranks: OnRanks) -> None:
    def run() -> Any:
        with joined() as ranks:
            recipe = tiny({"runtime.sync_batch_norm": ranks.first})
            return train(recipe, new_run("train", recipe, runs_dir="runs", ranks=ranks))

    first, _ = on_ranks(2, run)
    assert isinstance(first, InputError)
    assert "another runtime.sync_batch_norm than rank 0" in first.what
    assert first.what.endswith("False, not True.")


def test_a_rank_without_its_images_tells_it_and_ends_the_others(
    tiny: Tiny, on_ranks: OnRanks, image_folder: Any
) -> None:
    path = image_folder("a", "b", images=12, size=(8, 8))

    def run() -> Any:
        with joined() as ranks:
            where = str(path) if ranks.first else str(path.with_name("nowhere"))
            recipe = tiny({"data.source": "image_folder", "data.path": where, "data.channels": 3, "data.batch_size": 8})
            return train(recipe, new_run("train", recipe, runs_dir="runs", ranks=ranks))

    first, second = on_ranks(2, run)
    assert type(first) is ReportedElsewhere
    assert second.what.startswith("Rank 1 on ")
    assert "nowhere" in second.what


def test_a_diverged_training_ends_on_every_rank(tiny: Tiny, on_ranks: OnRanks) -> None:
    recipe = tiny({"schedule.max_lr": 1000.0, "optimizer.weight_decay": 1.0, "schedule.epochs": 3})
    assert on_ranks(2, trained(recipe, "run")) == [("diverged", None)] * 2


@pytest.mark.slow
def test_stages_train_on_ranks(tiny: Tiny, on_ranks: OnRanks) -> None:
    stages = [
        {"freeze_to": "head", "epochs": 1, "max_lr": 0.1},
        {"freeze_to": None, "epochs": 1, "max_lr": None},
    ]
    recipe = tiny({"fine_tune": {"stages": stages}} | SYNC)
    trained(recipe, "alone")()
    on_ranks(2, trained(recipe, "both"))
    assert losses("both") == pytest.approx(losses("alone"), abs=1e-4)
