"""The scheme that hides nothing: residues in the open, behind the interface of the others.

It is the plaintext baseline of every measurement. Its parameter sets carry `insecure` in their names.
"""
