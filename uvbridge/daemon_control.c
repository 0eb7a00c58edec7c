/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The daemon's side of the control protocol. Nothing in a message is believed before its length and
 * kind are.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "uvbridge/uvbridged.h"

/* Connections that are nobody's life line, at a time: the next one ends the oldest of them, so that
 * whoever hoards connections, or says nothing on them, loses them and keeps nobody out. Life lines
 * are as many as there can be members. */
#define CLIENTS_IDLE_MAX 64

union message {
	struct uvb_ctl_hdr hdr;
	struct uvb_ctl_attach attach;
	struct uvb_ctl_join join;
	struct uvb_ctl_detach detach;
	struct uvb_ctl_down down;
	struct uvb_ctl_unplug unplug;
	struct uvb_ctl_plain plain;
	struct uvb_ctl_fault_add fault_add;
	struct uvb_ctl_fault fault;
	struct uvb_ctl_policy policy;
	struct uvb_ctl_fdb fdb;
	struct uvb_ctl_adapter adapter;
	struct uvb_ctl_clock clock;
};

static void
client_end(struct daemon *d, struct client *c)
{
	struct client **at = &d->clients;

	while (*at != NULL && *at != c)
		at = &(*at)->next;
	if (*at != NULL)
		*at = c->next;
	watch_del(d, &c->watch);
	close(c->watch.fd);
	if (c->member != NULL)
		member_lifeline_cut(d, c->member);
	free(c);
}

static int
handle_attach(struct daemon *d, struct client *c, union message *m, struct uvb_ctl_answer *ans)
{
	m->attach.name[UVB_NAME_LEN - 1] = '\0';
	return port_attach(d, c, &m->attach, ans);
}

static int
handle_join(struct daemon *d, struct client *c, union message *m, struct uvb_ctl_answer *ans)
{
	return port_join(d, c, &m->join, ans);
}

static int
handle_detach(struct daemon *d, struct client *c, union message *m, struct uvb_ctl_answer *ans)
{
	return port_detach(d, c, &m->detach, ans);
}

static int
handle_unplug(struct daemon *d, struct client *c, union message *m, struct uvb_ctl_answer *ans)
{
	(void)c;
	m->unplug.name[UVB_NAME_LEN - 1] = '\0';
	return port_unplug(d, m->unplug.name, ans);
}

static int
handle_down(struct daemon *d, struct client *c, union message *m, struct uvb_ctl_answer *ans)
{
	char names[UVB_CTL_TEXT - 64];
	uint32_t n = ports_attached(d, names, sizeof(names));

	(void)c;
	if (n != 0 && m->down.force != 1) {
		snprintf(ans->text, sizeof(ans->text), "%u port%s attached: %s", n,
			 n == 1 ? " is" : "s are", names);
		return -EBUSY;
	}
	log_line(d, "down, %u ports attached", n);
	ports_end(d);
	d->done = true;
	d->remove = true;
	return 0;
}

static int
handle_ping(struct daemon *d, struct client *c, union message *m, struct uvb_ctl_answer *ans)
{
	(void)d;
	(void)c;
	(void)m;
	(void)ans;
	return 0;
}

static int
handle_flush(struct daemon *d, struct client *c, union message *m, struct uvb_ctl_answer *ans)
{
	(void)c;
	(void)m;
	(void)ans;
	uvb_fdb_flush(&d->fdb, &(struct uvb_fdb_flush){UVB_FDB_ANY, UVB_FDB_ANY, false});
	return 0;
}

static int
handle_fault_add(struct daemon *d, struct client *c, union message *m, struct uvb_ctl_answer *ans)
{
	(void)c;
	return fault_add(d, &m->fault_add.def, ans);
}

static int
handle_fault_remove(struct daemon *d, struct client *c, union message *m,
		    struct uvb_ctl_answer *ans)
{
	(void)c;
	return fault_remove(d, m->fault.handle, ans);
}

