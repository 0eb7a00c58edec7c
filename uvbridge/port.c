/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Becoming a port and ceasing to be one.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "uvbridge/control.h"
#include "uvbridge/rules.h"

/* ---------------------------------------------------------------------------- control connection
 */

/* A path longer than sun_path is reached through a descriptor of its directory. */
static int
control_address(int dirfd, struct sockaddr_un *sun)
{
	sun->sun_family = AF_UNIX;
	snprintf(sun->sun_path, sizeof(sun->sun_path), "/proc/self/fd/%d/control", dirfd);
	return 0;
}

static int
connect_at(int dirfd, char err[UVB_ERR_LEN])
{
	struct timeval wait = {UVB_CTL_WAIT_MS / 1000, 0};
	struct sockaddr_un sun;
	int rc, fd = uvb_fd_high(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));

	if (fd < 0)
		return uvb_fail(err, -errno, "cannot make a socket: %s", strerror(errno));
	control_address(dirfd, &sun);
	/* A stopped daemon's queue of connections may be full: wait no longer than for an answer.
	 */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	rc = -errno;
	close(fd);
	if (rc == -EAGAIN)
		rc = uvb_fail(err, -ETIMEDOUT,
			      "the fabric's daemon does not answer: is it stopped?");
	else if (rc == -ECONNREFUSED || rc == -ENOENT)
		rc = uvb_fail(
			err, -ECONNREFUSED,
			"the fabric has no daemon any more: `uvbridge up` with its name starts "
			"one that takes it over");
	else
		uvb_fail(err, rc, "cannot reach the fabric's daemon: %s", strerror(-rc));
	return rc;
}

int
uvb_control_connect(const char *path, char err[UVB_ERR_LEN])
{
	int fd, dirfd = uvb_fabric_open(path, err);

	if (dirfd < 0)
		return dirfd;
	fd = connect_at(dirfd, err);
	close(dirfd);
	return fd;
}

