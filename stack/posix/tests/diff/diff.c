/* SPDX-License-Identifier: BSD-3-Clause */
#include "diff.h"

static struct diff_case *cases;
static const char *address = "127.0.0.1";

void
diff_add(struct diff_case *c)
{
	struct diff_case **at = &cases;

	while (*at && strcmp((*at)->name, c->name) < 0)
		at = &(*at)->next;
	c->next = *at;
	*at = c;
}

void
diff_die(const char *what)
{
	printf("!! %s: %s\n", what, strerrorname_np(errno));
	fflush(stdout);
	exit(3);
}

long
diff_show(const char *text, long r)
{
	int e = errno;

	if (r == -1)
		printf("%s = %s\n", text, strerrorname_np(e));
	else
		printf("%s = %ld\n", text, r);
	errno = e;
	return r;
}

const char *
diff_events(unsigned int ev)
{
	static const struct {
		unsigned int bit;
		const char *name;
	} names[] = {{POLLIN, "IN"},         {POLLPRI, "PRI"},       {POLLOUT, "OUT"},
		     {POLLERR, "ERR"},       {POLLHUP, "HUP"},       {POLLNVAL, "NVAL"},
		     {POLLRDNORM, "RDNORM"}, {POLLRDBAND, "RDBAND"}, {POLLWRNORM, "WRNORM"},
		     {POLLWRBAND, "WRBAND"}, {POLLRDHUP, "RDHUP"}};
	static char text[4][128];
	static unsigned int turn;
	char *out = text[turn++ % 4];
	size_t i;

	out[0] = 0;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!(ev & names[i].bit))
			continue;
		if (out[0])
			strcat(out, "|");
		strcat(out, names[i].name);
	}
	return out[0] ? out : "0";
}

void
diff_poll(const char *what, int fd, short events, int ms)
{
	struct pollfd p = {.fd = fd, .events = events};
	int r = poll(&p, 1, ms);

	if (r < 0)
		printf("poll(%s) = %s\n", what, strerrorname_np(errno));
	else
		printf("poll(%s, %s) = %d %s\n", what, diff_events((uint16_t)events), r,
		       diff_events((uint16_t)p.revents));
}

static int
by_data(const void *a, const void *b)
{
	const struct epoll_event *x = a, *y = b;

	return x->data.u32 < y->data.u32 ? -1 : x->data.u32 > y->data.u32;
}

int
diff_wait(const char *what, int ep, int max, int ms)
{
	struct epoll_event ev[64];
	int i, n = epoll_wait(ep, ev, max, ms);

	if (n < 0) {
		printf("epoll_wait(%s) = %s\n", what, strerrorname_np(errno));
		return n;
	}
	qsort(ev, (size_t)n, sizeof(ev[0]), by_data);
	printf("epoll_wait(%s) = %d", what, n);
	for (i = 0; i < n; i++)
		printf(" [%u %s]", ev[i].data.u32, diff_events(ev[i].events));
	printf("\n");
	return n;
}

int
diff_ctl(int ep, int op, int fd, uint32_t events, uint32_t data)
{
	struct epoll_event ev = {.events = events, .data.u32 = data};

	return epoll_ctl(ep, op, fd, &ev);
}

struct sockaddr_in
diff_addr(int port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	if (inet_pton(AF_INET, address, &sin.sin_addr) != 1)
		diff_die("address");
	return sin;
}

static int
bound(int type, int *port)
{
	struct sockaddr_in sin = diff_addr(0);
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, type, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sin, len) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sin, &len) < 0)
		diff_die("bind");
	*port = ntohs(sin.sin_port);
	return fd;
}

int
diff_listen(int *port)
{
	int fd = bound(SOCK_STREAM, port);

	if (listen(fd, 16) < 0)
		diff_die("listen");
	return fd;
}

int
diff_udp(int *port)
{
	return bound(SOCK_DGRAM, port);
}

void
diff_pair(int *client, int *server)
{
	int port, l = diff_listen(&port);
	struct sockaddr_in sin = diff_addr(port);

	*client = socket(AF_INET, SOCK_STREAM, 0);
	if (*client < 0 || connect(*client, (struct sockaddr *)&sin, sizeof(sin)) < 0)
		diff_die("connect");
	*server = accept(l, NULL, NULL);
	if (*server < 0)
		diff_die("accept");
	close(l);
}

void
diff_udp_pair(int *a, int *b)
{
	int pa, pb;
	struct sockaddr_in sa, sb;

	*a = diff_udp(&pa);
	*b = diff_udp(&pb);
	sa = diff_addr(pa);
	sb = diff_addr(pb);
	if (connect(*a, (struct sockaddr *)&sb, sizeof(sb)) < 0 ||
	    connect(*b, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		diff_die("connect udp");
}

void
diff_until(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	if (poll(&p, 1, 5000) != 1)
		printf("!! descriptor %d never became %s\n", fd, diff_events((uint16_t)events));
}

void
diff_readable(int fd, int bytes)
{
	uint64_t end = diff_ms() + 5000;
	int have = 0;

	while (ioctl(fd, FIONREAD, &have) == 0 && have < bytes && diff_ms() < end)
		usleep(500);
	if (have < bytes)
		printf("!! %d bytes of %d came\n", have, bytes);
}

/* Datagrams of a host to itself arrive in the order in which they were sent. */
void
diff_settle(void)
{
	char c;
	int a, b;

	diff_udp_pair(&a, &b);
	if (send(a, "x", 1, 0) != 1)
		diff_die("send");
	diff_until(b, POLLIN);
	if (recv(b, &c, 1, 0) != 1)
		diff_die("recv");
	close(a);
	close(b);
}

static size_t
send_all(int fd)
{
	static char data[65536];
	size_t n = 0;
	ssize_t r;

	while ((r = send(fd, data, sizeof(data), 0)) > 0)
		n += (size_t)r;
	return n;
}

#define FULL_MS 50 /* no room for so long: the peer's buffer is full, too */

size_t
diff_fill(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	size_t n = 0, more;

	diff_nonblock(fd);
	do {
		more = send_all(fd);
		n += more;
	} while (poll(&p, 1, FULL_MS) == 1 || more > 0);
	return n;
}

void
diff_nonblock(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

uint64_t
diff_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void
watchdog(int sig)
{
	static const char text[] = "!! hung\n";

	(void)sig;
	/* stdout is line-buffered: what was said before is out already. */
	_exit(write(1, text, sizeof(text) - 1) < 0 ? 5 : 4);
}

int
main(int argc, char **argv)
{
	struct diff_case *c;
	int i, ran = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "--addr") && i + 1 < argc) {
			address = argv[++i];
			continue;
		}
		for (c = cases; c; c = c->next)
			printf("%s\n", c->name);
		return 0;
	}
	for (; i < argc; i++) {
		for (c = cases; c && strcmp(c->name, argv[i]) != 0;)
			c = c->next;
		if (!c) {
			fprintf(stderr, "no case %s\n", argv[i]);
			return 2;
		}
		signal(SIGALRM, watchdog);
		alarm(20);
		c->run();
		alarm(0);
		ran++;
	}
	return ran > 0 ? 0 : 2;
}
