/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/share/client.h - the application's end of the control socket (proto.h). One thread; blocks
 * until the manager answers. Errors as in hostdir.h.
 */
#ifndef STACK_SHARE_CLIENT_H
#define STACK_SHARE_CLIENT_H

#include "stack/share/hostdir.h"
#include "stack/share/proto.h"

/* Longest wait for the manager: it answers at once, but others may be attaching before. */
#define UVS_CLIENT_WAIT_MS 30000
/* Longest wait for a manager, where there was one: it may be about to be followed by another. */
#define UVS_CLIENT_HEIR_MS 2000

/* Join the queue, and wait for our turn. The connection, and what EAL is to be told. */
int uvs_client_hello(const char *host, uint32_t stacks, struct uvs_msg_go *go,
		     char err[UVS_ERR_LEN]);

/* EAL is up. The slots, and the bells of all slots, close-on-exec. */
int uvs_client_attached(int fd, struct uvs_msg_slots *slots, int efd[UVS_PROTO_FDS_MAX],
			char err[UVS_ERR_LEN]);

/* READY, EMPTIED: said and done. PARK waits for PARKED, EMPTIED for GONE. */
int uvs_client_say(int fd, enum uvs_msg_type type, uint32_t slot, char err[UVS_ERR_LEN]);

/* There is another manager, and this process has slots: the new connection. Waits for no manager.
 */
int uvs_client_resume(const char *host, char err[UVS_ERR_LEN]);

/* Ask as a tool: a descriptor of the answer, and the status to end with. */
int uvs_client_ask(const char *host, const char *what, bool json, int *status,
		   char err[UVS_ERR_LEN]);

#endif /* STACK_SHARE_CLIENT_H */
