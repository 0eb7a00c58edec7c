/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/core/clock.h"

const struct uvb_hdr *uvs_clock_fabric;
const struct uvb_hdr *uvs_clock_watched;
uvb_gettime_fn uvs_clock_gettime = clock_gettime;
