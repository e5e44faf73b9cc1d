"""Interrupts that wait, and a second one that does not."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from onecycle_cli.errors import Terminated
from onecycle_cli.training.signals import ENDING, Ending, held_back, sent_again


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """As in a command at a terminal, whatever the tests themselves run under."""
    ending = Ending()
    before = {number: signal.signal(number, ending) for number in ENDING}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_waits_until_it_is_let_go() -> None:
    with held_back() as held:
        assert not held.came
        interrupt()
        assert held.came
        with pytest.raises(KeyboardInterrupt):
            held.let_go()
        assert not held.came


def interrupts(times: int, reached: list[int]) -> None:
    with held_back():
        for time in range(times):
            interrupt()
            reached.append(time)


def test_at_the_end_of_the_block_it_acts() -> None:
    reached: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        interrupts(1, reached)
    assert reached == [0]


@pytest.mark.parametrize("number", ENDING)
def test_each_signal_of_a_machine_waits_too_and_says_which_it_was(number: int) -> None:
    with held_back() as held:
        os.kill(os.getpid(), number)
        assert held.came
        with pytest.raises(Terminated) as caught:
            held.let_go()
    assert (caught.value.number, caught.value.exit_code) == (number, 128 + number)


def test_a_second_signal_of_a_machine_waits_with_the_first_and_ctrl_c_does_not() -> None:
    with held_back() as held:
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGALRM):
            os.kill(os.getpid(), number)
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        with pytest.raises(Terminated) as caught:
            held.let_go()
    assert caught.value.number == signal.SIGUSR1


def test_while_the_first_is_on_its_way_no_other_cuts_off_what_is_written_at_the_end() -> None:
    written: list[str] = []

    def ends() -> None:
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            written.append("status")

    with pytest.raises(Terminated) as caught:
        ends()
    assert (caught.value.number, written) == (signal.SIGUSR1, ["status"])


def test_where_the_first_was_dropped_the_next_ends_the_work() -> None:
    with suppress(Terminated):  # as Python drops what is raised in a destructor
        os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Terminated):
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("number", ENDING)
def test_one_that_python_dropped_in_a_destructor_comes_again(number: int) -> None:
    class Destroyed:
        def __del__(self) -> None:
            os.kill(os.getpid(), number)

    def work() -> None:
        Destroyed()
        time.sleep(10)

    with sent_again(), pytest.raises(Terminated) as caught:
        work()
    assert caught.value.number == number


def test_it_does_not_come_any_more_when_the_work_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    class Destroyed:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("onecycle_cli.training.signals.MOMENT", 0.2)
    with sent_again():
        Destroyed()
    time.sleep(0.3)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGALRM])
def test_signals_that_a_program_uses_for_something_of_its_own_are_left_to_it(number: int) -> None:
    came: list[int] = []
    before = signal.signal(number, lambda number, _: came.append(number))
    try:
        with held_back() as held:
            os.kill(os.getpid(), number)
            assert came == [number]
            assert not held.came
            assert held.number == 0
    finally:
        signal.signal(number, before)


def test_a_second_one_acts_at_once() -> None:
    reached: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        interrupts(3, reached)
    assert reached == [0]


def test_without_one_nothing_happens_and_the_handlers_are_as_before() -> None:
    with held_back() as held:
        held.let_go()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with held_back() as held:
        interrupt()
        assert not held.came


def test_in_another_thread_nothing_is_held_back() -> None:
    came: list[bool] = []

    def work() -> None:
        with held_back() as held:
            came.append(held.came)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert came == [False]
