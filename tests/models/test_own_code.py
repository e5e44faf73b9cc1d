"""What a person lets run, or gives."""

from onecycle_cli.models import NO_CODE, OwnCode


def test_nothing_is_trusted_or_given_unless_somebody_says_so() -> None:
    assert OwnCode() == NO_CODE
    assert (NO_CODE.trusted, NO_CODE.network) == (False, None)
