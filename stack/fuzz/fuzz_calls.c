/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Input: socket calls (stack/sock/sock.h, and native.h) with any arguments, in any order, on a host
 * that talks to itself and to peers whose frames the input makes up; time; memory that is short.
 *
 * Whatever the application does: no byte read or written that is not in what it handed over (each
 * buffer is as long as was said and no longer: address sanitizer), every answer is one that the
 * call can give, the published level is what a poll would find, what has risen was told to the
 * watches, bytes between two sockets of the host arrive as they were sent, and in the end every
 * allocation is given back.
 *
 * An input is a list of steps, each a byte and what it needs; see step(). Watches are what epoll is
 * made of, references what dup() is.
 */
#include "stack/fuzz/sockhost.h" /* <netinet/in.h> comes before lwIP's macros of the same names */

#include "stack/fuzz/host.h"
#include "stack/fuzz/peer.h"
#include "stack/sock/native.h"
#include "stack/sock/sock_priv.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <linux/sockios.h>

#define SLOTS 12
#define SEGS  4
#define PORT  80

/* A descriptor, as it were. */
struct slot {
	struct uvs_sock *s; /* NULL: free */
	struct uvs_watch watch;
	bool watched;
	uint32_t level; /* as the watch knows it */
	uint32_t rung;  /* bits the watch was told of since */
	struct uvstack_seg seg[SEGS];
	unsigned int nseg;
	struct stream *stream;
};

/* What a TCP socket has sent and received: byte n of what it sends is pattern(n). */
struct stream {
	unsigned int refs;
	uint64_t sent, received;
};

static struct slot slots[SLOTS];
static bool forged; /* somebody else than TCP may have made segments of the host's to itself */

static void
must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "does not hold: %s\n", what);
	abort();
}

/* ---- arguments --------------------------------------------------------------------------------
 */

static uint32_t
input_u32(struct input *in)
{
	uint32_t v;

	input_bytes(in, &v, sizeof(v));
	return v;
}

/* Memory of exactly that length, from the input. */
static void *
bytes(struct input *in, size_t len)
{
	void *p = malloc(len);

	must(p != NULL, "memory");
	input_bytes(in, p, len);
	return p;
}

static void
put_ipv6(struct sockaddr_in6 *a, uint8_t kind)
{
	static const struct in6_addr any = IN6ADDR_ANY_INIT, loopback = IN6ADDR_LOOPBACK_INIT;
	uint32_t own = htonl(FUZZ_HOST_IP);

	a->sin6_family = AF_INET6;
	a->sin6_addr = kind == 0 ? any : loopback;
	if (kind == 2) {
		a->sin6_addr = any;
		a->sin6_addr.s6_addr[10] = a->sin6_addr.s6_addr[11] = 0xff;
		memcpy(&a->sin6_addr.s6_addr[12], &own, sizeof(own));
	} else if (kind == 3) {
		memcpy(&a->sin6_addr, netif_ip6_addr(&sockhost.netif, 0), 16);
		a->sin6_scope_id = UVS_IFINDEX_PORT;
	} else if (kind == 4) {
		a->sin6_addr.s6_addr[0] = 0xff;
		a->sin6_addr.s6_addr[1] = 0x02;
	}
}

/* Mostly one that means something; the length is mostly its own. */
static struct sockaddr *
address(struct input *in, socklen_t *len)
{
	static const uint32_t ip4[] = {FUZZ_HOST_IP, FUZZ_HOST_IP, INADDR_ANY,      FUZZ_PEER_IP,
				       0xe0000005u,  0x0a0000ffu,  INADDR_LOOPBACK, 0xffffffffu};
	uint8_t what = input_u8(in), port = input_u8(in);
	union {
		struct sockaddr_storage any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} a = {.any.ss_family = AF_UNSPEC};
	struct sockaddr *out;

	a.v4.sin_port = port < 240 ? htons((uint16_t)(port % 8 == 0 ? 0 : PORT + port % 8))
				   : htons(input_u16(in));
	*len = sizeof(a.v4);
	if ((what & 15) < 8) {
		a.v4.sin_family = AF_INET;
		a.v4.sin_addr.s_addr = htonl(ip4[what & 7]);
	} else if ((what & 15) < 13) {
		put_ipv6(&a.v6, (what & 15) - 8);
		*len = sizeof(a.v6);
	} else if ((what & 15) == 13) {
		input_bytes(in, &a, sizeof(a));
		*len = sizeof(a.v6);
	}
	if (what >= 0xf0)
		*len = input_u8(in) % sizeof(a);
	out = malloc(*len);
	must(out != NULL, "memory");
	memcpy(out, &a, *len);
	return out;
}

