"""Doubles and suites that ship with the library: clocks, conformance suites, in-memory parties."""
