"""Checks what no other tool does: that the repository says nothing of the machine or the network it was made on."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Written so that this file does not match itself.
FORBIDDEN = {
    "a package registry's host": re.compile(r"\b(?:[\w-]+\.)*(?:pypi|pythonhosted|npmjs|anaconda)\.(?:org|com|io)\b"),
    "somebody's home directory": re.compile(r"(?<![\w.])/(?:home|Users|root)/[\w.-]+"),
    "a path beside the repository": re.compile(r"\.\./shared\b"),
    "a conflict marker": re.compile(r"^(?:<{7} |>{7} )", re.MULTILINE),
}
UNWANTED_FILES = {"uv.lock"}  # requirements.lock is what is installed


def problems() -> list[str]:
    found: list[str] = []
    for path in _files():
        if path.name in UNWANTED_FILES:
            found.append(f"{path}: must not be in the repository")
        try:
            text = (ROOT / path).read_text()
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        for what, pattern in FORBIDDEN.items():
            for match in pattern.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                found.append(f"{path}:{line}: names {what}: {match.group()}")
    return found


def _files() -> list[Path]:
    """What git has, and what it would take."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [Path(name) for name in listing.stdout.split("\0") if name]


if __name__ == "__main__":
    found = problems()
    print("\n".join(found) or "The repository names no machine and no registry.")
    sys.exit(1 if found else 0)