static int
handle_fault_release(struct daemon *d, struct client *c, union message *m,
		     struct uvb_ctl_answer *ans)
{
	(void)c;
	return fault_release(d, m->fault.handle, m->fault.count, ans);
}

static int
handle_clock(struct daemon *d, struct client *c, union message *m, struct uvb_ctl_answer *ans)
{
	(void)c;
	return clock_request(d, m->clock.op, m->clock.ns, ans);
}

static int
handle_fault_sync(struct daemon *d, struct client *c, union message *m, struct uvb_ctl_answer *ans)
{
	(void)c;
	(void)m;
	(void)ans;
	decisions_write(d);
	return 0;
}

static int
handle_policy_message(struct daemon *d, struct client *c, union message *m,
		      struct uvb_ctl_answer *ans)
{
	(void)c;
	return handle_policy(d, &m->policy, ans);
}

static int
handle_fdb_message(struct daemon *d, struct client *c, union message *m, struct uvb_ctl_answer *ans)
{
	(void)c;
	return handle_fdb(d, &m->fdb, ans);
}

static int
handle_adapter_message(struct daemon *d, struct client *c, union message *m,
		       struct uvb_ctl_answer *ans)
{
	(void)c;
	return handle_adapter(d, &m->adapter, ans);
}

static const struct {
	uint32_t len;
	int (*handle)(struct daemon *d, struct client *c, union message *m,
		      struct uvb_ctl_answer *ans);
} requests[] = {
	[UVB_CTL_ATTACH] = {sizeof(struct uvb_ctl_attach), handle_attach},
	[UVB_CTL_JOIN] = {sizeof(struct uvb_ctl_join), handle_join},
	[UVB_CTL_UNPLUG] = {sizeof(struct uvb_ctl_unplug), handle_unplug},
	[UVB_CTL_DETACH] = {sizeof(struct uvb_ctl_detach), handle_detach},
	[UVB_CTL_DOWN] = {sizeof(struct uvb_ctl_down), handle_down},
	[UVB_CTL_PING] = {sizeof(struct uvb_ctl_plain), handle_ping},
	[UVB_CTL_FLUSH] = {sizeof(struct uvb_ctl_plain), handle_flush},
	[UVB_CTL_FAULT_ADD] = {sizeof(struct uvb_ctl_fault_add), handle_fault_add},
	[UVB_CTL_FAULT_REMOVE] = {sizeof(struct uvb_ctl_fault), handle_fault_remove},
	[UVB_CTL_FAULT_RELEASE] = {sizeof(struct uvb_ctl_fault), handle_fault_release},
	[UVB_CTL_CLOCK] = {sizeof(struct uvb_ctl_clock), handle_clock},
	[UVB_CTL_FAULT_SYNC] = {sizeof(struct uvb_ctl_plain), handle_fault_sync},
	[UVB_CTL_POLICY] = {sizeof(struct uvb_ctl_policy), handle_policy_message},
	[UVB_CTL_FDB] = {sizeof(struct uvb_ctl_fdb), handle_fdb_message},
	[UVB_CTL_ADAPTER] = {sizeof(struct uvb_ctl_adapter), handle_adapter_message},
};

/* What is wrong with a message of n bytes, or NULL. */
static const char *
check_message(const union message *m, size_t n)
{
	if (n < sizeof(m->hdr) || m->hdr.magic != UVB_CTL_MAGIC)
		return "not a control message of a fabric";
	if (m->hdr.version != UVB_CTL_VERSION || m->hdr.abi != UVB_ABI_VERSION)
		return "the fabric's daemon speaks another version: use programs of one build";
	if (m->hdr.type >= sizeof(requests) / sizeof(requests[0]) ||
	    requests[m->hdr.type].handle == NULL)
		return "unknown kind of message";
	if (m->hdr.len != n || n != requests[m->hdr.type].len)
		return "message of a wrong length";
	return NULL;
}

static bool
is_attach(const union message *m)
{
	return m->hdr.type == UVB_CTL_ATTACH || m->hdr.type == UVB_CTL_JOIN;
}

