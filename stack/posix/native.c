/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvstack.h as the library shows it: each call marks its thread as inside the stack, as the
 * descriptors' calls do; and the poll, which knows sockets by their watches alone.
 *
 * A poll's entries: hashed by socket, touched by its one user. Its ready list: under its lock, by
 * the user and by watches that fire (under an instance: instance, then lock). An entry is in the
 * list while its user has to look at its level: since its watch has fired, or since it was ready
 * the last time, for the events are levels. */
#include "stack/posix/posix.h"

#include "stack/core/lock.h"
#include "stack/sock/native.h"

static struct uvs_sock *
sock(struct uvstack_sock *s)
{
	return (struct uvs_sock *)s;
}

static struct uvstack_sock *
shown(struct uvs_sock *s)
{
	return (struct uvstack_sock *)s;
}

/* ------------------------------------------------------------------------------------- sockets */

UVP_EXPORT int
uvstack_socket(int domain, int type, struct uvstack_sock **out)
{
	struct uvs_sock *s = NULL;
	int r = UVP_IN(uvs_sock_new(domain, type, 0, &s));

	if (r == 0)
		*out = shown(s);
	return r;
}

UVP_EXPORT int
uvstack_of(int fd, struct uvstack_sock **out)
{
	struct uvp_file *f = uvp_begin(fd);
	enum uvp_state state;
	int r = 0;

	if (f == NULL)
		return -EBADF;
	state = f->kind == UVP_SOCKET ? atomic_load(&f->state) : UVP_KERNEL;
	if (state == UVP_STACK || state == UVP_BOTH)
		*out = shown(uvs_sock_get(f->sock));
	else
		r = state == UVP_UNDECIDED ? -ENOTCONN : -EBADF;
	return (int)uvp_end(f, r);
}

UVP_EXPORT void
uvstack_close(struct uvstack_sock *s)
{
	UVP_IN_VOID(uvs_sock_put(sock(s)));
}

UVP_EXPORT int
uvstack_bind(struct uvstack_sock *s, const struct sockaddr *addr, socklen_t len)
{
	return UVP_IN(uvs_sock_bind(sock(s), addr, len));
}

UVP_EXPORT int
uvstack_listen(struct uvstack_sock *s, int backlog)
{
	return UVP_IN(uvs_sock_listen(sock(s), backlog));
}

UVP_EXPORT int
uvstack_connect(struct uvstack_sock *s, const struct sockaddr *addr, socklen_t len)
{
	return UVP_IN(uvs_sock_connect(sock(s), addr, len));
}

UVP_EXPORT int
uvstack_accept(struct uvstack_sock *s, struct uvstack_sock **out, struct sockaddr *addr,
	       socklen_t *len)
{
	struct uvs_sock *child = NULL;
	int r = UVP_IN(uvs_sock_accept(sock(s), &child, addr, len));

	if (r == 0)
		*out = shown(child);
	return r;
}

UVP_EXPORT int
uvstack_shutdown(struct uvstack_sock *s, int how)
{
	return UVP_IN(uvs_sock_shutdown(sock(s), how));
}

UVP_EXPORT int
uvstack_getsockname(struct uvstack_sock *s, struct sockaddr *addr, socklen_t *len)
{
	return UVP_IN(uvs_sock_getsockname(sock(s), addr, len));
}

UVP_EXPORT int
uvstack_getpeername(struct uvstack_sock *s, struct sockaddr *addr, socklen_t *len)
{
	return UVP_IN(uvs_sock_getpeername(sock(s), addr, len));
}

UVP_EXPORT int
uvstack_getsockopt(struct uvstack_sock *s, int level, int name, void *val, socklen_t *len)
{
	return UVP_IN(uvs_sock_getsockopt(sock(s), level, name, val, len));
}

UVP_EXPORT int
uvstack_setsockopt(struct uvstack_sock *s, int level, int name, const void *val, socklen_t len)
{
	return UVP_IN(uvs_sock_setsockopt(sock(s), level, name, val, len));
}

UVP_EXPORT uint32_t
uvstack_events(const struct uvstack_sock *s)
{
	return uvs_sock_events((const struct uvs_sock *)s);
}

/* ------------------------------------------------------------------------------------- buffers */

UVP_EXPORT int
uvstack_get(struct uvstack_sock *s, struct uvstack_seg *seg, unsigned int n)
{
	return UVP_IN(uvs_native_get(sock(s), seg, n));
}

