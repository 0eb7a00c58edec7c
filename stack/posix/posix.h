/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stack/posix/posix.h - what the files of stack/posix share: open files, the descriptor table,
 * waiting, epoll. Names here start with uvp_.
 *
 * The picture
 * -----------
 *   number --> table entry --> struct uvp_file --> struct uvs_sock   (sock.h)
 *                  |                  |      \---> items: who watches it in which epoll
 *                  |                  \----------> struct uvp_epoll  (kind UVP_EPOLL)
 *                  \ the kernel has a descriptor of the same number: a duplicate of a socket that
 * is never connected (the placeholder), or the real kernel half
 *
 * A struct uvp_file is what the kernel calls an open file description: dup()ed numbers share it. It
 * has one reference per table entry and one per call in progress, so that a close() in one thread
 * never takes it away from a call in another; the last reference closes the socket.
 *
 * Who writes what
 * ---------------
 *   table entry      under table_lock; read without a lock (uvp_get)
 *   file.refs, .fds  atomic
 *   file.state       under file.lock, only along UNDECIDED -> STACK | BOTH | KERNEL,
 *                    BOTH -> STACK | KERNEL; read without a lock
 *   file.sock        written once, before the state that needs it is published
 *   items of a file  made, changed and removed under file.lock; linked under uvp_topo_lock
 *   epoll ready list, item.queued ...       under epoll.lock
 * Lock order: file.lock -> table_lock -> uvp_topo_lock -> (instance of the stack) -> epoll.lock.
 * Files and items live in pools that never return memory: a stale pointer may be read, and its
 * reference taken with "unless zero", at any time.
 *
 * The library within: while a thread is inside the stack (uvp_self.depth > 0) the symbols we take
 * over behave as the C library's, so that drivers and EAL calling them from below reach the kernel;
 * descriptors made then are internal: moved out of the application's way and guarded from its
 * close(), dup2() and close_range().
 */
#ifndef STACK_POSIX_POSIX_H
#define STACK_POSIX_POSIX_H

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "stack/core/fds.h"
#include "stack/core/log.h"
#include "stack/core/sys.h"
#include "stack/posix/real.h"
#include "stack/sock/sock.h"

#define UVP_EXPORT __attribute__((visibility("default")))

/* ------------------------------------------------------------------------------------ threads */

#define UVP_KEPT 6

/* One per thread, written by it and by signal handlers on it; `cancelled` by whoever cancels it. */
struct uvp_thread {
	unsigned int depth;       /* > 0: inside the stack */
	unsigned int sig_pending; /* handlers held back: kept[0..] */
	bool sig_interrupts;      /* one that came while inside has no SA_RESTART */
	siginfo_t kept[UVP_KEPT];
	/* thread.c: threads that have been inside at least once */
	_Atomic(struct uvs_waiter *) waiter;
	_Atomic bool cancelled;
	bool listed;
	bool of_the_stack; /* made by it: always inside, and cancelled by its maker as ever */
	pthread_t id;
	struct uvp_thread *next;
};
extern __thread struct uvp_thread uvp_self __attribute__((tls_model("initial-exec")));

/* Evaluate a call into sock.h with the thread marked as inside the stack. */
#define UVP_IN(expr)                                  \
	({                                            \
		uvp_self.depth++;                     \
		__typeof__(expr) uvp_in_ret = (expr); \
		uvp_leave();                          \
		uvp_in_ret;                           \
	})
#define UVP_IN_VOID(expr)         \
	do {                      \
		uvp_self.depth++; \
		(expr);           \
		uvp_leave();      \
	} while (0)

#define UVP_AGAIN 512 /* start over: interrupted and to be restarted, or now the kernel's */

void uvp_sig_deliver(void); /* handlers held back while inside (signal.c) */

/* thread.c: what this thread sleeps with; NULL: no memory. A sleep of a thread that is cancelled
 * ends, and the call returns -UVP_AGAIN when uvp_cancelled() says so; the thread ends outside. */
struct uvs_waiter *uvp_waiter(void);
void uvp_thread_list(void);
bool uvp_cancelled(void);
void uvp_test_cancel(void);
void uvp_thread_fork_child(void);

static inline void
uvp_leave(void)
{
	if (--uvp_self.depth > 0)
		return;
	if (uvp_unlikely(uvp_self.sig_pending))
		uvp_sig_deliver();
	if (uvp_unlikely(atomic_load_explicit(&uvp_self.cancelled, memory_order_relaxed)))
		uvp_test_cancel();
}