static struct uvb_ctl_answer
new_answer(const struct daemon *d)
{
	return (struct uvb_ctl_answer){
		.hdr = {UVB_CTL_MAGIC, UVB_CTL_VERSION, UVB_CTL_ANSWER,
			sizeof(struct uvb_ctl_answer), UVB_ABI_VERSION},
		.pid = (uint32_t)getpid(),
		.epoch = d->map.epoch,
	};
}

static bool
answer(int fd, const struct uvb_ctl_answer *ans)
{
	/* A client that does not read its answers has itself to blame. */
	return send(fd, ans, sizeof(*ans), MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof(*ans);
}

static void
client_ready(struct daemon *d, struct watch *w)
{
	struct client *c = (struct client *)w;
	struct uvb_ctl_answer ans = new_answer(d);
	union message m = {0};
	/* MSG_TRUNC: the true length, so that what is too long is seen to be. */
	ssize_t n = recv(c->watch.fd, &m, sizeof(m), MSG_DONTWAIT | MSG_TRUNC);
	const char *wrong;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_end(d, c);
		return;
	}
	wrong = check_message(&m, (size_t)n);
	if (wrong != NULL) {
		ans.status = -EPROTO;
		snprintf(ans.text, sizeof(ans.text), "%s", wrong);
		log_line(d, "process %d: %s", (int)c->pid, wrong);
	} else {
		ans.status = requests[m.hdr.type].handle(d, c, &m, &ans);
	}
	if (!answer(c->watch.fd, &ans)) {
		/* It has gone away, and does not know that it is a port now: nobody will be it. */
		if (ans.status == 0 && is_attach(&m))
			member_gone(d, c->member);
		client_end(d, c);
	} else if (wrong != NULL) {
		client_end(d, c);
	}
}

/* New clients stand first. */
static void
end_oldest_idle(struct daemon *d)
{
	struct client *oldest = NULL;

	for (struct client *c = d->clients; c != NULL; c = c->next)
		if (c->member == NULL)
			oldest = c;
	if (oldest == NULL)
		return;
	log_line(d, "process %d: its connection is ended, there are too many", (int)oldest->pid);
	client_end(d, oldest);
}

static uint32_t
count_idle(const struct daemon *d)
{
	uint32_t n = 0;

	for (const struct client *c = d->clients; c != NULL; c = c->next)
		n += c->member == NULL;
	return n;
}

static void
refuse_user(struct daemon *d, int fd, const struct ucred *who)
{
	struct uvb_ctl_answer ans = new_answer(d);

	ans.status = refuse(&ans, -EPERM,
			    "the fabric is user %u's alone, and that is a process of user %u: be "
			    "that user, or make a fabric of your own",
			    (unsigned)geteuid(), (unsigned)who->uid);
	answer(fd, &ans);
	log_line(d, "process %d of user %u: refused", (int)who->pid, (unsigned)who->uid);
}

static struct client *
client_new(struct daemon *d, int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	struct client *c;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
		return NULL;
	if (cred.uid != geteuid() && cred.uid != 0) {
		refuse_user(d, fd, &cred);
		return NULL;
	}
	if (count_idle(d) >= CLIENTS_IDLE_MAX)
		end_oldest_idle(d);
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return NULL;
	c->watch = (struct watch){client_ready, fd};
	c->pid = cred.pid;
	c->uid = cred.uid;
	return c;
}

void
control_accept(struct daemon *d, struct watch *w)
{
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *c;

	if (fd < 0) {
		/* Out of descriptors: one less, and the next time round it is this one's turn. */
		if (errno == EMFILE || errno == ENFILE)
			end_oldest_idle(d);
		return;
	}
	c = client_new(d, fd);
	if (c == NULL || watch_add(d, &c->watch) != 0) {
		free(c);
		close(fd);
		return;
	}
	c->next = d->clients;
	d->clients = c;
}
