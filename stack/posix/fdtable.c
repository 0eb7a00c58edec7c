/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The descriptor table: from numbers to open files.
 *
 * A number of the stack is always open in the kernel too, so that the kernel goes on choosing the
 * lowest free number, counts it against RLIMIT_NOFILE, shows it in /proc and closes it on exec.
 * Closing goes entry first, kernel number second, reference last: while the number can be given out
 * again, the table no longer speaks about it.
 */
#include "stack/core/family.h"
#include "stack/posix/inherit.h"

#include <sys/resource.h>

#define TABLE_MIN   (1u << 20)
#define TABLE_MAX   (1u << 24)
#define POOL_CHUNK  64
#define NB_TEMPLATE 4

__thread struct uvp_thread uvp_self;
struct uvp_entry *uvp_table;
unsigned int uvp_table_size;
_Atomic uint32_t uvp_epoch = 1;
pthread_mutex_t uvp_table_lock = PTHREAD_MUTEX_INITIALIZER;

static _Atomic int highest = -1; /* no entry above */
static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static struct uvp_file *pool_free;
static struct chunk {
	struct chunk *next;
	struct uvp_file files[POOL_CHUNK];
} * chunks;
static uint64_t next_ino = 1;
static int templates[NB_TEMPLATE] = {-1, -1, -1, -1};

pthread_mutex_t uvp_topo_lock = PTHREAD_MUTEX_INITIALIZER;

/* --------------------------------------------------------------------------------------- files */

static bool
pool_grow(void)
{
	struct chunk *c;
	int i;

	c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (c == MAP_FAILED)
		return false;
	for (i = 0; i < POOL_CHUNK; i++) {
		pthread_mutex_init(&c->files[i].lock, NULL);
		pthread_mutex_init(&c->files[i].exclusive_lock, NULL);
		c->files[i].next_free = pool_free;
		pool_free = &c->files[i];
	}
	c->next = chunks;
	chunks = c;
	return true;
}

struct uvp_file *
uvp_file_new(enum uvp_kind kind)
{
	struct uvp_file *f;

	pthread_mutex_lock(&pool_lock);
	if (!pool_free && !pool_grow()) {
		pthread_mutex_unlock(&pool_lock);
		return NULL;
	}
	f = pool_free;
	pool_free = f->next_free;
	f->ino = next_ino++;
	pthread_mutex_unlock(&pool_lock);

	f->kind = kind;
	f->epoch = atomic_load(&uvp_epoch);
	atomic_store(&f->state, UVP_UNDECIDED);
	atomic_store(&f->listening, false);
	atomic_store(&f->flags, 0);
	atomic_store(&f->fds, 0);
	f->accepted = false;
	f->domain = f->type = f->protocol = 0;
	f->sock = NULL;
	f->opts = NULL;
	f->oracle = -1;
	f->kernel_first = false;
	f->items = NULL;
	f->exclusive = NULL;
	f->one_of_watched = false;
	f->ep = NULL;
	atomic_store_explicit(&f->refs, 1, memory_order_release);
	return f;
}

void
uvp_put_slow(struct uvp_file *f)
{
	if (f->kind == UVP_EPOLL) {
		uvp_epoll_file_gone(f->ep);
	} else {
		uvp_epoll_socket_gone(f);
		if (f->sock && uvp_dead(f) && uvp_state(f) != UVP_KERNEL)
			uvp_inherit_closed(f);
		if (f->sock)
			UVP_IN_VOID(uvs_sock_put(f->sock));
		uvp_opts_free(f);
		if (f->oracle >= 0)
			uvs_fd_close(f->oracle);
	}
	pthread_mutex_lock(&pool_lock);
	f->next_free = pool_free;
	pool_free = f;
	pthread_mutex_unlock(&pool_lock);
}

bool
uvp_get_unless_gone(struct uvp_file *f)
{
	uint32_t refs = atomic_load_explicit(&f->refs, memory_order_relaxed);

	do {
		if (refs == 0)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&f->refs, &refs, refs + 1, memory_order_acquire, memory_order_relaxed));
	return true;
}

