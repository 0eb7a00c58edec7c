/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Calls and waits in both models: wake-ups, deadlines, kernel descriptors, signals, the driver's
 * role passed between threads, the ticker. Usage: test-sock-wait shared|separate [CASE]. Both hosts
 * are driven by whoever waits, or by a thread each. */
#include "stack/sock/tests/pair.h"

#include "stack/core/clock.h"
#include "stack/core/waiter.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define MS UVS_NS_PER_MS

static uint64_t
in_ms(unsigned int ms)
{
	return uvs_clock_ns() + ms * MS;
}

static uint64_t
cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * UVS_NS_PER_S + (uint64_t)t.tv_nsec;
}

/* For how long this thread could have run and did not, because others did. */
static uint64_t
waited_ns(void)
{
	FILE *f = fopen("/proc/thread-self/schedstat", "re");
	unsigned long long ns = 0;

	if (f != NULL && fscanf(f, "%*u %llu", &ns) != 1)
		ns = 0;
	if (f != NULL)
		fclose(f);
	return ns;
}

/* What happens by itself, in a while: nothing here drives it. */
#define EVENTUALLY(cond)                                   \
	do {                                               \
		uint64_t until_ = in_ms(10000);            \
		while (!(cond) && uvs_clock_ns() < until_) \
			usleep(1000);                      \
		CHECK(cond);                               \
	} while (0)

/* ------------------------------------------------------------------------------------- one thread
 */

static void
test_deadline(void)
{
	uint64_t begun = uvs_clock_ns(), cpu = cpu_ns(), waited = waited_ns(), took;

	CHECK_EQ(uvs_wait(uvs_waiter_self(), NULL, in_ms(200)), 0);
	took = uvs_clock_ns() - begun;
	CHECK(took >= 200 * MS && took < 400 * MS + waited_ns() - waited);
	/* By timer every millisecond, since net_ring has no interrupts; still nearly idle. */
	CHECK(cpu_ns() - cpu < 50 * MS);
	CHECK_EQ(uvs_wait(uvs_waiter_self(), NULL, 0), 0);
	CHECK_EQ(uvs_wait(uvs_waiter_self(), NULL, 1), 0); /* long past */
}

static void
test_wake_before(void)
{
	struct uvs_waiter *w = uvs_waiter_self();

	uvs_waiter_wake(w);
	uvs_waiter_wake(w);
	CHECK_EQ(uvs_wait(w, NULL, in_ms(5000)), 1);
	CHECK_EQ(uvs_wait(w, NULL, in_ms(5)), 0);
	uvs_waiter_wake(w);
	CHECK_EQ(uvs_wait(w, NULL, 0), 1);
}

static void
test_kernel_fds(void)
{
	struct uvs_waiter *w = uvs_waiter_self();
	struct pollfd fds[100];
	struct uvs_kwait k = {.fds = fds, .nfds = 2};
	int a = eventfd(0, 0), b = eventfd(1, 0);

	fds[0] = (struct pollfd){.fd = a, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = b, .events = POLLIN};
	CHECK_EQ(uvs_wait(w, &k, in_ms(5000)), 2);
	CHECK_EQ(fds[0].revents, 0);
	CHECK_EQ(fds[1].revents, POLLIN);
	CHECK_EQ(uvs_wait(w, &k, 0), 2);
	k.nfds = 1;
	CHECK_EQ(uvs_wait(w, &k, in_ms(20)), 0);
	CHECK_EQ(uvs_wait(w, &k, 0), 0);
	uvs_waiter_wake(w);
	k.nfds = 2;
	CHECK(uvs_wait(w, &k, in_ms(5000)) & 1);
	for (int i = 0; i < 100; i++)
		fds[i] = (struct pollfd){.fd = a, .events = POLLIN};
	fds[99].fd = b;
	k.nfds = 100;
	CHECK_EQ(uvs_wait(w, &k, in_ms(5000)), 2);
	CHECK_EQ(fds[99].revents, POLLIN);
	close(a);
	close(b);
}

/* ----------------------------------------------------------------------------------------- signals
 */

static volatile sig_atomic_t handled;

static void
on_signal(int sig)
{
	(void)sig;
	handled++;
	uvs_wait_interrupt();
}

static void
catch_signal(void (*fn)(int))
{
	struct sigaction sa = {.sa_handler = fn};

	sigaction(SIGUSR1, &sa, NULL);
}

struct shot {
	pthread_t at;
	unsigned int after_us;
};

