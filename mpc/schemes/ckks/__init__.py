"""Cheon-Kim-Kim-Song encryption of real numbers over SEAL, for one use: a key owner who reads alone (README.md).

`evaluation` needs no secret; `reader` holds the owner's key. There is no encryptor, adder or decryptor here that `sum`
or `match` could take: what this scheme decrypts to depends on the key's noise, and must not be passed on as it is.
"""
