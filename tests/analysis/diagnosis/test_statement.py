"""How a statement reads."""

from onecycle_cli.analysis.diagnosis import Place, Statement


def test_a_place_is_an_epoch_or_several() -> None:
    assert str(Place("step", 3, 3)) == "step 3"
    assert str(Place("epoch", 3, 7)) == "epochs 3 to 7"


def test_a_statement_is_told_in_one_line() -> None:
    found = Statement("overfitting", Place("epoch", 3, 7), "It turned up.", {"valid_loss": 1.0}, "Augment.")
    assert found.line == "overfitting, epochs 3 to 7. It turned up. Augment."
