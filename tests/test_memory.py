"""Planes from a pool: never shared while held, used again when let go."""

import gc
import pickle
from threading import Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isrcore.kernels.memory import PlanePool

SHAPE = (600, 512)


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=30))
def test_arrays_that_are_held_never_share_memory(events: list[tuple[bool, int]]) -> None:
    pool, held = PlanePool(limit=2), []
    for is_taken, index in events:
        if is_taken:
            array = pool.empty(SHAPE, np.float32)
            array[...] = len(held)
            held.append((array, len(held)))
        elif held:
            held.pop(index % len(held))
        assert all((array == value).all() for array, value in held)


def test_memory_is_used_again_when_nobody_holds_it() -> None:
    pool = PlanePool()
    first = pool.empty(SHAPE, np.float32)
    where = address(first)
    del first
    assert address(pool.empty(SHAPE, np.int32)) == where


@pytest.mark.parametrize(
    "look", [lambda a: a[3:5, ::2], lambda a: a.view(np.int32), lambda a: a.T.ravel("K")]
)
def test_a_view_holds_the_memory(look) -> None:
    pool = PlanePool()
    array = pool.empty(SHAPE, np.float32)
    view, where = look(array), address(array)
    del array
    gc.collect()
    assert address(pool.empty(SHAPE, np.float32)) != where
    assert view.base is not None


@pytest.mark.parametrize("count", range(6))
@pytest.mark.parametrize("limit", range(4))
def test_no_more_than_the_limit_lies_idle(count: int, limit: int) -> None:
    pool = PlanePool(limit=limit)
    arrays = [pool.empty(SHAPE, np.float32) for _ in range(count)]
    del arrays
    assert sum(map(len, pool._idle.values())) == min(count, limit)


def test_pooled_arrays_are_ordinary() -> None:
    array = PlanePool().empty(SHAPE, np.float32)
    array[...] = 7
    assert array.flags.writeable
    assert (pickle.loads(pickle.dumps(array)) == 7).all()


def test_small_arrays_are_left_to_the_allocator() -> None:
    assert PlanePool().empty((3, 4), np.float32).flags.owndata


def test_threads_never_get_the_same_memory() -> None:
    pool, wrong = PlanePool(), []

    def work(number: int) -> None:
        for turn in range(100):
            array = pool.empty((600, 512 + (turn % 2) * 512), np.float32)
            array.fill(number)
            view = array[::7]
            del array
            wrong.extend([number] * (not (view == number).all()))

    threads = [Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
