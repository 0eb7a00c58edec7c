# SPDX-License-Identifier: BSD-3-Clause
"""The report of a run: what was recorded, merged, drawn, and written as one page; see docs/report.md."""
