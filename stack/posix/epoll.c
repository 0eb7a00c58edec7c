/* SPDX-License-Identifier: BSD-3-Clause
 *
 * epoll over both worlds. The application's descriptor is a kernel epoll instance: kernel members
 * go straight into it. Sockets of the stack are items beside it, with a ready list; epoll_wait
 * takes from both. Semantics follow the kernel's: an item whose watch fires goes to the ready list;
 * taking recomputes the level; level-triggered items go back to the tail, edge-triggered ones come
 * back with the next event, one-shot ones with the next MOD.
 *
 * A socket that is BOTH has one item; its kernel half is a member of the kernel instance under a
 * cookie of ours, so that the application gets one event for one descriptor. Cookies come from a
 * random 64-bit number, not to be met by chance among the application's data words.
 *
 * Whoever looks at the descriptor itself through the kernel (poll, another epoll instance) sees an
 * eventfd that is a member too, also under a cookie, and readable while the ready list is not
 * empty. It is made when somebody first looks.
 */
#include "stack/posix/inherit.h"

#include <sys/random.h>
#include <x86intrin.h>

#define KERNEL_EVERY_CALLS  16
#define KERNEL_EVERY_CYCLES 100000u /* some 50 us */
#define PRIVATE_BITS        (EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE)
#define EXCLUSIVE_OK \
	(EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE)
#define FIRST_BUCKETS 64
#define MAX_INNER     8

struct uvp_item {
	struct uvs_watch watch; /* first */
	struct uvp_epoll *ep;
	struct uvp_file *file; /* outlives the item */
	int fd;
	uint32_t id; /* cookie of the kernel half */
	bool watched;
	bool in_kernel; /* kernel half is a member */
	/* under ep->lock */
	struct epoll_event ev; /* as asked, with ERR and HUP; no events left: disarmed */
	uint32_t kernel_ready; /* what the kernel half reported */
	bool queued;
	struct uvp_item *ready_next, **ready_prev;
	/* under uvp_topo_lock */
	struct uvp_item *hash_next;
	struct uvp_item *file_next;
	struct uvp_item *one_of_next; /* EPOLLEXCLUSIVE: under file->exclusive_lock */
	struct uvp_item *half_next;   /* in_kernel: the instance's list of such items */
};

struct sleeper {
	struct uvs_waiter *waiter;
	struct sleeper *next, **prev; /* prev NULL: not in the list */
};

struct uvp_epoll {
	_Atomic uint32_t refs; /* the file, and each item */
	struct uvp_file *file;
	_Atomic bool has_kernel; /* something is in the kernel instance */
	_Atomic bool cookies;    /* events of the kernel instance may be ours */
	_Atomic uint32_t nb_items;
	_Atomic uint32_t blind; /* threads asleep in the kernel, from before the first item */
	uint64_t cookie;        /* of the eventfd; kernel halves: cookie + 1 + id */
	/* under uvp_topo_lock */
	struct uvp_item **buckets;
	uint32_t nb_buckets;
	uint32_t next_id;
	struct uvp_item *halves;            /* items whose kernel half is a member */
	struct uvp_epoll *inner[MAX_INNER]; /* instances that are members of this one */
	/* under lock */
	pthread_mutex_t lock;
	struct uvp_item *ready, **ready_tail;
	uint32_t nb_ready;
	struct sleeper *sleepers, **sleepers_tail;
	int evfd;
	bool evfd_set;
	/* the waiting thread's, racy on purpose: only how often the kernel is asked */
	unsigned int calls;
	uint64_t last_kernel;
	bool kernel_turn;
};

static struct uvp_item *unused_items; /* by file_next; under uvp_topo_lock */

/* ----------------------------------------------------------------------------------- instances */

static struct uvp_epoll *
ep_new(struct uvp_file *f)
{
	struct uvp_epoll *ep = calloc(1, sizeof(*ep));

	if (!ep)
		return NULL;
	ep->buckets = calloc(FIRST_BUCKETS, sizeof(struct uvp_item *));
	if (!ep->buckets || getrandom(&ep->cookie, sizeof(ep->cookie), 0) != sizeof(ep->cookie)) {
		free(ep->buckets);
		free(ep);
		return NULL;
	}
	ep->cookie &= ~(uint64_t)UINT32_MAX; /* room for the ids below */
	ep->nb_buckets = FIRST_BUCKETS;
	pthread_mutex_init(&ep->lock, NULL);
	ep->ready_tail = &ep->ready;
	ep->sleepers_tail = &ep->sleepers;
	ep->evfd = -1;
	ep->file = f;
	atomic_store(&ep->refs, 1);
	return ep;
}

static void
ep_put(struct uvp_epoll *ep)
{
	if (atomic_fetch_sub(&ep->refs, 1) != 1)
		return;
	if (ep->evfd >= 0)
		uvs_fd_close(ep->evfd);
	free(ep->buckets);
	free(ep);
}

