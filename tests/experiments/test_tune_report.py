"""The report of a tuning, as text."""

from onecycle_cli.analysis.tuning import Decision, TuningRun
from onecycle_cli.experiments.tune_report import TuneReport, told


def test_it_has_each_decision_with_the_max_lr_and_the_loss_of_each_trial_or_what_it_lacks() -> None:
    was, chosen = {"data.batch_size": 64}, {"data.batch_size": 32}
    trials = [
        TuningRun(
            {"data.batch_size": 64, "optimizer.weight_decay": 1e-4}, None, problem="no max_lr: The loss never fell."
        ),
        TuningRun({"data.batch_size": 32, "optimizer.weight_decay": 1e-4}, 0.51234, 0.25),
        TuningRun({"data.batch_size": 128, "optimizer.weight_decay": 1e-4}, None, 0.5, "diverged"),
    ]
    decision = Decision("batch size", was, chosen, "The run with the current values did not finish.", trials)
    report = TuneReport("digits", 60, 41.3, 0.0123, "max_lr 0.25, confidence high.", [decision], ["momentum"])
    text = report.to_markdown()
    assert "Of a budget of 60 s, 41 s were used. The standard error" in text
    assert " is 0.0123 in validation loss, from 3 seeds" in text
    assert "data.batch_size 64 becomes data.batch_size 32. The run with the current values did not finish." in text
    assert "| data.batch_size 64 |  | no max_lr: The loss never fell. |" in text
    assert "| data.batch_size 32 | 0.25 | 0.5123 |" in text
    assert "| data.batch_size 128 | 0.5 | diverged |" in text
    assert text.endswith("Left out for lack of time: momentum.\n")


def test_what_stays_and_a_noise_that_is_not_known_are_told() -> None:
    was = {"data.batch_size": 64}
    decision = Decision("batch size", was, was, "No other run finished.", [])
    text = TuneReport("digits", 60, 41.3, None, "No max_lr.", [decision], []).to_markdown()
    assert "The noise between seeds is not known" in text
    assert "data.batch_size 64 stays. No other run finished" in text
    assert "lack of time" not in text


def test_values_are_told_as_they_stand_in_a_recipe() -> None:
    assert told({"a.b": 1e-4, "c.d": 0.95}) == "a.b 1e-4, c.d 0.95"
