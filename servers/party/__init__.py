"""One data owner's node: it judges every job itself and lets nothing but ciphertexts out."""
