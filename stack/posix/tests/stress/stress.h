/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STRESS_H
#define STRESS_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct stress_case {
	const char *name;
	void (*run)(void);
	struct stress_case *next;
};
void stress_add(struct stress_case *c);

#define CASE(id)                                                          \
	static void id(void);                                             \
	__attribute__((constructor)) static void add_##id(void)           \
	{                                                                 \
		static struct stress_case c = {.name = #id, .run = (id)}; \
		stress_add(&c);                                           \
	}                                                                 \
	static void id(void)

extern long rounds; /* 0: as many as the case likes */
void fail(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
#define CHECK(cond)                                                   \
	do {                                                          \
		if (!(cond))                                          \
			fail("%s:%d: %s", __FILE__, __LINE__, #cond); \
	} while (0)

struct sockaddr_in addr(int port);
int listener(int *port);
int dial(int port);
void pair(int *c, int *s);
void write_all(int fd, const void *buf, size_t n);
size_t read_all(int fd, void *buf, size_t n); /* less at the end of the stream only */
uint64_t now_ms(void);
uint32_t rnd(uint32_t *state);
pthread_t start(void *(*fn)(void *), void *arg);

/* A checked stream between two threads that goes on in the background. */
struct stream {
	int from, to;
	atomic_bool stop;
	_Atomic size_t sent;
	size_t got;
	pthread_t reader, writer;
};
void stream_start(struct stream *s);
void stream_end(struct stream *s);

#endif /* STRESS_H */
