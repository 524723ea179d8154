"""Makes roles happen: clocks, transports, error translation. It constructs no role and holds no protocol secret."""
