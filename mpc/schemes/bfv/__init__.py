"""Brakerski/Fan-Vercauteren over SEAL, additive, in coefficient packing (README.md)."""