int
uvp_epoll_adopt(int epfd)
{
	struct uvp_file *f;

	if (uvp_table_size == 0 || (unsigned int)epfd >= uvp_table_size)
		return 0;
	f = uvp_file_new(UVP_EPOLL);
	if (!f)
		return -ENOMEM;
	f->ep = ep_new(f);
	if (!f->ep) {
		f->kind = UVP_SOCKET;
		uvp_put(f);
		return -ENOMEM;
	}
	uvp_install(epfd, f);
	return 0;
}

void
uvp_epoll_fork_child(struct uvp_epoll *ep)
{
	pthread_mutex_init(&ep->lock, NULL);
	ep->sleepers = NULL;
	ep->sleepers_tail = &ep->sleepers;
	ep->evfd_set = false; /* what is in the eventfd is the parent's to take out */
}

/* ---------------------------------------------------------------- ready list (under ep->lock) */

static void
evfd_raise(struct uvp_epoll *ep)
{
	uint64_t one = 1;

	if (ep->evfd < 0 || ep->evfd_set)
		return;
	ep->evfd_set = uvs_sys_write(ep->evfd, &one, sizeof(one)) == sizeof(one);
}

static void
evfd_lower(struct uvp_epoll *ep)
{
	uint64_t n;

	if (!ep->evfd_set || ep->nb_ready > 0)
		return;
	uvs_sys_read(ep->evfd, &n, sizeof(n));
	ep->evfd_set = false;
}

static void
sleeper_unlink(struct uvp_epoll *ep, struct sleeper *s)
{
	if (!s->prev)
		return;
	*s->prev = s->next;
	if (s->next)
		s->next->prev = s->prev;
	else
		ep->sleepers_tail = s->prev;
	s->prev = NULL;
}

static void
sleeper_link(struct uvp_epoll *ep, struct sleeper *s)
{
	s->next = NULL;
	s->prev = ep->sleepers_tail;
	*ep->sleepers_tail = s;
	ep->sleepers_tail = &s->next;
}

/* True if there was somebody to wake. */
static bool
wake_one(struct uvp_epoll *ep)
{
	struct sleeper *s = ep->sleepers;

	if (s) {
		sleeper_unlink(ep, s);
		uvs_waiter_wake(s->waiter);
	}
	evfd_raise(ep);
	return s != NULL;
}

static void
enqueue(struct uvp_epoll *ep, struct uvp_item *it)
{
	if (it->queued)
		return;
	it->queued = true;
	it->ready_next = NULL;
	it->ready_prev = ep->ready_tail;
	*ep->ready_tail = it;
	ep->ready_tail = &it->ready_next;
	ep->nb_ready++;
}

static void
dequeue(struct uvp_epoll *ep, struct uvp_item *it)
{
	if (!it->queued)
		return;
	it->queued = false;
	*it->ready_prev = it->ready_next;
	if (it->ready_next)
		it->ready_next->ready_prev = it->ready_prev;
	else
		ep->ready_tail = it->ready_prev;
	ep->nb_ready--;
}

static bool
armed(const struct uvp_item *it)
{
	return it->ev.events & ~PRIVATE_BITS;
}

/* What the item would report now. */
static uint32_t
item_level(const struct uvp_item *it)
{
	const struct uvp_file *f = it->file;
	uint32_t level = it->kernel_ready;

	if (!armed(it))
		return 0;
	if (uvp_state(f) == UVP_UNDECIDED)
		level |= f->type == SOCK_STREAM ? EPOLLOUT | EPOLLWRNORM | EPOLLHUP
						: EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;
	else if (!uvp_dead(f))
		level |= uvp_level(f);
	return level & it->ev.events;
}

/* Runs with the instance held: queue, wake, nothing else. The level is published already. */
static void
item_fire(struct uvs_watch *w, uint32_t events)
{
	struct uvp_item *it = (struct uvp_item *)w;
	struct uvp_epoll *ep = it->ep;

	pthread_mutex_lock(&ep->lock);
	if (armed(it) && (events & it->ev.events) && !it->queued) {
		enqueue(ep, it);
		wake_one(ep);
	}
	pthread_mutex_unlock(&ep->lock);
}

/* EPOLLEXCLUSIVE: the first instance in which somebody sleeps gets to know, and goes to the end of
 * the line; those before it, in which nobody does, find it when they look. */
