/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets apart from their protocol: life cycle, references, level and watches, and the way of each
 * operation of sock.h into the instance. */
#include "stack/core/latency.h"
#include "stack/core/trace.h"
#include "stack/sock/sock_priv.h"
#include "stack/sock/stack.h"

#include "stack/core/waiter.h"

#include <net/if.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <linux/sockios.h>

/* ----------------------------------------------------------------------------- into the instance
 */

/* Everything below has this form: arguments in a struct, a function that runs under the instance. A
 * signal handler that interrupted this very thread inside the stack is told EAGAIN, which a socket
 * that does not block may always say. */
static long
call(struct uvs_sock *s, uvs_call_fn fn, void *arg)
{
	long r;

	if (unlikely(s->epoch != uvs_stack_epoch()))
		return -EBADF;
	r = uvs_model->call(s->in, fn, arg);
	return r == -EDEADLK ? -EAGAIN : r;
}

void
uvs_call_surely(struct uvs_instance *in, uvs_call_fn fn, void *arg)
{
	while (uvs_model->call(in, fn, arg) == -EIO)
		;
}

struct op {
	struct uvs_sock *s;
	const struct sockaddr *addr;
	socklen_t len;
	int flags; /* backlog, how, level ... */
	int name;
	void *val;
	socklen_t *vallen;
};

/* -------------------------------------------------------------------------------------- level */

static void
fire(struct uvs_sock *s, uint32_t events)
{
	struct uvs_watch *next;

	for (struct uvs_watch *w = s->watches; w != NULL; w = next) {
		next = w->next;
		w->fire(w, events);
	}
}

void
uvs_publish(struct uvs_sock *s, uint32_t what)
{
	uint32_t level = s->proto->level(s), risen = level & ~s->events;

	if (level != s->events)
		__atomic_store_n(&s->events, level, __ATOMIC_RELEASE);
	/* A level that only fell is no news to anyone who waits; it is to be seen, not heard. */
	if ((what | risen) == 0)
		return;
	__atomic_store_n(&s->seq, s->seq + 1, __ATOMIC_RELEASE);
	fire(s, what | risen);
	if (unlikely(s->member != NULL))
		uvs_spread_nudge(s->member);
}

static const struct uvs_spread *
spread_of(const struct uvs_sock *s)
{
	return __atomic_load_n(&s->spread, __ATOMIC_ACQUIRE);
}

uint32_t
uvs_sock_events(const struct uvs_sock *s)
{
	const struct uvs_spread *spread = spread_of(s);
	uint32_t level = __atomic_load_n(&s->events, __ATOMIC_ACQUIRE);

	return likely(spread == NULL) ? level : level | uvs_spread_events(spread);
}

uint32_t
uvs_sock_seq(const struct uvs_sock *s)
{
	const struct uvs_spread *spread = spread_of(s);
	uint32_t seq = __atomic_load_n(&s->seq, __ATOMIC_ACQUIRE);

	return likely(spread == NULL) ? seq : seq + uvs_spread_seq(spread);
}

void
uvs_sock_fail(struct uvs_sock *s, int err)
{
	s->err = err;
	uvs_publish(s, UVS_STATE_CHANGED);
}

int
uvs_sock_take_error(struct uvs_sock *s)
{
	int err = s->err;

	if (err == 0)
		return 0;
	s->err = 0;
	uvs_publish(s, 0);
	return -err;
}

static long
do_watch_add(void *arg)
{
	struct uvs_watch *w = arg;
	struct uvs_sock *s = w->sock;

	w->next = s->watches;
	w->prev = &s->watches;
	if (w->next != NULL)
		w->next->prev = &w->next;
	s->watches = w;
	return 0;
}

static long
do_watch_del(void *arg)
{
	struct uvs_watch *w = arg;

	if (w->prev == NULL)
		return 0;
	*w->prev = w->next;
	if (w->next != NULL)
		w->next->prev = w->prev;
	w->prev = NULL;
	return 0;
}

void
uvs_watch_add(struct uvs_sock *s, struct uvs_watch *w)
{
	w->sock = s;
	w->prev = NULL;
	call(s, do_watch_add, w);
}

void
uvs_watch_del(struct uvs_watch *w)
{
	if (w->sock->epoch != uvs_stack_epoch())
		return; /* forked: nobody fires any more */
	uvs_call_surely(w->sock->in, do_watch_del, w);
}

/* ---------------------------------------------------------------------------------- life cycle */

