/* SPDX-License-Identifier: BSD-3-Clause
 *
 * `uvbridge port socket`: frames as datagrams of an AF_UNIX socket, one each, for virtual machines
 * and test programs.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "uvbridge/ports/ports.h"

#define BURST    UVP_BURST
#define ROOM     (UVB_FRAME_MAX + 1) /* a datagram that fills it is too long */
#define BUF_SIZE (4u << 20)          /* bytes asked of the kernel for datagrams that wait */

enum {
	SOCK_EMPTY,    /* a datagram without a byte */
	SOCK_OVERSIZE, /* a datagram longer than any frame */
	SOCK_NO_PEER,  /* to the socket, and nobody there to send to */
	SOCK_REFUSED,  /* the kernel has not taken it */
};

static const char *const sock_counters[UVP_COUNTERS] = {
	[SOCK_EMPTY] = "empty",
	[SOCK_OVERSIZE] = "oversize",
	[SOCK_NO_PEER] = "no_peer",
	[SOCK_REFUSED] = "kernel_refused",
};

static struct sock {
	const char *path, *peer;
	bool seqpacket;
	bool bound;
	int listener;          /* SEQPACKET: clients come here, one at a time */
	struct sockaddr_un to; /* DGRAM: whom frames go to; */
	socklen_t to_len;      /* 0: nobody known */
} self = {.listener = -1};

/* One call of the kernel's. */
static struct {
	struct mmsghdr in[BURST];
	struct iovec in_iov[BURST];
	struct sockaddr_un from[BURST];
	uint8_t in_buf[BURST][ROOM];
	struct mmsghdr out[BURST];
	struct iovec out_iov[BURST];
	uint8_t bounce[BURST][UVB_FRAME_MAX];
} io;

/* ---------------------------------------------------------------------------------------- peers */

/* DGRAM without --peer: whoever speaks is the peer. */
static void
peer_learn(const struct sockaddr_un *from, socklen_t len)
{
	if (self.peer != NULL || len <= sizeof(sa_family_t))
		return;
	self.to = *from;
	self.to_len = len;
}

/* DGRAM: the peer takes no more now. Only a socket that is connected to it is told when it does,
 * and ours is not: a connected one would take nothing from anybody else, not even from a peer that
 * has been started again. So there is another one, for waiting. False: there is no peer any more.
 */
static bool
peer_wait(struct uvp_pump *p)
{
	return connect(p->out_fd, (struct sockaddr *)&self.to, self.to_len) == 0;
}

/* SEQPACKET: the client has gone, wait for the next. */
static void
client_gone(struct uvp_pump *p)
{
	if (p->fd != self.listener)
		close(p->fd);
	p->fd = self.listener;
	p->out_fd = -1;
	p->rx_blocked = false; /* nobody is waited for */
}

