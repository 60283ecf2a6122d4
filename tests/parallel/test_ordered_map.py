"""Ordered maps keep the order, bound what is submitted, pass errors on and stop when left."""

import collections
import threading
import time
from concurrent.futures import Future

import pytest

from geossda.parallel.ordered_map import ordered_map, results_in_order


def test_results_come_in_order_whatever_ends_first():
    slow_first = ordered_map(lambda n: time.sleep((5 - n) / 100) or n, range(6), 3)
    assert list(slow_first) == list(range(6))
    assert list(ordered_map(len, [], 2)) == []


@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_no_more_is_submitted_than_allowed(ahead):
    submitted, pending = [], collections.deque()

    def submit(item):
        submitted.append(item)
        future = Future()
        future.set_result(item)
        return future

    results = results_in_order(
        submit, range(10), ahead, result=lambda future: future.result(), pending=pending
    )
    for number in range(10):
        assert next(results) == number
        assert len(submitted) == min(10, number + 1 + ahead)
        assert len(pending) == min(10 - number, ahead + 1)
    assert next(results, None) is None and not pending


def test_threads_are_as_many_as_asked_for_and_initialized_once():
    begun, barrier = [], threading.Barrier(3, timeout=30)
    mapped = ordered_map(lambda n: barrier.wait() and n, range(3), 3,
                         initializer=lambda: begun.append(threading.get_ident()))  # fmt: skip
    assert len(list(mapped)) == 3
    assert len(set(begun)) == len(begun) == 3


def test_an_error_stops_the_rest():
    done = []

    def work(number):
        if number == 3:
            raise KeyError(number)
        done.append(number)
        return number

    results = ordered_map(work, range(10_000), 2)
    with pytest.raises(KeyError):
        list(results)
    assert {0, 1, 2} <= set(done) and len(done) < 20


def test_a_closed_map_begins_nothing_more():
    done = []
    results = ordered_map(lambda n: done.append(n) or n, range(10_000), 2, ahead=5)
    assert next(results) == 0
    results.close()
    count = len(done)
    time.sleep(0.05)
    assert len(done) == count <= 10
