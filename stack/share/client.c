/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/share/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int
say(int fd, const void *msg, size_t len, char err[UVS_ERR_LEN])
{
	if (send(fd, msg, len, MSG_NOSIGNAL) == (ssize_t)len)
		return 0;
	return uvs_fail(err, -ECONNRESET, "the manager of the host has gone");
}

/* Close-on-exec, and none of them lost. */
static int
take_fds(struct msghdr *m, int *efd, uint32_t n)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(m);
	size_t got = 0;

	if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		got = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(efd, CMSG_DATA(c), (got < n ? got : n) * sizeof(int));
	}
	return got == n && (m->msg_flags & MSG_CTRUNC) == 0 ? 0 : -EPROTO;
}

/* The next message, of that type; a refusal is an error with the manager's reason. */
static int
hear(int fd, union uvs_msg *msg, enum uvs_msg_type type, int *efd, char err[UVS_ERR_LEN])
{
	union {
		char room[CMSG_SPACE(UVS_PROTO_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = msg, .iov_len = sizeof(*msg)};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control.room,
			   .msg_controllen = sizeof(control.room)};
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n;

	do
		n = poll(&p, 1, UVS_CLIENT_WAIT_MS);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return uvs_fail(err, -ETIMEDOUT,
				"the manager of the host does not answer within %d s",
				UVS_CLIENT_WAIT_MS / 1000);
	memset(msg, 0, sizeof(*msg));
	n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	/* It has closed without reading; what it said before is still there, behind the error. */
	if (n < 0 && errno == ECONNRESET)
		n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	if (n < (ssize_t)sizeof(msg->head) || msg->head.len != (uint32_t)n)
		return uvs_fail(err, -ECONNRESET, "the manager of the host has gone");
	if (msg->head.type == UVS_MSG_REFUSED)
		return uvs_fail(err, msg->text.status < 0 ? msg->text.status : -EPROTO,
				"the manager of the host refuses: %.200s", msg->text.text);
	if (msg->head.type != (uint32_t)type)
		return uvs_fail(err, -EPROTO, "the manager of the host is of another version");
	if (type == UVS_MSG_SLOTS &&
	    (msg->slots.nb_fds > UVS_PROTO_FDS_MAX || msg->slots.n > UVS_STACKS_MAX ||
	     take_fds(&m, efd, msg->slots.nb_fds) != 0))
		return uvs_fail(err, -EPROTO, "the manager's descriptors did not arrive");
	if (type == UVS_MSG_END && take_fds(&m, efd, 1) != 0)
		return uvs_fail(err, -EPROTO, "the manager's answer did not arrive");
	return 0;
}

/* The first thing that is said on a connection, and the answer: a manager that does not want
 * whoever is there says so and closes before it has heard anything. */
static int
introduce(int fd, const void *msg, size_t len, union uvs_msg *answer, enum uvs_msg_type type,
	  int *efd, char err[UVS_ERR_LEN])
{
	say(fd, msg, len, err);
	return hear(fd, answer, type, efd, err);
}

/* While nobody listens where somebody did, wait a while for who does. */
static int
connect_patiently(const char *host, char err[UVS_ERR_LEN])
{
	const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
	int fd = uvs_host_connect(host, err);

	for (int ms = 0; fd == -ECONNREFUSED && ms < UVS_CLIENT_HEIR_MS; ms += 20) {
		nanosleep(&pause, NULL);
		fd = uvs_host_connect(host, err);
	}
	return fd;
}

int
uvs_client_resume(const char *host, char err[UVS_ERR_LEN])
{
	struct uvs_msg_slot resume = {.head = {UVS_MSG_RESUME, sizeof(resume)}};
	int fd = uvs_host_connect(host, err), rc;
	union uvs_msg msg;

	if (fd < 0)
		return fd;
	rc = introduce(fd, &resume, sizeof(resume), &msg, UVS_MSG_RESUMED, NULL, err);
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

int
uvs_client_hello(const char *host, uint32_t stacks, struct uvs_msg_go *go, char err[UVS_ERR_LEN])
{
	struct uvs_msg_hello hello = {
		.head = {UVS_MSG_HELLO, sizeof(hello)},
		.version = UVS_PROTO_VERSION,
		.stacks = stacks,
	};
	int fd = connect_patiently(host, err), rc;
	union uvs_msg msg;

	if (fd < 0)
		return fd;
	rc = introduce(fd, &hello, sizeof(hello), &msg, UVS_MSG_GO, NULL, err);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	*go = msg.go;
	return fd;
}

int
uvs_client_attached(int fd, struct uvs_msg_slots *slots, int efd[UVS_PROTO_FDS_MAX],
		    char err[UVS_ERR_LEN])
{
	struct uvs_msg_slot attached = {.head = {UVS_MSG_ATTACHED, sizeof(attached)}};
	int rc = say(fd, &attached, sizeof(attached), err);
	union uvs_msg msg;

	if (rc == 0)
		rc = hear(fd, &msg, UVS_MSG_SLOTS, efd, err);
	if (rc == 0)
		*slots = msg.slots;
	return rc;
}

int
uvs_client_say(int fd, enum uvs_msg_type type, uint32_t slot, char err[UVS_ERR_LEN])
{
	struct uvs_msg_slot m = {.head = {type, sizeof(m)}, .slot = slot};
	int rc = say(fd, &m, sizeof(m), err);
	union uvs_msg msg;

	if (rc == 0 && type == UVS_MSG_PARK)
		rc = hear(fd, &msg, UVS_MSG_PARKED, NULL, err);
	if (rc == 0 && type == UVS_MSG_EMPTIED)
		rc = hear(fd, &msg, UVS_MSG_GONE, NULL, err);
	return rc;
}

int
uvs_client_ask(const char *host, const char *what, bool json, int *status, char err[UVS_ERR_LEN])
{
	struct uvs_msg_text ask = {.head = {UVS_MSG_ASK, sizeof(ask)}, .json = json};
	int fd = uvs_host_connect(host, err), answer, rc;
	union uvs_msg msg;

	if (fd < 0)
		return fd;
	snprintf(ask.text, sizeof(ask.text), "%s", what);
	rc = introduce(fd, &ask, sizeof(ask), &msg, UVS_MSG_END, &answer, err);
	close(fd);
	if (rc < 0)
		return rc;
	*status = msg.text.status;
	return answer;
}