static void
one_of_fire(struct uvs_watch *w, uint32_t events)
{
	struct uvp_file *f = (struct uvp_file *)((char *)w - offsetof(struct uvp_file, one_of));
	struct uvp_item **at, *it;
	bool woken = false;

	pthread_mutex_lock(&f->exclusive_lock);
	for (at = &f->exclusive; (it = *at) && !woken; at = woken ? at : &it->one_of_next) {
		pthread_mutex_lock(&it->ep->lock);
		if (armed(it) && (events & it->ev.events)) {
			enqueue(it->ep, it);
			woken = wake_one(it->ep);
		}
		pthread_mutex_unlock(&it->ep->lock);
	}
	if (woken && it->one_of_next) {
		for (*at = it->one_of_next; *at;)
			at = &(*at)->one_of_next;
		*at = it;
		it->one_of_next = NULL;
	}
	pthread_mutex_unlock(&f->exclusive_lock);
}

static void
queue_if_ready(struct uvp_item *it)
{
	struct uvp_epoll *ep = it->ep;

	pthread_mutex_lock(&ep->lock);
	if (item_level(it) && !it->queued) {
		enqueue(ep, it);
		wake_one(ep);
	}
	pthread_mutex_unlock(&ep->lock);
}

/* ------------------------------------------------------------------- items (under file.lock) */

static uint32_t
bucket_of(const struct uvp_epoll *ep, const struct uvp_file *f, int fd)
{
	uint64_t h = (((uintptr_t)f >> 6) + (uint32_t)fd) * 0x9e3779b97f4a7c15u;

	return (uint32_t)(h >> 32) & (ep->nb_buckets - 1);
}

static struct uvp_item **
find_slot(struct uvp_epoll *ep, const struct uvp_file *f, int fd)
{
	struct uvp_item **at = &ep->buckets[bucket_of(ep, f, fd)];

	while (*at && ((*at)->file != f || (*at)->fd != fd))
		at = &(*at)->hash_next;
	return at;
}

static void
grow(struct uvp_epoll *ep)
{
	size_t old = ep->nb_buckets, i;
	struct uvp_item **from = ep->buckets, **to = calloc(2 * old, sizeof(struct uvp_item *));

	if (!to)
		return; /* longer chains, nothing worse */
	ep->buckets = to;
	ep->nb_buckets = (uint32_t)(2 * old);
	for (i = 0; i < old; i++) {
		struct uvp_item *it, *next;

		for (it = from[i]; it; it = next) {
			uint32_t b = bucket_of(ep, it->file, it->fd);

			next = it->hash_next;
			it->hash_next = to[b];
			to[b] = it;
		}
	}
	free(from);
}

static struct uvp_item *
item_find(struct uvp_epoll *ep, const struct uvp_file *f, int fd)
{
	struct uvp_item *it;

	pthread_mutex_lock(&uvp_topo_lock);
	it = *find_slot(ep, f, fd);
	pthread_mutex_unlock(&uvp_topo_lock);
	return it;
}

static void
item_link(struct uvp_item *it)
{
	struct uvp_epoll *ep = it->ep;
	struct uvp_item **at;

	pthread_mutex_lock(&uvp_topo_lock);
	if (atomic_fetch_add(&ep->nb_items, 1) >= ep->nb_buckets)
		grow(ep);
	at = find_slot(ep, it->file, it->fd);
	it->hash_next = NULL;
	*at = it;
	it->file_next = it->file->items;
	it->file->items = it;
	pthread_mutex_unlock(&uvp_topo_lock);
}

/* Under uvp_topo_lock. */
static void
item_unlink(struct uvp_item *it)
{
	struct uvp_item **at;

	for (at = &it->ep->buckets[bucket_of(it->ep, it->file, it->fd)]; *at != it;)
		at = &(*at)->hash_next;
	*at = it->hash_next;
	for (at = &it->file->items; *at != it;)
		at = &(*at)->file_next;
	*at = it->file_next;
	for (at = &it->ep->halves; *at && *at != it;)
		at = &(*at)->half_next;
	if (*at)
		*at = it->half_next;
	atomic_fetch_sub(&it->ep->nb_items, 1);
}

static void
one_of_unlink(struct uvp_item *it)
{
	struct uvp_item **at;

	pthread_mutex_lock(&it->file->exclusive_lock);
	for (at = &it->file->exclusive; *at && *at != it;)
		at = &(*at)->one_of_next;
	if (*at)
		*at = it->one_of_next;
	pthread_mutex_unlock(&it->file->exclusive_lock);
}

static struct uvp_item *
item_new(void)
{
	struct uvp_item *it;

	pthread_mutex_lock(&uvp_topo_lock);
	it = unused_items;
	if (it)
		unused_items = it->file_next;
	pthread_mutex_unlock(&uvp_topo_lock);
	if (!it)
		it = malloc(sizeof(*it));
	if (it)
		memset(it, 0, sizeof(*it));
	return it;
}

static void
item_recycle(struct uvp_item *it)
{
	pthread_mutex_lock(&uvp_topo_lock);
	it->file_next = unused_items;
	unused_items = it;
	pthread_mutex_unlock(&uvp_topo_lock);
}