int
uvb_control_call(int fd, const void *req, size_t req_len, void *rep, size_t rep_len, int timeout_ms)
{
	uint64_t end = uvb_now_ns() + (uint64_t)timeout_ms * 1000000ULL, now;
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	ssize_t n;
	int rc;

	/* A daemon that does not want us has said so, and closed. */
	if (send(fd, req, req_len, MSG_NOSIGNAL) != (ssize_t)req_len && errno != EPIPE)
		return errno == EAGAIN ? -ETIMEDOUT : -EPIPE;
	for (;;) {
		now = uvb_now_ns();
		rc = poll(&pfd, 1, now < end ? (int)((end - now) / 1000000ULL) + 1 : 0);
		if (rc > 0)
			break;
		if (rc == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
	n = recv(fd, rep, rep_len, MSG_DONTWAIT);
	/* Closed before it read the request: its answer is behind the error. */
	if (n < 0 && errno == ECONNRESET)
		n = recv(fd, rep, rep_len, MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return -EPIPE;
	return n == (ssize_t)rep_len ? 0 : -EPROTO;
}

static struct uvb_ctl_hdr
ctl_hdr(enum uvb_ctl_type type, size_t len)
{
	return (struct uvb_ctl_hdr){UVB_CTL_MAGIC, UVB_CTL_VERSION, (uint16_t)type, (uint32_t)len,
				    UVB_ABI_VERSION};
}

/* ------------------------------------------------------------------------------------- attach */

static int
check_request(const struct uvb_attach *req, char err[UVB_ERR_LEN])
{
	if (req->name != NULL && req->name[0] != '\0' && !uvb_name_ok(req->name))
		return uvb_fail(
			err, -EINVAL,
			"\"%.40s\" is no name for a port: use 1 to %d letters, digits, . _ -, not "
			"starting with a dot",
			req->name, UVB_NAME_LEN - 1);
	if (req->mac[0] & 1)
		return uvb_fail(err, -EINVAL, "a port's MAC address cannot be a multicast address");
	return 0;
}

static int
call_failed(int rc, char err[UVB_ERR_LEN])
{
	if (rc == -ETIMEDOUT)
		return uvb_fail(err, rc, "the fabric's daemon does not answer: is it stopped?");
	if (rc == -EPIPE)
		return uvb_fail(err, -EPROTO,
				"the fabric's daemon hung up: see the log in its directory");
	return uvb_fail(err, -EPROTO,
			"the fabric's daemon speaks another version: use programs of one build");
}

static int
request(struct uvb_dev *dev, const void *msg, size_t len, struct uvb_ctl_answer *ans,
	char err[UVB_ERR_LEN])
{
	int rc = uvb_control_call(dev->control, msg, len, ans, sizeof(*ans), UVB_CTL_WAIT_MS);

	if (rc == 0 && (ans->hdr.magic != UVB_CTL_MAGIC || ans->hdr.type != UVB_CTL_ANSWER))
		rc = -EPROTO;
	if (rc != 0)
		return call_failed(rc, err);
	ans->text[UVB_CTL_TEXT - 1] = '\0';
	if (ans->status < 0)
		return uvb_fail(err, ans->status, "%.255s", ans->text);
	return 0;
}

static int
request_attach(struct uvb_dev *dev, const struct uvb_attach *req, struct uvb_ctl_answer *ans,
	       char err[UVB_ERR_LEN])
{
	struct uvb_ctl_attach msg = {.hdr = ctl_hdr(UVB_CTL_ATTACH, sizeof(msg)),
				     .nb_rxq = req->nb_rxq,
				     .nb_txq = req->nb_txq,
				     .kind = (uint16_t)req->kind};

	if (req->name != NULL)
		snprintf(msg.name, sizeof(msg.name), "%s", req->name);
	memcpy(msg.mac, req->mac, sizeof(msg.mac));
	msg.flags = (req->joinable ? UVB_CTL_ATTACH_JOINABLE : 0) |
		    (req->shared ? UVB_CTL_ATTACH_SHARED : 0) |
		    (req->adopt ? UVB_CTL_ATTACH_ADOPT : 0);
	return request(dev, &msg, sizeof(msg), ans, err);
}

static int
request_join(struct uvb_dev *dev, const struct uvb_join *req, struct uvb_ctl_answer *ans,
	     char err[UVB_ERR_LEN])
{
	struct uvb_ctl_join msg = {
		.hdr = ctl_hdr(UVB_CTL_JOIN, sizeof(msg)), .port = req->port, .gen = req->gen};

	return request(dev, &msg, sizeof(msg), ans, err);
}

/* The daemon is trusted to be honest, not to be of this build. */
static int
take_answer(struct uvb_dev *dev, const struct uvb_ctl_answer *ans, char err[UVB_ERR_LEN])
{
	if (ans->epoch != dev->map.epoch || ans->port >= dev->map.nb_ports || ans->nb_rxq < 1 ||
	    ans->nb_rxq > dev->map.nb_queues || ans->nb_txq < 1 ||
	    ans->nb_txq > dev->map.nb_queues || ans->member >= UVB_MEMBERS_MAX)
		return uvb_fail(err, -EPROTO,
				"the fabric was replaced while the port attached: try again");
	dev->member = ans->member;
	dev->id = (uint16_t)ans->port;
	dev->gen = ans->gen;
	dev->life = UVB_LIFE(ans->gen, UVB_PORT_UP);
	dev->nb_rxq = ans->nb_rxq;
	dev->nb_txq = ans->nb_txq;
	memcpy(dev->mac, ans->mac, 6);
	memcpy(dev->name, ans->name, sizeof(dev->name));
	dev->name[UVB_NAME_LEN - 1] = '\0';
	dev->shm = uvb_map_port(&dev->map, dev->id);
	return 0;
}

/* Somebody else may be sleeping on them: what they hold is not for us to take. */
static int
open_bells(struct uvb_dev *dev, char err[UVB_ERR_LEN])
{
	for (uint16_t i = 0; i < dev->nb_rxq; i++) {
		dev->bell[i] = uvb_bell_open(dev->dirfd, dev->id, i, true);
		dev->wake[i] = dev->bell[i] >= 0 ? uvb_bell_wake(dev->bell[i]) : dev->bell[i];
		if (dev->wake[i] < 0)
			return uvb_fail(err, dev->wake[i],
					"cannot open the bell of receive queue %u: %s", i,
					strerror(-dev->wake[i]));
	}
	return 0;
}

/* A port whose queues others may be using. */
static int
take_port(struct uvb_dev *dev, const struct uvb_ctl_answer *ans, char err[UVB_ERR_LEN])
{
	int rc = take_answer(dev, ans, err);

	return rc == 0 ? open_bells(dev, err) : rc;
}

/* Of a port nobody else has yet. */
static int
take_queues(struct uvb_dev *dev, char err[UVB_ERR_LEN])
{
	for (uint16_t i = 0; i < dev->nb_rxq; i++) {
		if (uvb_rxq_take(dev, i) == NULL)
			return uvb_fail(err, -ENOMEM, "no memory for receive queue %u", i);
		uvb_bell_drain(dev->bell[i]);
	}
	for (uint16_t i = 0; i < dev->nb_txq; i++)
		if (uvb_txq_take(dev, i) == NULL)
			return uvb_fail(err, -ENOMEM, "no memory for transmit queue %u", i);
	return 0;
}

int
uvb_dev_take(struct uvb_dev *dev, const struct uvb_ctl_answer *ans, char err[UVB_ERR_LEN])
{
	int rc = take_port(dev, ans, err);

	return rc == 0 ? take_queues(dev, err) : rc;
}

static void
dev_free(struct uvb_dev *dev)
{
	for (uint16_t i = 0; i < UVB_MAX_QUEUES; i++) {
		uvb_rxq_free(dev->rxq[i]);
		uvb_txq_free(dev->txq[i]);
		if (dev->wake[i] >= 0)
			close(dev->wake[i]);
		if (dev->bell[i] >= 0)
			close(dev->bell[i]);
	}
	if (dev->control >= 0)
		close(dev->control);
	if (dev->dirfd >= 0)
		close(dev->dirfd);
	uvb_rules_free(dev->rules);
	uvb_map_close(&dev->map);
	free(dev);
}

static int
map_fabric(struct uvb_dev *dev, const char *fabric, char err[UVB_ERR_LEN])
{
	int rc = uvb_fabric_path(fabric, dev->path, err);

	if (rc != 0)
		return rc;
	dev->dirfd = uvb_fd_high(uvb_fabric_open(fabric, err));
	if (dev->dirfd < 0)
		return dev->dirfd;
	rc = uvb_map_open(&dev->map, dev->dirfd, true, err);
	if (rc != 0)
		return rc;
	close(dev->map.fd);
	dev->map.fd = -1;
	memcpy(&dev->hdr, dev->map.base, sizeof(dev->hdr));
	return 0;
}

static int
dev_attach(struct uvb_dev *dev, const struct uvb_attach *req, char err[UVB_ERR_LEN])
{
	struct uvb_ctl_answer ans;
	int rc = map_fabric(dev, req->fabric, err);

	if (rc != 0)
		return rc;
	dev->control = connect_at(dev->dirfd, err);
	if (dev->control < 0)
		return dev->control;
	rc = request_attach(dev, req, &ans, err);
	if (rc != 0)
		return rc;
	return req->adopt ? take_port(dev, &ans, err) : uvb_dev_take(dev, &ans, err);
}

/* What the segment says of the port, to somebody nobody is told of. */
static int
look_at_port(struct uvb_dev *dev, const struct uvb_join *req, char err[UVB_ERR_LEN])
{
	struct uvb_port_shm *p = uvb_map_port(&dev->map, req->port);
	struct uvb_ctl_answer ans = {.epoch = dev->map.epoch,
				     .port = req->port,
				     .gen = req->gen,
				     .nb_rxq = p->nb_rxq,
				     .nb_txq = p->nb_txq};
	struct uvb_conf conf;
	uint32_t seq;

	memcpy(ans.name, p->name, sizeof(ans.name));
	if (uvb_conf_read(p, &conf, &seq))
		memcpy(ans.mac, conf.mac[0], sizeof(ans.mac));
	return take_answer(dev, &ans, err);
}

static int
dev_join(struct uvb_dev *dev, const struct uvb_join *req, char err[UVB_ERR_LEN])
{
	struct uvb_ctl_answer ans;
	int rc = map_fabric(dev, req->fabric, err);

	if (rc != 0)
		return rc;
	if (dev->map.epoch != req->epoch || req->port >= dev->map.nb_ports)
		return uvb_fail(err, -ESTALE,
				"the fabric was taken down and up again since the port was "
				"attached: reset the port where it was attached, then join again");
	if (req->look) {
		rc = look_at_port(dev, req, err);
		dev->member = UVB_MEMBER_NONE;
		return rc;
	}
	dev->control = connect_at(dev->dirfd, err);
	if (dev->control < 0)
		return dev->control;
	rc = request_join(dev, req, &ans, err);
	return rc == 0 ? take_port(dev, &ans, err) : rc;
}

/* ------------------------------------------------------------------------------------- detach */

static int
request_detach(const struct uvb_dev *dev, int fd)
{
	struct uvb_ctl_detach msg = {.hdr = ctl_hdr(UVB_CTL_DETACH, sizeof(msg)),
				     .port = dev->id,
				     .gen = dev->gen,
				     .member = dev->member};
	struct uvb_ctl_answer ans;

	return uvb_control_call(fd, &msg, sizeof(msg), &ans, sizeof(ans), UVB_CTL_WAIT_MS);
}

static bool
still_ours(const struct uvb_dev *dev)
{
	uint32_t life = atomic_load_explicit(&dev->shm->life, memory_order_acquire);

	return UVB_LIFE_GEN(life) == dev->gen && UVB_LIFE_STATE(life) != UVB_PORT_FREE;
}

static void
detach(const struct uvb_dev *dev)
{
	int fd;

	/* Link or not: a port that is down waits for its members to leave. */
	if (dev->shm == NULL || dev->member == UVB_MEMBER_NONE || !still_ours(dev) ||
	    request_detach(dev, dev->control) != -EPIPE)
		return;
	/* Our daemon is gone; another may have taken the fabric over. */
	fd = connect_at(dev->dirfd, NULL);
	if (fd < 0)
		return;
	request_detach(dev, fd);
	close(fd);
}

void
uvb_close(struct uvb_dev *dev)
{
	if (dev == NULL)
		return;
	if (dev->pid == getpid())
		detach(dev);
	dev_free(dev);
}

struct uvb_dev *
uvb_dev_new(void)
{
	struct uvb_dev *dev = calloc(1, sizeof(*dev));

	if (dev == NULL)
		return NULL;
	dev->dirfd = -1;
	dev->control = -1;
	dev->map.fd = -1;
	dev->pid = getpid();
	for (uint16_t i = 0; i < UVB_MAX_QUEUES; i++)
		dev->bell[i] = dev->wake[i] = -1;
	return dev;
}

static int
opened(struct uvb_dev *dev, int rc, struct uvb_dev **out)
{
	if (rc != 0)
		uvb_close(dev);
	else
		*out = dev;
	return rc;
}

int
uvb_open(const struct uvb_attach *req, struct uvb_dev **out, char err[UVB_ERR_LEN])
{
	struct uvb_dev *dev;
	int rc = check_request(req, err);

	*out = NULL;
	if (rc != 0)
		return rc;
	dev = uvb_dev_new();
	if (dev == NULL)
		return uvb_fail(err, -ENOMEM, "no memory for a port");
	dev->kind = (uint16_t)req->kind;
	return opened(dev, dev_attach(dev, req, err), out);
}

int
uvb_join(const struct uvb_join *req, struct uvb_dev **out, char err[UVB_ERR_LEN])
{
	struct uvb_dev *dev = uvb_dev_new();

	*out = NULL;
	if (dev == NULL)
		return uvb_fail(err, -ENOMEM, "no memory for a port");
	return opened(dev, dev_join(dev, req, err), out);
}

void
uvb_forget(struct uvb_dev *dev)
{
	if (dev != NULL)
		dev_free(dev);
}

/* ---------------------------------------------------------------------------------- properties */

uint16_t
uvb_id(const struct uvb_dev *dev)
{
	return dev->id;
}

const char *
uvb_name(const struct uvb_dev *dev)
{
	return dev->name;
}

const char *
uvb_path(const struct uvb_dev *dev)
{
	return dev->path;
}

uint32_t
uvb_gen(const struct uvb_dev *dev)
{
	return dev->gen;
}

const uint8_t *
uvb_mac(const struct uvb_dev *dev)
{
	return dev->mac;
}

const struct uvb_hdr *
uvb_hdr(const struct uvb_dev *dev)
{
	return &dev->hdr;
}

uint16_t
uvb_nb_rxq(const struct uvb_dev *dev)
{
	return dev->nb_rxq;
}

uint16_t
uvb_nb_txq(const struct uvb_dev *dev)
{
	return dev->nb_txq;
}

uint32_t
uvb_frame_max(const struct uvb_dev *dev)
{
	(void)dev;
	return UVB_FRAME_MAX;
}

bool
uvb_link(const struct uvb_dev *dev)
{
	return uvb_dev_up(dev);
}

const struct uvb_hdr *
uvb_live_hdr(const struct uvb_dev *dev)
{
	return uvb_map_hdr(&dev->map);
}

uint64_t
uvb_clock(const struct uvb_dev *dev)
{
	return uvb_clock_ns(uvb_map_hdr(&dev->map));
}

bool
uvb_carrier(const struct uvb_dev *dev)
{
	struct uvb_policy p;

	return uvb_dev_up(dev) &&
	       !(uvb_policy_read(&dev->map, dev->id, &p) && (p.flags & UVB_POL_LINK_DOWN) != 0);
}

int
uvb_control_fd(const struct uvb_dev *dev)
{
	return dev->control;
}

struct uvb_txq *
uvb_txq(struct uvb_dev *dev, uint16_t txq)
{
	return txq < dev->nb_txq ? dev->txq[txq] : NULL;
}

struct uvb_rxq *
uvb_rxq(struct uvb_dev *dev, uint16_t rxq)
{
	return rxq < dev->nb_rxq ? dev->rxq[rxq] : NULL;
}

int
uvb_bell_fd(const struct uvb_dev *dev, uint16_t rxq)
{
	return rxq < dev->nb_rxq ? dev->wake[rxq] : -1;
}

struct uvb_rxq *
uvb_rxq_take(struct uvb_dev *dev, uint16_t rxq)
{
	if (rxq >= dev->nb_rxq || dev->member == UVB_MEMBER_NONE)
		return NULL;
	if (dev->rxq[rxq] == NULL)
		dev->rxq[rxq] = uvb_rxq_new(dev, rxq);
	else
		uvb_rxq_renew(dev->rxq[rxq]);
	return dev->rxq[rxq];
}

struct uvb_txq *
uvb_txq_take(struct uvb_dev *dev, uint16_t txq)
{
	if (txq >= dev->nb_txq || dev->member == UVB_MEMBER_NONE)
		return NULL;
	if (dev->txq[txq] == NULL)
		dev->txq[txq] = uvb_txq_new(dev, txq);
	else
		uvb_txq_renew(dev->txq[txq]);
	return dev->txq[txq];
}