UVP_EXPORT void
uvstack_put(struct uvstack_sock *s, struct uvstack_seg *seg, unsigned int n)
{
	UVP_IN_VOID(uvs_native_put(sock(s), seg, n));
}

UVP_EXPORT int
uvstack_send(struct uvstack_sock *s, const struct uvstack_seg *seg, unsigned int n,
	     const struct sockaddr *to, socklen_t len, int flags)
{
	return UVP_IN(uvs_native_send(sock(s), seg, n, to, len, flags));
}

UVP_EXPORT int
uvstack_flush(struct uvstack_sock *s)
{
	return UVP_IN(uvs_native_flush(sock(s)));
}

UVP_EXPORT int
uvstack_recv(struct uvstack_sock *s, struct uvstack_seg *seg, unsigned int n)
{
	return UVP_IN(uvs_native_recv(sock(s), seg, n));
}

UVP_EXPORT int
uvstack_from(struct uvstack_sock *s, const struct uvstack_seg *seg, struct sockaddr *addr,
	     socklen_t *len)
{
	return UVP_IN(uvs_native_from(sock(s), seg, addr, len));
}

UVP_EXPORT enum uvstack_memory
uvstack_memory(struct uvstack_sock *s)
{
	return uvs_native_memory(sock(s));
}

/* ---------------------------------------------------------------------------------------- poll */

#define BUCKETS 1024u

struct entry {
	struct uvs_watch watch;
	struct uvstack_poll *poll;
	struct uvs_sock *sock;
	uint32_t mask; /* atomic */
	void *cookie;
	struct entry *same_bucket;
	struct entry *next, **prev; /* ready list, under the lock; prev NULL: not in */
};

struct uvstack_poll {
	struct uvs_lock lock;
	struct entry *head, **tail;
	struct uvs_waiter *waiter; /* atomic; of the user's last wait */
	enum uvstack_memory told;  /* the user's, as the rest */
	struct uvs_native_thirst *thirst;
	struct entry *bucket[BUCKETS];
	struct uvs_sock *any; /* of one of the entries, or NULL: look for one */
};

const char uvstack_memory_cookie UVP_EXPORT;

UVP_EXPORT int
uvstack_poll_new(struct uvstack_poll **out)
{
	struct uvstack_poll *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return -ENOMEM;
	uvs_lock_init(&p->lock);
	p->tail = &p->head;
	*out = p;
	return 0;
}

static struct entry **
find(struct uvstack_poll *p, const struct uvs_sock *s)
{
	struct entry **e = &p->bucket[((uintptr_t)s >> 6) % BUCKETS];

	while (*e != NULL && (*e)->sock != s)
		e = &(*e)->same_bucket;
	return e;
}

static void
append(struct uvstack_poll *p, struct entry *e)
{
	e->next = NULL;
	e->prev = p->tail;
	*p->tail = e;
	p->tail = &e->next;
}

static void
take_out(struct uvstack_poll *p, struct entry *e)
{
	*e->prev = e->next;
	if (e->next != NULL)
		e->next->prev = e->prev;
	else
		p->tail = e->prev;
	e->prev = NULL;
}

static void
look_at(struct uvstack_poll *p, struct entry *e)
{
	uvs_lock_take(&p->lock);
	if (e->prev == NULL)
		append(p, e);
	uvs_lock_give(&p->lock);
}

static uint32_t
wanted(const struct entry *e)
{
	return __atomic_load_n(&e->mask, __ATOMIC_RELAXED) | EPOLLERR | EPOLLHUP;
}

static void
fire(struct uvs_watch *watch, uint32_t events)
{
	struct entry *e = (struct entry *)watch;
	struct uvs_waiter *w;

	if ((events & wanted(e)) == 0)
		return;
	look_at(e->poll, e);
	w = __atomic_load_n(&e->poll->waiter, __ATOMIC_SEQ_CST);
	if (w != NULL)
		uvs_waiter_wake(w);
}

UVP_EXPORT int
uvstack_poll_add(struct uvstack_poll *p, struct uvstack_sock *s, uint32_t events, void *cookie)
{
	struct entry **at = find(p, sock(s)), *e;

	if (*at != NULL)
		return -EEXIST;
	e = calloc(1, sizeof(*e));
	if (e == NULL)
		return -ENOMEM;
	*e = (struct entry){.watch.fire = fire,
			    .poll = p,
			    .sock = uvs_sock_get(sock(s)),
			    .mask = events,
			    .cookie = cookie};
	*at = e;
	UVP_IN_VOID(uvs_watch_add(e->sock, &e->watch));
	look_at(p, e);
	return 0;
}