/* f was in the entry a moment ago. It may have been freed and used again since: the reference
 * counts only if the entry still says f afterwards. */
struct uvp_file *
uvp_get_file(int fd, struct uvp_file *f)
{
	while (f) {
		if (uvp_get_unless_gone(f)) {
			if (atomic_load_explicit(&uvp_table[fd].file, memory_order_acquire) == f)
				return f;
			uvp_put(f);
		}
		f = atomic_load_explicit(&uvp_table[fd].file, memory_order_acquire);
	}
	return NULL;
}

/* ----------------------------------------------------------------------------------- the table */

static void
raise_highest(int fd)
{
	int h = atomic_load(&highest);

	while (fd > h && !atomic_compare_exchange_weak(&highest, &h, fd))
		;
}

/* Under table_lock. Returns what was there; its reference is the caller's. */
static struct uvp_file *
entry_swap(int fd, struct uvp_file *f)
{
	struct uvp_file *old;

	if (f) {
		atomic_fetch_add(&f->fds, 1);
		raise_highest(fd);
	}
	old = atomic_exchange(&uvp_table[fd].file, f);
	if (old)
		atomic_fetch_sub(&old->fds, 1);
	return old;
}

void
uvp_install(int fd, struct uvp_file *f)
{
	struct uvp_file *old;

	pthread_mutex_lock(&uvp_table_lock);
	old = entry_swap(fd, f);
	pthread_mutex_unlock(&uvp_table_lock);
	if (old)
		uvp_put(old);
}

void
uvp_opened_app(int fd)
{
	struct uvp_file *old;

	if ((unsigned int)fd >= uvp_table_size ||
	    !atomic_load_explicit(&uvp_table[fd].file, memory_order_relaxed))
		return;
	pthread_mutex_lock(&uvp_table_lock);
	old = entry_swap(fd, NULL);
	pthread_mutex_unlock(&uvp_table_lock);
	if (old)
		uvp_put(old);
}

int
uvp_opened_slow(int fd)
{
	if (uvp_self.depth)
		return uvs_fd_take(fd);
	uvp_opened_app(fd);
	return fd;
}

/* ---------------------------------------------------------------------------- numbers, templates
 */

/* The kernel socket whose duplicates stand behind the stack's numbers: right domain and type (a raw
 * one would gather packets: UDP's stands for it), and never bound or connected, so that a call that
 * reaches it by mistake fails at once. */
