/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Ordinary programs that check themselves, for what cannot be compared output by output: races,
 * forks, cancellation. `stress [--addr A.B.C.D] [--rounds N] CASE...`; prints "ok CASE" or what is
 * wrong, exit status 0 if all is well.
 */
#include "stress.h"

#include <stdarg.h>

static const char *address = "127.0.0.1";
static struct stress_case *cases;
static const char *current = "";
long rounds;

void
stress_add(struct stress_case *c)
{
	c->next = cases;
	cases = c;
}

void
fail(const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "%s: ", current);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, " (errno %s)\n", strerrorname_np(saved));
	_exit(1);
}

struct sockaddr_in
addr(int port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	inet_pton(AF_INET, address, &sin.sin_addr);
	return sin;
}

int
listener(int *port)
{
	struct sockaddr_in sin = addr(0);
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&sin, len) == 0 && listen(fd, 128) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&sin, &len) == 0);
	*port = ntohs(sin.sin_port);
	return fd;
}

int
dial(int port)
{
	struct sockaddr_in sin = addr(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(fd >= 0);
	CHECK(connect(fd, (struct sockaddr *)&sin, sizeof(sin)) == 0);
	return fd;
}

void
pair(int *c, int *s)
{
	int port, l = listener(&port);

	*c = dial(port);
	*s = accept(l, NULL, NULL);
	CHECK(*s >= 0);
	close(l);
}

void
write_all(int fd, const void *buf, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = write(fd, (const char *)buf + done, n - done);

		if (r < 0 && errno == EINTR)
			continue;
		CHECK(r > 0);
		done += (size_t)r;
	}
}

size_t
read_all(int fd, void *buf, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = read(fd, (char *)buf + done, n - done);

		if (r < 0 && errno == EINTR)
			continue;
		CHECK(r >= 0);
		if (r == 0)
			break;
		done += (size_t)r;
	}
	return done;
}

uint64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint32_t
rnd(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

pthread_t
start(void *(*fn)(void *), void *arg)
{
	pthread_t t;

	CHECK(pthread_create(&t, NULL, fn, arg) == 0);
	return t;
}

/* ------------------------------------------------------------------------------------- streams */

static void *
stream_writer(void *arg)
{
	struct stream *s = arg;
	uint32_t state = 7;
	char buf[4096];
	size_t i;

	while (!atomic_load(&s->stop)) {
		for (i = 0; i < sizeof(buf); i++)
			buf[i] = (char)rnd(&state);
		write_all(s->from, buf, sizeof(buf));
		atomic_fetch_add(&s->sent, sizeof(buf));
		usleep(200);
	}
	CHECK(shutdown(s->from, SHUT_WR) == 0);
	return NULL;
}

static void *
stream_reader(void *arg)
{
	struct stream *s = arg;
	uint32_t state = 7;
	char buf[4096];
	ssize_t r, i;

	while ((r = read(s->to, buf, sizeof(buf))) != 0) {
		if (r < 0 && errno == EINTR)
			continue;
		CHECK(r > 0);
		for (i = 0; i < r; i++)
			if (buf[i] != (char)rnd(&state))
				fail("stream differs at %zu", s->got + (size_t)i);
		s->got += (size_t)r;
	}
	return NULL;
}

void
stream_start(struct stream *s)
{
	memset(s, 0, sizeof(*s));
	pair(&s->from, &s->to);
	s->reader = start(stream_reader, s);
	s->writer = start(stream_writer, s);
}

/* It must have gone on all the time, and come whole. */
void
stream_end(struct stream *s)
{
	size_t before = atomic_load(&s->sent);
	uint64_t end = now_ms() + 5000;

	while (atomic_load(&s->sent) < before + 65536 && now_ms() < end)
		usleep(1000);
	CHECK(atomic_load(&s->sent) >= before + 65536);
	atomic_store(&s->stop, true);
	pthread_join(s->writer, NULL);
	pthread_join(s->reader, NULL);
	CHECK(s->got == atomic_load(&s->sent));
	close(s->from);
	close(s->to);
}

static void
watchdog(int sig)
{
	static const char text[] = "!! hung\n";

	(void)sig;
	_exit(write(1, text, sizeof(text) - 1) < 0 ? 5 : 4);
}

int
main(int argc, char **argv)
{
	struct stress_case *c;
	int i, ran = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "--addr") && i + 1 < argc) {
			address = argv[++i];
		} else if (!strcmp(argv[i], "--rounds") && i + 1 < argc) {
			rounds = atol(argv[++i]);
		} else {
			for (c = cases; c; c = c->next)
				printf("%s\n", c->name);
			return 0;
		}
	}
	for (; i < argc; i++) {
		for (c = cases; c && strcmp(c->name, argv[i]) != 0;)
			c = c->next;
		if (!c) {
			fprintf(stderr, "no case %s\n", argv[i]);
			return 2;
		}
		current = c->name;
		signal(SIGALRM, watchdog);
		alarm(rounds ? 3600 : 60);
		c->run();
		alarm(0);
		printf("ok %s\n", c->name);
		ran++;
	}
	return ran > 0 ? 0 : 2;
}