/* It is unlinked: nobody finds it but a watch that fires or a harvest. */
static void
item_free(struct uvp_item *it)
{
	struct uvp_epoll *ep = it->ep;

	if (it->ev.events & EPOLLEXCLUSIVE)
		one_of_unlink(it);
	else if (it->watched && !uvp_dead(it->file))
		UVP_IN_VOID(uvs_watch_del(&it->watch));
	pthread_mutex_lock(&ep->lock);
	dequeue(ep, it);
	evfd_lower(ep);
	pthread_mutex_unlock(&ep->lock);
	item_recycle(it);
	ep_put(ep);
}

static void
item_remove(struct uvp_item *it)
{
	pthread_mutex_lock(&uvp_topo_lock);
	item_unlink(it);
	pthread_mutex_unlock(&uvp_topo_lock);
	item_free(it);
}

static void
half_link(struct uvp_item *it)
{
	pthread_mutex_lock(&uvp_topo_lock);
	it->id = it->ep->next_id++;
	it->half_next = it->ep->halves;
	it->ep->halves = it;
	pthread_mutex_unlock(&uvp_topo_lock);
}

/* The kernel half as a member; ONESHOT is ours to keep, for both halves together. */
static int
kernel_member(struct uvp_item *it, int epfd, int op)
{
	struct epoll_event ev = {.events = it->ev.events & ~EPOLLONESHOT,
				 .data.u64 = it->ep->cookie + 1 + it->id};

	atomic_store(&it->ep->has_kernel, true);
	atomic_store(&it->ep->cookies, true);
	if (R(epoll_ctl)(epfd, op, it->fd, &ev) < 0)
		return -errno;
	it->in_kernel = true;
	return 0;
}

static void
item_watch(struct uvp_item *it)
{
	struct uvp_file *f = it->file;

	it->watched = true;
	if (!(it->ev.events & EPOLLEXCLUSIVE)) {
		it->watch.fire = item_fire;
		UVP_IN_VOID(uvs_watch_add(f->sock, &it->watch));
		return;
	}
	pthread_mutex_lock(&f->exclusive_lock);
	it->one_of_next = f->exclusive;
	f->exclusive = it;
	pthread_mutex_unlock(&f->exclusive_lock);
	if (!f->one_of_watched) {
		f->one_of_watched = true;
		f->one_of.fire = one_of_fire;
		UVP_IN_VOID(uvs_watch_add(f->sock, &f->one_of));
	}
}

/* Start watching, as far as the file's state allows. */
static int
item_attach(struct uvp_item *it, int epfd)
{
	enum uvp_state state = uvp_state(it->file);
	int r = 0;

	if (state == UVP_STACK || state == UVP_BOTH) {
		if (!it->watched && !uvp_dead(it->file))
			item_watch(it);
		if (state == UVP_BOTH && !it->in_kernel && epfd >= 0) {
			half_link(it);
			r = kernel_member(it, epfd, EPOLL_CTL_ADD);
		}
		if (state == UVP_STACK)
			it->in_kernel = false; /* went with the kernel half */
	}
	queue_if_ready(it);
	return r;
}

void
uvp_epoll_decided(struct uvp_file *f)
{
	struct uvp_item *it;

	for (it = f->items; it; it = it->file_next)
		item_attach(it, uvp_any_number(it->ep->file));
}

void
uvp_epoll_to_kernel(struct uvp_file *f, int fd)
{
	struct uvp_item *it, *next;

	for (it = f->items; it; it = next) {
		int epfd = uvp_any_number(it->ep->file);

		next = it->file_next;
		if (it->fd != fd || epfd < 0)
			continue;
		atomic_store(&it->ep->has_kernel, true);
		if (it->in_kernel)
			R(epoll_ctl)(epfd, EPOLL_CTL_MOD, fd, &it->ev);
		else
			R(epoll_ctl)(epfd, EPOLL_CTL_ADD, fd, &it->ev);
		item_remove(it);
	}
}

void
uvp_epoll_socket_gone(struct uvp_file *f)
{
	struct uvp_item *it;

	if (f->one_of_watched && !uvp_dead(f))
		UVP_IN_VOID(uvs_watch_del(&f->one_of));
	for (;;) {
		pthread_mutex_lock(&uvp_topo_lock);
		it = f->items;
		if (it)
			item_unlink(it);
		pthread_mutex_unlock(&uvp_topo_lock);
		if (!it)
			return;
		item_free(it);
	}
}

/* The next item whose file is not on its way out: that one's own end removes it. */
static struct uvp_item *
pick_item(struct uvp_epoll *ep)
{
	struct uvp_item *it;
	uint32_t i;

	for (i = 0; i < ep->nb_buckets; i++)
		for (it = ep->buckets[i]; it; it = it->hash_next)
			if (uvp_get_unless_gone(it->file))
				return it;
	return NULL;
}