/* For calls that sleep on several files. */
static inline void
uvp_hold(void)
{
	if (uvp_unlikely(!uvp_self.listed))
		uvp_thread_list();
	uvp_self.depth++;
}

static inline bool
uvp_inside(void)
{
	return uvp_self.depth > 0;
}

/* -------------------------------------------------------------------------------------- files */

enum uvp_kind { UVP_SOCKET, UVP_EPOLL };

enum uvp_state {
	UVP_UNDECIDED, /* nothing said yet about where it goes; the number is a placeholder */
	UVP_STACK,     /* the stack's; the number is a placeholder */
	UVP_BOTH,      /* bound to ANY: a socket of the stack, and the number is a kernel socket */
	UVP_KERNEL,    /* was handed to the kernel; the table forgets it */
};

struct uvp_opt {
	struct uvp_opt *next;
	int level, name;
	socklen_t len;
	uint8_t val[];
};

struct uvp_item;
struct uvp_epoll;

struct uvp_file {
	_Atomic uint32_t refs; /* table entries and calls in progress; 0: in the pool */
	_Atomic uint32_t fds;  /* table entries */
	uint32_t epoch;        /* of the process that made it: differs in a fork()ed child */
	uint8_t kind;
	_Atomic uint8_t state;
	bool accepted;          /* born connected: no options to replay */
	_Atomic bool listening; /* listen() has succeeded here or before the fork */
	_Atomic int flags;      /* O_NONBLOCK, O_ASYNC: of the description, shared by its dups */
	int domain, type, protocol;
	struct uvs_sock *sock;
	pthread_mutex_t lock; /* state changes, options */
	struct uvp_opt *opts; /* in the order given, until the state is known */
	int oracle;           /* kernel socket that checks options of an undecided one, or -1 */
	_Atomic bool kernel_first;  /* BOTH: whose turn it is */
	struct uvp_item *items;     /* watched by these epoll sets */
	struct uvp_epoll *ep;       /* kind UVP_EPOLL */
	struct uvs_watch one_of;    /* for all its EPOLLEXCLUSIVE items together */
	struct uvp_item *exclusive; /* they; under exclusive_lock, inside the instance's */
	pthread_mutex_t exclusive_lock;
	bool one_of_watched;
	uint64_t ino; /* what fstat() shows */
	struct uvp_file *next_free;
};

struct uvp_entry {
	_Atomic(struct uvp_file *) file;
};

extern struct uvp_entry *uvp_table;
extern unsigned int uvp_table_size; /* 0 until the constructor ran, or without configuration */
extern _Atomic uint32_t uvp_epoch;

struct uvp_file *uvp_get_file(int fd, struct uvp_file *f);
bool uvp_get_unless_gone(struct uvp_file *f); /* a reference, or false: it is being freed */

/* The one look that a call on a kernel descriptor costs. */
static inline struct uvp_file *
uvp_known(int fd)
{
	if (uvp_unlikely((unsigned int)fd >= uvp_table_size))
		return NULL;
	return atomic_load_explicit(&uvp_table[fd].file, memory_order_acquire);
}

/* The file behind a number, with a reference, or NULL: a kernel descriptor. */
static inline struct uvp_file *
uvp_get(int fd)
{
	struct uvp_file *f = uvp_known(fd);

	return uvp_likely(!f) ? NULL : uvp_get_file(fd, f);
}

/* The same, and the thread is inside. */
static inline struct uvp_file *
uvp_begin(int fd)
{
	struct uvp_file *f;

	if (uvp_likely(!uvp_known(fd)))
		return NULL;
	uvp_hold();
	f = uvp_get(fd);
	if (uvp_unlikely(!f))
		uvp_leave();
	return f;
}

void uvp_put_slow(struct uvp_file *f);

static inline void
uvp_put(struct uvp_file *f)
{
	if (atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) == 1)
		uvp_put_slow(f);
}

static inline long
uvp_end(struct uvp_file *f, long r)
{
	uvp_put(f);
	uvp_leave();
	return r;
}

/* The body of a function we took over: what the kernel is asked if the number is none of ours, and
 * what is done with the file `f` if it is. Signal handlers run when nothing is held any more, since
 * they may not come back. */
#define UVP_ON(fd, real, mine)                                           \
	do {                                                             \
		for (;;) {                                               \
			struct uvp_file *f = uvp_begin(fd);              \
			long uvp_r;                                      \
                                                                         \
			if (uvp_likely(!f))                              \
				return UVP_REAL(real);                   \
			uvp_r = uvp_end(f, mine);                        \
			if (uvp_likely(uvp_r != -UVP_AGAIN))             \
				return (__typeof__(real))uvp_ret(uvp_r); \
		}                                                        \
	} while (0)

