"""What the fuzzer sends as a piece of a file: any bytes. It loads this by itself: see fixtures/fuzz.py."""

import schemathesis

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
