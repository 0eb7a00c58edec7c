/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/seen/stages.h"

const struct uvs_stage_name uvs_stages[UVS_STAGES] = {
	[UVS_STAGE_NIC] = {"nic-rx", "from the NIC's time stamp to the receive burst"},
	[UVS_STAGE_RX] = {"rx-queue", "from the receive burst to the socket's queue"},
	[UVS_STAGE_QUEUE] = {"queue-read", "from the socket's queue to the application's read"},
	[UVS_STAGE_TX] = {"write-tx", "from the application's write to the transmit burst"},
};