void
uvp_epoll_file_gone(struct uvp_epoll *ep)
{
	struct uvp_item *it;
	struct uvp_file *f;
	int i;

	if (!ep)
		return;
	ep->file = NULL;
	for (;;) {
		pthread_mutex_lock(&uvp_topo_lock);
		it = pick_item(ep);
		if (it) {
			f = it->file;
			item_unlink(it);
		}
		pthread_mutex_unlock(&uvp_topo_lock);
		if (!it)
			break;
		item_free(it);
		uvp_put(f);
	}
	for (i = 0; i < MAX_INNER; i++)
		if (ep->inner[i])
			ep_put(ep->inner[i]);
	ep_put(ep);
}

/* ------------------------------------------------------------------------------------ nesting */

/* Make the descriptor readable through the kernel while the ready list is not empty. */
static int
make_visible(struct uvp_epoll *ep, int epfd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = ep->cookie};
	int fd;

	pthread_mutex_lock(&ep->lock);
	if (ep->evfd < 0) {
		fd = R(eventfd)(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (fd >= 0) {
			ep->evfd = uvs_fd_adopt(fd);
			atomic_store(&ep->cookies, true);
			atomic_store(&ep->has_kernel, true);
			R(epoll_ctl)(epfd, EPOLL_CTL_ADD, ep->evfd, &ev);
		}
	}
	if (ep->nb_ready > 0)
		evfd_raise(ep);
	fd = ep->evfd;
	pthread_mutex_unlock(&ep->lock);
	return fd < 0 ? -EMFILE : 0;
}

/* Drop items that are ready no more, so that the eventfd tells the truth. */
static void
purge(struct uvp_epoll *ep)
{
	struct uvp_item *it, *next;

	pthread_mutex_lock(&ep->lock);
	for (it = ep->ready; it; it = next) {
		next = it->ready_next;
		if (!item_level(it))
			dequeue(ep, it);
	}
	evfd_lower(ep);
	pthread_mutex_unlock(&ep->lock);
}

static void
purge_inner(struct uvp_epoll *ep, int depth)
{
	int i;

	for (i = 0; i < MAX_INNER; i++) {
		if (!ep->inner[i] || depth == 0)
			return; /* filled in order */
		purge_inner(ep->inner[i], depth - 1);
		purge(ep->inner[i]);
	}
}

void
uvp_epoll_refresh(struct uvp_file *f, int epfd)
{
	make_visible(f->ep, epfd);
	purge_inner(f->ep, 4);
	purge(f->ep);
}

static void
remember_inner(struct uvp_epoll *outer, struct uvp_epoll *inner)
{
	int i;

	pthread_mutex_lock(&uvp_topo_lock);
	for (i = 0; i < MAX_INNER; i++) {
		if (outer->inner[i] == inner)
			break;
		if (!outer->inner[i]) {
			atomic_fetch_add(&inner->refs, 1);
			outer->inner[i] = inner;
			break;
		}
	}
	pthread_mutex_unlock(&uvp_topo_lock);
}

/* ---------------------------------------------------------------------------------- epoll_ctl */

static int
item_add(struct uvp_epoll *ep, int epfd, struct uvp_file *f, int fd, const struct epoll_event *ev)
{
	struct uvp_item *it;
	int r;

	if (item_find(ep, f, fd))
		return -EEXIST;
	it = item_new();
	if (!it)
		return -ENOMEM;
	atomic_fetch_add(&ep->refs, 1);
	it->ep = ep;
	it->file = f;
	it->fd = fd;
	it->ev = *ev;
	it->ev.events |= EPOLLERR | EPOLLHUP;
	item_link(it);
	if (atomic_load(&ep->blind) > 0)
		make_visible(ep, epfd);
	r = item_attach(it, epfd);
	if (r < 0)
		item_remove(it);
	return r;
}

static int
item_mod(struct uvp_item *it, int epfd, const struct epoll_event *ev)
{
	int r = 0;

	if (it->ev.events & EPOLLEXCLUSIVE)
		return -EINVAL;
	pthread_mutex_lock(&it->ep->lock);
	it->ev = *ev;
	it->ev.events |= EPOLLERR | EPOLLHUP;
	it->kernel_ready = 0;
	pthread_mutex_unlock(&it->ep->lock);
	if (it->in_kernel)
		r = kernel_member(it, epfd, EPOLL_CTL_MOD);
	queue_if_ready(it);
	return r;
}

static int
item_del(struct uvp_item *it, int epfd)
{
	if (it->in_kernel)
		R(epoll_ctl)(epfd, EPOLL_CTL_DEL, it->fd, NULL);
	item_remove(it);
	return 0;
}

static int
ctl_socket(struct uvp_epoll *ep, int epfd, int op, struct uvp_file *f, int fd,
	   struct epoll_event *ev)
{
	struct uvp_item *it;
	int r;

