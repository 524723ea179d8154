"""Other libraries on the same work in the same run: one aggregation round over the same vectors.

Each is used as its own users use it, from its documentation, with parameters of at least the security it recommends.
None of them masks its inputs pairwise, validates what it receives, or counts contributions; ours are measured with all
of that. A library that is not installed is named as skipped.
"""
