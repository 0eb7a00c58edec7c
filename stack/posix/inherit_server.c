/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The parent's side of inherit.h: one thread that serves all children.
 *
 * Everything it looks after is a member: an estate, a stream, a listener. A member runs when the
 * kernel says something about its descriptor (edge-triggered) or its watch on a socket of the stack
 * fires, and does all it can until both sides say "not now". No data is kept here: what is copied
 * is looked at on one side (MSG_PEEK), given to the other, and then taken as far as it went.
 */
#include "stack/posix/inherit.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/random.h>

#define CHUNK    65536
#define ROUNDS   16 /* chunks of one stream before others have their turn */
#define EVENTS   64
#define BY_ID    1024 /* buckets */
#define PAIR_ANY (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

struct member {
	struct uvs_watch watch; /* on sock, for streams and listeners */
	struct member *fired_next;
	_Atomic bool fired; /* on the stack of fired ones */
	bool dead;          /* to be freed when nobody can find it any more */
	bool watched;
	struct member *graves;
	void (*run)(struct member *m);
	int fd;            /* in the epoll set */
	uint32_t happened; /* of the kernel, since it ran last */
};

struct stream {
	struct member m;
	struct uvs_sock *sock; /* a reference */
	uint64_t id;
	struct stream *next_by_id;
	bool up_done;   /* the child will write no more */
	bool down_done; /* the peer will, or the child reads no more */
};

struct listener {
	struct member m; /* fd: where messages go in */
	struct uvs_sock *sock;
	int out; /* where children take them out; they get duplicates */
	uint64_t id;
	uint32_t users;
	struct listener *next;
	bool full; /* a message waits in `held` for room */
	int held_fd;
	struct uvp_heir_conn held;
	struct half *half; /* NULL without a kernel half */
};

/* The kernel half of a listener is a member of its own. */
struct half {
	struct member m;
	struct listener *of;
};

struct heir {
	struct member m; /* fd: the parent's end of a child's uplink */
	struct uvp_estate *estate;
	struct listener **uses; /* by bequest, or NULL */
};

static struct {
	struct uvs_waiter *waiter; /* set by the thread before it looks for work */
	_Atomic(struct uvp_estate *) incoming;
	_Atomic(struct member *) fired;
	int epfd;
	struct member *graves;
	struct stream *by_id[BY_ID];
	struct listener *listeners;
	uint64_t next_id;
	_Atomic uint32_t in_use; /* streams, and listeners by their users */
	uint8_t *buf;
} server;

static pthread_mutex_t start_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct uvs_waiter *) server_waiter;
static bool started;

static void
in_use(int change)
{
	uint32_t before = atomic_fetch_add(&server.in_use, (uint32_t)change);

	if (before + (uint32_t)change == 0)
		uvs_sys_futex_wake((uint32_t *)&server.in_use, INT_MAX);
}

/* ------------------------------------------------------------------------------------ members */

static void
member_fire(struct member *m)
{
	struct member *head;

	if (atomic_exchange(&m->fired, true))
		return;
	head = atomic_load(&server.fired);
	do
		m->fired_next = head;
	while (!atomic_compare_exchange_weak(&server.fired, &head, m));
}

static void
on_watch(struct uvs_watch *w, uint32_t events)
{
	(void)events;
	member_fire((struct member *)w);
	uvs_waiter_wake(server.waiter);
}

