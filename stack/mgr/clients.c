/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The control socket: who may come, in which order, and what each may ask. */
#include "stack/core/log.h"
#include "stack/mgr/mgr.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG      64
#define CLIENTS_MAX  256
#define ATTACH_MAX_S 10 /* then it is killed: all others wait for it */
#define STOPPED_MS   2000

/* -------------------------------------------------------------------------------------- sending */

void
client_send(struct client *c, const void *msg, size_t len)
{
	/* Its buffer is full, or it is gone: it will be closed, or is about to be. */
	if (c->socket.fd >= 0 && send(c->socket.fd, msg, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		uvs_log(UVS_LOG_DEBUG, "process %d does not hear: %s", c->pid, strerror(errno));
}

static void
send_refusal(int fd, int rc, const char *fmt, va_list ap)
{
	struct uvs_msg_text m = {.head = {UVS_MSG_REFUSED, sizeof(m)}, .status = rc};

	vsnprintf(m.text, sizeof(m.text), fmt, ap);
	send(fd, &m, sizeof(m), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* ------------------------------------------------------------------------------------ coming,
 * going
 */

static void
close_socket(struct mgr *m, struct client *c)
{
	if (c->socket.fd < 0)
		return;
	watch_del(m, &c->socket);
	close(c->socket.fd);
	c->socket.fd = -1;
}

static void
end_client(struct mgr *m, struct client *c)
{
	close_socket(m, c);
	if (c->process.fd >= 0) {
		watch_del(m, &c->process);
		close(c->process.fd);
	}
	if (m->attaching == c)
		m->attaching = NULL;
	TAILQ_REMOVE(&m->clients, c, next);
	free(c);
	clients_next(m);
}

void
client_refuse(struct mgr *m, struct client *c, int rc, const char *fmt, ...)
{
	va_list ap;

	m->stats.refused++;
	va_start(ap, fmt);
	if (c->socket.fd >= 0)
		send_refusal(c->socket.fd, rc, fmt, ap);
	va_end(ap);
	close_socket(m, c);
}

/* It is gone, whichever way: everything of it is reclaimed. */
static void
process_ended(struct mgr *m, struct watch *w)
{
	struct client *c = (struct client *)((char *)w - offsetof(struct client, process));

	if (c->state == CLIENT_ATTACHING)
		m->stats.locks += locks_free();
	if (c->state == CLIENT_UP || c->state == CLIENT_ATTACHING) {
		if (c->slots != 0)
			m->stats.deaths++;
		slots_reclaim(m, c);
		memory_forget(m, c->pid);
	}
	end_client(m, c);
}

/* The connection has closed and the process lives. It may have executed another program, or closed
 * what it does not know; only in the first case its memory is gone. */
static void
socket_closed(struct mgr *m, struct client *c)
{
	close_socket(m, c);
	if (c->state != CLIENT_UP && c->state != CLIENT_ATTACHING)
		end_client(m, c);
	else if (!memory_is_mapped(m, c->pid))
		process_ended(m, &c->process);
}

/* --------------------------------------------------------------------------------- what they say
 */

static void
hello(struct mgr *m, struct client *c, const struct uvs_msg_hello *msg)
{
	if (msg->version != UVS_PROTO_VERSION)
		client_refuse(m, c, -EPROTO,
			      "it speaks version %u of the protocol, and this is version %u: use "
			      "one libuvstack.so and uvstackd",
			      msg->version, UVS_PROTO_VERSION);
	else if (m->draining)
		client_refuse(m, c, -ESHUTDOWN, "the host is being drained (uvstack drain)");
	else if (msg->stacks == 0 || msg->stacks > UVS_STACKS_MAX)
		client_refuse(m, c, -EINVAL, "%u stack threads: a process can have 1 to %u",
			      msg->stacks, UVS_STACKS_MAX);
	else if (msg->stacks > slots_free(m))
		client_refuse(m, c, -EBUSY,
			      "it wants %u slots, and %u of %u are free: end a process, or raise "
			      "slots and restart the manager",
			      msg->stacks, slots_free(m), m->host->nb_slots - 1);
	else {
		c->stacks = msg->stacks;
		c->state = CLIENT_WAITING;
		clients_next(m);
	}
}

static void
send_slots(struct mgr *m, struct client *c, struct uvs_msg_slots *msg)
{
	union {
		char room[CMSG_SPACE(UVS_PROTO_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = {.room = ""};
	struct iovec iov = {.iov_base = msg, .iov_len = sizeof(*msg)};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room};
	struct cmsghdr *cm;

	msg->nb_fds = m->host->nb_slots;
	h.msg_controllen = CMSG_SPACE(msg->nb_fds * sizeof(int));
	cm = CMSG_FIRSTHDR(&h);
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(msg->nb_fds * sizeof(int));
	memcpy(CMSG_DATA(cm), m->bells, msg->nb_fds * sizeof(int));
	if (sendmsg(c->socket.fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		uvs_log(UVS_LOG_DEBUG, "process %d does not hear: %s", c->pid, strerror(errno));
}

static void
attached(struct mgr *m, struct client *c)
{
	struct uvs_msg_slots msg = {.head = {UVS_MSG_SLOTS, sizeof(msg)}};

	if (slots_lease(m, c, c->stacks, &msg) < 0) {
		client_refuse(m, c, -EBUSY, "its %u slots have gone to others meanwhile",
			      c->stacks);
		return;
	}
	c->state = CLIENT_UP;
	c->since = mgr_now();
	m->attaching = NULL;
	m->stats.attaches++;
	send_slots(m, c, &msg);
	uvs_log(UVS_LOG_INFO, "process %d (%s) has %u slots", c->pid, c->name, msg.n);
	clients_next(m);
}

static void
about_slot(struct mgr *m, struct client *c, const struct uvs_msg_slot *msg)
{
	struct uvs_msg_slot answer = *msg;
	int rc = -EPERM;

	if (msg->slot < m->host->nb_slots && (c->slots >> msg->slot & 1) != 0) {
		if (msg->head.type == UVS_MSG_READY)
			rc = slot_ready(m, c, msg->slot);
		else if (msg->head.type == UVS_MSG_PARK)
			rc = slot_park(m, c, msg->slot);
		else
			rc = slot_emptied(m, c, msg->slot);
	}
	if (rc < 0) {
		m->stats.bad_messages++;
		client_refuse(m, c, rc, "slot %u is not its own, or not in a state for that",
			      msg->slot);
		return;
	}
	if (msg->head.type == UVS_MSG_READY)
		return;
	answer.head.type = msg->head.type == UVS_MSG_PARK ? UVS_MSG_PARKED : UVS_MSG_GONE;
	client_send(c, &answer, sizeof(answer));
}

/* A process that was there before this manager, and speaks again: the connection is that one's. `c`
 * ends, as if it had closed. */
static void
resume(struct mgr *m, struct client *c)
{
	struct uvs_msg_slot answer = {.head = {UVS_MSG_RESUMED, sizeof(answer)}};
	struct client *old = client_of(m, c->pid);

	if (old == NULL || old->socket.fd >= 0) {
		client_refuse(m, c, -ENOENT, "process %d has no slots here to speak of", c->pid);
		return;
	}
	watch_del(m, &c->socket);
	old->socket.fd = c->socket.fd;
	c->socket.fd = -1;
	watch_add(m, &old->socket);
	client_send(old, &answer, sizeof(answer));
}

/* Of the length that its type has? */
static bool
is_whole(const union uvs_msg *msg, size_t len)
{
	static const size_t lens[] = {
		[UVS_MSG_HELLO] = sizeof(struct uvs_msg_hello),
		[UVS_MSG_ATTACHED] = sizeof(struct uvs_msg_slot),
		[UVS_MSG_READY] = sizeof(struct uvs_msg_slot),
		[UVS_MSG_PARK] = sizeof(struct uvs_msg_slot),
		[UVS_MSG_EMPTIED] = sizeof(struct uvs_msg_slot),
		[UVS_MSG_ASK] = sizeof(struct uvs_msg_text),
		[UVS_MSG_RESUME] = sizeof(struct uvs_msg_slot),
	};

	return len >= sizeof(msg->head) && msg->head.type < RTE_DIM(lens) &&
	       lens[msg->head.type] == len && msg->head.len == len;
}

/* Does its state allow it? */
static bool
may_say(const struct client *c, uint32_t type)
{
	switch (type) {
	case UVS_MSG_HELLO:
	case UVS_MSG_ASK:
	case UVS_MSG_RESUME:
		return c->state == CLIENT_NEW;
	case UVS_MSG_ATTACHED:
		return c->state == CLIENT_ATTACHING;
	default:
		return c->state == CLIENT_UP;
	}
}

void
client_said(struct mgr *m, struct client *c, const union uvs_msg *msg, size_t len)
{
	if (!is_whole(msg, len) || !may_say(c, msg->head.type)) {
		m->stats.bad_messages++;
		client_refuse(m, c, -EPROTO, "that message makes no sense here");
		return;
	}
	switch (msg->head.type) {
	case UVS_MSG_HELLO:
		hello(m, c, &msg->hello);
		break;
	case UVS_MSG_ATTACHED:
		attached(m, c);
		break;
	case UVS_MSG_RESUME:
		resume(m, c);
		break;
	case UVS_MSG_ASK:
		c->state = CLIENT_TOOL;
		show_answer(m, c, &msg->text);
		break;
	default:
		about_slot(m, c, &msg->slot);
	}
}

static void
socket_ready(struct mgr *m, struct watch *w)
{
	struct client *c = (struct client *)((char *)w - offsetof(struct client, socket));
	union uvs_msg msg;
	ssize_t n = recv(w->fd, &msg, sizeof(msg), MSG_DONTWAIT | MSG_TRUNC);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		client_said(m, c, &msg, (size_t)n);
	if (n <= 0 || c->socket.fd < 0)
		socket_closed(m, c);
}

/* ------------------------------------------------------------------------------------ accepting */

static void
read_name(struct client *c)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/comm", c->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (read(fd, c->name, sizeof(c->name) - 1) > 0)
		c->name[strcspn(c->name, "\n")] = '\0';
	close(fd);
}

static void
refuse_fd(int fd, int rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	send_refusal(fd, rc, fmt, ap);
	va_end(ap);
	close(fd);
}

static bool
may_come(struct mgr *m, int fd, struct ucred *who)
{
	socklen_t len = sizeof(*who);
	struct client *c;
	unsigned int n = 0;

	TAILQ_FOREACH (c, &m->clients, next)
		n++;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, who, &len) != 0 || who->pid <= 0) {
		refuse_fd(fd, -EPERM, "it cannot be seen which process that is");
	} else if (who->uid != geteuid() && who->uid != 0) {
		refuse_fd(fd, -EPERM,
			  "the host is user %u's alone, and that is a process of user %u: be that "
			  "user, or start a manager of your own",
			  (unsigned int)geteuid(), who->uid);
	} else if (n >= CLIENTS_MAX) {
		refuse_fd(fd, -EBUSY, "%u processes are connected already", n);
	} else {
		return true;
	}
	m->stats.refused++;
	return false;
}

void
client_meet(struct mgr *m, struct client *c, pid_t pid, int pidfd, int fd)
{
	c->pid = pid;
	c->since = mgr_now();
	c->socket = (struct watch){socket_ready, fd};
	c->process = (struct watch){process_ended, pidfd};
	read_name(c);
	TAILQ_INSERT_TAIL(&m->clients, c, next);
	if (pidfd >= 0)
		watch_add(m, &c->process);
}

static void
listener_ready(struct mgr *m, struct watch *w)
{
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), pidfd;
	struct client *c;
	struct ucred who;

	if (fd < 0 || !may_come(m, fd, &who))
		return;
	pidfd = (int)syscall(SYS_pidfd_open, who.pid, 0);
	c = calloc(1, sizeof(*c));
	if (pidfd < 0 || c == NULL) {
		refuse_fd(fd, -ESRCH, "the process has gone");
		if (pidfd >= 0)
			close(pidfd);
		free(c);
		return;
	}
	client_meet(m, c, who.pid, pidfd, fd);
	watch_add(m, &c->socket);
}

/* It may have ended, or be another process of the same number: then its slots are reclaimed. */
static void
adopt(struct mgr *m, pid_t pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct client *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		uvs_log(UVS_LOG_ERROR, "no memory to take process %d over", pid);
		if (pidfd >= 0)
			close(pidfd);
		return;
	}
	client_meet(m, c, pid, pidfd, -1);
	c->state = CLIENT_UP;
	slots_adopt(m, c);
	if (pidfd < 0 || !memory_is_mapped(m, pid))
		process_ended(m, &c->process);
	else
		uvs_log(UVS_LOG_INFO, "process %d (%s) goes on", pid, c->name);
}

void
clients_adopt(struct mgr *m)
{
	slots_finish(m);
	for (uint32_t slot = 1; slot < m->host->nb_slots; slot++) {
		pid_t pid = atomic_load(&m->host->slot[slot].pid);

		if (uvs_softq_up(&m->boss, slot) && (m->used >> slot & 1) == 0)
			adopt(m, pid);
	}
}

/* Bound under another name and moved: clients find a socket that listens, or none. */
int
clients_listen(struct mgr *m)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	unlinkat(m->dirfd, UVS_HOST_SOCKET ".new", 0);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "/proc/self/fd/%d/" UVS_HOST_SOCKET ".new",
		 m->dirfd);
	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) != 0 || listen(fd, BACKLOG) != 0 ||
	    renameat(m->dirfd, UVS_HOST_SOCKET ".new", m->dirfd, UVS_HOST_SOCKET) != 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	m->listener = (struct watch){listener_ready, fd};
	return watch_add(m, &m->listener);
}

