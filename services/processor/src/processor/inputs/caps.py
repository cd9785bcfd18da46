"""How far a compressed file is opened. All that decompressing costs is bounded by these."""

import msgspec


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    bytes: int = 100 * 1024**3  # of what comes out of any layer
    ratio: int = 200  # bytes out of any layer for each byte of the compressed file, after the first MiB
    depth: int = 3  # layers: a zip with a .csv.gz in it has two
    entries: int = 10_000  # of a zip's directory
    disk_free_bytes: int = 1024**3  # left for others on the scratch folder's disk