int
uvp_template(int domain, int type)
{
	bool stream = type == SOCK_STREAM;
	int i = (domain == AF_INET6 ? 2 : 0) + (stream ? 0 : 1);
	int fd;

	pthread_mutex_lock(&uvp_table_lock);
	if (templates[i] < 0) {
		fd = R(socket)(domain, (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
		templates[i] = fd < 0 ? -errno : uvs_fd_adopt(fd);
	}
	fd = templates[i];
	if (fd < 0)
		templates[i] = -1;
	pthread_mutex_unlock(&uvp_table_lock);
	return fd;
}

int
uvp_number_new(int domain, int type, bool cloexec)
{
	int tmpl = uvp_template(domain, type);
	int fd;

	if (tmpl < 0)
		return tmpl;
	fd = R(fcntl)(tmpl, cloexec ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
	if (fd < 0)
		return -errno;
	if ((unsigned int)fd >= uvp_table_size) {
		uvs_sys_close(fd);
		return -EMFILE;
	}
	return fd;
}

int
uvp_highest_number(void)
{
	return atomic_load(&highest);
}

int
uvp_any_number(struct uvp_file *f)
{
	int fd, top = f ? atomic_load(&highest) : -1;

	for (fd = 0; fd <= top; fd++)
		if (atomic_load_explicit(&uvp_table[fd].file, memory_order_relaxed) == f)
			return fd;
	return -1;
}

/* ---------------------------------------------------------------------- close, dup, close_range */

int
uvp_close(int fd)
{
	struct uvp_file *f = NULL;
	int r;

	if ((unsigned int)fd < uvp_table_size) {
		if (uvs_fd_internal(fd)) {
			if (!uvp_inside())
				return -EBADF;
			uvs_fd_closed(fd);
		} else if (atomic_load_explicit(&uvp_table[fd].file, memory_order_relaxed)) {
			pthread_mutex_lock(&uvp_table_lock);
			f = entry_swap(fd, NULL);
			r = f ? (int)uvs_sys_close(fd) : 0; /* no cancellation here */
			pthread_mutex_unlock(&uvp_table_lock);
			if (f) {
				uvp_put(f);
				return r;
			}
		}
	}
	return (int)uvp_neg(UVP_REAL(R(close)(fd)));
}

int
uvp_dup_to(int from, int to, int flags, bool same_ok)
{
	struct uvp_file *f, *old = NULL;
	int r;

	if (from == to)
		return (int)uvp_neg(same_ok ? R(dup2)(from, to) : R(dup3)(from, to, flags));
	if (!uvp_inside() && (uvs_fd_internal(from) || uvs_fd_internal(to)))
		return -EBADF;
	if ((unsigned int)to >= uvp_table_size)
		return (int)uvp_neg(R(dup3)(from, to, flags));
	pthread_mutex_lock(&uvp_table_lock);
	f = uvp_get(from);
	r = (int)uvp_neg(R(dup3)(from, to, flags));
	if (r >= 0)
		old = entry_swap(to, f);
	pthread_mutex_unlock(&uvp_table_lock);
	if (r < 0 && f)
		uvp_put(f);
	if (old)
		uvp_put(old);
	return r;
}

int
uvp_dup_from(int fd, int cmd, int arg)
{
	struct uvp_file *f, *old = NULL;
	int r;

	if (uvp_inside() || uvp_table_size == 0) {
		r = (int)uvp_neg(R(fcntl)(fd, cmd, arg));
		return r < 0 ? r : uvp_opened(r);
	}
	if (uvs_fd_internal(fd))
		return -EBADF;
	pthread_mutex_lock(&uvp_table_lock);
	f = uvp_get(fd);
	r = (int)uvp_neg(R(fcntl)(fd, cmd, arg));
	if (r >= 0 && (unsigned int)r < uvp_table_size) {
		old = entry_swap(r, f);
		f = NULL;
	}
	pthread_mutex_unlock(&uvp_table_lock);
	if (f)
		uvp_put(f);
	if (old)
		uvp_put(old);
	return r;
}

void
uvp_close_range(unsigned int first, unsigned int last, bool cloexec)
{
	int own = uvs_fd_highest(), entries = atomic_load(&highest);
	unsigned int top = (unsigned int)(own > entries ? own : entries) + 1, start = first, fd;

	if (cloexec) {
		R(close_range)(first, last, CLOSE_RANGE_CLOEXEC);
		return;
	}
	if (top > uvp_table_size)
		top = uvp_table_size;
	for (fd = first; fd < top && fd <= last; fd++) {
		if (atomic_load_explicit(&uvp_table[fd].file, memory_order_relaxed)) {
			uvp_close((int)fd);
		} else if (uvs_fd_internal((int)fd)) {
			if (fd > start)
				R(close_range)(start, fd - 1, 0);
			start = fd + 1;
		}
	}
	if (start <= last)
		R(close_range)(start, last, 0);
}

/* ------------------------------------------------------------------------------- changing halves
 */

/* Put kfd behind `fd` without changing its close-on-exec flag. */
static int
put_behind(int kfd, int fd)
{
	int flags = R(fcntl)(fd, F_GETFD);

	if (flags < 0)
		return -errno;
	return (int)uvp_neg(R(dup3)(kfd, fd, flags & FD_CLOEXEC ? O_CLOEXEC : 0));
}

/* Every number of f: kfd behind it (unless kfd < 0); `forget`: the table lets go of it. */
static int
behind_all(struct uvp_file *f, int kfd, bool forget)
{
	unsigned int left, dropped = 0;
	int fd, r = 0, top = atomic_load(&highest);

	pthread_mutex_lock(&uvp_table_lock);
	left = atomic_load(&f->fds);
	for (fd = 0; fd <= top && left > 0; fd++) {
		if (atomic_load_explicit(&uvp_table[fd].file, memory_order_relaxed) != f)
			continue;
		left--;
		if (kfd >= 0) {
			int err = put_behind(kfd, fd);

			r = err < 0 ? err : r;
		}
		if (forget) {
			entry_swap(fd, NULL);
			uvp_epoll_to_kernel(f, fd);
			dropped++;
		}
	}
	pthread_mutex_unlock(&uvp_table_lock);
	while (dropped--)
		uvp_put(f);
	return r;
}

int
uvp_hand_to_kernel(struct uvp_file *f, int kfd)
{
	int r = behind_all(f, kfd, true);

	if (kfd >= 0)
		uvs_fd_close(kfd);
	return r;
}

int
uvp_replace_kernel(struct uvp_file *f, int kfd)
{
	return behind_all(f, kfd, false);
}

/* ----------------------------------------------------------------------------------- life cycle */

void
uvp_table_init(void)
{
	struct rlimit rl = {.rlim_cur = 1024, .rlim_max = TABLE_MIN};
	unsigned int size = TABLE_MIN;
	void *mem;

	getrlimit(RLIMIT_NOFILE, &rl);
	if (rl.rlim_max != RLIM_INFINITY && rl.rlim_max > size)
		size = rl.rlim_max > TABLE_MAX ? TABLE_MAX : (unsigned int)rl.rlim_max;
	mem = mmap(NULL, size * sizeof(*uvp_table), PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED) {
		uvs_log(UVS_LOG_WARNING,
			"no address space for the descriptor table (%zu MiB): sockets stay with "
			"the kernel",
			size * sizeof(*uvp_table) >> 20);
		return;
	}
	uvp_table = mem;
	uvp_table_size = size;
}

/* No change of the table is half done when the process is copied. */
void
uvp_table_fork_prepare(void)
{
	uvs_family_prepare();
	uvp_inherit_prepare();
	pthread_mutex_lock(&uvp_table_lock);
	pthread_mutex_lock(&uvp_topo_lock);
	pthread_mutex_lock(&pool_lock);
	uvp_inherit_snapshot();
}

void
uvp_table_fork_parent(void)
{
	pthread_mutex_unlock(&pool_lock);
	pthread_mutex_unlock(&uvp_topo_lock);
	pthread_mutex_unlock(&uvp_table_lock);
	uvp_inherit_parent();
}

/* Other threads are gone, and with them whatever locks of single files they held. */
static void
renew_file_locks(void)
{
	struct chunk *c;
	int i;

	for (c = chunks; c; c = c->next) {
		for (i = 0; i < POOL_CHUNK; i++) {
			struct uvp_file *f = &c->files[i];

			pthread_mutex_init(&f->lock, NULL);
			pthread_mutex_init(&f->exclusive_lock, NULL);
			if (atomic_load(&f->refs) > 0 && f->kind == UVP_EPOLL && f->ep)
				uvp_epoll_fork_child(f->ep);
		}
	}
}

/* The parent's stack is not ours: nothing of it may stay open here, or its peers would not notice
 * when the parent dies. Templates and oracles are harmless and still of use. */
void
uvp_table_fork_child(void)
{
	pthread_mutex_init(&uvp_table_lock, NULL);
	pthread_mutex_init(&uvp_topo_lock, NULL);
	pthread_mutex_init(&pool_lock, NULL);
	renew_file_locks();
	atomic_fetch_add(&uvp_epoch, 1);
	uvs_fd_forget();
	uvp_inherit_child();
}
