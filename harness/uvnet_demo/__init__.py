# SPDX-License-Identifier: BSD-3-Clause
"""Demonstrations that take more than a script: see ci/demo."""