	pthread_mutex_lock(&f->lock);
	if (uvp_state(f) == UVP_KERNEL) {
		atomic_store(&ep->has_kernel, true);
		pthread_mutex_unlock(&f->lock);
		return (int)uvp_neg(R(epoll_ctl)(epfd, op, fd, ev));
	}
	it = item_find(ep, f, fd);
	if (op == EPOLL_CTL_ADD)
		r = item_add(ep, epfd, f, fd, ev);
	else if (!it)
		r = -ENOENT;
	else if (op == EPOLL_CTL_MOD)
		r = item_mod(it, epfd, ev);
	else
		r = item_del(it, epfd);
	pthread_mutex_unlock(&f->lock);
	return r;
}

static int
ctl_check(int op, const struct epoll_event *ev)
{
	if (op != EPOLL_CTL_ADD && op != EPOLL_CTL_MOD && op != EPOLL_CTL_DEL)
		return -EINVAL;
	if (op != EPOLL_CTL_DEL && !ev)
		return -EFAULT;
	if (op != EPOLL_CTL_DEL && (ev->events & EPOLLEXCLUSIVE) &&
	    (op == EPOLL_CTL_MOD || (ev->events & ~EXCLUSIVE_OK)))
		return -EINVAL;
	return 0;
}

/* An instance that came in behind our back is adopted when it gets its first socket of the stack.
 */
static int
find_instance(int epfd, int fd, struct uvp_file **out)
{
	*out = uvp_get(epfd);
	if (!*out) {
		if (R(epoll_ctl)(epfd, EPOLL_CTL_DEL, fd, NULL) < 0 && errno != ENOENT)
			return -errno;
		if (uvp_epoll_adopt(epfd) < 0)
			return -ENOMEM;
		*out = uvp_get(epfd);
	}
	if (!*out)
		return -EBADF;
	return (*out)->kind == UVP_EPOLL ? 0 : -EINVAL;
}

/* A kernel descriptor, or another epoll instance. */
static int
ctl_kernel(int epfd, int op, struct uvp_file *f, int fd, struct epoll_event *ev)
{
	struct uvp_file *ef = uvp_get(epfd);
	int r;

	if (f && f->kind == UVP_EPOLL && op == EPOLL_CTL_ADD)
		make_visible(f->ep, fd);
	r = (int)uvp_neg(R(epoll_ctl)(epfd, op, fd, ev));
	if (r == 0 && op == EPOLL_CTL_ADD && ef && ef->kind == UVP_EPOLL) {
		atomic_store(&ef->ep->has_kernel, true);
		if (f && f->kind == UVP_EPOLL)
			remember_inner(ef->ep, f->ep);
	}
	if (ef)
		uvp_put(ef);
	return r;
}

static int
ctl(int epfd, int op, struct uvp_file *f, int fd, struct epoll_event *ev)
{
	struct uvp_file *ef = NULL;
	int r;

	if (!f || f->kind == UVP_EPOLL)
		return uvs_fd_internal(fd) ? -EBADF : ctl_kernel(epfd, op, f, fd, ev);
	r = ctl_check(op, ev);
	if (r == 0 && op == EPOLL_CTL_ADD && uvp_dead(f) && uvp_inherit(f) == -UVP_AGAIN)
		return ctl_kernel(epfd, op, NULL, fd, ev);
	if (r == 0)
		r = find_instance(epfd, fd, &ef);
	if (r == 0)
		r = ctl_socket(ef->ep, epfd, op, f, fd, ev);
	if (ef)
		uvp_put(ef);
	return r;
}

UVP_EXPORT int
epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	struct uvp_file *f;
	int r;

	if (uvp_table_size == 0 || uvp_inside())
		return R(epoll_ctl)(epfd, op, fd, ev);
	f = uvp_get(fd);
	r = ctl(epfd, op, f, fd, ev);
	if (f)
		uvp_put(f);
	return (int)uvp_ret(r);
}

/* --------------------------------------------------------------------------------- epoll_wait */

/* One-shot: both halves are disarmed until MOD. */
static void
disarm(struct uvp_item *it, int epfd)
{
	it->ev.events &= PRIVATE_BITS;
	if (it->in_kernel)
		kernel_member(it, epfd, EPOLL_CTL_MOD);
}

/* From the ready list, at most once around. */
static int
harvest(struct uvp_epoll *ep, int epfd, struct epoll_event *out, int max)
{
	uint32_t left;
	int n = 0;

	if (max <= 0)
		return 0;
	pthread_mutex_lock(&ep->lock);
	for (left = ep->nb_ready; left > 0 && n < max; left--) {
		struct uvp_item *it = ep->ready;
		uint32_t level = item_level(it);

		dequeue(ep, it);
		it->kernel_ready = 0;
		if (!level)
			continue;
		out[n].events = level;
		out[n++].data = it->ev.data;
		if (it->ev.events & EPOLLONESHOT)
			disarm(it, epfd);
		else if (!(it->ev.events & EPOLLET))
			enqueue(ep, it);
	}
	if (ep->nb_ready > 0 && ep->sleepers)
		wake_one(ep);
	evfd_lower(ep);
	pthread_mutex_unlock(&ep->lock);
	return n;
}

