/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/control.h - what is said on the daemon's control socket.
 *
 * RUNDIR/NAME/control is an AF_UNIX SOCK_SEQPACKET socket: one message per packet, each of the
 * fixed size of its type, little-endian as the machine is. Every request has exactly one answer, in
 * order. The daemon takes a message only if magic, version, type and length are right, answers
 * -EPROTO and hangs up otherwise, and accepts connections of its own user and of root only
 * (SO_PEERCRED).
 *
 * A connection that has attached or joined a port is the life line of one member of it. When it
 * ends, the member is gone
 * - at once if its process has ended or no longer maps the segment; if the process lives and still
 * maps it (an application that closed descriptors it does not know), then when the process ends.
 * What becomes of the port then is in abi.h, "Life and death of a port".
 */
#ifndef UVBRIDGE_CONTROL_H
#define UVBRIDGE_CONTROL_H

#include <stdint.h>

#include "uvbridge/abi.h"

#define UVB_CTL_MAGIC   0x43425655u /* "UVBC" */
#define UVB_CTL_VERSION 1u
#define UVB_CTL_TEXT    256
#define UVB_CTL_WAIT_MS 2000 /* how long a client waits for an answer */

enum uvb_ctl_type {
	UVB_CTL_ATTACH = 1,
	UVB_CTL_DETACH = 2,
	UVB_CTL_DOWN = 3,
	UVB_CTL_PING = 4,
	UVB_CTL_FLUSH = 5, /* forget all addresses */
	UVB_CTL_JOIN = 6,  /* be a further member of a port */
	UVB_CTL_UNPLUG = 7,
	UVB_CTL_FAULT_ADD = 0x10,
	UVB_CTL_FAULT_REMOVE = 0x11,
	UVB_CTL_FAULT_RELEASE = 0x12,
	UVB_CTL_FAULT_SYNC = 0x13, /* write decisions made so far to decisions.log */
	UVB_CTL_POLICY = 0x20,
	UVB_CTL_FDB = 0x21,
	UVB_CTL_ADAPTER = 0x22,
	UVB_CTL_CLOCK = 0x14,
	UVB_CTL_ANSWER = 0x80,
};

struct uvb_ctl_hdr {
	uint32_t magic;
	uint16_t version;
	uint16_t type; /* enum uvb_ctl_type */
	uint32_t len;  /* of the whole message, bytes */
	uint32_t abi;  /* UVB_ABI_VERSION of who speaks */
};

struct uvb_ctl_attach {
	struct uvb_ctl_hdr hdr;
	char name[UVB_NAME_LEN]; /* empty: the daemon picks one */
	uint8_t mac[6];          /* all zero: the daemon derives one */
	uint16_t nb_rxq;         /* 0: all */
	uint16_t nb_txq;
	uint16_t kind;  /* enum uvb_port_kind */
	uint32_t flags; /* UVB_CTL_ATTACH_* */
};
#define UVB_CTL_ATTACH_SHARED   (1u << 0) /* UVB_PORT_SHARED */
#define UVB_CTL_ATTACH_ADOPT    (1u << 1) /* be the owner of a shared port that has none */
#define UVB_CTL_ATTACH_JOINABLE (1u << 2) /* UVB_PORT_JOINABLE; SHARED implies it */

struct uvb_ctl_join {
	struct uvb_ctl_hdr hdr;
	uint32_t port;
	uint32_t gen;
};

/* By the owner: the port's link goes down. By another member: it leaves. */
struct uvb_ctl_detach {
	struct uvb_ctl_hdr hdr;
	uint32_t port;
	uint32_t gen; /* which attachment is meant */
	uint32_t member;
	uint32_t pad;
};

struct uvb_ctl_down {
	struct uvb_ctl_hdr hdr;
	uint32_t force; /* 1: although ports are attached */
	uint32_t pad;
};

/* The filter comes compiled: libpcap is the client's. The daemon checks what it is given. */
struct uvb_ctl_fault_add {
	struct uvb_ctl_hdr hdr;
	struct uvb_fault_def def;
};

struct uvb_ctl_fault { /* FAULT_REMOVE, FAULT_RELEASE */
	struct uvb_ctl_hdr hdr;
	uint32_t handle; /* REMOVE: 0 is all of them */
	uint32_t pad;
	uint64_t count; /* RELEASE: frames, the ones held longest; 0: all that are held now */
};

enum uvb_ctl_clock_op {
	UVB_CLOCK_REAL = 1,
	UVB_CLOCK_STOP, /* virtual, and still */
	UVB_CLOCK_STEP, /* on by ns, with everything that falls due on the way */
	UVB_CLOCK_WARP, /* on by ns, at once */
	UVB_CLOCK_AUTO, /* on by itself */
};

