"""A range test that was run before: read again, believed where its settings fit, and named where they do not."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from onecycle_cli.analysis.lr_range import CyclePlan, Suggestion
from onecycle_cli.analysis.lr_range.suggestion import LENGTH_EXPONENT
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.range_test import find_lr
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.suggestions import (
    SavedSuggestion,
    saved_curves,
    stale_settings,
    suggested_max_lr,
    suggestion_plan,
)
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Difference, Recipe, curve_settings, to_yaml
from onecycle_cli.run_dir.files import LR_RANGE, SUGGESTION
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

Tiny = Callable[..., Recipe]


@pytest.fixture
def tested(tmp_path: Path, tiny: Tiny, copied: Callable) -> Callable[..., tuple[RunDir, Suggestion]]:
    """Runs a tiny range test, once for all tests; gives a copy of the run, and the suggestion."""

    def run_it(repeats: int = 1) -> tuple[RunDir, Suggestion]:
        run, suggestion = copied(str(repeats), lambda: anew(repeats))
        return run, suggestion

    def anew(repeats: int) -> tuple[RunDir, Suggestion]:
        recipe, cpu = tiny(), Hardware(torch.device("cpu"), "float32")
        facts, text = {"precision": "float32"}, to_yaml(recipe)
        runs = tmp_path / "runs"
        run = RunDir.create(runs, command="find-lr", recipe_name="digits", recipe_yaml=text, facts=facts, name=None)
        return run, find_lr(recipe, Session(run, cpu, silent), repeats=repeats)

    return run_it


def test_a_plan_holds_what_the_recipe_says_of_its_cycle(tiny: Tiny) -> None:
    assert suggestion_plan(tiny(), None) == CyclePlan("sgd", 10)
    changes = {"optimizer.name": "adamw", "schedule.div_factor": 25, "schedule.epochs": 7}
    assert suggestion_plan(tiny(changes), 12) == CyclePlan("adamw", 25, 84)
    stages = [{"freeze_to": "head", "epochs": 2}, {"epochs": 5}]
    assert suggestion_plan(tiny({"schedule.epochs": 7, "fine_tune": {"stages": stages}}), 12).total_steps == 60


@pytest.mark.parametrize("repeats", [1, 2])
def test_a_saved_test_read_again_for_its_own_recipe_says_the_same(tested: Callable, tiny: Tiny, repeats: int) -> None:
    run, suggestion = tested(repeats)
    assert len(saved_curves(run)) == repeats
    assert suggested_max_lr(run, tiny()) == SavedSuggestion(
        suggestion.max_lr, then=suggestion.max_lr, confidence=suggestion.confidence, reason=suggestion.reason
    )


def test_a_longer_run_takes_a_lower_max_lr_from_the_same_test(tested: Callable, tiny: Tiny) -> None:
    run, suggestion = tested()
    longer = suggested_max_lr(run, tiny({"schedule.epochs": 20}))
    assert longer.max_lr == pytest.approx(suggestion.max_lr * 10**-LENGTH_EXPONENT, rel=0.01)
    saved = run.read_json(SUGGESTION)
    del saved["steps_per_epoch"]  # as older versions wrote it
    run.write_json(SUGGESTION, saved)
    assert suggested_max_lr(run, tiny()).max_lr == suggested_max_lr(run, tiny({"schedule.epochs": 20})).max_lr


def test_a_saved_test_is_read_for_the_cycle_at_hand(tested: Callable, tiny: Tiny) -> None:
    run, suggestion = tested()
    again = suggested_max_lr(run, tiny({"optimizer.name": "adamw"}))
    assert again.then == suggestion.max_lr
    assert again.max_lr < 0.5 * suggestion.max_lr  # AdamW's share of the middle is a third


def test_where_a_run_gives_no_max_lr_the_reason_is_told(tested: Callable, tiny: Tiny, tmp_path: Path) -> None:
    run, _ = tested()
    run.update(files={})
    rows = (run.path / LR_RANGE).read_text().splitlines()
    (run.path / LR_RANGE).write_text("\n".join(rows[:5]))
    with pytest.raises(InputError, match=r"gives no max_lr, read again. The test ended after 4 steps"):
        suggested_max_lr(run, tiny())
    run.write_json(SUGGESTION, {"max_lr": None, "reason": "Because."})
    with pytest.raises(InputError, match=r"gave no max_lr. Because.\nGive --max-lr.$"):
        suggested_max_lr(run, tiny())
    run.write_json(SUGGESTION, {"max_lr": None, "reason": "Because.", "typical_max_lr": 0.0275})
    with pytest.raises(InputError, match=r"Give --max-lr. 0.0275 is a guess"):
        suggested_max_lr(run, tiny())
    run.write_json(SUGGESTION, {"max_lr": None, "reason": "Because.", "typical_max_lr": "much"})
    with pytest.raises(InputError, match="damaged"):
        suggested_max_lr(run, tiny())
    with pytest.raises(InputError, match="holds no suggestion"):
        suggested_max_lr(RunDir(tmp_path), tiny())


def test_the_settings_in_which_a_saved_test_differs_are_named(tested: Callable, tiny: Tiny) -> None:
    run, _ = tested()
    assert stale_settings(run, tiny({"schedule.epochs": 9}), "float32") == []
    assert stale_settings(run, tiny({"data.batch_size": 64}), "bfloat16") == [
        Difference("data.batch_size", 128, 64),
        Difference("runtime.precision", "float32", "bfloat16"),
    ]


def test_the_settings_of_the_curve_are_kept_with_the_suggestion_and_believed(tested: Callable, tiny: Tiny) -> None:
    run, _ = tested()
    saved = run.read_json(SUGGESTION)
    assert saved["curve_settings"] == curve_settings(tiny(), "float32")
    saved["curve_settings"]["optimizer.weight_decay"] = 0.5
    run.write_json(SUGGESTION, saved)
    assert stale_settings(run, tiny(), "float32") == [Difference("optimizer.weight_decay", 0.5, 1e-4)]


def test_a_suggestion_without_its_settings_is_of_the_recipe_beside_it(tested: Callable, tiny: Tiny) -> None:
    run, suggestion = tested()
    run.write_json(SUGGESTION, vars(suggestion))
    assert stale_settings(run, tiny({"optimizer.weight_decay": 0.5}), "float32") == [
        Difference("optimizer.weight_decay", 1e-4, 0.5)
    ]