#define PIECES 3

static size_t
pieces(struct input *in, struct iovec *v, size_t *n)
{
	uint8_t how = input_u8(in);
	size_t total = 0;

	*n = how % (PIECES + 1);
	for (size_t i = 0; i < *n; i++) {
		v[i].iov_len = how & 0x80 ? input_u16(in) : input_u8(in);
		v[i].iov_base = malloc(v[i].iov_len);
		must(v[i].iov_base != NULL, "memory");
		total += v[i].iov_len;
	}
	return total;
}

/* Control messages: headers that are right, or not quite. */
static void *
control(struct input *in, size_t *len)
{
	static const int level[] = {IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP, SOL_SOCKET};
	uint8_t how = input_u8(in);
	char *p = bytes(in, *len = how % 4 * 24u + (how & 0x80 ? how >> 2 & 15 : 0));

	for (size_t at = 0; at + sizeof(struct cmsghdr) <= *len; at += 24) {
		struct cmsghdr *c = (struct cmsghdr *)(void *)(p + at);

		if (how & 0x40)
			c->cmsg_len = CMSG_LEN(c->cmsg_len % 9);
		c->cmsg_level = level[(unsigned int)c->cmsg_level % 4];
		c->cmsg_type &= 127;
	}
	return p;
}

struct message {
	struct msghdr m;
	struct iovec v[PIECES];
	size_t total;
};

static void
message(struct input *in, struct message *msg)
{
	uint8_t how = input_u8(in);
	socklen_t len;

	memset(msg, 0, sizeof(*msg));
	msg->m.msg_iov = msg->v;
	msg->total = pieces(in, msg->v, &msg->m.msg_iovlen);
	if (how & 1) {
		msg->m.msg_name = address(in, &len);
		msg->m.msg_namelen = len;
	}
	if (how & 2)
		msg->m.msg_control = control(in, &msg->m.msg_controllen);
}

static void
message_free(struct message *msg, const struct msghdr *as_made)
{
	for (size_t i = 0; i < as_made->msg_iovlen; i++)
		free(msg->v[i].iov_base);
	free(as_made->msg_name);
	free(as_made->msg_control);
}

/* ---- streams ----------------------------------------------------------------------------------
 */

static uint8_t
pattern(uint64_t n)
{
	return (uint8_t)(n * 7 + (n >> 8));
}

static void
fill(const struct iovec *v, size_t n, uint64_t from)
{
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < v[i].iov_len; j++)
			((uint8_t *)v[i].iov_base)[j] = pattern(from++);
}

static bool
is_with_itself(const struct uvs_sock *s)
{
	return IP_IS_V4_VAL(s->remote.ip) && ip_2_ip4(&s->remote.ip)->addr == htonl(FUZZ_HOST_IP) &&
	       !forged;
}

static void
compare(const struct slot *f, const uint8_t *data, size_t len, uint64_t from)
{
	for (size_t i = 0; i < len && is_with_itself(f->s); i++)
		must(data[i] == pattern(from + i), "bytes arrive as they were sent");
}

/* ---- watches ----------------------------------------------------------------------------------
 */

static void
on_fire(struct uvs_watch *w, uint32_t events)
{
	struct slot *f = (struct slot *)((char *)w - offsetof(struct slot, watch));

	f->rung |= events;
}

