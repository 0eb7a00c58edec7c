/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A differential test is an ordinary program that prints what the socket calls answer. It is run on
 * the kernel and on the stack, and the two outputs must be the same, byte for byte. So a case
 * prints only what does not depend on timing: it waits for the state it wants to look at.
 *
 *   diff --list
 *   diff [--addr A.B.C.D] CASE...
 */
#ifndef DIFF_H
#define DIFF_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "../asleep.h"

struct diff_case {
	const char *name;
	void (*run)(void);
	struct diff_case *next;
};
void diff_add(struct diff_case *c);

#define CASE(id)                                                        \
	static void id(void);                                           \
	__attribute__((constructor)) static void add_##id(void)         \
	{                                                               \
		static struct diff_case c = {.name = #id, .run = (id)}; \
		diff_add(&c);                                           \
	}                                                               \
	static void id(void)

/* "text = result", or the name of the error. */
long diff_show(const char *text, long r);
#define CALL(expr)                          \
	({                                  \
		errno = 0;                  \
		long call_r = (long)(expr); \
		diff_show(#expr, call_r);   \
	})

/* The events of poll or epoll by name. */
const char *diff_events(unsigned int ev);
/* poll() of one descriptor, printed: the result and revents. */
void diff_poll(const char *what, int fd, short events, int ms);
#define POLL(fd, events, ms) diff_poll(#fd, fd, events, ms)
/* epoll_wait, printed: events sorted by data.u32. Returns the number. */
int diff_wait(const char *what, int ep, int max, int ms);
#define WAIT(ep, max, ms) diff_wait(#ep, ep, max, ms)
int diff_ctl(int ep, int op, int fd, uint32_t events, uint32_t data);

/* Set-up that is not what the case is about; exits loudly when it fails. */
struct sockaddr_in diff_addr(int port);
int diff_listen(int *port); /* on the address under test, port of the system's choice */
void diff_pair(int *client, int *server); /* a TCP connection */
void diff_udp_pair(int *a, int *b);       /* two UDP sockets connected to each other */
int diff_udp(int *port);
void diff_until(int fd, short events); /* wait until poll says so, at most 5 s */
void diff_readable(int fd, int bytes); /* until FIONREAD says so many */
void diff_settle(void);                /* until all that was sent before has arrived */
size_t diff_fill(int fd);              /* a stream whose peer does not read; how many bytes */
void diff_nonblock(int fd);
uint64_t diff_ms(void);
void diff_die(const char *what);

#endif /* DIFF_H */