static void
half_ready(struct uvp_epoll *ep, uint32_t id, uint32_t events)
{
	struct uvp_item *it;

	pthread_mutex_lock(&uvp_topo_lock);
	for (it = ep->halves; it && it->id != id;)
		it = it->half_next;
	if (it) {
		pthread_mutex_lock(&ep->lock);
		it->kernel_ready |= events;
		enqueue(ep, it);
		pthread_mutex_unlock(&ep->lock);
	}
	pthread_mutex_unlock(&uvp_topo_lock);
}

/* Take our own events out of what the kernel gave. */
static int
filter(struct uvp_epoll *ep, struct epoll_event *ev, int n)
{
	int i, kept = 0;

	for (i = 0; i < n; i++) {
		uint64_t d = ev[i].data.u64;

		if (d >> 32 != ep->cookie >> 32 || d - ep->cookie > ep->next_id)
			ev[kept++] = ev[i];
		else if (d != ep->cookie)
			half_ready(ep, (uint32_t)(d - ep->cookie - 1), ev[i].events);
	}
	return kept;
}

static int
ask_kernel(struct uvp_epoll *ep, int epfd, struct epoll_event *out, int max)
{
	int n;

	ep->calls = 0;
	ep->last_kernel = __rdtsc();
	ep->kernel_turn = false;
	if (max <= 0)
		return 0;
	purge_inner(ep, 4);
	n = (int)uvs_syscall5(SYS_epoll_wait, epfd, (long)out, max, 0, 0);
	if (n > 0 && atomic_load_explicit(&ep->cookies, memory_order_relaxed))
		n = filter(ep, out, n);
	return n;
}

/* Is it time to look at the kernel although the stack keeps us busy? */
static bool
kernel_due(struct uvp_epoll *ep)
{
	if (!atomic_load_explicit(&ep->has_kernel, memory_order_relaxed))
		return false;
	return ep->kernel_turn || ++ep->calls >= KERNEL_EVERY_CALLS ||
	       __rdtsc() - ep->last_kernel > KERNEL_EVERY_CYCLES;
}

/* Everything that is ready, without waiting. */
static int
collect(struct uvp_epoll *ep, int epfd, struct epoll_event *out, int max)
{
	bool due = kernel_due(ep);
	int n = 0, k = 0;

	UVP_IN_VOID(uvs_progress());
	if (due && ep->kernel_turn) {
		k = ask_kernel(ep, epfd, out, max);
		if (k < 0)
			return k;
		due = false;
	}
	n = k + harvest(ep, epfd, out + k, max - k);
	if (due && n == max)
		ep->kernel_turn = true; /* no room left: it goes first next time */
	else if (due || n == 0) {
		k = ask_kernel(ep, epfd, out + n, max - n);
		if (k < 0)
			return n > 0 ? n : k;
		n += k;
		n += harvest(ep, epfd, out + n, n < max && n == k ? max - n : 0);
	}
	return n;
}

/* Asleep only if the ready list is empty: whoever fills it afterwards finds us. */
static bool
go_to_sleep(struct uvp_epoll *ep, struct sleeper *s)
{
	bool empty;

	pthread_mutex_lock(&ep->lock);
	empty = ep->nb_ready == 0;
	if (empty)
		sleeper_link(ep, s);
	pthread_mutex_unlock(&ep->lock);
	return empty;
}

static void
get_up(struct uvp_epoll *ep, struct sleeper *s)
{
	pthread_mutex_lock(&ep->lock);
	sleeper_unlink(ep, s);
	pthread_mutex_unlock(&ep->lock);
}

static int
wait_events(struct uvp_epoll *ep, int epfd, struct epoll_event *out, int max, uint64_t deadline,
	    const sigset_t *mask)
{
	struct pollfd p = {.fd = epfd, .events = POLLIN};
	struct uvs_kwait k = {.fds = &p, .nfds = 1, .sigmask = mask};
	struct sleeper s = {.waiter = uvp_waiter()};
	int n, r = 1;

	if (!s.waiter)
		return -ENOMEM;
	if (uvp_cancelled())
		return -UVP_AGAIN;
	for (;;) {
		if (go_to_sleep(ep, &s)) {
			r = UVP_IN(uvs_wait(s.waiter, &k, deadline));
			if (r == -EINTR && uvp_sig_interrupted() == 0)
				r = 1;
			get_up(ep, &s);
		}
		n = collect(ep, epfd, out, max);
		if (n != 0 || r <= 0)
			return n != 0 ? n : r;
		if (uvp_cancelled())
			return -UVP_AGAIN;
	}
}

