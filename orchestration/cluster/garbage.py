"""Python's garbage collector, set for processes that import a million objects and end soon."""

import atexit
import gc

# New containers until the next look for cycles; Python's default is 700. Imports make a million that stay: to look
# through them again and again takes a fifth of the time of the imports.
_THRESHOLD = 10_000


def collect_less_often() -> None:
    """Look for cycles less often in this process, and not at its end, where that takes a second and frees nothing."""
    gc.set_threshold(_THRESHOLD, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)
