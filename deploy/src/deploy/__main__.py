"""Where `millrace` begins: before all that it imports, which takes a second in which somebody may press Ctrl-C."""

import os
import sys


def main() -> None:
    _open_standard_streams()
    try:
        from deploy.cli import main as command

        command()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)


def _open_standard_streams() -> None:
    """Who starts us without one (`>&-`) would have our first socket in its place, and what we print in there."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


if __name__ == "__main__":
    main()