/* ------------------------------------------------------------------------------------- in turns */

void
clients_next(struct mgr *m)
{
	struct uvs_msg_go go = {.head = {UVS_MSG_GO, sizeof(go)}};
	struct client *c;

	if (m->attaching != NULL)
		return;
	TAILQ_FOREACH (c, &m->clients, next)
		if (c->state == CLIENT_WAITING)
			break;
	if (c == NULL)
		return;
	snprintf(go.prefix, sizeof(go.prefix), "%s", m->prefix);
	snprintf(go.runtime, sizeof(go.runtime), "%s", m->runtime);
	snprintf(go.huge_dir, sizeof(go.huge_dir), "%s", m->huge_dir);
	go.orphan = m->heir;
	m->attaching = c;
	c->state = CLIENT_ATTACHING;
	c->since = c->turn = mgr_now();
	client_send(c, &go, sizeof(go));
}

struct client *
client_of(struct mgr *m, pid_t pid)
{
	struct client *c;

	TAILQ_FOREACH (c, &m->clients, next)
		if (c->pid == pid && c->state == CLIENT_UP)
			return c;
	return NULL;
}

/* Stopped by a signal, or traced and stopped. */
static bool
is_stopped(pid_t pid)
{
	char path[64], line[512], *p;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	p = fgets(line, sizeof(line), f);
	fclose(f);
	p = p != NULL ? strrchr(line, ')') : NULL;
	return p != NULL && (p[2] == 'T' || p[2] == 't');
}

