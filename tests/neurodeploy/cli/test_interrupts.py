"""Ctrl-C, also where Python drops it."""

import os
import signal
import threading
import weakref

import pytest

from neurodeploy.cli.console import remembered


class Thing:
    pass


def test_an_interrupt_that_python_drops_in_a_callback_is_raised_at_the_next_check(capsys):
    with remembered() as check:
        thing = Thing()
        reference = weakref.ref(thing, lambda _: (os.kill(os.getpid(), signal.SIGINT), [None] * 1000))
        del thing
        assert reference() is None
        with pytest.raises(KeyboardInterrupt):
            check()
    assert "Traceback" not in capsys.readouterr().err


def test_an_interrupt_is_raised_where_it_comes_and_the_old_handler_is_back_afterwards():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), remembered():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_without_an_interrupt_nothing_is_raised_also_beside_the_main_thread():
    done = []

    def work() -> None:
        with remembered() as check:
            check()
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    work()
    assert done == [True, True]
