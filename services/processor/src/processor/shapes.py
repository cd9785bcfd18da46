"""What names look like that clients send in requests, and how they are told."""

from events.web.shapes import Shape
from processor import artifacts
from processor.language.definition import NAME_PATTERN

STEP_PATTERN = r"^(compensate:)?[a-z][a-z0-9_-]{0,63}$"

WORKFLOW_NAME = Shape(NAME_PATTERN, "a workflow's name: a small letter, then up to 63 small letters, digits or -")
STEP_NAME = Shape(STEP_PATTERN, "a step's name: a small letter, then up to 63 small letters, digits, _ or -")
SIGNAL_NAME = Shape(
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", "a letter or digit, then up to 99 letters, digits, '.', '_' or '-'"
)
ARTIFACT_NAME = Shape(artifacts.NAME_PATTERN, "an artifact's name: up to 100 letters, digits, '.', '_' or '-'")
