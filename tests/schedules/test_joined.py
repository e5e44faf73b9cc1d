"""Schedules one after another."""

from onecycle_cli.schedules import LrMomentum, constant, joined


def test_each_schedule_begins_where_the_one_before_has_ended() -> None:
    def counting(step: int) -> LrMomentum:
        return LrMomentum(step, 0.5)

    at = joined([(2, counting), (3, constant(max_lr=7, momentum=0.9)), (1, counting)])
    assert [at(step).lr for step in range(8)] == [0, 1, 7, 7, 7, 0, 1, 2]
    assert joined([(2, counting)])(5) == counting(5)
