# SPDX-License-Identifier: BSD-3-Clause
"""What ci/gate runs, in which order, and what of it runs beside what."""
