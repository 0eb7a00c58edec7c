/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The daemon's side of faults: the only writer of their definitions (abi.h, "Faults"), and of
 * decisions.log.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "uvbridge/fault.h"
#include "uvbridge/uvbridged.h"

#define HANDLE_MAX 0xffffffu /* what fits UVB_HELD() */
#define LOG_MAX    (64 << 20)

/* ---------------------------------------------------------------------------------------- table */

static uint32_t
handle_of(const struct uvb_fault_shm *f)
{
	return atomic_load_explicit(&f->handle, memory_order_relaxed);
}

static void
table_open(struct daemon *d)
{
	_Atomic uint32_t *seq = &uvb_map_hdr(&d->map)->fault_seq;

	atomic_store_explicit(seq, atomic_load(seq) | 1, memory_order_relaxed);
	/* The words must not be seen before the odd number. */
	atomic_thread_fence(memory_order_release);
}

static void
table_close(struct daemon *d)
{
	_Atomic uint32_t *seq = &uvb_map_hdr(&d->map)->fault_seq;

	atomic_store_explicit(seq, atomic_load(seq) + 1, memory_order_release);
}

static int
up_port(struct daemon *d, const char *name)
{
	for (uint32_t i = 0; i < d->map.nb_ports; i++) {
		const struct uvb_port_shm *p = uvb_map_port(&d->map, i);

		if (UVB_LIFE_STATE(atomic_load(&p->life)) == UVB_PORT_UP &&
		    atomic_load(&p->kind) != UVB_KIND_CAPTURE && strcmp(p->name, name) == 0)
			return (int)i;
	}
	return -1;
}

void
faults_bind(struct daemon *d, uint32_t id, const char *name)
{
	bool open = false;

	if (atomic_load(&uvb_map_hdr(&d->map)->fault_seq) == 0)
		return; /* there never was one: do not touch the table */
	for (uint32_t i = 0; i < UVB_FAULTS_MAX; i++) {
		struct uvb_fault_shm *f = uvb_map_fault(&d->map, i);
		uint32_t port = atomic_load(&f->port), want = port;

		if (handle_of(f) == 0)
			continue;
		if (port == id)
			want = UVB_FAULT_NO_PORT;
		if (name != NULL && strcmp(f->def.port, name) == 0)
			want = id;
		if (want == port)
			continue;
		if (!open)
			table_open(d);
		open = true;
		atomic_store(&f->port, want);
	}
	if (open)
		table_close(d);
}

/* What a predecessor left: perhaps an odd number, and an entry without a handle. */
void
faults_adopt(struct daemon *d)
{
	struct uvb_hdr *h = uvb_map_hdr(&d->map);

	if (atomic_load(&h->fault_seq) & 1)
		table_close(d);
	for (uint32_t i = 0; i < UVB_FAULTS_MAX && atomic_load(&h->fault_seq) != 0; i++)
		uvb_map_fault(&d->map, i)->def.port[UVB_NAME_LEN - 1] = '\0';
}

/* ------------------------------------------------------------------------------ add and remove */

/* The next number whose slot is free: a handle names its slot, and one fault only. 0: none. */
static uint32_t
next_handle(struct daemon *d)
{
	uint32_t last = atomic_load(&uvb_map_hdr(&d->map)->fault_last);

	for (uint32_t h = last + 1; h <= last + UVB_FAULTS_MAX && h <= HANDLE_MAX; h++)
		if (handle_of(uvb_map_fault(&d->map, h % UVB_FAULTS_MAX)) == 0)
			return h;
	return 0;
}