static const struct uvs_proto *
proto_of(int type, int protocol)
{
	if (type == SOCK_STREAM)
		return &uvs_proto_tcp;
	if (type == SOCK_RAW)
		return &uvs_proto_raw;
	return protocol == IPPROTO_UDP ? &uvs_proto_udp : &uvs_proto_ping;
}

static struct uvs_sock *
sock_alloc(struct uvs_instance *in, int domain, int type, int protocol)
{
	struct uvs_sock *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->refs = 1;
	s->in = in;
	s->proto = proto_of(type, protocol);
	s->epoch = uvs_stack_epoch();
	s->domain = domain;
	s->type = type;
	s->protocol = protocol;
	return s;
}

/* Chooses the protocol if that was left open. */
static int
check_kind(int domain, int type, int *protocol)
{
	int echo = domain == AF_INET6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;

	if (domain != AF_INET && domain != AF_INET6)
		return -EAFNOSUPPORT;
	switch (type) {
	case SOCK_STREAM:
		*protocol = *protocol == 0 ? IPPROTO_TCP : *protocol;
		return *protocol == IPPROTO_TCP ? 0 : -EPROTONOSUPPORT;
	case SOCK_DGRAM:
		*protocol = *protocol == 0 ? IPPROTO_UDP : *protocol;
		return *protocol == IPPROTO_UDP || *protocol == echo ? 0 : -EPROTONOSUPPORT;
	case SOCK_RAW:
		return *protocol > 0 && *protocol <= UINT8_MAX ? 0 : -EPROTONOSUPPORT;
	default:
		return -ESOCKTNOSUPPORT;
	}
}

static long
do_open(void *arg)
{
	struct uvs_sock *s = arg;

	return s->proto->open(s);
}

static int
open_now(struct uvs_sock *s)
{
	int r = s->proto->open != NULL ? uvs_stack_ready(s->in) : 0;

	return r == 0 && s->proto->open != NULL ? (int)call(s, do_open, s) : r;
}

int
uvs_sock_new_on(struct uvs_instance *in, int domain, int type, int protocol, struct uvs_sock **out)
{
	int r = check_kind(domain, type & 0xf, &protocol);
	struct uvs_sock *s;

	if (r < 0)
		return r;
	type &= 0xf; /* SOCK_NONBLOCK, SOCK_CLOEXEC are the descriptor's */
	s = sock_alloc(in, domain, type, protocol);
	if (s == NULL)
		return -ENOMEM;
	uvs_opts_init(&s->opt, in->conf, type);
	r = open_now(s);
	if (r < 0) {
		free(s);
		return r;
	}
	s->events = s->proto->level(s);
	*out = s;
	return 0;
}

/* Of several stacks each gets its share of sockets. */
static struct uvs_instance *
next_instance(void)
{
	static uint32_t turn; /* atomic */
	unsigned int n;
	struct uvs_instance *const *in = uvs_stack_instances(&n);

	return n == 1 ? in[0] : in[__atomic_fetch_add(&turn, 1, __ATOMIC_RELAXED) % n];
}

int
uvs_sock_new(int domain, int type, int protocol, struct uvs_sock **out)
{
	return uvs_sock_new_on(next_instance(), domain, type, protocol, out);
}

struct uvs_sock *
uvs_sock_child(struct uvs_sock *listener)
{
	struct uvs_sock *s =
		sock_alloc(listener->in, listener->domain, listener->type, listener->protocol);

	if (s != NULL)
		s->opt = listener->opt;
	return s;
}

struct uvs_sock *
uvs_sock_get(struct uvs_sock *s)
{
	__atomic_fetch_add(&s->refs, 1, __ATOMIC_RELAXED);
	return s;
}

void
uvs_sock_close(struct uvs_sock *s)
{
	UVS_TRACE(close, s);
	s->proto->close(s);
	uvs_unstarve(&s->starved);
	if (s->spread != NULL)
		uvs_spread_face_closes(s->spread);
}

static long
do_close(void *arg)
{
	struct uvs_sock *s = arg;

	uvs_sock_close(s);
	return 0;
}

static void
close_deferred(struct uvs_deferred *d)
{
	struct uvs_sock *s = (struct uvs_sock *)((char *)d - offsetof(struct uvs_sock, deferred));

	uvs_sock_close(s);
	free(s);
}

/* In a forked child: the wire is the parent's. */
static void
forget(struct uvs_sock *s)
{
	if (s->spread != NULL)
		uvs_spread_forget(s->spread);
	free(s);
}