static void
look_at(struct mgr *m, struct client *c, uint64_t now)
{
	bool stopped = is_stopped(c->pid);

	if (!stopped)
		c->stopped_ns = 0;
	else if (c->stopped_ns == 0)
		c->stopped_ns = now;
	stopped = stopped && now - c->stopped_ns > STOPPED_MS * UVS_NS_PER_MS;
	if (stopped == c->stopped)
		return;
	c->stopped = stopped;
	uvs_log(UVS_LOG_NOTICE, "process %d (%s) %s", c->pid, c->name,
		stopped ? "is stopped: its queues' traffic goes to the others" : "runs again");
	for (uint64_t left = c->slots; left != 0; left &= left - 1)
		slot_stall(m, (uint32_t)__builtin_ctzll(left), stopped);
}

void
clients_tick(struct mgr *m)
{
	uint64_t now = mgr_now();
	struct client *c = m->attaching, *next;

	if (c != NULL && now - c->since > ATTACH_MAX_S * UVS_NS_PER_S) {
		uvs_log(UVS_LOG_WARNING,
			"process %d (%s) has been attaching for %d s, and others wait: killed",
			c->pid, c->name, ATTACH_MAX_S);
		m->stats.attach_killed++;
		c->since = now;
		syscall(SYS_pidfd_send_signal, c->process.fd, SIGKILL, NULL, 0);
	}
	for (c = TAILQ_FIRST(&m->clients); c != NULL; c = next) {
		next = TAILQ_NEXT(c, next);
		if (c->state == CLIENT_UP)
			look_at(m, c, now);
		if (c->state == CLIENT_UP && c->socket.fd < 0 && !memory_is_mapped(m, c->pid))
			process_ended(m, &c->process);
	}
}
