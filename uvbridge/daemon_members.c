/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The processes of a port. A member comes by ATTACH or JOIN and goes with its process, or by
 * DETACH, or when its connection ends and it does not map the segment any more. What its going
 * means for the port is port_settle()'s business.
 *
 * struct uvb_member in the segment is what the next daemon finds; struct member is what this one
 * watches. A member of another pid name space has no pid we could watch: only its connection.
 */
#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "uvbridge/proc.h"
#include "uvbridge/uvbridged.h"

static struct uvb_member *
shm_of(struct daemon *d, const struct member *m)
{
	return &uvb_map_port(&d->map, m->port)->member[m->slot];
}

static const char *
port_name(struct daemon *d, const struct member *m)
{
	return uvb_map_port(&d->map, m->port)->name;
}

void
member_gone(struct daemon *d, struct member *m)
{
	uint32_t port = m->port;

	member_remove(d, m);
	port_settle(d, port, true);
}

static void
pidfd_ready(struct daemon *d, struct watch *w)
{
	struct member *m = (struct member *)w;

	log_line(d, "port %u (%s): process %u ended", m->port, port_name(d, m), shm_of(d, m)->pid);
	member_gone(d, m);
}

static int
pidfd_watch(struct daemon *d, struct member *m, pid_t pid)
{
	int rc;

	if (pid <= 0)
		return -ESRCH;
	m->pidfd = (struct watch){pidfd_ready, (int)syscall(SYS_pidfd_open, pid, 0)};
	if (m->pidfd.fd < 0)
		return -errno;
	rc = watch_add(d, &m->pidfd);
	if (rc == 0)
		return 0;
	close(m->pidfd.fd);
	m->pidfd.fd = -1;
	return rc;
}

static struct member *
member_begin(struct daemon *d, uint32_t port, uint32_t slot)
{
	struct member *m = &d->port[port].member[slot];

	*m = (struct member){
		.pidfd.fd = -1, .port = (uint16_t)port, .slot = (uint16_t)slot, .present = true};
	return m;
}

void
member_add(struct daemon *d, uint32_t port, uint32_t slot, uint32_t gen, struct client *c)
{
	struct member *m = member_begin(d, port, slot);
	int rc;

	*shm_of(d, m) =
		(struct uvb_member){(uint32_t)c->pid, (uint32_t)c->uid, uvb_proc_start(c->pid)};
	m->client = c;
	c->member = m;
	c->gen = gen;
	rc = pidfd_watch(d, m, c->pid);
	if (rc != 0)
		log_line(d, "port %u: no pidfd of process %d (%s), only its connection is watched",
			 port, (int)c->pid, strerror(-rc));
}

void
member_remove(struct daemon *d, struct member *m)
{
	if (m->client != NULL)
		m->client->member = NULL;
	if (m->pidfd.fd >= 0) {
		watch_del(d, &m->pidfd);
		close(m->pidfd.fd);
	}
	*shm_of(d, m) = (struct uvb_member){0};
	*m = (struct member){.pidfd.fd = -1};
}

/* The connection ended. Has the member? If its process maps the segment still, it may be using it
 * at this moment: then the words stay its own until the process ends. */
void
member_lifeline_cut(struct daemon *d, struct member *m)
{
	struct pollfd pfd = {.fd = m->pidfd.fd, .events = POLLIN};
	uint32_t pid = shm_of(d, m)->pid;

	m->client = NULL;
	if (m->pidfd.fd >= 0 && poll(&pfd, 1, 0) == 0 &&
	    uvb_proc_maps((pid_t)pid, d->map.fd) != UVB_MAPS_NO) {
		log_line(
			d,
			"port %u (%s): connection closed, process %u lives and has it mapped: kept",
			m->port, port_name(d, m), pid);
		return;
	}
	log_line(d, "port %u (%s): connection of process %u closed", m->port, port_name(d, m), pid);
	member_gone(d, m);
}

/* A member that the last daemon left in the segment: does it live? */
static void
adopt_one(struct daemon *d, uint32_t port, uint32_t slot)
{
	struct uvb_member *shm = &uvb_map_port(&d->map, port)->member[slot];
	struct member *m = member_begin(d, port, slot);
	pid_t pid = (pid_t)shm->pid;
	int rc = -ESRCH;

	if (uvb_proc_alive(pid, shm->start))
		rc = pidfd_watch(d, m, pid);
	if (rc == 0 && uvb_proc_maps(pid, d->map.fd) != UVB_MAPS_NO)
		log_line(d, "port %u (%s): adopted, process %u", port, port_name(d, m), shm->pid);
	else
		member_remove(d, m);
}

void
members_adopt(struct daemon *d, uint32_t port)
{
	for (uint32_t i = 0; i < UVB_MEMBERS_MAX; i++)
		if (uvb_map_port(&d->map, port)->member[i].pid != 0)
			adopt_one(d, port, i);
}

uint32_t
members_count(const struct daemon *d, uint32_t port)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < UVB_MEMBERS_MAX; i++)
		n += d->port[port].member[i].present;
	return n;
}

int32_t
members_free_slot(const struct daemon *d, uint32_t port)
{
	for (int32_t i = UVB_OWNER_SLOT + 1; i < UVB_MEMBERS_MAX; i++)
		if (!d->port[port].member[i].present)
			return i;
	return -1;
}
