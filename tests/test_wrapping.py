"""`wrap_non_picklable_objects`: what plain pickle refuses travels inside."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from jobspan import host
from jobspan.persist.wrapping import wrap_non_picklable_objects

needs_processes = pytest.mark.skipif(not host.has_processes(), reason="there are no processes here")


class Counter:
    """Counts."""

    def __init__(self, start: int = 0) -> None:
        self.count = start


def local_function() -> Any:
    def triple(x: int, *, more: int = 0) -> int:
        return 3 * x + more

    return triple


def test_a_function_can_be_pickled_and_called() -> None:
    triple = local_function()
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(triple)
    wrapped = wrap_non_picklable_objects(triple)
    assert wrapped(2, more=1) == 7
    back = pickle.loads(pickle.dumps(wrapped))
    assert back(2, more=1) == 7
    assert pickle.loads(pickle.dumps(back))(2) == 6  # and again


def test_without_the_wrapper_it_comes_back_bare() -> None:
    bare = pickle.loads(pickle.dumps(wrap_non_picklable_objects(local_function(), keep_wrapper=False)))
    assert type(bare) is type(local_function())
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(bare)


def test_an_object_shows_through() -> None:
    class Local:
        def __init__(self) -> None:
            self.value = 3

        def double(self) -> int:
            return 2 * self.value

    for wrapped in (wrap_non_picklable_objects(Local()), copy.copy(wrap_non_picklable_objects(Local()))):
        back = pickle.loads(pickle.dumps(wrapped))
        assert (back.value, back.double()) == (3, 6)
        assert not callable(back)
        assert repr(back).startswith("wrap_non_picklable_objects(")
        with pytest.raises(AttributeError, match="nothing"):
            _ = back.nothing


def test_instances_of_a_class_are_wrapped() -> None:
    class Adder(Counter):
        """Adds."""

        def __call__(self, x: int) -> int:
            return self.count + x

    plain = wrap_non_picklable_objects(Counter)
    assert pickle.loads(pickle.dumps(plain(start=4))).count == 4
    assert not callable(plain())
    adding = wrap_non_picklable_objects(Adder, keep_wrapper=False)
    assert (adding.__name__, adding.__doc__) == ("Adder", "Adds.")
    assert adding(2)(3) == 5
    bare = pickle.loads(pickle.dumps(adding(2)))
    assert (type(bare).__name__, bare(3)) == ("Adder", 5)


@needs_processes
def test_it_does_as_joblibs_does() -> None:
    import joblib

    for wrap in (joblib.wrap_non_picklable_objects, wrap_non_picklable_objects):
        for keep in (True, False):
            wrapped = wrap(local_function(), keep_wrapper=keep)
            back = pickle.loads(pickle.dumps(wrapped))
            assert back(1) == 3
            assert (type(back) is type(wrapped)) is keep


@needs_processes
def test_a_multiprocessing_pool_takes_it() -> None:
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(wrap_non_picklable_objects(local_function()), [1, 2]) == [3, 6]