struct uvb_ctl_clock {
	struct uvb_ctl_hdr hdr;
	uint32_t op; /* enum uvb_ctl_clock_op */
	uint32_t pad;
	uint64_t ns;
};

/* By an administrator: the port's link goes down for good, its processes may give it back. */
struct uvb_ctl_unplug {
	struct uvb_ctl_hdr hdr;
	char name[UVB_NAME_LEN]; /* of an attached port */
};

struct uvb_ctl_plain { /* PING, FLUSH, FAULT_SYNC */
	struct uvb_ctl_hdr hdr;
};

/* What is asked of a port, by name; it need not be attached. Fields of `value` not named by `what`
 * do not count. */
struct uvb_ctl_policy {
	struct uvb_ctl_hdr hdr;
	char name[UVB_NAME_LEN];
	char mirror[UVB_NAME_LEN]; /* MIRROR_*: port that gets the copies; empty: none any more */
	uint32_t what;             /* UVB_CTLP_* */
	uint32_t pad;
	struct uvb_policy value;
};
#define UVB_CTLP_VLAN      (1u << 0) /* vlan_mode, vlan, vlan_allowed */
#define UVB_CTLP_WEIGHT    (1u << 1)
#define UVB_CTLP_ISOLATION (1u << 2)
#define UVB_CTLP_STORM     (1u << 3) /* << enum uvb_storm */
#define UVB_CTLP_MIRROR_TX (1u << 6)
#define UVB_CTLP_MIRROR_RX (1u << 7)
/* Of VFs only. */
#define UVB_CTLP_PCP      (1u << 8)
#define UVB_CTLP_MAC      (1u << 9) /* and UVB_POL_MAC */
#define UVB_CTLP_SPOOFCHK (1u << 10)
#define UVB_CTLP_TRUST    (1u << 11) /* UVB_POL_UNTRUSTED */
#define UVB_CTLP_STATE    (1u << 12)
#define UVB_CTLP_RATE_MAX (1u << 13)
#define UVB_CTLP_RATE_MIN (1u << 14)
#define UVB_CTLP_ALL      ((1u << 15) - 1)

/* The address table. */
struct uvb_ctl_fdb {
	struct uvb_ctl_hdr hdr;
	uint32_t op;             /* UVB_CTLF_* */
	uint32_t vlan;           /* UINT32_MAX: ADD: the port's own; DEL: none; FLUSH: all */
	char port[UVB_NAME_LEN]; /* ADD: where it is; FLUSH: of this port, empty: of all */
	uint8_t mac[6];
	uint16_t is_static; /* FLUSH: 1: static entries, too */
};
enum { UVB_CTLF_ADD = 1, UVB_CTLF_DEL = 2, UVB_CTLF_FLUSH = 3 };

struct uvb_ctl_adapter {
	struct uvb_ctl_hdr hdr;
	char name[UVB_NAME_LEN];
	uint32_t op;   /* UVB_CTLA_ADD ... */
	uint32_t what; /* UVB_CTLA_RATE, UVB_CTLA_LINK: which of these are given */
	uint32_t nb_vfs;
	uint32_t link_down; /* 1: of the uplink */
	uint64_t rate;      /* of the uplink each way, bit/s; 0: no limit */
};
enum { UVB_CTLA_ADD = 1, UVB_CTLA_SET = 2, UVB_CTLA_DEL = 3 };
#define UVB_CTLA_RATE (1u << 0)
#define UVB_CTLA_LINK (1u << 1)

/* To every request; what a type does not say is zero. */
struct uvb_ctl_answer {
	struct uvb_ctl_hdr hdr;
	int32_t status; /* 0 or negative errno */
	uint32_t pid;   /* of the daemon */
	uint64_t epoch;
	uint32_t port; /* ATTACH, JOIN, UNPLUG; the following: ATTACH, JOIN */
	uint32_t gen;
	uint16_t nb_rxq;
	uint16_t nb_txq;
	uint8_t mac[6];
	uint16_t member;
	uint8_t pad[4];
	uint64_t clock;  /* CLOCK: what it will show when that is done */
	uint32_t handle; /* FAULT_ADD */
	uint32_t number; /* FAULT_REMOVE: of faults, FAULT_RELEASE: of frames */
	char name[UVB_NAME_LEN];
	char text[UVB_CTL_TEXT]; /* when status is not 0: one sentence */
};

#endif /* UVBRIDGE_CONTROL_H */