int
fault_add(struct daemon *d, const struct uvb_fault_def *def, struct uvb_ctl_answer *ans)
{
	const char *wrong = uvb_fault_check(def);
	uint32_t handle = next_handle(d);
	struct uvb_fault_shm *f;
	int port;

	if (wrong != NULL)
		return refuse(ans, -EINVAL, "%s", wrong);
	if (handle == 0)
		return refuse(ans, -ENOSPC,
			      "there are %u faults already: `uvbridge fault %s remove` some",
			      UVB_FAULTS_MAX, d->map.name);
	f = uvb_map_fault(&d->map, handle % UVB_FAULTS_MAX);
	port = up_port(d, def->port);
	table_open(d);
	memset(f, 0, sizeof(*f));
	f->def = *def;
	atomic_store(&f->port, port >= 0 ? (uint32_t)port : UVB_FAULT_NO_PORT);
	atomic_store_explicit(&f->handle, handle, memory_order_release);
	atomic_store(&uvb_map_hdr(&d->map)->fault_last, handle);
	table_close(d);
	log_line(d, "fault %u: %s %s%s%s", handle, def->port, uvb_fault_dir_name(def->dir),
		 def->text[0] != '\0' ? ", " : "", def->text);
	ans->handle = handle;
	return 0;
}

static void
forget(struct daemon *d, struct uvb_fault_shm *f)
{
	log_line(d, "fault %u: removed", handle_of(f));
	atomic_store_explicit(&f->handle, 0, memory_order_release);
	atomic_store(&f->port, UVB_FAULT_NO_PORT);
}

int
fault_remove(struct daemon *d, uint32_t handle, struct uvb_ctl_answer *ans)
{
	struct uvb_fault_shm *one = uvb_map_fault(&d->map, handle % UVB_FAULTS_MAX);

	if (handle != 0 && handle_of(one) != handle)
		return refuse(ans, -ENOENT, "there is no fault %u", handle);
	decisions_write(d); /* while it is known whose they are */
	table_open(d);
	for (uint32_t i = 0; i < UVB_FAULTS_MAX; i++) {
		struct uvb_fault_shm *f = uvb_map_fault(&d->map, i);

		if (handle_of(f) == 0 || (handle != 0 && f != one))
			continue;
		forget(d, f);
		ans->number++;
	}
	table_close(d);
	ring_sleepers(d); /* what it held is released */
	return 0;
}

/* -------------------------------------------------------------------------------------- release */

void
ring_sleepers(struct daemon *d)
{
	/* Pairs with the fence between a receiver's arming and its look at what it waits for. */
	atomic_thread_fence(memory_order_seq_cst);
	for (uint32_t i = 0; i < d->map.nb_ports; i++) {
		const struct uvb_port_shm *p = uvb_map_port(&d->map, i);

		if (UVB_LIFE_STATE(atomic_load(&p->life)) != UVB_PORT_UP)
			continue;
		for (uint32_t q = 0; q < p->nb_rxq && q < d->map.nb_queues; q++) {
			int bell;

			if (!(uvb_load(&uvb_map_rxq(&d->map, i, q)->armed) & 1))
				continue;
			bell = uvb_bell_open(d->dirfd, i, q, false);
			uvb_bell_ring(bell);
			if (bell >= 0)
				close(bell);
		}
	}
}

int
fault_release(struct daemon *d, uint32_t handle, uint64_t count, struct uvb_ctl_answer *ans)
{
	struct uvb_fault_shm *f = uvb_map_fault(&d->map, handle % UVB_FAULTS_MAX);
	uint64_t held = uvb_load(&f->held), before = uvb_load(&f->released), after = held;

	if (handle == 0 || handle_of(f) != handle)
		return refuse(ans, -ENOENT, "there is no fault %u", handle);
	if (f->def.verdict != UVB_FAULT_HOLD)
		return refuse(ans, -EINVAL, "fault %u does not hold frames", handle);
	if (before > held)
		return refuse(ans, -EPROTO, "the counters of fault %u were scribbled over", handle);
	if (count != 0 && count < held - before)
		after = before + count;
	atomic_store_explicit(&f->released, after, memory_order_release);
	ans->number = (uint32_t)(after - before);
	ring_sleepers(d);
	return 0;
}

/* ------------------------------------------------------------------------------------ decisions */

struct gathered {
	struct uvb_decision *entry;
	size_t n, room;
};

