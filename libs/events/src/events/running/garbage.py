"""When Python looks for garbage: seldom enough that a process with ten thousand connections never stands still for it.

What nobody refers to any more is freed at once, and a connection that has ended is such; only what refers to itself
waits for the collector. A look at everything takes some 15 ms for each thousand connections, in which nothing else
happens, and Python takes one each time that the heap has grown by a quarter.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_YOUNG = 10_000  # containers made and not freed; looking at these takes some 5 ms at the most
_MIDDLE = 20  # looks at the young
_OLD = 10  # looks at the middle-aged: two million containers


@contextmanager
def seldom() -> Iterator[None]:
    """Within it. What there is by now, modules above all, is not looked at before it ends: then it is, since libraries
    complain of what a process that ends leaves behind."""
    usual = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*usual)