static void *
shoot(void *arg)
{
	struct shot *s = arg;

	usleep(s->after_us);
	pthread_kill(s->at, SIGUSR1);
	return NULL;
}

/* At every distance from the wait's begin: while it polls, while it arms, while it sleeps. */
static void
test_signals(void)
{
	catch_signal(on_signal);
	for (unsigned int i = 0; i < 60; i++) {
		struct shot s = {pthread_self(), i * 7};
		pthread_t t;
		int r, before = handled;

		pthread_create(&t, NULL, shoot, &s);
		do
			r = uvs_wait(uvs_waiter_self(), NULL, in_ms(5000));
		while (r == 0 && handled == before);
		/* The signal may have come before the wait began. */
		if (handled == before)
			CHECK_EQ(r, -EINTR);
		else
			CHECK(r == -EINTR || r == 0);
		pthread_join(t, NULL);
	}
}

static void
test_signal_mask(void)
{
	struct uvs_kwait k = {0};
	sigset_t block, open;
	int before = handled;

	catch_signal(on_signal);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &block, &open);
	raise(SIGUSR1);
	CHECK_EQ(uvs_wait(uvs_waiter_self(), NULL, in_ms(20)), 0);
	CHECK_EQ(handled, before);
	k.sigmask = &open;
	CHECK_EQ(uvs_wait(uvs_waiter_self(), &k, in_ms(5000)), -EINTR);
	CHECK_EQ(handled, before + 1);
	pthread_sigmask(SIG_SETMASK, &open, NULL);
}

static int nested_result;

static void
wait_in_handler(int sig)
{
	(void)sig;
	nested_result = uvs_wait(uvs_waiter_self(), NULL, in_ms(10));
	handled++;
}

static void
test_wait_in_handler(void)
{
	struct shot s = {pthread_self(), 3000};
	pthread_t t;
	int r;

	catch_signal(wait_in_handler);
	nested_result = -1;
	pthread_create(&t, NULL, shoot, &s);
	r = uvs_wait(uvs_waiter_self(), NULL, in_ms(5000));
	CHECK(r == -EINTR || r == 1);
	CHECK_EQ(nested_result, 0);
	pthread_join(t, NULL);
	CHECK_EQ(uvs_wait(uvs_waiter_self(), NULL, in_ms(5)), 0);
}

/* A handler that calls while its thread is in a call: served by a stack thread, refused by the
 * shared model, whose thread holds the instance. Never a deadlock. */
static volatile long called;

static long
answer(void *arg)
{
	return *(long *)arg + 1;
}

static void
call_in_handler(int sig)
{
	long arg = 41;

	(void)sig;
	called = uvs_model->call(hosts[0], answer, &arg);
}

static long
dawdle(void *arg)
{
	uint64_t until = uvs_clock_ns() + 30 * MS;

	(void)arg;
	while (called == 0 && uvs_clock_ns() < until)
		usleep(1000);
	return 7;
}

static void
test_call_in_handler(void)
{
	struct shot s = {pthread_self(), 5000};
	pthread_t t;

	catch_signal(call_in_handler);
	called = 0;
	pthread_create(&t, NULL, shoot, &s);
	CHECK_EQ(uvs_model->call(hosts[0], dawdle, NULL), 7);
	pthread_join(t, NULL);
	CHECK_EQ(called, uvs_model == &uvs_model_separate ? 42 : -EDEADLK);
}

/* ----------------------------------------------------------------------------------- many threads
 */

struct waking_watch {
	struct uvs_watch w;
	struct uvs_waiter *waiter;
};

static void
wake_fire(struct uvs_watch *w, uint32_t events)
{
	(void)events;
	uvs_waiter_wake(((struct waking_watch *)w)->waiter);
}

/* As stack/posix does it. */
static ssize_t
blocking_recv(struct uvs_sock *s, void *buf, size_t len)
{
	struct waking_watch w = {.w.fire = wake_fire, .waiter = uvs_waiter_self()};
	ssize_t r = pair_recv(s, buf, len);

	if (r != -EAGAIN)
		return r;
	uvs_progress();
	uvs_watch_add(s, &w.w);
	while ((r = pair_recv(s, buf, len)) == -EAGAIN) {
		int e = uvs_wait(w.waiter, NULL, in_ms(10000));

		CHECK(e == 1); /* 0: a wake-up was lost */
	}
	uvs_watch_del(&w.w);
	return r;
}

struct player {
	struct uvs_sock *s;
	unsigned int rounds;
	bool first;
};