static int
member_add(struct member *m, void (*run)(struct member *), int fd, struct uvs_sock *s,
	   uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = m};

	m->run = run;
	m->fd = fd;
	if (R(epoll_ctl)(server.epfd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -errno;
	if (s) {
		m->watch.fire = on_watch;
		m->watched = true;
		uvs_watch_add(s, &m->watch);
	}
	member_fire(m);
	return 0;
}

/* Its memory goes when it is on no list of this round any more. */
static void
member_end(struct member *m)
{
	if (m->dead)
		return;
	if (m->watched)
		uvs_watch_del(&m->watch);
	/* A child made just now may still have the descriptor: closing it is not enough. */
	R(epoll_ctl)(server.epfd, EPOLL_CTL_DEL, m->fd, NULL);
	uvs_fd_close(m->fd);
	m->dead = true;
	m->graves = server.graves;
	server.graves = m;
}

static void
bury(void)
{
	struct member **at = &server.graves, *m;

	while ((m = *at)) {
		if (atomic_load(&m->fired)) {
			at = &m->graves;
			continue;
		}
		*at = m->graves;
		free(m);
	}
}

/* ------------------------------------------------------------------------------------- streams */

static ssize_t
stack_peek(struct uvs_sock *s)
{
	struct iovec iov = {server.buf, CHUNK};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	return uvs_sock_recvmsg(s, &msg, MSG_PEEK);
}

static void
stack_skip(struct uvs_sock *s, size_t n)
{
	struct iovec iov = {server.buf, n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	uvs_sock_recvmsg(s, &msg, 0);
}

static ssize_t
stack_give(struct uvs_sock *s, size_t n)
{
	struct iovec iov = {server.buf, n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	return uvs_sock_sendmsg(s, &msg, 0);
}

static ssize_t
pair_recv(int fd, size_t n, int flags)
{
	return uvp_neg(R(recv)(fd, server.buf, n, flags | MSG_DONTWAIT));
}

/* One chunk from the peer to the child: false when there is no more to do now. */
static bool
move_down(struct stream *st)
{
	ssize_t n, w;

	if (st->down_done)
		return false;
	n = stack_peek(st->sock);
	if (n == -EAGAIN || n == -ENOTCONN)
		return false;
	if (n > 0) {
		w = uvp_neg(R(send)(st->m.fd, server.buf, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL));
		if (w > 0) {
			stack_skip(st->sock, (size_t)w);
			return true;
		}
		if (w == -EAGAIN)
			return false;
	}
	/* The end, a reset, or nobody who reads. */
	st->down_done = true;
	R(shutdown)(st->m.fd, SHUT_WR);
	if (n < 0)
		st->up_done = true;
	return false;
}

/* Closed by every process that had it; the parent may still have the socket. Else it is SHUT_WR. */
static bool
hung_up(struct stream *st)
{
	struct pollfd p = {.fd = st->m.fd};

	if (uvs_sys_ppoll(&p, 1, &(struct timespec){0}, NULL) == 1)
		st->m.happened |= (uint32_t)p.revents;
	return st->m.happened & (EPOLLHUP | EPOLLERR);
}

/* One chunk from the child to the peer. */
static bool
move_up(struct stream *st)
{
	ssize_t n, w;

	if (st->up_done)
		return false;
	n = pair_recv(st->m.fd, CHUNK, MSG_PEEK);
	if (n == -EAGAIN)
		return false;
	if (n > 0) {
		w = stack_give(st->sock, (size_t)n);
		if (w > 0) {
			pair_recv(st->m.fd, (size_t)w, 0);
			return true;
		}
		if (w == -EAGAIN)
			return false;
	}
	st->up_done = true;
	if (n > 0) /* the peer takes no more: let the child hear of it */
		R(shutdown)(st->m.fd, SHUT_RDWR);
	else if (!hung_up(st))
		uvs_sock_shutdown(st->sock, SHUT_WR);
	return false;
}

static void
stream_end(struct stream *st)
{
	struct stream **at = &server.by_id[st->id % BY_ID];

	while (*at && *at != st)
		at = &(*at)->next_by_id;
	if (*at)
		*at = st->next_by_id;
	member_end(&st->m);
	uvs_sock_put(st->sock);
	in_use(-1);
}

/* Ended when all of the child's ends are closed and what was in the pair is on its way. */
static void
stream_run(struct member *m)
{
	struct stream *st = (struct stream *)m;
	bool up = true, down = true;
	int i;

	for (i = 0; i < ROUNDS && (up || down); i++) {
		down = move_down(st);
		up = move_up(st);
	}
	if (up || down)
		member_fire(m);
	else if (st->up_done && hung_up(st))
		stream_end(st);
}

static void
name_of(struct uvs_sock *s, bool far, struct uvp_passed_name *n, uint8_t kind, uint64_t id)
{
	*n = (struct uvp_passed_name){.kind = kind, .far = far, .id = id, .len = sizeof(n->addr)};
	if (far ? uvs_sock_getpeername(s, (struct sockaddr *)&n->addr, &n->len)
		: uvs_sock_getsockname(s, (struct sockaddr *)&n->addr, &n->len))
		n->len = 0;
}

/* A pair with the names of s; [0] stays here. Or -errno. */
static int
named_pair(struct uvs_sock *s, int type, uint8_t kind, uint64_t id, int pair[2])
{
	struct uvp_passed_name near, far;
	int r;

	name_of(s, false, &near, kind, id);
	name_of(s, kind == UVP_PASSED_STREAM, &far, kind, id);
	far.far = 1;
	if (R(socketpair)(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pair[0] = uvs_fd_take(pair[0]);
	pair[1] = uvs_fd_take(pair[1]);
	r = uvp_passed_bind(pair[1], &near);
	if (r == 0)
		r = uvp_passed_bind(pair[0], &far);
	if (r == 0)
		return 0;
	uvs_fd_close(pair[0]);
	uvs_fd_close(pair[1]);
	return r;
}

/* Passes s on; consumes the reference. The child's end, to be closed once it is sent, or -errno. */
static int
stream_new(struct uvs_sock *s)
{
	struct stream *st = calloc(1, sizeof(*st));
	int pair[2], on = 1, r;

	if (!st) {
		uvs_sock_put(s);
		return -ENOMEM;
	}
	st->sock = s;
	st->id = server.next_id++;
	r = named_pair(s, SOCK_STREAM, UVP_PASSED_STREAM, st->id, pair);
	if (r < 0) {
		free(st);
		uvs_sock_put(s);
		return r;
	}
	/* The pair gathers what is written; what comes out of it is to be sent. */
	uvs_sock_setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	in_use(1);
	st->next_by_id = server.by_id[st->id % BY_ID];
	server.by_id[st->id % BY_ID] = st;
	r = member_add(&st->m, stream_run, pair[0], s, PAIR_ANY);
	if (r < 0) {
		uvs_fd_close(pair[1]);
		stream_end(st);
		return r;
	}
	return pair[1];
}

/* ----------------------------------------------------------------------------------- listeners */

static ssize_t
send_with_fd(int to, const void *data, size_t len, int fd)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {(void *)data, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), &fd, sizeof(int));
	}
	return uvp_neg(R(sendmsg)(to, &msg, MSG_DONTWAIT | MSG_NOSIGNAL));
}

/* The connection in `held` into the pair. false: no room. */
static bool
hand_out(struct listener *l)
{
	ssize_t r = send_with_fd(l->m.fd, &l->held, sizeof(l->held), l->held_fd);

	l->full = r == -EAGAIN || r == -ETOOMANYREFS;
	if (!l->full)
		uvs_fd_close(l->held_fd); /* sent, or nobody will ever take it */
	return !l->full;
}

static bool
take_from_stack(struct listener *l)
{
	struct uvs_sock *s;

	l->held.len = sizeof(l->held.peer);
	if (uvs_sock_accept(l->sock, &s, (struct sockaddr *)&l->held.peer, &l->held.len) < 0)
		return false;
	l->held_fd = stream_new(s);
	return l->held_fd >= 0;
}

static bool
take_from_kernel(struct listener *l)
{
	if (!l->half)
		return false;
	l->held.len = sizeof(l->held.peer);
	l->held_fd = uvs_fd_take((int)uvs_syscall5(SYS_accept4, l->half->m.fd, (long)&l->held.peer,
						   (long)&l->held.len, SOCK_CLOEXEC, 0));
	return l->held_fd >= 0;
}

static void
listener_run(struct member *m)
{
	struct listener *l = (struct listener *)m;

	if (l->users == 0 || (l->full && !hand_out(l)))
		return;
	while (take_from_stack(l) || take_from_kernel(l))
		if (!hand_out(l))
			return;
}

static void
half_run(struct member *m)
{
	listener_run(&((struct half *)m)->of->m);
}

static struct listener *
listener_find(const struct uvs_sock *s)
{
	struct listener *l = server.listeners;

	while (l && l->sock != s)
		l = l->next;
	return l;
}

static void
half_new(struct listener *l, int kernel)
{
	struct half *half = calloc(1, sizeof(*half));

	if (!half) {
		uvs_sys_close(kernel);
		return;
	}
	half->of = l;
	l->half = half;
	member_add(&half->m, half_run, uvs_fd_take(kernel), NULL, EPOLLIN | EPOLLET);
}

/* `kernel`: the kernel half, consumed, or -1. */
static struct listener *
listener_new(struct uvs_sock *s, int kernel)
{
	struct listener *l = calloc(1, sizeof(*l));
	int pair[2], r;

	if (!l)
		return NULL;
	l->id = server.next_id++;
	r = named_pair(s, SOCK_SEQPACKET, UVP_PASSED_LISTENER, l->id, pair);
	if (r < 0) {
		free(l);
		return NULL;
	}
	l->sock = uvs_sock_get(s);
	l->out = pair[1];
	l->next = server.listeners;
	server.listeners = l;
	if (kernel >= 0)
		half_new(l, kernel);
	member_add(&l->m, listener_run, pair[0], s, EPOLLOUT | EPOLLET);
	return l;
}

/* Nobody is left who would accept. What was handed out and not taken closes with the pair. */
static void
listener_end(struct listener *l)
{
	struct listener **at = &server.listeners;

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	if (l->full)
		uvs_fd_close(l->held_fd);
	if (l->half)
		member_end(&l->half->m);
	uvs_fd_close(l->out);
	member_end(&l->m);
	uvs_sock_put(l->sock);
}

static void
listener_leave(struct listener *l)
{
	if (!l)
		return;
	if (--l->users == 0)
		listener_end(l);
	in_use(-1);
}

/* --------------------------------------------------------------------------------------- heirs */

static struct uvp_bequest *
bequest(struct uvp_estate *e, uint64_t id)
{
	size_t low = 0, high = e->n, mid;

	while (low < high) {
		mid = (low + high) / 2;
		if (e->of[mid].id == id)
			return e->of[mid].sock ? &e->of[mid] : NULL;
		if (e->of[mid].id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static void
let_go(struct uvp_bequest *b)
{
	struct uvs_sock *s = b->sock;

	b->sock = NULL;
	if (s)
		uvs_sock_put(s);
}

static bool
connected(struct uvs_sock *s)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	return uvs_sock_getpeername(s, (struct sockaddr *)&ss, &len) == 0;
}

/* A listener stays the child's until it ends: closing the number it was given tells us nothing. */
static int
give_listener(struct heir *h, struct uvp_bequest *b, int kernel)
{
	struct listener *l = listener_find(b->sock);

	if (!l)
		l = listener_new(b->sock, kernel);
	else if (kernel >= 0)
		uvs_sys_close(kernel);
	if (!l)
		return -ENOMEM;
	if (!h->uses[b - h->estate->of]) {
		h->uses[b - h->estate->of] = l;
		l->users++;
		in_use(1);
		member_fire(&l->m);
	}
	return l->out;
}

/* The descriptor for the child; `lent`: it stays ours. Or -errno. */
static int
give(struct heir *h, uint64_t id, int kernel, bool *lent)
{
	struct uvp_bequest *b = bequest(h->estate, id);
	struct uvs_sock *s = b ? b->sock : NULL;

	*lent = s && uvs_sock_listening(s);
	if (*lent)
		return give_listener(h, b, kernel);
	if (kernel >= 0)
		uvs_sys_close(kernel);
	if (!s || !connected(s))
		return -EBADF;
	b->sock = NULL;
	return stream_new(s); /* with the reference */
}

static void
answer(struct heir *h, struct uvp_heir_msg *m, int fd)
{
	/* A child that asks and does not listen loses its answer. */
	send_with_fd(h->m.fd, m, sizeof(*m), fd);
}

static struct uvs_sock *
sock_by_id(uint64_t id)
{
	struct stream *st = server.by_id[id % BY_ID];
	struct listener *l = server.listeners;

	while (st && st->id != id)
		st = st->next_by_id;
	if (st)
		return st->sock;
	while (l && l->id != id)
		l = l->next;
	return l ? l->sock : NULL;
}

static int
option(struct uvp_heir_msg *m)
{
	struct uvs_sock *s = sock_by_id(m->id);
	socklen_t len = m->len;
	int r;

	if (!s || len > sizeof(m->val))
		return -EINVAL;
	if (m->op == UVP_HEIR_SETOPT)
		return uvs_sock_setsockopt(s, m->level, m->name, m->val, len);
	r = uvs_sock_getsockopt(s, m->level, m->name, m->val, &len);
	m->len = len;
	return r;
}

static void
request(struct heir *h, struct uvp_heir_msg *m, int with_fd)
{
	struct uvp_bequest *b;
	bool lent = false;
	int fd = -1;

	switch (m->op) {
	case UVP_HEIR_TAKE:
		fd = give(h, m->id, with_fd, &lent);
		with_fd = -1;
		m->result = fd < 0 ? fd : 0;
		break;
	case UVP_HEIR_RELEASE:
		b = bequest(h->estate, m->id);
		if (b)
			let_go(b);
		break;
	case UVP_HEIR_SETOPT:
	case UVP_HEIR_GETOPT:
		m->result = option(m);
		break;
	default:
		m->result = -EINVAL;
		break;
	}
	if (with_fd >= 0)
		uvs_sys_close(with_fd);
	if (m->op != UVP_HEIR_RELEASE)
		answer(h, m, fd);
	if (fd >= 0 && !lent)
		uvs_fd_close(fd);
}

static void
heir_end(struct heir *h)
{
	size_t i;

	for (i = 0; i < h->estate->n; i++) {
		listener_leave(h->uses[i]);
		let_go(&h->estate->of[i]);
	}
	free(h->estate);
	free(h->uses);
	member_end(&h->m);
}

static ssize_t
receive(int fd, struct uvp_heir_msg *m, int *with_fd)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {m, sizeof(*m)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	struct cmsghdr *c;
	ssize_t r = uvp_neg(R(recvmsg)(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));

	*with_fd = -1;
	c = r > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(with_fd, CMSG_DATA(c), sizeof(int));
	return r;
}

static void
heir_run(struct member *member)
{
	struct heir *h = (struct heir *)member;
	struct uvp_heir_msg m;
	ssize_t r;
	int fd;

	while ((r = receive(member->fd, &m, &fd)) == sizeof(m))
		request(h, &m, fd);
	if (r != -EAGAIN && r != -EINTR)
		heir_end(h); /* it is gone, or talks nonsense */
}

static void
heir_new(struct uvp_estate *e)
{
	struct heir *h = calloc(1, sizeof(*h));

	if (h) {
		h->estate = e;
		h->uses = calloc(e->n, sizeof(struct listener *));
	}
	if (!h || !h->uses || member_add(&h->m, heir_run, e->fd, NULL, EPOLLIN | EPOLLET) < 0) {
		uvs_log(UVS_LOG_WARNING,
			"no memory to serve a child: it has no sockets of the stack");
		uvs_fd_close(e->fd);
		while (e->n-- > 0)
			let_go(&e->of[e->n]);
		free(e);
		if (h)
			free(h->uses);
		free(h);
	}
}

/* -------------------------------------------------------------------------------------- thread */

static void
welcome(void)
{
	struct uvp_estate *e = atomic_exchange(&server.incoming, NULL), *next;

	for (; e; e = next) {
		next = e->next;
		heir_new(e);
	}
}

static void
ask_kernel(void)
{
	struct epoll_event ev[EVENTS];
	int i, n = (int)uvs_syscall5(SYS_epoll_wait, server.epfd, (long)ev, EVENTS, 0, 0);

	for (i = 0; i < n; i++) {
		struct member *m = ev[i].data.ptr;

		m->happened |= ev[i].events;
		member_fire(m);
	}
}

static bool
run_fired(void)
{
	struct member *m = atomic_exchange(&server.fired, NULL), *next;
	bool any = m != NULL;

	for (; m; m = next) {
		next = m->fired_next;
		atomic_store(&m->fired, false);
		if (!m->dead)
			m->run(m);
	}
	return any;
}

static void *
serve(void *arg)
{
	struct pollfd p = {.fd = server.epfd, .events = POLLIN};
	struct uvs_kwait k = {.fds = &p, .nfds = 1};

	(void)arg;
	server.waiter = uvs_waiter_self();
	atomic_store(&server_waiter, server.waiter);
	for (;;) {
		do {
			welcome();
			ask_kernel();
		} while (run_fired());
		bury();
		uvs_wait(server.waiter, &k, UVP_FOREVER);
	}
	return NULL;
}

static bool
thread_start(void)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t id;
	int r;

	server.buf = malloc(CHUNK);
	server.epfd = uvs_fd_take(R(epoll_create1)(EPOLL_CLOEXEC));
	if (!server.buf || server.epfd < 0 ||
	    getrandom(&server.next_id, sizeof(server.next_id), 0) != sizeof(server.next_id))
		return false;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r = UVP_IN(pthread_create(&id, &attr, serve, NULL));
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r == 0;
}

void
uvp_server_add(struct uvp_estate *e)
{
	struct uvs_waiter *w;

	e->next = atomic_load(&server.incoming);
	while (!atomic_compare_exchange_weak(&server.incoming, &e->next, e))
		;
	pthread_mutex_lock(&start_lock);
	if (!started) {
		started = thread_start();
		if (!started)
			uvs_log(UVS_LOG_WARNING, "no thread to serve children: they have no "
						 "sockets of the stack");
	}
	pthread_mutex_unlock(&start_lock);
	w = atomic_load(&server_waiter);
	if (w)
		UVP_IN_VOID(uvs_waiter_wake(w)); /* else it looks before it waits */
}

void
uvp_server_finish(void)
{
	struct timespec patience = {.tv_nsec = 200000000}, *wait = &patience;
	uint32_t n;

	while ((n = atomic_load(&server.in_use)) > 0)
		if (uvs_sys_futex_wait((uint32_t *)&server.in_use, n, wait) == -ETIMEDOUT) {
			uvs_log(UVS_LOG_WARNING,
				"%u sockets are in use by child processes: this process ends when "
				"they are not",
				n);
			wait = NULL;
		}
}

/* Descriptors are closed already. Memory of the parent's members is left alone: others' threads may
 * have been in the middle of it. */
void
uvp_server_forget(void)
{
	pthread_mutex_init(&start_lock, NULL);
	memset(&server, 0, sizeof(server));
	atomic_store(&server_waiter, NULL);
	started = false;
}
