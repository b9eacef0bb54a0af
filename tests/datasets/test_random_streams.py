"""Named streams: pure functions of seed, name and counters, which can be entered anywhere."""

import hashlib

import numpy as np

from datasets.random_streams import stream


def test_a_stream_can_be_entered_anywhere() -> None:
    whole = stream(3, "a decision", 5, 1).random(40)
    for skip in (0, 1, 3, 4, 7, 39):
        np.testing.assert_array_equal(stream(3, "a decision", 5, 1, skip=skip).random(40 - skip), whole[skip:])


def test_seed_name_and_counters_make_other_streams() -> None:
    asked = [(3, "a"), (4, "a"), (3, "b"), (3, "a", 1), (3, "a", 0, 1), (3, "a", 0, 0, 1)]
    assert len(np.unique([stream(*one).random(50) for one in asked])) == 50 * len(asked)
    np.testing.assert_array_equal(stream(3, "a").random(50), stream(3, "a", 0, 0, 0).random(50))


def test_streams_never_change() -> None:
    drawn = stream(3, "a decision", 5, 1).random(40).tobytes()
    # A change here means that earlier runs cannot be resumed: raise ORDER_VERSION.
    assert hashlib.sha256(drawn).hexdigest()[:16] == "0844f2f4b8cb255c"
