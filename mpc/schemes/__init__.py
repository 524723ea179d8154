"""Homomorphic encryption behind capability protocols.

`mpc.schemes.public` builds what needs no secret (encryptors, adders); `mpc.schemes.secret` builds keys and decryptors
and is the part the coordinator never reaches.
"""