static void
toggle_watch(struct slot *f)
{
	f->watched = !f->watched;
	f->watch.fire = on_fire;
	if (!f->watched) {
		uvs_watch_del(&f->watch);
		return;
	}
	uvs_watch_add(f->s, &f->watch);
	f->level = uvs_sock_events(f->s);
	f->rung = 0;
}

/* What proto->level() would say, without its side effects. */
static uint32_t
level_now(struct uvs_sock *s)
{
	bool want_out = s->type == SOCK_STREAM && s->tcp.want_out;
	uint32_t level = s->proto->level(s);

	if (s->type == SOCK_STREAM)
		s->tcp.want_out = want_out;
	return level;
}

/* Room may come and go unannounced where an acknowledgement, or memory, will tell of it, or the
 * next send find out. */
static void
check_level(const struct slot *f)
{
	uint32_t level = level_now(f->s), told = uvs_sock_events(f->s);

	must((level & ~told & ~(uint32_t)EPOLLOUT) == 0, "no event is kept from who waits");
	must((told & ~level & ~(uint32_t)EPOLLOUT) == 0, "no event is told that there is not");
	if (f->s->type != SOCK_STREAM && (level & ~told) != 0)
		must(f->s->starved.prev != NULL, "who waits for room is on the list");
	else if ((level & ~told) != 0)
		must(f->s->starved.prev != NULL ||
			     (f->s->tcp.want_out && f->s->proto->unsent(f->s) > 0),
		     "somebody will tell of the room there is");
}

static void
check_watch(struct slot *f)
{
	uint32_t level = uvs_sock_events(f->s);

	must((level & ~f->level & ~f->rung) == 0, "a watch hears of what has risen");
	f->level = level;
	f->rung = 0;
}

static void
check_port(const struct uvs_sock *s)
{
	if (s->type == SOCK_STREAM && s->use != NULL)
		must(s->use->listening == (s->tcp.state == UVS_TCP_LISTEN),
		     "ports know who listens");
}

static void
check(void)
{
	for (int i = 0; i < SLOTS; i++) {
		if (slots[i].s == NULL)
			continue;
		check_port(slots[i].s);
		check_level(&slots[i]);
		if (slots[i].watched)
			check_watch(&slots[i]);
	}
}

/* ---- descriptors ------------------------------------------------------------------------------
 */

static struct slot *
free_slot(void)
{
	for (int i = 0; i < SLOTS; i++)
		if (slots[i].s == NULL)
			return &slots[i];
	return NULL;
}

static void
open_slot(struct slot *f, struct uvs_sock *s, struct stream *stream)
{
	*f = (struct slot){.s = s, .stream = stream};
	if (stream == NULL) {
		f->stream = calloc(1, sizeof(*f->stream));
		must(f->stream != NULL, "memory");
	}
	f->stream->refs++;
}

static void
close_slot(struct slot *f)
{
	if (f->watched)
		uvs_watch_del(&f->watch);
	if (f->nseg > 0)
		uvs_native_put(f->s, f->seg, f->nseg);
	uvs_sock_put(f->s);
	if (--f->stream->refs == 0)
		free(f->stream);
	f->s = NULL;
}

static void
new_socket(struct input *in)
{
	static const int domain[] = {AF_INET, AF_INET6, AF_INET, AF_UNIX};
	static const int type[] = {SOCK_STREAM, SOCK_STREAM, SOCK_DGRAM, SOCK_RAW};
	static const int protocol[] = {0, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP};
	uint8_t how = input_u8(in), which = input_u8(in);
	struct slot *f = free_slot();
	struct uvs_sock *s;

	if (f != NULL && uvs_sock_new(domain[how & 3], type[how >> 2 & 3],
				      which < 250 ? protocol[which % 5] : input_u8(in), &s) == 0)
		open_slot(f, s, NULL);
}

