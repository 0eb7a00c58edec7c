/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/share/proto.h - what is said on the manager's control socket: HOSTDIR/control, AF_UNIX
 * SEQPACKET, one struct a message, in the machine's own byte order.
 *
 * A process that wants to be a stack:
 *
 *     application                         uvstackd
 *     HELLO (version, stacks)      ->     queues it; one attaches at a time
 *                                  <-     GO (EAL's file prefix, runtime directory, huge pages)
 *     rte_eal_init() as a secondary,
 *     checks what it finds
 *     ATTACHED                     ->     lets the next one attach
 *                                  <-     SLOTS (which, of which generation; a FIFO for each
 *                                         slot of the host, to wake its stack; slot 0's wakes the
 *                                         manager)
 *     READY slot                   ->     directs traffic to its queue
 *     ...
 *     PARK slot                    ->     directs it elsewhere
 *                                  <-     PARKED
 *     takes out what is left
 *     EMPTIED slot                 ->     reclaims
 *                                  <-     GONE
 *
 * A manager that finds its predecessor's processes takes them over as they are. Such a process,
 * when it next has something to say, connects anew:
 *
 *     RESUME                       ->     knows it by its credentials
 *                                  <-     RESUMED
 *
 * At any point the manager may answer REFUSED with a reason, and close. The end of the process,
 * seen by pidfd, is the end of all it had, however far it was. A tool says ASK and is answered by
 * END, with a descriptor of a file that holds the answer.
 *
 * What comes from a client is checked: length, version, that the slot is its own, that its state
 * allows it. Anything else is refused and ends the connection.
 */
#ifndef STACK_SHARE_PROTO_H
#define STACK_SHARE_PROTO_H

#include <stdint.h>

#define UVS_PROTO_VERSION 2
#define UVS_PROTO_TEXT    1000
#define UVS_PROTO_PATH    200
#define UVS_STACKS_MAX    16 /* stack threads of one process */
#define UVS_PROTO_FDS_MAX 64 /* one for each slot */
#define UVS_HOST_SOCKET   "control"
#define UVS_HOST_BELL     "bell.%u" /* FIFO that wakes the stack of a slot; 0: the manager */

enum uvs_msg_type {
	/* to the manager */
	UVS_MSG_HELLO = 1,
	UVS_MSG_ATTACHED,
	UVS_MSG_READY,
	UVS_MSG_PARK,
	UVS_MSG_EMPTIED,
	UVS_MSG_ASK,
	UVS_MSG_RESUME,
	/* from it */
	UVS_MSG_GO = 32,
	UVS_MSG_SLOTS,
	UVS_MSG_PARKED,
	UVS_MSG_GONE,
	UVS_MSG_REFUSED,
	UVS_MSG_END,
	UVS_MSG_RESUMED,
};

struct uvs_msg_head {
	uint32_t type; /* enum uvs_msg_type */
	uint32_t len;  /* of the whole message */
};

struct uvs_msg_hello {
	struct uvs_msg_head head;
	uint32_t version;
	uint32_t stacks; /* 1 to UVS_STACKS_MAX */
};

struct uvs_msg_go {
	struct uvs_msg_head head;
	char prefix[64];               /* --file-prefix */
	char runtime[UVS_PROTO_PATH];  /* directory EAL keeps its files in */
	char huge_dir[UVS_PROTO_PATH]; /* --huge-dir */
	uint32_t orphan;               /* EAL's primary has died: name the device yourself */
};

struct uvs_msg_slots {
	struct uvs_msg_head head;
	uint32_t n;
	uint32_t nb_fds;
	struct {
		uint32_t slot;
		uint32_t gen; /* of the lease of its queue, if it has one */
	} s[UVS_STACKS_MAX];
};

/* READY, PARK, EMPTIED, PARKED, GONE; ATTACHED, RESUME, RESUMED without a slot. */
struct uvs_msg_slot {
	struct uvs_msg_head head;
	uint32_t slot;
	uint32_t pad;
};

/* ASK: what is asked. REFUSED: the reason. */
struct uvs_msg_text {
	struct uvs_msg_head head;
	uint32_t json;  /* ASK */
	int32_t status; /* END: of the tool; REFUSED: a negative errno */
	char text[UVS_PROTO_TEXT];
};

union uvs_msg {
	struct uvs_msg_head head;
	struct uvs_msg_hello hello;
	struct uvs_msg_go go;
	struct uvs_msg_slots slots;
	struct uvs_msg_slot slot;
	struct uvs_msg_text text;
};

#endif /* STACK_SHARE_PROTO_H */
