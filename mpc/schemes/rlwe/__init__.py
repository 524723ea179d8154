"""Additive RLWE encryption of long integer vectors, with its own compiled kernels.

`public` needs no secret, `secret` holds keys and opens; `warm` compiles ahead of use. Importing this package loads
neither, and no part of it loads the compiler before the first key or ciphertext.
"""
