/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/sock/rawpcb.h - what sockets on lwIP's raw PCBs have in common: raw.c and ping.c.
 * Everything under the instance.
 */
#ifndef STACK_SOCK_RAWPCB_H
#define STACK_SOCK_RAWPCB_H

#include "stack/sock/dgram.h"

/* A PCB of the socket's family and protocol, which hears nothing yet. 0 or -ENOBUFS. */
int uvs_rawpcb_open(struct uvs_sock *s);
void uvs_rawpcb_close(struct uvs_sock *s);

/* SO_BROADCAST. */
void uvs_rawpcb_apply(struct uvs_sock *s);

bool uvs_rawpcb_has_peer(const struct uvs_sock *s);
void uvs_rawpcb_forget_peer(struct uvs_sock *s);

/* TOS and TTL of the packet that is sent next. */
void uvs_rawpcb_mark(struct uvs_sock *s, const struct uvs_dest *d);

/* 0 or a negative errno; p stays the caller's. */
int uvs_rawpcb_send(struct uvs_sock *s, struct pbuf *p, const struct uvs_dest *d);

/* `len` bytes of msg by `send`. How many, or a negative errno. */
ssize_t uvs_rawpcb_send_msg(struct uvs_sock *s, const struct msghdr *msg, size_t len,
			    const struct uvs_dest *d,
			    int (*send)(struct uvs_sock *s, struct pbuf *p,
					const struct uvs_dest *d));

#endif /* STACK_SOCK_RAWPCB_H */
