/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/core/clock.h"

const struct uvb_hdr *uvs_clock_fabric;
