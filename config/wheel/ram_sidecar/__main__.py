"""Replaces this process with the program: `python -m ram_sidecar exec -- …`."""

import os
import sys

from ram_sidecar import find_bin

if __name__ == "__main__":
    program = find_bin()
    os.execv(program, [str(program), *sys.argv[1:]])
