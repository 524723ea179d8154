"""Possession: who holds which key, and what a room has agreed on.

Nothing here is imported on behalf of the caller: `mpc.keys.secret` is the only home of decryption and mask keys and
must be named to be loaded, so that the coordinator's blindness is a property of its imports.
"""
