"""`python -m mpc.client.cli` is `sealroom`."""

import sys

from mpc.client.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
