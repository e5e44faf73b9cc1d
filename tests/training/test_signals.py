"""Interrupts that wait, and a second one that does not."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from onecycle_cli.training.signals import held_back


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """As in a terminal, whatever the tests themselves run under."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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
