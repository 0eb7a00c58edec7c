/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Control messages of datagrams, both ways: ip(7), ipv6(7), udp(7), and SO_TIMESTAMP. In the order
 * in which the kernel puts them. */
#include "stack/sock/dgram.h"

#include <linux/udp.h>
#include <net/if.h>
#include <sys/param.h>
#include <sys/time.h>

/* -------------------------------------------------------------------------------------- received
 */

void
uvs_control_put(struct uvs_control *control, int level, int type, const void *data, size_t len)
{
	struct msghdr *msg = control->msg;
	size_t room = msg->msg_controllen - control->used;
	struct cmsghdr *c;

	if (msg->msg_control == NULL || room < CMSG_LEN(len)) {
		msg->msg_flags |= MSG_CTRUNC;
		return;
	}
	c = (struct cmsghdr *)(void *)((char *)msg->msg_control + control->used);
	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	control->used += MIN(room, CMSG_SPACE(len));
}

void
uvs_control_end(const struct uvs_control *c)
{
	c->msg->msg_controllen = c->used;
}

static void
put_time(struct uvs_control *c, const struct uvs_sock *s, uint64_t ns)
{
	struct timespec ts = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
	struct timeval tv = {ts.tv_sec, ts.tv_nsec / 1000};

	if (s->opt.timestamp == UVS_STAMP_NS)
		uvs_control_put(c, SOL_SOCKET, SO_TIMESTAMPNS, &ts, sizeof(ts));
	else
		uvs_control_put(c, SOL_SOCKET, SO_TIMESTAMP, &tv, sizeof(tv));
}

/* The address to answer from: what the packet was for, or one of ours if that was many. */
static uint32_t
spec_dst(const struct uvs_packet_note *note)
{
	const ip4_addr_t *dst = ip_2_ip4(&note->dst);
	struct netif *n = netif_get_by_index(note->if_idx);

	if (n != NULL && (ip4_addr_ismulticast(dst) || ip4_addr_isbroadcast(dst, n)))
		return uvl_ip4_source(n, ip_2_ip4(&note->src))->addr;
	return dst->addr;
}

static void
put_pktinfo4(struct uvs_control *c, const struct uvs_packet_note *note)
{
	struct in_pktinfo info = {.ipi_ifindex = note->if_idx};

	info.ipi_addr.s_addr = ip_2_ip4(&note->dst)->addr;
	info.ipi_spec_dst.s_addr = c->of_error ? 0 : spec_dst(note);
	uvs_control_put(c, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
}

static void
put_pktinfo6(struct uvs_control *c, const struct uvs_packet_note *note, int type)
{
	struct uvs_addr dst = {.ip = note->dst};
	struct in6_pktinfo info = {.ipi6_ifindex = note->if_idx};
	struct sockaddr_in6 addr;
	socklen_t len = sizeof(addr);

	uvs_addr_to(&dst, AF_INET6, (struct sockaddr *)&addr, &len);
	info.ipi6_addr = addr.sin6_addr;
	uvs_control_put(c, IPPROTO_IPV6, type, &info, sizeof(info));
}

static void
put_of_packet4(struct uvs_control *c, const struct uvs_sock *s, const struct uvs_packet_note *note)
{
	int ttl = note->ttl;

	if (s->opt.pktinfo)
		put_pktinfo4(c, note);
	if (s->opt.recvttl)
		uvs_control_put(c, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl));
	if (s->opt.recvtos)
		uvs_control_put(c, IPPROTO_IP, IP_TOS, &note->tos, sizeof(note->tos));
}