static void *
play(void *arg)
{
	struct player *p = arg;
	char c = 0;

	for (unsigned int i = 0; i < p->rounds; i++) {
		if (p->first)
			CHECK_EQ(pair_send(p->s, &c, 1), 1);
		CHECK_EQ(blocking_recv(p->s, &c, 1), 1);
		if (!p->first)
			CHECK_EQ(pair_send(p->s, &c, 1), 1);
	}
	return NULL;
}

/* Pairs of threads ping-pong, each blocking: the role wanders, no wake-up is lost. */
static void
test_ping_pong(unsigned int pairs, unsigned int rounds)
{
	struct player p[16];
	pthread_t t[16];

	for (unsigned int i = 0; i < pairs; i++) {
		struct uvs_sock *c, *s;
		int one = 1;

		pair_connect(&c, &s);
		uvs_sock_setsockopt(c, IPPROTO_TCP, 1, &one, sizeof(one));
		uvs_sock_setsockopt(s, IPPROTO_TCP, 1, &one, sizeof(one));
		p[2 * i] = (struct player){c, rounds, true};
		p[2 * i + 1] = (struct player){s, rounds, false};
	}
	for (unsigned int i = 0; i < 2 * pairs; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, play, &p[i]), 0);
	for (unsigned int i = 0; i < 2 * pairs; i++) {
		pthread_join(t[i], NULL);
		uvs_sock_put(p[i].s);
	}
}

static void
test_one_pair(void)
{
	/* Without interrupts a stack thread that shares its core wakes up every millisecond. */
	test_ping_pong(1, uvs_model == &uvs_model_separate ? 200 : 20000);
}

static void
test_many_pairs(void)
{
	test_ping_pong(6, uvs_model == &uvs_model_separate ? 300 : 3000);
}

static void *
sleep_a_little(void *arg)
{
	(void)arg;
	CHECK_EQ(uvs_wait(uvs_waiter_self(), NULL, in_ms(20)), 0);
	return uvs_waiter_self();
}

/* Waiters are passed on, not made anew for each thread. */
static void
test_waiters_are_reused(void)
{
	void *first = NULL, *again;
	pthread_t t;

	for (int i = 0; i < 10; i++) {
		pthread_create(&t, NULL, sleep_a_little, NULL);
		pthread_join(t, &again);
		CHECK(first == NULL || first == again);
		first = again;
	}
}

struct driving {
	_Atomic(struct uvs_waiter *) waiter;
	int result;
};

static void *
drive_until_woken(void *arg)
{
	struct driving *d = arg;

	d->waiter = uvs_waiter_self();
	d->result = uvs_wait(d->waiter, NULL, in_ms(5000));
	return NULL;
}

/* Promoted, but another thread was faster to take the role: it hears of its descriptors like any
 * other that waits. */
static void
test_void_promotion(void)
{
	struct pollfd p = {.fd = eventfd(1, EFD_CLOEXEC), .events = POLLIN};
	struct uvs_kwait k = {.fds = &p, .nfds = 1};
	struct driving d = {.result = 0};
	pthread_t t;

	if (uvs_model != &uvs_model_shared)
		return; /* nobody is promoted where nobody who waits drives */
	pthread_create(&t, NULL, drive_until_woken, &d);
	while (d.waiter == NULL || __atomic_load_n(&d.waiter->asleep_until, __ATOMIC_RELAXED) == 0)
		sched_yield();
	uvs_waiter_post(uvs_waiter_self(), UVS_W_PROMOTED);
	CHECK_EQ(uvs_wait(uvs_waiter_self(), &k, in_ms(1000)), 2);
	uvs_waiter_wake(d.waiter);
	pthread_join(t, NULL);
	CHECK_EQ(d.result, 1);
	close(p.fd);
}

/* One call from many threads at a time: all are serialised. */
static void *
hammer(void *arg)
{
	struct uvs_sock *s = arg;
	char buf[64];

	for (int i = 0; i < 20000; i++) {
		pair_send(s, "0123456789", 10);
		pair_recv(s, buf, sizeof(buf));
		if (i % 64 == 0)
			uvs_progress();
	}
	return NULL;
}

static void
test_same_socket(void)
{
	struct uvs_sock *c, *s;
	pthread_t t[4];

	pair_connect(&c, &s);
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, hammer, i % 2 ? c : s);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	uvs_sock_put(c);
	uvs_sock_put(s);
}

