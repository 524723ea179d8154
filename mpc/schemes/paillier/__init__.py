"""Paillier's scheme with many bounded integers in one plaintext (README.md)."""
