"""Parquet files as a clean writes them, and how many become one."""
