/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Names of passed sockets, and what fork() does about inheritance.
 */
#include "stack/posix/inherit.h"

#include <sys/un.h>

/* ------------------------------------------------------------------------------------- names */

#define MAGIC "uvnet"

/* sun_path of a passed socket. Abstract: the first byte is zero. */
struct wire_name {
	char zero;
	char magic[sizeof(MAGIC) - 1];
	uint8_t kind, far;
	uint64_t id;
	uint8_t len;
	uint8_t addr[sizeof(struct sockaddr_in6)];
} __attribute__((packed));

int
uvp_passed_bind(int fd, const struct uvp_passed_name *n)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct wire_name w = {.kind = n->kind, .far = n->far, .id = n->id, .len = (uint8_t)n->len};

	if (n->len > sizeof(w.addr))
		return -EINVAL;
	memcpy(w.magic, MAGIC, sizeof(w.magic));
	memcpy(w.addr, &n->addr, n->len);
	memcpy(un.sun_path, &w, sizeof(w));
	return (int)uvp_neg(R(bind)(fd, (struct sockaddr *)&un,
				    offsetof(struct sockaddr_un, sun_path) + sizeof(w)));
}

bool
uvp_passed_name(int fd, bool peer, struct uvp_passed_name *n)
{
	struct sockaddr_un un;
	struct wire_name w;
	socklen_t len = sizeof(un);
	int saved = errno, r;

	r = peer ? R(getpeername)(fd, (struct sockaddr *)&un, &len)
		 : R(getsockname)(fd, (struct sockaddr *)&un, &len);
	errno = saved;
	if (r < 0 || len != offsetof(struct sockaddr_un, sun_path) + sizeof(w) ||
	    un.sun_family != AF_UNIX)
		return false;
	memcpy(&w, un.sun_path, sizeof(w));
	if (w.zero != 0 || memcmp(w.magic, MAGIC, sizeof(w.magic)) != 0 || w.len > sizeof(w.addr))
		return false;
	n->kind = w.kind;
	n->far = w.far;
	n->id = w.id;
	n->len = w.len;
	memset(&n->addr, 0, sizeof(n->addr));
	memcpy(&n->addr, w.addr, w.len);
	return true;
}

/* -------------------------------------------------------------------------------------- fork() */

/* Of the fork() in progress; written under table_lock, which fork() holds. */
static struct uvp_estate *estate;
static int child_end = -1;

static bool
passes(struct uvp_file *f)
{
	enum uvp_state state = uvp_state(f);

	return f->kind == UVP_SOCKET && (state == UVP_STACK || state == UVP_BOTH) && !uvp_dead(f) &&
	       f->type == SOCK_STREAM;
}

static int
by_id(const void *a, const void *b)
{
	const struct uvp_bequest *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* References to all that passes. dup()s come once for each number. */
static void
fill(struct uvp_estate *e)
{
	size_t i, n = 0;
	int fd, top = uvp_highest_number();

	for (fd = 0; fd <= top; fd++) {
		struct uvp_file *f = atomic_load(&uvp_table[fd].file);

		if (f && passes(f))
			e->of[n++] = (struct uvp_bequest){.id = f->ino, .sock = f->sock};
	}
	qsort(e->of, n, sizeof(e->of[0]), by_id);
	for (i = 0; i < n; i++)
		if (e->n == 0 || e->of[e->n - 1].id != e->of[i].id)
			e->of[e->n++] = e->of[i];
	for (i = 0; i < e->n; i++)
		UVP_IN_VOID(uvs_sock_get(e->of[i].sock));
}

static size_t
count(void)
{
	int fd, top = uvp_highest_number();
	size_t n = 0;

	for (fd = 0; fd <= top; fd++) {
		struct uvp_file *f = atomic_load(&uvp_table[fd].file);

		n += f && passes(f);
	}
	return n;
}

void
uvp_inherit_prepare(void)
{
	uvp_uplink_prepare();
}

/* No memory or no descriptors: the child goes without. */
void
uvp_inherit_snapshot(void)
{
	size_t n = uvp_table_size && uvs_stack_running() ? count() : 0;
	int pair[2];

	if (n == 0)
		return;
	estate = calloc(1, sizeof(*estate) + n * sizeof(estate->of[0]));
	if (!estate)
		return;
	if (R(socketpair)(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		free(estate);
		estate = NULL;
		return;
	}
	estate->fd = uvs_fd_take(pair[0]);
	child_end = uvs_fd_adopt(pair[1]);
	fill(estate);
}

void
uvp_inherit_parent(void)
{
	struct uvp_estate *e = estate;

	if (e) {
		estate = NULL;
		uvs_fd_close(child_end);
		child_end = -1;
		uvp_server_add(e);
	}
	uvp_uplink_parent();
}

/* The parent's ends are closed by now, as all that belongs to its stack. */
void
uvp_inherit_child(void)
{
	free(estate);
	estate = NULL;
	uvp_server_forget();
	uvp_uplink_child(child_end);
	child_end = -1;
}
