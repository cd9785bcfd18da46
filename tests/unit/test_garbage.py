"""A process that serves must not stand still while Python looks for garbage."""

import subprocess
import sys

_HELD = 400_000  # lists, as ten thousand connections hold
_PROGRAM = f"""
import gc
from events.running import garbage

looks = []
gc.callbacks.append(lambda phase, told: looks.append(told["generation"]) if phase == "stop" else None)
with garbage.seldom():
    looks.clear()
    held = [[number] for number in range({_HELD})]
    print(looks.count(2), looks.count(0))
    for number in range(100_000):
        pair = []
        pair.append(pair)
    del pair
    print(len(gc.get_objects()) < {_HELD} + 50_000)
print(gc.get_freeze_count())
"""


def test_opening_ten_thousand_connections_makes_python_look_at_everything_not_once() -> None:
    """Each time that the heap had grown by a quarter a notifier stood still, for 390 ms at the longest: clients that
    had nothing to do with those who came were told as much later."""
    found = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    counted, freed, kept = found.stdout.splitlines()
    everything, young = map(int, counted.split())
    assert everything == 0
    assert young > 0
    assert freed == "True"  # what refers to itself is still found
    assert kept == "0"  # else a library complains, when the process ends, of what it thinks is lost