static void
accept_on(struct slot *l, struct input *in)
{
	struct slot *f = free_slot();
	socklen_t len = input_u8(in) % 40, room = len;
	struct sockaddr *addr = malloc(room);
	struct uvs_sock *s;
	int r;

	if (f != NULL) {
		r = uvs_sock_accept(l->s, &s, addr, &len);
		must(r <= 0 && (r < 0 || len > 0), "accept");
		if (r == 0)
			open_slot(f, s, NULL);
	}
	free(addr);
}

static void
duplicate(const struct slot *from)
{
	struct slot *f = free_slot();

	if (f != NULL)
		open_slot(f, uvs_sock_get(from->s), from->stream);
}

/* ---- calls ------------------------------------------------------------------------------------
 */

static void
call_with_address(const struct slot *f, struct input *in,
		  int (*fn)(struct uvs_sock *s, const struct sockaddr *addr, socklen_t len))
{
	socklen_t len;
	struct sockaddr *addr = address(in, &len);

	must(fn(f->s, addr, len) <= 0, "0 or an error");
	free(addr);
}

static void
ask_name(const struct slot *f, struct input *in,
	 int (*fn)(struct uvs_sock *s, struct sockaddr *addr, socklen_t *len))
{
	socklen_t len = input_u8(in) % 40;
	struct sockaddr *addr = malloc(len);

	must(fn(f->s, addr, &len) <= 0, "0 or an error");
	free(addr);
}

static void
send_one(struct slot *f, struct input *in)
{
	int flags = (int)input_u32(in);
	struct message msg;
	ssize_t r;

	message(in, &msg);
	fill(msg.v, msg.m.msg_iovlen, f->stream->sent);
	forged |= f->s->type == SOCK_RAW;
	r = uvs_sock_sendmsg(f->s, &msg.m, flags);
	must(r >= -4095 && r <= (ssize_t)msg.total, "sendmsg");
	if (r > 0)
		f->stream->sent += (uint64_t)r;
	message_free(&msg, &msg.m);
}

static void
check_received(struct slot *f, const struct message *msg, size_t n, int flags)
{
	uint64_t at = f->stream->received;

	if (f->s->type != SOCK_STREAM || (flags & (MSG_ERRQUEUE | MSG_OOB)))
		return;
	for (size_t i = 0, left = n; i < msg->m.msg_iovlen && !(flags & MSG_TRUNC); i++) {
		size_t len = msg->v[i].iov_len < left ? msg->v[i].iov_len : left;

		compare(f, msg->v[i].iov_base, len, at);
		at += len;
		left -= len;
	}
	if (!(flags & MSG_PEEK))
		f->stream->received += n;
}

static void
receive_one(struct slot *f, struct input *in)
{
	int flags = (int)input_u32(in);
	struct message msg;
	struct msghdr as_made;
	ssize_t r;

	message(in, &msg);
	as_made = msg.m;
	r = uvs_sock_recvmsg(f->s, &msg.m, flags);
	must(r >= -4095 && (r <= (ssize_t)msg.total || flags & MSG_TRUNC), "recvmsg");
	if (r >= 0) {
		must(msg.m.msg_controllen <= as_made.msg_controllen, "control");
		check_received(f, &msg, (size_t)r, flags);
	}
	message_free(&msg, &as_made);
}

#define MANY 3

static void
many(const struct slot *f, struct input *in, bool out)
{
	struct message msg[MANY];
	struct mmsghdr v[MANY];
	unsigned int n = 1 + input_u8(in) % MANY;
	int flags = (int)input_u32(in), r;

	if (f->s->type == SOCK_STREAM)
		return; /* stack/posix does not */
	for (unsigned int i = 0; i < n; i++) {
		message(in, &msg[i]);
		v[i] = (struct mmsghdr){.msg_hdr = msg[i].m};
	}
	forged |= f->s->type == SOCK_RAW;
	r = out ? uvs_sock_sendmmsg(f->s, v, n, flags) : uvs_sock_recvmmsg(f->s, v, n, flags);
	must(r >= -4095 && r <= (int)n, "as many as there are at most");
	for (unsigned int i = 0; i < n; i++)
		message_free(&msg[i], &msg[i].m);
}

