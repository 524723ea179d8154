"""Generated message classes; see `proto/generate.sh`. Only `mpc.wire.codec` imports them."""
