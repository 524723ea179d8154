"""Sealroom's library: answers from joint data, with every input encrypted to the reader of the answer."""

__version__ = "0.1.0"