static void
option_name(struct input *in, int *level, int *name)
{
	static const int levels[] = {SOL_SOCKET,  IPPROTO_IP,  IPPROTO_IPV6,   IPPROTO_TCP,
				     IPPROTO_UDP, IPPROTO_RAW, IPPROTO_ICMPV6, 255};
	uint8_t what = input_u8(in);

	*level = levels[what & 7];
	*name = input_u8(in);
	if (what >= 0xf8)
		*name = (int)input_u32(in);
}

static void
set_option(const struct slot *f, struct input *in)
{
	int level, name;
	size_t len = input_u8(in) % 160;
	void *val;

	option_name(in, &level, &name);
	val = bytes(in, len);
	must(uvs_sock_setsockopt(f->s, level, name, val, (socklen_t)len) <= 0, "0 or an error");
	free(val);
}

static void
get_option(const struct slot *f, struct input *in)
{
	int level, name;
	socklen_t room = input_u8(in), len = room;
	void *val;

	option_name(in, &level, &name);
	val = bytes(in, room);
	must(uvs_sock_getsockopt(f->s, level, name, val, &len) <= 0, "0 or an error");
	must(len <= room, "no longer than the room there is");
	free(val);
}

static void
control_socket(const struct slot *f, struct input *in)
{
	static const unsigned long request[] = {FIONREAD,      SIOCOUTQ,       SIOCATMARK,
						SIOCGIFADDR,   SIOCGIFNETMASK, SIOCGIFBRDADDR,
						SIOCGIFMTU,    SIOCGIFFLAGS,   SIOCGIFINDEX,
						SIOCGIFHWADDR, SIOCGIFCONF};
	uint8_t which = input_u8(in);
	unsigned long req = which < 240 ? request[which % 11] : input_u32(in);
	char *arg = bytes(in, 40); /* struct ifreq */

	if (which & 128)
		memcpy(arg, "uv0", 4);
	must(uvs_sock_ioctl(f->s, req, arg) <= 0, "0 or an error");
	free(arg);
}

/* ---- the native interface ---------------------------------------------------------------------
 */

static bool
has_buffers(const struct slot *f)
{
	return f->s->type == SOCK_STREAM || f->s->type == SOCK_DGRAM;
}

static void
native_get(struct slot *f, struct input *in)
{
	unsigned int n = 1 + input_u8(in) % SEGS;

	if (f->nseg == 0 && uvs_native_get(f->s, f->seg, n) == 0)
		f->nseg = n;
}

static void
native_send(struct slot *f, struct input *in)
{
	uint8_t how = input_u8(in);
	socklen_t len = 0;
	struct sockaddr *to = how & 1 ? address(in, &len) : NULL;
	uint64_t at = f->stream->sent;
	int r;

	for (unsigned int i = 0; i < f->nseg; i++) {
		f->seg[i].len = f->seg[i].len * (how >> 2) / 63;
		fill(&(struct iovec){f->seg[i].data, f->seg[i].len}, 1, at);
		at += f->seg[i].len;
	}
	r = uvs_native_send(f->s, f->seg, f->nseg, to, len, how & 2 ? UVSTACK_HOLD : 0);
	free(to);
	must(r <= (int)f->nseg, "as many as there are at most");
	if (r == -ENOMEM && f->s->type == SOCK_STREAM) {
		f->nseg = 0; /* gone */
	} else if (r > 0) {
		f->stream->sent = at;
		f->nseg -= (unsigned int)r;
		memmove(f->seg, f->seg + r, f->nseg * sizeof(f->seg[0]));
	}
}

static void
native_receive(struct slot *f, struct input *in)
{
	int r = f->nseg == 0 ? uvs_native_recv(f->s, f->seg, 1 + input_u8(in) % SEGS) : 0;

	must(r <= SEGS, "as many as there are at most");
	f->nseg += r > 0 ? (unsigned int)r : 0;
	for (int i = 0; i < r && f->s->type == SOCK_STREAM; i++) {
		compare(f, f->seg[i].data, f->seg[i].len, f->stream->received);
		f->stream->received += f->seg[i].len;
	}
}

