/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/sock/native.h - buffers across sock.h's line, for stack/posix/native.c: what uvstack.h
 * promises, without the marking of threads. A segment's `buf` is a pbuf that the application holds
 * alone; of a received one, a single pbuf out of its chain.
 */
#ifndef STACK_SOCK_NATIVE_H
#define STACK_SOCK_NATIVE_H

#include "stack/sock/sock.h"
#include "stack/uvstack.h"

int uvs_native_get(struct uvs_sock *s, struct uvstack_seg *seg, unsigned int n);
void uvs_native_put(struct uvs_sock *s, struct uvstack_seg *seg, unsigned int n);
int uvs_native_send(struct uvs_sock *s, const struct uvstack_seg *seg, unsigned int n,
		    const struct sockaddr *to, socklen_t len, int flags);
int uvs_native_flush(struct uvs_sock *s);
int uvs_native_recv(struct uvs_sock *s, struct uvstack_seg *seg, unsigned int n);
int uvs_native_from(struct uvs_sock *s, const struct uvstack_seg *seg, struct sockaddr *addr,
		    socklen_t *len);
enum uvstack_memory uvs_native_memory(const struct uvs_sock *s);

/* Wake `w` when a host that is out of buffers has some again; once. */
struct uvs_native_thirst;
struct uvs_native_thirst *uvs_native_thirst_new(struct uvs_sock *s, struct uvs_waiter *w);
void uvs_native_thirst_free(struct uvs_native_thirst *t);

#endif /* STACK_SOCK_NATIVE_H */
