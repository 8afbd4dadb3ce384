#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""peak.py FILE COMMAND...: run it and write the largest memory (KB) of any process below it into FILE."""
import resource
import subprocess
import sys

status = subprocess.run(sys.argv[2:], check=False).returncode
with open(sys.argv[1], 'w') as f:
    f.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
