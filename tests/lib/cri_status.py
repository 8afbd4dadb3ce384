#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""cri_status.py SOCKET CONDITION: "true", or "false REASON MESSAGE". With "features" or "handlers": their names."""
import sys

import cri

answer = cri.Client(sys.argv[1]).call("Status")
if sys.argv[2] == "features":
    print(" ".join(f.name for f, on in answer.features.ListFields() if on))
if sys.argv[2] == "handlers":
    print(" ".join(repr(h.name) for h in answer.runtime_handlers))
for c in answer.status.conditions:
    if c.type == sys.argv[2]:
        print(" ".join([str(c.status).lower(), c.reason, c.message]).strip())