void
uvs_sock_put(struct uvs_sock *s)
{
	if (__atomic_fetch_sub(&s->refs, 1, __ATOMIC_ACQ_REL) != 1)
		return;
	if (s->epoch != uvs_stack_epoch()) {
		forget(s);
		return;
	}
	if (s->spread != NULL)
		uvs_spread_close(s->spread);
	/* Not now, or the stack's thread does not answer: whoever runs the instance next closes it.
	 */
	if (uvs_model->call(s->in, do_close, s) < 0) {
		s->deferred.run = close_deferred;
		uvs_inst_defer(s->in, &s->deferred);
		return;
	}
	free(s);
}

/* ------------------------------------------------------------------------------------ bind etc. */

int
uvs_sock_bind_port(struct uvs_sock *s, struct uvs_ports *ports, const struct uvs_addr *a)
{
	struct uvs_port_use *u = calloc(1, sizeof(*u));
	int r;

	if (u == NULL)
		return -ENOMEM;
	u->local = *a;
	u->remote.ip = s->remote.ip;
	u->remote.port = s->remote.port;
	u->reuseaddr = s->opt.reuseaddr != 0;
	u->reuseport = s->opt.reuseport != 0;
	u->party = s->member != NULL ? s->member->spread : NULL;
	u->owner = s;
	r = uvs_ports_bind(ports, u);
	if (r < 0) {
		free(u);
		return r;
	}
	s->use = u;
	s->local = u->local;
	return 0;
}

static long
do_bind(void *arg)
{
	struct op *o = arg;
	struct uvs_sock *s = o->s;
	struct uvs_addr a;
	int r = uvs_addr_from(&a, s->domain, s->opt.v6only, o->addr, o->len);

	if (r < 0)
		return r;
	if (s->use != NULL)
		return -EINVAL;
	if (!uvs_addr_is_local(&a.ip))
		return -EADDRNOTAVAIL;
	if (a.port != 0 && a.port < 1024 && !uvs_stack_may_bind_low())
		return -EACCES;
	r = s->proto->bind(s, &a);
	UVS_TRACE(bind, s, r);
	return r;
}

int
uvs_sock_bind(struct uvs_sock *s, const struct sockaddr *addr, socklen_t len)
{
	struct op o = {.s = s, .addr = addr, .len = len};
	int r = uvs_stack_ready(s->in);

	return r < 0 ? r : (int)call(s, do_bind, &o);
}

static long
do_listen(void *arg)
{
	struct op *o = arg;
	int backlog = o->flags;
	int most = (int)o->s->in->conf->somaxconn, r;

	/* As the kernel: negative means the most. */
	if ((unsigned int)backlog > (unsigned int)most)
		backlog = most;
	r = o->s->proto->listen(o->s, backlog);
	UVS_TRACE(listen, o->s, r);
	return r;
}

static long do_shutdown(void *arg);

/* On the other stacks, too; on all of them or none. */
static int
listen_elsewhere(struct uvs_sock *s, struct op *o)
{
	int r = uvs_spread_over(s);

	if (r == 0)
		r = (int)uvs_spread_call(s, do_listen, o, &o->s);
	if (r == 0)
		return 0;
	*o = (struct op){.s = s, .flags = SHUT_RDWR};
	call(s, do_shutdown, o);
	uvs_spread_call(s, do_shutdown, o, &o->s);
	return r;
}

int
uvs_sock_listen(struct uvs_sock *s, int backlog)
{
	struct op o = {.s = s, .flags = backlog};
	int r = uvs_stack_ready(s->in);

	if (r == 0)
		r = (int)call(s, do_listen, &o);
	if (r == 0)
		r = listen_elsewhere(s, &o);
	return r;
}

static long
do_connect(void *arg)
{
	struct op *o = arg;
	struct uvs_sock *s = o->s;
	struct uvs_addr a;
	int r;

	if (o->addr == NULL || o->len < (socklen_t)sizeof(o->addr->sa_family))
		return -EINVAL;
	if (o->addr->sa_family == AF_UNSPEC)
		return s->proto->disconnect(s);
	r = uvs_addr_from(&a, s->domain, s->opt.v6only, o->addr, o->len);
	r = r < 0 ? r : s->proto->connect(s, &a);
	UVS_TRACE(connect, s, r);
	return r;
}

