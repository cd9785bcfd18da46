"""The steps that the processor can run, by name. Only a step's own process imports this: steps load what they like."""

from collections.abc import Mapping
from types import MappingProxyType

from processor.cleaning.preview_step import preview_step
from processor.cleaning.profile import profile
from processor.cleaning.small_step import csv_clean_small
from processor.cleaning.small_views import STEP
from processor.cleaning.steps import csv_part, csv_survey, csv_whole
from processor.step import Step

STEPS: Mapping[str, Step] = MappingProxyType(
    {
        "csv-profile": profile,
        "csv-preview": preview_step,
        "csv-survey": csv_survey,
        "csv-part": csv_part,
        "csv-whole": csv_whole,
        STEP: csv_clean_small,  # of no workflow: see clean_routes.py
    }
)
