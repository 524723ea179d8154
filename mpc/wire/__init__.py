"""Bytes: native messages, their codec, limits, the method table, and the error catalogue."""
