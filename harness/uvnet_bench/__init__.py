# SPDX-License-Identifier: BSD-3-Clause
"""Wall-clock measurements, side by side and interleaved (ci/bench)."""
