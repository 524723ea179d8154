"""The blind coordinator: it knows rosters, digests and sizes; no import of its leads to a key that opens anything."""
