/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The error queue: what ICMP and the host itself say of datagrams that were sent, for recvmsg()
 * with MSG_ERRQUEUE (ip(7), IP_RECVERR). It shares SO_RCVBUF with what was received. */
#include "stack/sock/dgram.h"

#include <stdlib.h>
#include <sys/param.h>

struct uvs_error {
	struct uvs_error *next;
	struct sock_extended_err ee;
	struct uvs_packet_note note; /* of the message; its source is the offender */
	struct uvs_addr dest;        /* of the datagram */
	size_t len;
	uint8_t data[]; /* of the datagram, as far as it was quoted */
};

static bool
wanted(const struct uvs_sock *s, const ip_addr_t *to)
{
	return IP_IS_V6(to) ? s->opt.v6_recverr : s->opt.recverr;
}

static bool
from_icmp(const struct uvs_error *e)
{
	return e->ee.ee_origin != SO_EE_ORIGIN_LOCAL;
}

static uint32_t
charge(const struct uvs_error *e)
{
	return (uint32_t)(sizeof(*e) + e->len);
}

/* Zeroed, at the end of the queue; NULL: there is no room. */
static struct uvs_error *
append(struct uvs_sock *s, size_t len)
{
	struct uvs_error **at = &s->dgram.errors, *e;

	if (!uvs_dgram_room(s))
		return NULL;
	e = calloc(1, sizeof(*e) + len);
	if (e == NULL)
		return NULL;
	e->len = len;
	while (*at != NULL)
		at = &(*at)->next;
	*at = e;
	s->dgram.error_charge += charge(e);
	return e;
}

static struct uvs_error *
take(struct uvs_sock *s)
{
	struct uvs_error *e = s->dgram.errors;

	if (e == NULL)
		return NULL;
	s->dgram.errors = e->next;
	s->dgram.error_charge -= charge(e);
	return e;
}

void
uvs_error_drop_all(struct uvs_sock *s)
{
	struct uvs_error *e;

	while ((e = take(s)) != NULL)
		free(e);
}

static void
queue_icmp(struct uvs_sock *s, const struct uvs_icmp_error *from, ptrdiff_t skip)
{
	size_t len = (size_t)MAX((ptrdiff_t)from->len - skip, (ptrdiff_t)0);
	struct uvs_error *e = append(s, len);

	if (e == NULL)
		return;
	e->ee = (struct sock_extended_err){.ee_errno = (uint32_t)from->err,
					   .ee_origin = from->origin,
					   .ee_type = from->type,
					   .ee_code = from->code,
					   .ee_info = from->info};
	uvs_dgram_note(s, &e->note, 0);
	e->dest = from->remote;
	if (len > 0)
		memcpy(e->data, from->quoted + skip, len);
}

void
uvs_error_report(struct uvs_sock *s, const struct uvs_icmp_error *e, ptrdiff_t skip)
{
	if (wanted(s, &e->remote.ip))
		queue_icmp(s, e, skip);
	else if (!e->hard || !s->proto->has_peer(s))
		return;
	uvs_sock_fail(s, e->err);
}

void
uvs_error_local(struct uvs_sock *s, int err, uint32_t info, const struct uvs_addr *to)
{
	struct uvs_error *e = wanted(s, &to->ip) ? append(s, 0) : NULL;

	if (e == NULL)
		return;
	e->ee = (struct sock_extended_err){
		.ee_errno = (uint32_t)err, .ee_origin = SO_EE_ORIGIN_LOCAL, .ee_info = info};
	e->dest = *to;
	uvs_publish(s, UVS_STATE_CHANGED);
}

static void
put_error(struct uvs_control *c, const struct uvs_sock *s, const struct uvs_error *e)
{
	struct {
		struct sock_extended_err ee;
		struct sockaddr_in6 offender; /* or sockaddr_in */
	} said = {.ee = e->ee};
	socklen_t len =
		s->domain == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	struct uvs_addr offender = {.ip = e->note.src};

	if (from_icmp(e)) {
		socklen_t room = len;

		uvs_addr_to(&offender, s->domain, (struct sockaddr *)&said.offender, &room);
		uvs_control_note(c, s, &e->note);
	}
	uvs_control_put(c, s->domain == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP,
			s->domain == AF_INET6 ? IPV6_RECVERR : IP_RECVERR, &said,
			sizeof(said.ee) + len);
}

/* What is left decides what the next call is told. */
static void
after(struct uvs_sock *s, const struct uvs_error *e)
{
	const struct uvs_error *next = s->dgram.errors;

	if (next != NULL && from_icmp(next))
		s->err = (int)next->ee.ee_errno;
	else if (from_icmp(e))
		s->err = 0;
	uvs_publish(s, next != NULL ? UVS_STATE_CHANGED : 0);
}

ssize_t
uvs_error_recv(struct uvs_sock *s, struct msghdr *msg)
{
	struct uvs_error *e = take(s);
	struct uvs_control control = {.msg = msg, .of_error = true};
	size_t n = 0;

	if (e == NULL)
		return -EAGAIN;
	for (size_t i = 0; i < msg->msg_iovlen && n < e->len; i++) {
		size_t part = MIN(e->len - n, msg->msg_iov[i].iov_len);

		memcpy(msg->msg_iov[i].iov_base, e->data + n, part);
		n += part;
	}
	msg->msg_flags = MSG_ERRQUEUE | (n < e->len ? MSG_TRUNC : 0);
	if (msg->msg_name != NULL)
		uvs_addr_to(&e->dest, s->domain, msg->msg_name, &msg->msg_namelen);
	put_error(&control, s, e);
	uvs_control_end(&control);
	after(s, e);
	free(e);
	return (ssize_t)n;
}