static int
wait_file(struct uvp_file *f, int epfd, struct epoll_event *out, int max, uint64_t deadline,
	  const sigset_t *mask)
{
	int n;

	if (f->kind != UVP_EPOLL || max <= 0 || max > (int)(INT_MAX / sizeof(*out)))
		return -EINVAL;
	n = collect(f->ep, epfd, out, max);
	if (n != 0 || deadline == 0)
		return n;
	return wait_events(f->ep, epfd, out, max, deadline, mask);
}

/* Kernels before 5.11 know milliseconds only. */
static int
kernel_wait(int epfd, struct epoll_event *out, int max, const struct timespec *ts,
	    const sigset_t *mask)
{
	int r = (int)uvp_neg(R(epoll_pwait2)(epfd, out, max, ts, mask)), ms = -1;

	if (r != -ENOSYS)
		return r;
	if (ts)
		ms = (int)(ts->tv_sec * 1000 + (ts->tv_nsec + 999999) / 1000000);
	return (int)uvp_neg(R(epoll_pwait)(epfd, out, max, ms, mask));
}

/* Nothing of the stack is in the instance and no stack is running: sleep in the kernel. If the
 * first socket of the stack comes meanwhile, the eventfd wakes us, and the event is ours to take
 * out. */
static int
wait_blind(struct uvp_epoll *ep, int epfd, struct epoll_event *out, int max,
	   const struct timespec *ts, const sigset_t *mask)
{
	int n;

	atomic_fetch_add(&ep->blind, 1);
	if (atomic_load(&ep->nb_items) > 0)
		n = 0;
	else
		n = kernel_wait(epfd, out, max, ts, mask);
	atomic_fetch_sub(&ep->blind, 1);
	return n;
}

static bool
seeing(struct uvp_epoll *ep)
{
	return uvs_stack_running() ||
	       atomic_load_explicit(&ep->nb_items, memory_order_relaxed) > 0 ||
	       atomic_load_explicit(&ep->cookies, memory_order_relaxed);
}

/* Gives up the reference, before signal handlers may run. */
static int
wait_timed(struct uvp_file *f, int epfd, struct epoll_event *ev, int max, const struct timespec *ts,
	   const sigset_t *mask)
{
	uint64_t deadline;
	int r = uvp_deadline_ts(ts, &deadline);

	if (r == 0 && f->kind == UVP_EPOLL && !seeing(f->ep) && !uvp_time_joins(ts)) {
		r = wait_blind(f->ep, epfd, ev, max, ts, mask);
		if (r < 0 || !seeing(f->ep))
			goto out;
		r = filter(f->ep, ev, r);
	}
	if (r != 0)
		goto out;
	uvp_hold();
	r = wait_file(f, epfd, ev, max, deadline, mask);
	return (int)uvp_end(f, r);
out:
	uvp_put(f);
	return r;
}

static int
wait_number(int epfd, struct epoll_event *ev, int max, const struct timespec *ts,
	    const sigset_t *mask)
{
	struct uvp_file *f;
	int r = -EBADF;

	do {
		f = uvp_get(epfd);
		if (f)
			r = wait_timed(f, epfd, ev, max, ts, mask);
	} while (f && r == -UVP_AGAIN);
	return (int)uvp_ret(r);
}

UVP_EXPORT int
epoll_pwait2(int epfd, struct epoll_event *ev, int max, const struct timespec *ts,
	     const sigset_t *mask)
{
	if (!uvp_known(epfd) || uvp_inside())
		return UVP_REAL(R(epoll_pwait2)(epfd, ev, max, ts, mask));
	return wait_number(epfd, ev, max, ts, mask);
}

UVP_EXPORT int
epoll_pwait(int epfd, struct epoll_event *ev, int max, int timeout, const sigset_t *mask)
{
	struct timespec ts = {.tv_sec = timeout / 1000, .tv_nsec = timeout % 1000 * 1000000l};

	if (!uvp_known(epfd) || uvp_inside())
		return UVP_REAL(R(epoll_pwait)(epfd, ev, max, timeout, mask));
	return wait_number(epfd, ev, max, timeout < 0 ? NULL : &ts, mask);
}

UVP_EXPORT int
epoll_wait(int epfd, struct epoll_event *ev, int max, int timeout)
{
	return epoll_pwait(epfd, ev, max, timeout, NULL);
}

/* -------------------------------------------------------------------------------- epoll_create */

static int
created(int fd)
{
	fd = uvp_opened(fd);
	if (fd >= 0 && !uvp_inside() && uvp_epoll_adopt(fd) < 0) {
		uvs_sys_close(fd);
		return (int)uvp_ret(-ENOMEM);
	}
	return fd;
}

UVP_EXPORT int
epoll_create(int size)
{
	return created(R(epoll_create)(size));
}

UVP_EXPORT int
epoll_create1(int flags)
{
	return created(R(epoll_create1)(flags));
}