int
uvs_sock_connect(struct uvs_sock *s, const struct sockaddr *addr, socklen_t len)
{
	struct op o = {.s = s, .addr = addr, .len = len};
	int r = uvs_stack_ready(s->in);

	if (r == 0)
		r = (int)call(s, do_connect, &o);
	/* A listener was told to be one no longer. */
	if (r == 0 && !uvs_sock_listening(s))
		uvs_spread_call(s, do_connect, &o, &o.s);
	return r;
}

struct accept_op {
	struct uvs_sock *s, **out;
	struct sockaddr *addr;
	socklen_t *len;
};

static long
do_accept(void *arg)
{
	struct accept_op *o = arg;
	int r = o->s->proto->accept(o->s, o->out);

	UVS_TRACE(accept, o->s, r);
	if (r == 0)
		uvs_addr_to(&(*o->out)->remote, (*o->out)->domain, o->addr, o->len);
	return r;
}

int
uvs_sock_accept(struct uvs_sock *s, struct uvs_sock **out, struct sockaddr *addr, socklen_t *len)
{
	struct accept_op o = {s, out, addr, len};
	int r = -EAGAIN;

	if (!uvs_sock_listening(s))
		return (int)call(s, do_accept, &o);
	/* Nothing there: known without an instance. Or another thread is faster: once round. */
	for (unsigned int i = uvs_spread_width(s); r == -EAGAIN && i > 0; i--) {
		o.s = uvs_spread_ready(s);
		if (o.s == NULL)
			return -EAGAIN;
		r = (int)call(o.s, do_accept, &o);
	}
	return r;
}

static long
do_shutdown(void *arg)
{
	struct op *o = arg;

	return o->s->proto->shutdown(o->s, o->flags);
}

int
uvs_sock_shutdown(struct uvs_sock *s, int how)
{
	struct op o = {.s = s, .flags = how};
	int r;

	if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
		return -EINVAL;
	r = (int)call(s, do_shutdown, &o);
	if (r == 0)
		uvs_spread_call(s, do_shutdown, &o, &o.s);
	return r;
}

/* --------------------------------------------------------------------------------------- data */

struct msg_op {
	struct uvs_sock *s;
	struct msghdr *msg;
	const struct msghdr *out;
	int flags;
};

/* Without any of these there is nothing to receive. */
#define NEWS (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)

static long
do_recv(void *arg)
{
	struct msg_op *o = arg;
	ssize_t r;

	r = o->s->proto->recv(o->s, o->msg, o->flags);
	UVS_TRACE(recv, o->s, r);
	return r;
}

ssize_t
uvs_sock_recvmsg(struct uvs_sock *s, struct msghdr *msg, int flags)
{
	struct msg_op o = {.s = s, .msg = msg, .flags = flags};

	/* An open connection with nothing to read: known without the instance. */
	if ((uvs_sock_events(s) & NEWS) == 0 && s->opt.rcvlowat <= 1 && !uvs_sock_listening(s) &&
	    (flags & MSG_OOB) == 0)
		return s->epoch == uvs_stack_epoch() ? -EAGAIN : -EBADF;
	return call(s, do_recv, &o);
}

struct mmsg_op {
	struct uvs_sock *s;
	struct mmsghdr *v;
	unsigned int n;
	int flags;
};

static long
do_recv_many(void *arg)
{
	struct mmsg_op *o = arg;
	unsigned int i;
	ssize_t r = 0;

	for (i = 0; i < o->n; i++) {
		r = o->s->proto->recv(o->s, &o->v[i].msg_hdr, o->flags);
		if (r < 0)
			break;
		o->v[i].msg_len = (unsigned int)r;
	}
	if (i == 0)
		return r;
	if (r < 0 && r != -EAGAIN)
		uvs_sock_fail(o->s, (int)-r);
	return i;
}

int
uvs_sock_recvmmsg(struct uvs_sock *s, struct mmsghdr *v, unsigned int n, int flags)
{
	struct mmsg_op o = {s, v, n, flags};

	if ((uvs_sock_events(s) & NEWS) == 0)
		return s->epoch == uvs_stack_epoch() ? -EAGAIN : -EBADF;
	return (int)call(s, do_recv_many, &o);
}

static long
do_send_many(void *arg)
{
	struct mmsg_op *o = arg;
	unsigned int i;
	ssize_t r = 0;

	for (i = 0; i < o->n; i++) {
		r = o->s->proto->send(o->s, &o->v[i].msg_hdr, o->flags);
		if (r < 0)
			break;
		o->v[i].msg_len = (unsigned int)r;
	}
	return i == 0 ? r : i;
}

