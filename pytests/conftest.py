# SPDX-License-Identifier: BSD-3-Clause
"""Loads the harness's plugin from this repository."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))

pytest_plugins = ["uvnet_harness.plugin"]
