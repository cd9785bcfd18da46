"""The broker: a protocol, and its adapters. It wakes and carries; it is never the truth."""