static bool
client_accept(struct uvp_pump *p)
{
	int fd = accept4(self.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	int size = BUF_SIZE;

	if (fd < 0)
		return false;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	p->fd = fd;
	p->out_fd = fd;
	return true;
}

/* ------------------------------------------------------------------------------ socket to fabric
 */

static void
take_datagram(struct uvp_pump *p, uint32_t i)
{
	const struct mmsghdr *m = &io.in[i];

	if (m->msg_len == 0)
		uvp_count(p, SOCK_EMPTY);
	else if (m->msg_len > UVB_FRAME_MAX)
		uvp_count(p, SOCK_OVERSIZE);
	else
		uvp_batch_add(p->batch, io.in_buf[i], m->msg_len, 0);
	peer_learn(&io.from[i], m->msg_hdr.msg_namelen);
}

static void
sock_fill(struct uvp_pump *p)
{
	int n;

	if (p->fd == self.listener && !client_accept(p))
		return;
	for (uint32_t i = 0; i < BURST; i++) {
		io.in_iov[i] = (struct iovec){io.in_buf[i], ROOM};
		io.in[i].msg_hdr = (struct msghdr){.msg_iov = &io.in_iov[i],
						   .msg_iovlen = 1,
						   .msg_name = &io.from[i],
						   .msg_namelen = sizeof(io.from[i])};
	}
	n = recvmmsg(p->fd, io.in, BURST, MSG_DONTWAIT, NULL);
	/* A datagram of no bytes and the end of a client look the same. */
	if (self.seqpacket &&
	    (n == 0 || (n < 0 && errno == ECONNRESET) || (n > 0 && io.in[n - 1].msg_len == 0))) {
		client_gone(p);
		n -= n > 0;
	}
	for (int i = 0; i < n; i++)
		take_datagram(p, (uint32_t)i);
}

/* ------------------------------------------------------------------------------ fabric to socket
 */

static void
prepare(struct uvp_pump *p, const struct uvb_rx_frame *f, uint32_t i)
{
	struct msghdr *h = &io.out[i].msg_hdr;

	io.out_iov[i] = (struct iovec){(void *)f->data, f->len};
	if (f->len > UVB_CELL_ROOM) {
		io.out_iov[i].iov_base = io.bounce[i];
		io.out_iov[i].iov_len = uvb_rx_read(p->rxq, f, 0, io.bounce[i], UVB_FRAME_MAX);
	}
	*h = (struct msghdr){.msg_iov = &io.out_iov[i], .msg_iovlen = 1};
	if (!self.seqpacket) {
		h->msg_name = &self.to;
		h->msg_namelen = self.to_len;
	}
}

static uint16_t
drop(struct uvp_pump *p, unsigned counter, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++)
		uvp_count(p, counter);
	return n;
}

/* The first of n frames could not be sent: returns how many are done with. */
static uint16_t
send_failed(struct uvp_pump *p, uint16_t n)
{
	switch (errno) {
	case EAGAIN:
		if (self.seqpacket || peer_wait(p))
			return 0;
		return drop(p, SOCK_NO_PEER, n);
	case ECONNREFUSED:
	case ECONNRESET:
	case ENOENT:
	case ENOTCONN:
	case EPIPE:
		if (self.seqpacket)
			client_gone(p);
		return drop(p, SOCK_NO_PEER, n);
	default:
		return drop(p, SOCK_REFUSED, 1);
	}
}

static uint16_t
sock_deliver(struct uvp_pump *p, const struct uvb_rx_frame *frame, uint16_t n)
{
	int sent;

	if (self.seqpacket ? p->fd == self.listener : self.to_len == 0)
		return drop(p, SOCK_NO_PEER, n);
	for (uint32_t i = 0; i < n; i++)
		prepare(p, &frame[i], i);
	sent = sendmmsg(p->fd, io.out, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	return sent > 0 ? (uint16_t)sent : send_failed(p, n);
}

static const struct uvp_ops sock_ops = {.fill = sock_fill, .deliver = sock_deliver};

/* ----------------------------------------------------------------------------------------- set up
 */

static bool
address(struct sockaddr_un *sun, const char *path)
{
	*sun = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(sun->sun_path))
		return false;
	memcpy(sun->sun_path, path, strlen(path) + 1);
	return true;
}

