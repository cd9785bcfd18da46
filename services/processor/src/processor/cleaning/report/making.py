"""`make_report`: report.json and report.html for what a clean has left in its folder."""

from pathlib import Path

import msgspec

from processor.cleaning.report.facts import Clean, facts_of
from processor.cleaning.report.page import page_of
from processor.cleaning.report.tables import Tables
from processor.step import Report

JSON_NAME, PAGE_NAME = "report.json", "report.html"
_MESSAGE = "Writing the report"


def make_report(clean: Clean, *, scratch: Path, memory_mb: int, threads: int, report: Report) -> None:
    """Writes both beside the files that they are about. `report` may raise, and then neither is there."""
    with Tables(clean.files, scratch, memory_mb, threads, lambda: report(0.0, _MESSAGE)) as tables:
        facts = facts_of(clean, tables)
    report(0.8, _MESSAGE)
    written = {JSON_NAME: msgspec.json.encode(facts), PAGE_NAME: page_of(facts).encode()}
    report(0.95, _MESSAGE)
    for name, content in written.items():
        (clean.files / name).write_bytes(content)
    report(1.0, _MESSAGE)
