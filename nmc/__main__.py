"""`python -m nmc` is the command `nmc`."""

import sys

from nmc.cli import main

if __name__ == "__main__":
    sys.exit(main())