UVP_EXPORT int
uvstack_poll_mod(struct uvstack_poll *p, struct uvstack_sock *s, uint32_t events)
{
	struct entry *e = *find(p, sock(s));

	if (e == NULL)
		return -ENOENT;
	__atomic_store_n(&e->mask, events, __ATOMIC_RELAXED);
	look_at(p, e);
	return 0;
}

static void
quench(struct uvstack_poll *p)
{
	UVP_IN_VOID(uvs_native_thirst_free(p->thirst));
	p->thirst = NULL;
}

static void
remove_entry(struct uvstack_poll *p, struct entry **at)
{
	struct entry *e = *at;

	UVP_IN_VOID(uvs_watch_del(&e->watch));
	uvs_lock_take(&p->lock);
	if (e->prev != NULL)
		take_out(p, e);
	uvs_lock_give(&p->lock);
	*at = e->same_bucket;
	if (p->any == e->sock)
		p->any = NULL;
	UVP_IN_VOID(uvs_sock_put(e->sock));
	free(e);
}

UVP_EXPORT int
uvstack_poll_del(struct uvstack_poll *p, struct uvstack_sock *s)
{
	struct entry **at = find(p, sock(s));

	if (*at == NULL)
		return -ENOENT;
	remove_entry(p, at);
	return 0;
}

UVP_EXPORT void
uvstack_poll_free(struct uvstack_poll *p)
{
	for (unsigned int i = 0; i < BUCKETS; i++)
		while (p->bucket[i] != NULL)
			remove_entry(p, &p->bucket[i]);
	quench(p);
	free(p);
}

/* ----------------------------------------------------------------------------------- poll: wait */

/* Look at each of the list once. Levels are read under the lock: what changes after that fires
 * after that. */
static unsigned int
collect(struct uvstack_poll *p, struct uvstack_ready *ready, unsigned int n)
{
	struct entry *last, *e;
	unsigned int k = 0;

	uvs_lock_take(&p->lock);
	last = p->head != NULL ? (struct entry *)((char *)p->tail - offsetof(struct entry, next))
			       : NULL;
	while (k < n && (e = p->head) != NULL) {
		uint32_t level = uvs_sock_events(e->sock) & wanted(e);

		take_out(p, e);
		if (level != 0) {
			ready[k++] = (struct uvstack_ready){e->cookie, level};
			append(p, e);
		}
		if (e == last)
			break;
	}
	uvs_lock_give(&p->lock);
	return k;
}

/* How memory stands at the host of whichever socket answered last: a process has one. */
static unsigned int
tell_memory(struct uvstack_poll *p, struct uvstack_ready *ready)
{
	enum uvstack_memory now;
	struct uvs_sock *s;

	for (unsigned int i = 0; p->any == NULL && i < BUCKETS; i++)
		p->any = p->bucket[i] != NULL ? p->bucket[i]->sock : NULL;
	s = p->any;
	if (s == NULL || (now = uvs_native_memory(s)) == p->told)
		return 0;
	p->told = now;
	quench(p);
	if (now == UVSTACK_OUT)
		p->thirst = UVP_IN(uvs_native_thirst_new(s, p->waiter));
	ready[0] = (struct uvstack_ready){UVSTACK_MEMORY, now};
	return 1;
}

static unsigned int
gather(struct uvstack_poll *p, struct uvstack_ready *ready, unsigned int n)
{
	unsigned int k = tell_memory(p, ready);

	return k + collect(p, ready + k, n - k);
}

UVP_EXPORT int
uvstack_poll_wait(struct uvstack_poll *p, struct uvstack_ready *ready, unsigned int n,
		  int timeout_ms)
{
	uint64_t deadline = uvp_deadline_ms(timeout_ms);
	struct uvs_waiter *w = uvp_waiter();
	unsigned int k;
	int r = 1;

	if (w == NULL || n == 0)
		return w == NULL ? -ENOMEM : -EINVAL;
	__atomic_store_n(&p->waiter, w, __ATOMIC_SEQ_CST);
	UVP_IN_VOID(uvs_progress());
	while ((k = gather(p, ready, n)) == 0 && r > 0)
		r = UVP_IN(uvs_wait(w, NULL, deadline));
	if (k == 0 && r == 0)
		k = gather(p, ready, n);
	return k > 0 || r >= 0 ? (int)k : r;
}