int
uvs_sock_sendmmsg(struct uvs_sock *s, struct mmsghdr *v, unsigned int n, int flags)
{
	struct mmsg_op o = {s, v, n, flags};
	int r = uvs_stack_ready(s->in);

	return r < 0 ? r : (int)call(s, do_send_many, &o);
}

static long
do_send(void *arg)
{
	struct msg_op *o = arg;
	ssize_t r;

	if (uvs_latency_on(o->s->in))
		uvs_latency_write(o->s->in);
	r = o->s->proto->send(o->s, o->out, o->flags);
	UVS_TRACE(send, o->s, r);
	return r;
}

ssize_t
uvs_sock_sendmsg(struct uvs_sock *s, const struct msghdr *msg, int flags)
{
	struct msg_op o = {.s = s, .out = msg, .flags = flags};

	if (s->type != SOCK_STREAM) {
		int r = uvs_stack_ready(s->in);

		if (r < 0)
			return r;
	}
	return call(s, do_send, &o);
}

/* ------------------------------------------------------------------------------------ questions */

static long
do_getsockname(void *arg)
{
	struct op *o = arg;
	struct uvs_sock *s = o->s;
	struct uvs_addr a = s->local;

	/* "Any" in the words of the family. */
	if (s->domain == AF_INET && !IP_IS_V4_VAL(a.ip))
		a.ip = (ip_addr_t)IPADDR4_INIT(0);
	if (s->domain == AF_INET6 && IP_IS_V4_VAL(a.ip) && ip4_addr_isany_val(*ip_2_ip4(&a.ip)))
		a.ip = (ip_addr_t)IPADDR_ANY_TYPE_INIT;
	uvs_addr_to(&a, s->domain, o->val, o->vallen);
	return 0;
}

int
uvs_sock_getsockname(struct uvs_sock *s, struct sockaddr *addr, socklen_t *len)
{
	struct op o = {.s = s, .val = addr, .vallen = len};

	return (int)call(s, do_getsockname, &o);
}

static long
do_getpeername(void *arg)
{
	struct op *o = arg;

	/* A raw socket whose peer has no "port" is not connected to the eye. */
	if (!o->s->proto->has_peer(o->s) || o->s->remote.port == 0)
		return -ENOTCONN;
	uvs_addr_to(&o->s->remote, o->s->domain, o->val, o->vallen);
	return 0;
}

int
uvs_sock_getpeername(struct uvs_sock *s, struct sockaddr *addr, socklen_t *len)
{
	struct op o = {.s = s, .val = addr, .vallen = len};

	return (int)call(s, do_getpeername, &o);
}

static long
do_getsockopt(void *arg)
{
	struct op *o = arg;

	return uvs_opts_get(o->s, o->flags, o->name, o->val, o->vallen);
}

int
uvs_sock_getsockopt(struct uvs_sock *s, int level, int name, void *val, socklen_t *len)
{
	struct op o = {.s = s, .flags = level, .name = name, .val = val, .vallen = len};

	return (int)call(s, do_getsockopt, &o);
}

struct setopt_op {
	struct uvs_sock *s;
	int level, name;
	const void *val;
	socklen_t len;
};

static long
do_setsockopt(void *arg)
{
	struct setopt_op *o = arg;
	int r = uvs_opts_set(o->s, o->level, o->name, o->val, o->len);

	if (r == 0)
		o->s->proto->apply(o->s);
	return r;
}

int
uvs_sock_setsockopt(struct uvs_sock *s, int level, int name, const void *val, socklen_t len)
{
	struct setopt_op o = {s, level, name, val, len};
	int r = (int)call(s, do_setsockopt, &o);

	if (r == 0) /* what is accepted is like its listener */
		uvs_spread_call(s, do_setsockopt, &o, &o.s);
	return r;
}

uint64_t
uvs_sock_timeout(struct uvs_sock *s, short dir)
{
	return __atomic_load_n(dir & EPOLLIN ? &s->opt.rcvtimeo : &s->opt.sndtimeo,
			       __ATOMIC_RELAXED);
}

int
uvs_sock_domain(const struct uvs_sock *s)
{
	return s->domain;
}

int
uvs_sock_type(const struct uvs_sock *s)
{
	return s->type;
}

bool
uvs_sock_listening(const struct uvs_sock *s)
{
	return __atomic_load_n(&s->listening, __ATOMIC_RELAXED);
}