/* ----------------------------------------------------------------------------------------- ticker
 */

/* Nobody waits: connections are made and data is acknowledged all the same. */
static void
test_ticker(void)
{
	struct uvs_sock *l = pair_listener(4200, 4), *c = pair_socket(0, SOCK_STREAM), *s;
	struct sockaddr_in a = pair_addr(1, 4200);
	char buf[8];

	CHECK_EQ(uvs_sock_connect(c, (struct sockaddr *)&a, sizeof(a)), -EINPROGRESS);
	EVENTUALLY(uvs_sock_events(c) == EPOLLOUT);
	EVENTUALLY(uvs_sock_events(l) == EPOLLIN);
	CHECK_EQ(uvs_sock_accept(l, &s, NULL, NULL), 0);
	CHECK_EQ(pair_send(c, "data", 4), 4);
	EVENTUALLY(uvs_sock_events(s) == (EPOLLIN | EPOLLOUT));
	CHECK_EQ(pair_recv(s, buf, sizeof(buf)), 4);
	uvs_sock_put(c);
	uvs_sock_put(s);
	uvs_sock_put(l);
}

/* ----------------------------------------------------------------------------------------- budget
 */

#define FLOOD 200

/* What a thread that waits has handled when it gets the first of many frames; then all are read. */
static uint64_t
handled_before_turn(struct uvs_sock *from, struct uvs_sock *to)
{
	uint64_t before = hosts[1]->seen->loop.processed, handled;
	char c = 0;

	for (int i = 0; i < FLOOD; i++)
		CHECK_EQ(pair_send(from, &c, 1), 1);
	CHECK_EQ(blocking_recv(to, &c, 1), 1);
	handled = hosts[1]->seen->loop.processed - before;
	for (int i = 1; i < FLOOD; i++)
		CHECK_EQ(blocking_recv(to, &c, 1), 1);
	return handled;
}

/* A thread that drives the stack is flooded: what it waited for is its after one round. In one try
 * or another, since the ticker takes a turn, too, when this thread gets no processor. */
static void
test_turn(void)
{
	struct uvs_sock *from = pair_socket(0, SOCK_DGRAM), *to = pair_socket(1, SOCK_DGRAM);
	struct sockaddr_in a = pair_addr(1, 4300);
	uint64_t least = UINT64_MAX;
	char c = 0;

	if (uvs_model != &uvs_model_shared) /* elsewhere the stack has a thread to itself */
		return;
	CHECK_EQ(uvs_sock_bind(to, (struct sockaddr *)&a, sizeof(a)), 0);
	CHECK_EQ(uvs_sock_connect(from, (struct sockaddr *)&a, sizeof(a)), 0);
	CHECK_EQ(pair_send(from, &c, 1), 1); /* asks for the address */
	CHECK_EQ(blocking_recv(to, &c, 1), 1);
	pair_budget(64);
	for (int try = 0; try < 10 && least > 64; try++)
		least = RTE_MIN(least, handled_before_turn(from, to));
	CHECK(least <= 64);
	pair_budget(128);
	uvs_sock_put(from);
	uvs_sock_put(to);
}

/* ------------------------------------------------------------------------------------------- main
 */

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	{"deadline", test_deadline},
	{"wake_before", test_wake_before},
	{"kernel_fds", test_kernel_fds},
	{"signals", test_signals},
	{"signal_mask", test_signal_mask},
	{"wait_in_handler", test_wait_in_handler},
	{"call_in_handler", test_call_in_handler},
	{"one_pair", test_one_pair},
	{"many_pairs", test_many_pairs},
	{"waiters_are_reused", test_waiters_are_reused},
	{"void_promotion", test_void_promotion},
	{"same_socket", test_same_socket},
	{"ticker", test_ticker},
	{"turn", test_turn},
};

int
main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	uvs_model = strcmp(argv[1], "separate") == 0 ? &uvs_model_separate : &uvs_model_shared;
	pair_start(0);
	pair_policy(UVS_POLL_ADAPTIVE);
	CHECK_EQ(uvs_model->start(hosts, 2), 0);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		uint64_t begun = uvs_clock_ns();

		if (argc > 2 && strcmp(argv[2], tests[i].name) != 0)
			continue;
		fprintf(stderr, "%s", tests[i].name);
		tests[i].run();
		fprintf(stderr, " ok %.1f ms\n", (double)(uvs_clock_ns() - begun) / 1e6);
	}
	uvs_model->stop();
	pair_stop();
	return 0;
}