static void
put_of_packet6(struct uvs_control *c, const struct uvs_sock *s, const struct uvs_packet_note *note)
{
	int ttl = note->ttl, tos = note->tos;

	if (s->opt.v6_recvhops)
		uvs_control_put(c, IPPROTO_IPV6, IPV6_HOPLIMIT, &ttl, sizeof(ttl));
	if (s->opt.v6_old_recvhops)
		uvs_control_put(c, IPPROTO_IPV6, IPV6_2292HOPLIMIT, &ttl, sizeof(ttl));
	if (s->opt.v6_recvtclass)
		uvs_control_put(c, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
}

void
uvs_control_note(struct uvs_control *c, const struct uvs_sock *s,
		 const struct uvs_packet_note *note)
{
	int segment = note->segment;

	if (s->opt.timestamp != UVS_STAMP_NONE)
		put_time(c, s, note->when_ns);
	if (s->opt.gro && note->extra != 0)
		uvs_control_put(c, IPPROTO_UDP, UDP_GRO, &segment, sizeof(segment));
	if (s->opt.v6_pktinfo && s->domain == AF_INET6)
		put_pktinfo6(c, note, IPV6_PKTINFO);
	if (s->opt.v6_old_pktinfo && s->domain == AF_INET6)
		put_pktinfo6(c, note, IPV6_2292PKTINFO);
	if (IP_IS_V4_VAL(note->dst))
		put_of_packet4(c, s, note);
	else
		put_of_packet6(c, s, note);
}

/* ------------------------------------------------------------------------------------------ sent
 */

static bool
holds(const struct cmsghdr *c, size_t len)
{
	return c->cmsg_len == CMSG_LEN(len);
}

static int
take_number(const struct cmsghdr *c, int least, int *out)
{
	int v;

	if (!holds(c, sizeof(v)))
		return -EINVAL;
	memcpy(&v, CMSG_DATA(c), sizeof(v));
	if (v < least || v > 255)
		return -EINVAL;
	*out = v;
	return 0;
}

static int
take_tos4(const struct cmsghdr *c, int *out)
{
	if (!holds(c, 1))
		return take_number(c, 0, out);
	*out = *CMSG_DATA(c);
	return 0;
}

/* -EINVAL if the socket is bound to another one. */
static int
take_interface(struct uvs_dest *d, int index)
{
	if (index == 0)
		return 0;
	if (uvs_addr_interface(index) == NULL)
		return -ENODEV;
	if (d->device != 0 && d->device != index)
		return -EINVAL;
	d->device = index;
	return 0;
}

/* The source; -EINVAL if it is none of this host's. */
static int
take_pktinfo4(const struct cmsghdr *c, struct uvs_dest *d)
{
	struct in_pktinfo info;
	int r;

	if (!holds(c, sizeof(info)))
		return -EINVAL;
	memcpy(&info, CMSG_DATA(c), sizeof(info));
	r = take_interface(d, info.ipi_ifindex);
	if (r < 0 || info.ipi_spec_dst.s_addr == 0)
		return r;
	d->from = (ip_addr_t)IPADDR4_INIT(info.ipi_spec_dst.s_addr);
	return uvs_addr_is_local(&d->from) ? 0 : -EINVAL;
}

static int
take_pktinfo6(const struct cmsghdr *c, struct uvs_dest *d)
{
	struct in6_pktinfo info;
	struct sockaddr_in6 a = {.sin6_family = AF_INET6};
	struct uvs_addr from;
	int r;

	if (c->cmsg_len < CMSG_LEN(sizeof(info)))
		return -EINVAL;
	memcpy(&info, CMSG_DATA(c), sizeof(info));
	a.sin6_addr = info.ipi6_addr;
	a.sin6_scope_id = info.ipi6_ifindex;
	r = take_interface(d, (int)info.ipi6_ifindex);
	if (r < 0 || IN6_IS_ADDR_UNSPECIFIED(&info.ipi6_addr))
		return r;
	r = uvs_addr_from(&from, AF_INET6, true, (struct sockaddr *)&a, sizeof(a));
	if (r < 0)
		return r;
	d->from = from.ip;
	return uvs_addr_is_local(&d->from) ? 0 : -EINVAL;
}

static int
take_segment(const struct cmsghdr *c, struct uvs_dest *d)
{
	uint16_t segment;

	if (!holds(c, sizeof(segment)))
		return -EINVAL;
	memcpy(&segment, CMSG_DATA(c), sizeof(segment));
	d->segment = segment;
	return 0;
}

/* As ip_cmsg_send() of the kernel. */
static int
take_ip4(const struct cmsghdr *c, struct uvs_dest *d)
{
	switch (c->cmsg_type) {
	case IP_PKTINFO:
		return take_pktinfo4(c, d);
	case IP_TOS:
		return take_tos4(c, &d->tos);
	case IP_TTL:
		return take_number(c, 1, &d->ttl);
	default:
		return -EINVAL;
	}
}

/* As ip6_datagram_send_ctl(); -1: the socket's own. */
static int
take_ip6(const struct cmsghdr *c, struct uvs_dest *d)
{
	switch (c->cmsg_type) {
	case IPV6_PKTINFO:
		return take_pktinfo6(c, d);
	case IPV6_TCLASS:
		return take_number(c, -1, &d->tos);
	case IPV6_HOPLIMIT:
		return take_number(c, -1, &d->ttl);
	default:
		return -EINVAL;
	}
}

static int
take_one(const struct uvs_sock *s, const struct cmsghdr *c, struct uvs_dest *d)
{
	if (c->cmsg_level == IPPROTO_IP)
		return take_ip4(c, d);
	if (c->cmsg_level == IPPROTO_IPV6)
		return s->domain == AF_INET6 ? take_ip6(c, d) : 0;
	if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_SEGMENT)
		return take_segment(c, d);
	return c->cmsg_level == SOL_SOCKET && s->domain == AF_INET ? -EINVAL : 0;
}

/* As the kernel: a message that is longer than what is left of them is an error, and a rest too
 * short for another one is none. The C library's CMSG_NXTHDR() would end the row at either. */
static struct cmsghdr *
cmsg_at(const struct msghdr *msg, size_t at)
{
	if (at > msg->msg_controllen || msg->msg_controllen - at < sizeof(struct cmsghdr))
		return NULL;
	return (struct cmsghdr *)(void *)((char *)msg->msg_control + at);
}

static bool
cmsg_fits(const struct cmsghdr *c, size_t left)
{
	return c->cmsg_len >= sizeof(*c) && c->cmsg_len <= left;
}

int
uvs_control_read(const struct uvs_sock *s, const struct msghdr *msg, struct uvs_dest *d)
{
	const struct cmsghdr *c;
	int r = 0;

	for (size_t at = 0; r == 0 && (c = cmsg_at(msg, at)) != NULL;
	     at += CMSG_ALIGN(c->cmsg_len)) {
		if (!cmsg_fits(c, msg->msg_controllen - at))
			return -EINVAL;
		r = take_one(s, c, d);
	}
	return r;
}