/* --------------------------------------------------------------------------------------- ioctl */

static int
ioctl_ifreq(struct uvs_instance *in, unsigned long req, struct ifreq *ifr)
{
	struct sockaddr_in *a = (struct sockaddr_in *)(void *)&ifr->ifr_addr;
	const struct netif *n = uvs_addr_interface_named(ifr->ifr_name);

	if (n == NULL || n == &in->lo)
		return -ENODEV;
	memset(&ifr->ifr_ifru, 0, sizeof(ifr->ifr_ifru));
	switch (req) {
	case SIOCGIFADDR:
		*a = (struct sockaddr_in){.sin_family = AF_INET,
					  .sin_addr.s_addr = netif_ip4_addr(n)->addr};
		return 0;
	case SIOCGIFNETMASK:
		a->sin_family = AF_INET;
		a->sin_addr.s_addr = netif_ip4_netmask(n)->addr;
		return 0;
	case SIOCGIFBRDADDR:
		a->sin_family = AF_INET;
		a->sin_addr.s_addr = netif_ip4_addr(n)->addr | ~netif_ip4_netmask(n)->addr;
		return 0;
	case SIOCGIFMTU:
		ifr->ifr_mtu = n->mtu;
		return 0;
	case SIOCGIFFLAGS:
		ifr->ifr_flags = IFF_UP | IFF_RUNNING | IFF_BROADCAST | IFF_MULTICAST;
		return 0;
	case SIOCGIFINDEX:
		ifr->ifr_ifindex = netif_get_index(n);
		return 0;
	case SIOCGIFHWADDR:
		ifr->ifr_hwaddr.sa_family = 1; /* ARPHRD_ETHER */
		memcpy(ifr->ifr_hwaddr.sa_data, in->port.mac.addr_bytes, 6);
		return 0;
	}
	return -ENOTTY;
}

static long
do_ioctl(void *arg)
{
	struct op *o = arg;
	struct uvs_sock *s = o->s;
	unsigned long req = (unsigned int)o->name;
	int n;

	switch (req) {
	case FIONREAD:
		if (uvs_sock_listening(s))
			return -EINVAL;
		n = (int)s->proto->unread(s, true);
		break;
	case SIOCOUTQ:
		if (uvs_sock_listening(s))
			return -EINVAL;
		n = (int)s->proto->unsent(s);
		break;
	case SIOCATMARK:
		n = 0;
		break;
	default:
		return ioctl_ifreq(s->in, req, o->val);
	}
	memcpy(o->val, &n, sizeof(n));
	return 0;
}

static bool
known_ioctl(unsigned long req)
{
	switch (req) {
	case FIONREAD:
	case SIOCOUTQ:
	case SIOCATMARK:
	case SIOCGIFADDR:
	case SIOCGIFNETMASK:
	case SIOCGIFBRDADDR:
	case SIOCGIFMTU:
	case SIOCGIFFLAGS:
	case SIOCGIFINDEX:
	case SIOCGIFHWADDR:
		return true;
	}
	return false;
}

int
uvs_sock_ioctl(struct uvs_sock *s, unsigned long req, void *arg)
{
	struct op o = {.s = s, .name = (int)req, .val = arg};

	if (!known_ioctl(req))
		return -ENOTTY;
	if (arg == NULL)
		return -EFAULT;
	return (int)call(s, do_ioctl, &o);
}

/* -------------------------------------------------------------------------------------- errors */

int
uvs_errno(err_t err)
{
	switch (err) {
	case ERR_OK:
		return 0;
	case ERR_MEM:
	case ERR_BUF:
		return -ENOBUFS;
	case ERR_TIMEOUT:
		return -ETIMEDOUT;
	case ERR_RTE:
		return -ENETUNREACH;
	case ERR_INPROGRESS:
		return -EINPROGRESS;
	case ERR_VAL:
	case ERR_ARG:
		return -EINVAL;
	case ERR_WOULDBLOCK:
		return -EAGAIN;
	case ERR_USE:
		return -EADDRINUSE;
	case ERR_ALREADY:
		return -EALREADY;
	case ERR_ISCONN:
		return -EISCONN;
	case ERR_CONN:
		return -ENOTCONN;
	case ERR_IF:
		return -EIO;
	case ERR_ABRT:
		return -ECONNABORTED;
	case ERR_RST:
		return -ECONNRESET;
	case ERR_CLSD:
		return -EPIPE;
	default:
		return -EIO;
	}
}