static void
native(struct slot *f, struct input *in)
{
	if (!has_buffers(f))
		return;
	switch (input_u8(in) % 6) {
	case 0:
		native_get(f, in);
		break;
	case 1:
	case 2:
		native_send(f, in);
		break;
	case 3:
		native_receive(f, in);
		break;
	case 4:
		uvs_native_put(f->s, f->seg, f->nseg);
		f->nseg = 0;
		break;
	default:
		must(uvs_native_flush(f->s) <= 0, "0 or an error");
		break;
	}
}

/* ---- steps ------------------------------------------------------------------------------------
 */

static void
call(struct slot *f, uint8_t what, struct input *in)
{
	switch (what % 18) {
	case 0:
		call_with_address(f, in, uvs_sock_bind);
		break;
	case 1:
	case 2:
		call_with_address(f, in, uvs_sock_connect);
		break;
	case 3:
		must(uvs_sock_listen(f->s, (int8_t)input_u8(in)) <= 0, "0 or an error");
		break;
	case 4:
		accept_on(f, in);
		break;
	case 5:
	case 6:
		send_one(f, in);
		break;
	case 7:
	case 8:
		receive_one(f, in);
		break;
	case 9:
		many(f, in, true);
		break;
	case 10:
		many(f, in, false);
		break;
	case 11:
		must(uvs_sock_shutdown(f->s, input_u8(in) % 4) <= 0, "0 or an error");
		break;
	case 12:
		set_option(f, in);
		break;
	case 13:
		get_option(f, in);
		break;
	case 14:
		control_socket(f, in);
		break;
	case 15:
		ask_name(f, in, uvs_sock_getsockname);
		ask_name(f, in, uvs_sock_getpeername);
		break;
	case 16:
		native(f, in);
		break;
	default:
		toggle_watch(f);
		break;
	}
}

static void
wire(struct input *in)
{
	uint8_t which = input_u8(in), how = input_u8(in);

	switch (how % 8) {
	case 0:
		peer_frame(in, false);
		forged = true;
		break;
	case 1:
		peer_frame(in, true);
		forged = true;
		break;
	case 2:
		peer_ipv4(in);
		break;
	case 3:
	case 4:
		peer_handshake(in, which, PORT + which % 8, how & 0x80);
		break;
	default:
		peer_near(in);
		break;
	}
	sockhost_settle();
}

static void
step(struct input *in)
{
	uint8_t what = input_u8(in);
	struct slot *f;

	switch (what / 16) {
	case 0:
	case 1:
		new_socket(in);
		break;
	case 2:
	case 3:
		wire(in);
		break;
	case 4:
		host_wait(input_u8(in) * (what & 1 ? 4u : 64u));
		sockhost_settle();
		break;
	case 5:
		if (what & 1)
			host_fail(input_u8(in));
		else
			sockhost_memory(input_u8(in) % 3);
		break;
	case 6:
		f = &slots[what % 16 % SLOTS];
		if (f->s != NULL && input_u8(in) % 2)
			duplicate(f);
		else if (f->s != NULL)
			close_slot(f);
		break;
	default:
		f = &slots[what % 16 % SLOTS];
		if (f->s != NULL)
			call(f, input_u8(in), in);
		break;
	}
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	host_spare = 64;
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};

	forged = false;
	sockhost_up();
	fuzz_uvl->guard.limits = (struct uvl_limits){
		.pcbs = 40, .half_open = 8, .time_wait = 8, .synack_retries = 2};
	for (int steps = 0; in.left > 0 && steps < 100; steps++) {
		step(&in);
		check();
	}
	for (int i = 0; i < SLOTS; i++)
		if (slots[i].s != NULL)
			close_slot(&slots[i]);
	sockhost_down();
	return 0;
}
