/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One spelling of each name, for JSON, tables and captures.
 */
#include "uvbridge/internal.h"

const char *const uvb_txd_name[UVB_TXD_MAX] = {
	[UVB_TXD_RUNT] = "runt",
	[UVB_TXD_OVERSIZE] = "tx_oversize",
	[UVB_TXD_HAIRPIN] = "hairpin",
	[UVB_TXD_NO_PORT] = "no_port",
	[UVB_TXD_BAD_SRC] = "bad_src",
	[UVB_TXD_FAULT] = "fault_drop",
	[UVB_TXD_LOSS] = "link_loss",
	[UVB_TXD_QUEUE] = "link_queue_full",
	[UVB_TXD_VLAN_INGRESS] = "vlan_ingress",
	[UVB_TXD_SPOOF] = "spoof",
	[UVB_TXD_LINK_DOWN] = "link_down",
	[UVB_TXD_UPLINK_DOWN] = "uplink_down",
	[UVB_TXD_STORM_BROADCAST] = "storm_broadcast",
	[UVB_TXD_STORM_MULTICAST] = "storm_multicast",
	[UVB_TXD_STORM_UNKNOWN] = "storm_unknown",
	[UVB_TXD_NO_CELL] = "no_cell",
};

const char *const uvb_pd_name[UVB_PD_MAX] = {
	[UVB_PD_MAC_FILTER] = "mac_filter",   [UVB_PD_STOPPED] = "rx_stopped",
	[UVB_PD_OVERSIZE] = "rx_oversize",    [UVB_PD_DOWN] = "port_down",
	[UVB_PD_VLAN_FILTER] = "vlan_filter", [UVB_PD_FAULT] = "fault_drop",
	[UVB_PD_LOSS] = "link_loss",          [UVB_PD_QUEUE] = "link_queue_full",
	[UVB_PD_VLAN_EGRESS] = "vlan_egress", [UVB_PD_GROUP] = "isolated",
	[UVB_PD_LINK_DOWN] = "rx_link_down",  [UVB_PD_UPLINK] = "uplink",
	[UVB_PD_FLOW] = "flow_drop",          [UVB_PD_ISOLATED] = "flow_isolated",
	[UVB_PD_DELAY] = "link_delay_full",
};

const char *
uvb_kind_name(uint32_t kind)
{
	static const char *const name[] = {
		[UVB_KIND_UVETH] = "uveth",     [UVB_KIND_WIRE] = "wire",
		[UVB_KIND_CAPTURE] = "capture", [UVB_KIND_TAP] = "tap",
		[UVB_KIND_SOCKET] = "socket",   [UVB_KIND_PCAP] = "pcap",
		[UVB_KIND_ETHDEV] = "ethdev",
	};

	if (kind == 0 || kind >= sizeof(name) / sizeof(name[0]))
		return "unknown";
	return name[kind];
}

const char *
uvb_state_name(uint32_t life)
{
	switch (UVB_LIFE_STATE(life)) {
	case UVB_PORT_FREE:
		return "free";
	case UVB_PORT_UP:
		return "up";
	case UVB_PORT_DOWN:
		return "down";
	}
	return "unknown";
}

const char *
uvb_verdict_name(uint32_t verdict)
{
	switch (verdict) {
	case UVB_V_DELIVERED:
		return "delivered";
	case UVB_V_VOQ_FULL:
		return "voq_full";
	case UVB_V_FILTERED:
		return "filtered";
	case UVB_V_NO_DST:
		return "no_dst";
	case UVB_V_FAULT:
		return "fault";
	}
	return "unknown";
}

const char *
uvb_fault_verdict_name(uint32_t verdict)
{
	static const char *const name[UVB_FAULT_VERDICTS] = {
		[UVB_FAULT_DROP] = "drop",        [UVB_FAULT_DUPLICATE] = "duplicate",
		[UVB_FAULT_DELAY] = "delay",      [UVB_FAULT_REORDER] = "reorder",
		[UVB_FAULT_CORRUPT] = "corrupt",  [UVB_FAULT_TRUNCATE] = "truncate",
		[UVB_FAULT_HOLD] = "hold",        [UVB_FAULT_LOSS] = "loss",
		[UVB_FAULT_QUEUE] = "queue_full",
	};

	return verdict < UVB_FAULT_VERDICTS && name[verdict] != NULL ? name[verdict] : "unknown";
}

const char *
uvb_fault_dir_name(uint32_t dir)
{
	return dir == UVB_FAULT_TX ? "tx" : "rx";
}