/* A socket of the stack that belongs to the process we were fork()ed from. */
static inline bool
uvp_dead(const struct uvp_file *f)
{
	return f->sock && f->epoch != atomic_load_explicit(&uvp_epoch, memory_order_relaxed);
}

static inline enum uvp_state
uvp_state(const struct uvp_file *f)
{
	return atomic_load_explicit(&f->state, memory_order_acquire);
}

static inline bool
uvp_nonblock(const struct uvp_file *f)
{
	return atomic_load_explicit(&f->flags, memory_order_relaxed) & O_NONBLOCK;
}

/* fdtable.c */
extern pthread_mutex_t uvp_table_lock;
extern pthread_mutex_t uvp_topo_lock;

struct uvp_file *uvp_file_new(enum uvp_kind kind); /* one reference; NULL: no memory */
/* A new number, placeholder behind it, or -errno. The caller installs a file or closes it. */
int uvp_number_new(int domain, int type, bool cloexec);
/* Entry of a number now open in the kernel: consumes one reference of f. */
void uvp_install(int fd, struct uvp_file *f);
int uvp_close(int fd);                                     /* 0 or -errno */
int uvp_dup_to(int from, int to, int flags, bool same_ok); /* dup2/dup3: number or -errno */
int uvp_dup_from(int fd, int cmd, int arg);                /* F_DUPFD...: number or -errno */
void uvp_close_range(unsigned int first, unsigned int last, bool cloexec);
/* All numbers of a file become dups of the kernel descriptor `kfd`, which is closed. */
int uvp_hand_to_kernel(struct uvp_file *f, int kfd);
/* All numbers of a file get `kfd` (kernel half or placeholder) behind them and stay in the table.
 */
int uvp_replace_kernel(struct uvp_file *f, int kfd);
/* Some number of the file, or -1. NULL has none. */
int uvp_any_number(struct uvp_file *f);
int uvp_highest_number(void); /* no entry above; -1: none at all */
int uvp_template(int domain, int type);
void uvp_table_init(void);
void uvp_table_fork_prepare(void);
void uvp_table_fork_parent(void);
void uvp_table_fork_child(void);

/* Every hooked call that opens a descriptor passes its number through here: an entry that the table
 * still has for it is stale (the number was closed behind our back), and what the stack itself
 * opens is moved away. Returns the number to hand out. */
int uvp_opened_slow(int fd);
void uvp_opened_app(int fd); /* for the application, although the thread is inside */

static inline int
uvp_opened(int fd)
{
	if (fd >= 0 && (unsigned int)fd < uvp_table_size &&
	    (uvp_unlikely(uvp_self.depth) ||
	     uvp_unlikely(atomic_load_explicit(&uvp_table[fd].file, memory_order_relaxed) != NULL)))
		return uvp_opened_slow(fd);
	return fd;
}

/* A call of the C library that is a cancellation point: not while a thread of the application is
 * inside, where it holds things. */
#define UVP_REAL(call)                                                                     \
	({                                                                                 \
		__typeof__(call) uvp_real_ret;                                             \
		int uvp_cancel_state;                                                      \
                                                                                           \
		if (uvp_unlikely(uvp_self.depth && !uvp_self.of_the_stack)) {              \
			pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &uvp_cancel_state); \
			uvp_real_ret = (call);                                             \
			pthread_setcancelstate(uvp_cancel_state, NULL);                    \
		} else {                                                                   \
			uvp_real_ret = (call);                                             \
		}                                                                          \
		uvp_real_ret;                                                              \
	})

/* Result or -errno into the C convention. */
static inline long
uvp_ret(long r)
{
	if (uvp_unlikely(r < 0)) {
		errno = (int)-r;
		return -1;
	}
	return r;
}

/* The C convention into result or -errno. */
static inline long
uvp_neg(long r)
{
	return r < 0 ? -errno : r;
}

/* ------------------------------------------------------------------------------------ waiting */

#define UVP_FOREVER UINT64_MAX

struct uvp_wake {
	struct uvs_watch watch;
	struct uvs_waiter *waiter;
	uint32_t mask;
	bool linked;
};

