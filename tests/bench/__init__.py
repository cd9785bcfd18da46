"""Benchmarks: `make bench`, or `make bench NAME=log` for bench_log.py alone. Each runs real servers with fsync on."""