static bool
gather(struct gathered *g, struct uvb_decisions_shm *log)
{
	uint32_t tail = atomic_load_explicit(&log->tail, memory_order_relaxed);
	uint32_t n = atomic_load_explicit(&log->head, memory_order_acquire) - tail;

	if (n > UVB_DECISIONS) { /* scribbled */
		tail += n;
		n = 0;
	}
	if (g->n + n > g->room) {
		size_t room = 2 * g->room + n;
		struct uvb_decision *more = realloc(g->entry, room * sizeof(*more));

		if (more == NULL)
			return false; /* with the next tick */
		g->entry = more;
		g->room = room;
	}
	for (uint32_t i = 0; i < n; i++)
		g->entry[g->n++] = log->entry[(tail + i) % UVB_DECISIONS];
	atomic_store_explicit(&log->tail, tail + n, memory_order_release);
	return true;
}

static void
gather_all(struct daemon *d, struct gathered *g)
{
	for (uint32_t i = 0; i < d->map.nb_ports; i++) {
		const struct uvb_port_shm *p = uvb_map_port(&d->map, i);

		if (!uvb_map_ever_attached(&d->map, i))
			continue;
		for (uint32_t t = 0; t < p->nb_txq && t < d->map.nb_queues; t++)
			if (!gather(g, uvb_map_decisions(&d->map, i, t)))
				return;
	}
}

static int
by_number(const void *a, const void *b)
{
	const struct uvb_decision *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

static const char *
arg_name(uint32_t verdict)
{
	switch (verdict) {
	case UVB_FAULT_DELAY:
		return "ns";
	case UVB_FAULT_REORDER:
		return "frames";
	case UVB_FAULT_CORRUPT:
		return "bit";
	case UVB_FAULT_TRUNCATE:
		return "bytes";
	case UVB_FAULT_HOLD:
		return "number";
	default:
		return NULL;
	}
}

static int
write_one(struct daemon *d, const struct uvb_decision *e)
{
	const struct uvb_fault_shm *f = uvb_map_fault(&d->map, e->handle % UVB_FAULTS_MAX);
	const char *arg = arg_name(e->verdict);
	FILE *to = d->decisions.file;
	int n = fprintf(to, "{\"fault\":%" PRIu32, e->handle);

	if (handle_of(f) == e->handle)
		n += fprintf(to, ",\"port\":\"%.31s\",\"dir\":\"%s\"", f->def.port,
			     uvb_fault_dir_name(f->def.dir));
	n += fprintf(to, ",\"n\":%" PRIu64 ",\"len\":%" PRIu32 ",\"verdict\":\"%s\"", e->n, e->len,
		     uvb_fault_verdict_name(e->verdict));
	if (arg != NULL)
		n += fprintf(to, ",\"%s\":%" PRIu64, arg, e->arg);
	if (e->time != UVB_NO_TIME)
		n += fprintf(to, ",\"time\":%" PRIu64, e->time);
	n += fprintf(to, "}\n");
	return n;
}

static bool
open_log(struct daemon *d)
{
	int fd = openat(d->dirfd, "decisions.log",
			O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return false;
	d->decisions.size = (uint64_t)lseek(fd, 0, SEEK_END);
	d->decisions.file = fdopen(fd, "a");
	if (d->decisions.file == NULL)
		close(fd);
	return d->decisions.file != NULL;
}

void
decisions_write(struct daemon *d)
{
	uint64_t made = uvb_load(&uvb_map_hdr(&d->map)->decisions);
	struct gathered g = {0};

	if (made == d->decisions.seen)
		return;
	if (d->decisions.file == NULL && !open_log(d)) {
		log_line(d, "decisions.log: %s", strerror(errno));
		return;
	}
	gather_all(d, &g);
	if (g.n != 0)
		qsort(g.entry, g.n, sizeof(g.entry[0]), by_number);
	for (size_t i = 0; i < g.n; i++) {
		if (d->decisions.size > LOG_MAX) {
			log_line(d, "decisions.log is full: %zu decisions not written", g.n - i);
			break;
		}
		d->decisions.size += (uint64_t)write_one(d, &g.entry[i]);
	}
	fflush(d->decisions.file);
	free(g.entry);
	d->decisions.seen = made;
}