uint64_t uvp_now(void);
uint64_t uvp_deadline_ms(int timeout_ms);
int uvp_deadline_ts(const struct timespec *ts, uint64_t *deadline); /* -EINVAL */
void uvp_wake_add(struct uvp_wake *w, struct uvs_sock *s, struct uvs_waiter *waiter, uint32_t mask);
void uvp_wake_del(struct uvp_wake *w);

/* What poll() would say, with the RDNORM/WRNORM twins. */
uint32_t uvp_level(const struct uvp_file *f);

/* A call that may block: `op` is tried until it answers something else than -EAGAIN. `dir` POLLIN
 * or POLLOUT names the timeout and what to wait for; `kernel_fd` >= 0 is waited for as well. */
typedef ssize_t (*uvp_op)(struct uvp_file *f, void *arg);
ssize_t uvp_run(struct uvp_file *f, bool nonblock, short dir, int kernel_fd, uvp_op op, void *arg);

/* signal.c: a sleep ended with -EINTR. 0: no handler is waiting, sleep on; -UVP_AGAIN: all that
 * wait ask for a restart; -EINTR. */
int uvp_sig_interrupted(void);

/* ------------------------------------------------------------------------------------ routing */

/* route.c: all return 0 or -errno and are called with a reference to f, without its lock. */
int uvp_to_stack(struct uvp_file *f);
int uvp_to_kernel(struct uvp_file *f);
int uvp_to_both(struct uvp_file *f, const struct sockaddr *addr, socklen_t len);
int uvp_oracle(struct uvp_file *f); /* the descriptor, or -errno */
int uvp_opt_set(struct uvp_file *f, int fd, int level, int name, const void *val, socklen_t len);
int uvp_opt_get(struct uvp_file *f, int fd, int level, int name, void *val, socklen_t *len);
void uvp_opts_free(struct uvp_file *f);

/* ------------------------------------------------------------------------- calls by concern
 * The calls on files: result or -errno; `fd` is the number they came by. */

ssize_t uvp_recvmsg(struct uvp_file *f, int fd, struct msghdr *msg, int flags);
ssize_t uvp_sendmsg(struct uvp_file *f, int fd, const struct msghdr *msg, int flags);
int uvp_accept(struct uvp_file *f, int fd, struct sockaddr *addr, socklen_t *len, int flags);

/* epoll.c */
int uvp_epoll_adopt(int epfd); /* a number made by epoll_create1 */
void uvp_epoll_file_gone(struct uvp_epoll *ep);
void uvp_epoll_socket_gone(struct uvp_file *f); /* last reference of a socket */
/* Under file.lock: state is STACK or BOTH now; number `fd` is the kernel's now. */
void uvp_epoll_decided(struct uvp_file *f);
void uvp_epoll_to_kernel(struct uvp_file *f, int fd);
/* Before the kernel is asked whether epfd is readable: see that it will know, and drop what is
 * ready no more. */
void uvp_epoll_refresh(struct uvp_file *f, int epfd);
void uvp_epoll_fork_child(struct uvp_epoll *ep);

/* time.c: the application's time is that of the stack's clock while that is not the kernel's. */
void uvp_time_init(void);
/* What a clock of the kernel's is ahead of the stack's, ns. False: it is no clock of time. */
bool uvp_time_offset(clockid_t clock, uint64_t *ahead);
/* True if a wait of this thread is to go by virtual time. Brings the stack up if need be, so that
 * the clock waits for us. Also called by those that may sleep in the kernel for `ts` (NULL, zero:
 * false) when there is no stack. */
bool uvp_time_virtual(void);
bool uvp_time_joins(const struct timespec *ts);
/* The moment, on the stack's clock, that is t on the other one. */
uint64_t uvp_time_at(clockid_t clock, const struct timespec *t);
/* timers.c: the number is closed, or new. */
void uvp_timer_forget(int fd);
void uvp_timer_new(int fd, clockid_t clock);
void uvp_timers_fork_child(void);

/* poll.c: deadline in ns of the stack's clock. Count or -errno. */
int uvp_poll(struct pollfd *fds, nfds_t n, uint64_t deadline, const sigset_t *mask);

/* fork.c */
void uvp_fork_init(void);
void uvp_fork_child(void);
pid_t uvp_vfork(void);

/* Things worth saying, once each. */
#define uvp_log_once(...)                                         \
	do {                                                      \
		static atomic_flag uvp_logged = ATOMIC_FLAG_INIT; \
		if (!atomic_flag_test_and_set(&uvp_logged))       \
			uvs_log(UVS_LOG_WARNING, __VA_ARGS__);    \
	} while (0)

#endif /* STACK_POSIX_POSIX_H */
