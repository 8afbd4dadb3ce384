#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cri_status.py SOCKET CONDITION: "true", or "false REASON MESSAGE"."""
import sys

import cri

for c in cri.Client(sys.argv[1]).call("Status").status.conditions:
    if c.type == sys.argv[2]:
        print(" ".join([str(c.status).lower(), c.reason, c.message]).strip())
