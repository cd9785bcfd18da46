"""`make_report`: report.json and report.html for what a clean has left in its folder."""

import msgspec

from processor.cleaning.report.facts import Clean, facts_of
from processor.cleaning.report.page import page_of
from processor.cleaning.report.tables import open_tables
from processor.cleaning.room import Room
from processor.step import Report

JSON_NAME, PAGE_NAME = "report.json", "report.html"
_MESSAGE = "Writing the report"


def make_report(clean: Clean, room: Room, report: Report) -> None:
    """Writes both beside the files that they are about. `report` may raise, and then neither is there."""
    with open_tables(clean.files, room, lambda: report(0.0, _MESSAGE)) as tables:
        facts = facts_of(clean, tables)
    report(0.8, _MESSAGE)
    written = {JSON_NAME: msgspec.json.encode(facts), PAGE_NAME: page_of(facts).encode()}
    report(0.95, _MESSAGE)
    for name, content in written.items():
        (clean.files / name).write_bytes(content)
    report(1.0, _MESSAGE)