/* A socket that nobody answers on is what an earlier process left behind. */
static bool
remove_stale(const struct sockaddr_un *sun, int type)
{
	struct stat st;
	int rc, fd;

	if (lstat(sun->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	rc = connect(fd, (const struct sockaddr *)sun, sizeof(*sun));
	rc = rc != 0 && errno == ECONNREFUSED;
	close(fd);
	return rc && unlink(sun->sun_path) == 0;
}

static int
open_socket(struct uvp_port *port, int *fd)
{
	int type = self.seqpacket ? SOCK_SEQPACKET : SOCK_DGRAM, size = BUF_SIZE;
	struct sockaddr_un sun;

	if (!address(&sun, self.path))
		return uvp_fail(port, "--path is too long for a socket: at most %zu letters",
				sizeof(sun.sun_path) - 1);
	*fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (*fd < 0)
		return uvp_fail(port, "cannot make a socket: %s", strerror(errno));
	setsockopt(*fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	self.bound = bind(*fd, (struct sockaddr *)&sun, sizeof(sun)) == 0 ||
		     (errno == EADDRINUSE && remove_stale(&sun, type) &&
		      bind(*fd, (struct sockaddr *)&sun, sizeof(sun)) == 0);
	if (!self.bound && errno == EADDRINUSE)
		return uvp_fail(port, "%s is in use: choose another --path", self.path);
	if (!self.bound)
		return uvp_fail(port, "cannot make the socket %s: %s", self.path, strerror(errno));
	if (self.seqpacket && listen(*fd, 1) != 0)
		return uvp_fail(port, "cannot listen on %s: %s", self.path, strerror(errno));
	self.listener = self.seqpacket ? *fd : -1;
	return 0;
}

static int
find_peer(struct uvp_port *port)
{
	if (self.peer == NULL)
		return 0;
	if (self.seqpacket)
		return uvp_fail(port, "--peer is for datagram sockets: with --seqpacket the peer "
				      "connects");
	if (!address(&self.to, self.peer))
		return uvp_fail(port, "--peer is too long for a socket");
	self.to_len = sizeof(self.to);
	return 0;
}

static int
serve(struct uvp_port *port, int fd)
{
	struct uvp_pump *p = &port->pump[0];

	p->ops = &sock_ops;
	p->fd = fd;
	if (!self.seqpacket)
		p->out_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return uvp_serve(port);
}

/* ------------------------------------------------------------------------------------------ verb
 */

enum {
	OPT_PATH = UVP_OPT_KIND,
	OPT_PEER,
	OPT_SEQPACKET,
};

static const struct option sock_options[] = {
	{"path", required_argument, NULL, OPT_PATH},
	{"peer", required_argument, NULL, OPT_PEER},
	{"seqpacket", no_argument, NULL, OPT_SEQPACKET},
	UVP_COMMON_OPTIONS,
};

static const char sock_usage[] =
	"socket FABRIC NAME --path P [OPTION...]\n"
	"Frames as datagrams of an AF_UNIX socket: one frame each, Ethernet header first, no FCS.\n"
	"The port is promiscuous, as a switch is behind it for all the fabric knows.\n\n"
	"  uvbridge port socket lab vm --path /tmp/vm.port --peer /tmp/vm.qemu\n"
	"  qemu-system-x86_64 -device virtio-net,netdev=n -netdev \\\n"
	"    dgram,id=n,local.type=unix,local.path=/tmp/vm.qemu,remote.type=unix,"
	"remote.path=/tmp/vm.port\n\n"
	"  --path P           path of the socket; it is removed at the end\n"
	"  --peer P2          whom to send to (default: who has sent the last datagram)\n"
	"  --seqpacket        listen, and serve one client at a time, instead of datagrams\n";

static void
sock_init(struct uvp_port *port)
{
	port->kind = UVB_KIND_SOCKET;
	port->conf_flags = UVB_CONF_STARTED | UVB_CONF_PROMISC;
	port->counter_name = sock_counters;
}

static bool
sock_option(struct uvp_port *port, int opt, const char *arg, char err[UVB_ERR_LEN])
{
	(void)port;
	(void)err;
	switch (opt) {
	case OPT_PATH:
		self.path = arg;
		break;
	case OPT_PEER:
		self.peer = arg;
		break;
	default:
		self.seqpacket = true;
	}
	return true;
}

static int
sock_run(struct uvp_port *port)
{
	int rc, fd = -1;

	if (self.path == NULL) {
		uvp_fail(port, "give the --path of the socket");
		return UVP_EXIT_USAGE;
	}
	rc = find_peer(port);
	if (rc == 0)
		rc = open_socket(port, &fd);
	if (rc == 0)
		rc = uvp_attach(port);
	if (rc == 0)
		rc = serve(port, fd);
	if (self.bound)
		unlink(self.path);
	uvp_detach(port);
	return rc;
}

const struct uvp_kind uvp_socket = {
	.name = "socket",
	.usage = sock_usage,
	.shorts = "h",
	.options = sock_options,
	.option = sock_option,
	.run = sock_run,
	.init = sock_init,
};
