/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A port that scribbles over every word it may write loses its own frames, and nobody else's; and
 * whatever is said to the daemon, it goes on.
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "uvbridge/control.h"
#include "uvbridge/test.h"

static struct uvb_dev *a, *b, *evil;
static uint8_t buf[16384], out[70000];

/* a and b talk as if evil were not there. */
static void
check_others(void)
{
	struct uvb_rx_frame f;
	uint32_t len = 60 + (uint32_t)(rnd() % 4000);

	frame_make(buf, 2, 1, len, (uint32_t)rnd());
	CHECK_EQ(send_one(a, 0, buf, len), 1);
	for (int tries = 0;; tries++) {
		CHECK(tries < 3000);
		if (uvb_rx_peek(uvb_rxq(b, 0), &f, 1) == 0)
			continue;
		CHECK(f.len >= UVB_FRAME_MIN && f.len <= f.nb_cells * (uint32_t)UVB_CELL_ROOM);
		CHECK_EQ(uvb_rx_read(uvb_rxq(b, 0), &f, 0, out, sizeof(out)), f.len);
		uvb_rx_done(uvb_rxq(b, 0), 0);
		if (f.src_port == uvb_id(a) && out[0] != 0xff)
			break;
	}
	CHECK_EQ(f.len, len);
	CHECK(memcmp(buf, out, len) == 0);
}

static uint32_t
any_index(uint32_t limit)
{
	return rnd() % 4 == 0 ? (uint32_t)rnd() : (uint32_t)(rnd() % limit);
}

/* One of its own words as a sender. */
static void
scribble_sender(void)
{
	const struct uvb_map *m = &evil->map;
	struct uvb_voq_shm *v = uvb_map_voq(m, uvb_id(b), 0, uvb_id(evil), 0);
	struct uvb_cells all = uvb_map_cells(m, uvb_id(evil), 0);
	uint32_t any = (uint32_t)(rnd() % m->cells_per_txq);
	struct uvb_desc *desc = &all.desc[any];
	struct uvb_cell *c = &all.cell[any];
	struct uvb_rxq_shm *q = uvb_map_rxq(m, uvb_id(b), 0);

	switch (rnd() % 8) {
	case 0:
		atomic_store(&v->head, UVB_HEAD(any_index(2 * m->voq_depth) + atomic_load(&v->tail),
						any_index(m->cells_per_txq)));
		break;
	case 1:
		for (uint32_t i = 0; i < m->voq_depth; i++)
			atomic_store(&v->slot[i], any_index(m->cells_per_txq));
		break;
	case 2:
		c->next = any_index(m->cells_per_txq);
		break;
	case 3:
		desc->len = (uint16_t)rnd();
		break;
	case 4:
		c->total = (uint32_t)rnd();
		desc->flags = (uint16_t)rnd();
		break;
	case 5: /* the right word for a random place, which the checks of the receiver let pass */
		atomic_store(&desc->owner, UVB_OWNER(b->gen, uvb_id(b), 0,
						     atomic_load(&v->tail) + rnd() % m->voq_depth));
		break;
	case 6:
		atomic_store(&desc->owner, rnd());
		break;
	default:
		break;
	}
	atomic_fetch_or(&q->leaf[0], 1ULL << uvb_map_queue_index(m, uvb_id(evil), 0));
	atomic_fetch_or(&q->leaf[0], rnd());
	atomic_fetch_or(&q->summary, rnd());
}

/* The length or the chain of a frame that has just been published. */
static void
scribble_published(void)
{
	const struct uvb_map *m = &evil->map;
	struct uvb_voq_shm *v = uvb_map_voq(m, uvb_id(b), 0, uvb_id(evil), 0);
	uint32_t ref = atomic_load(&v->slot[(uvb_voq_head(v) - 1) & (m->voq_depth - 1)]);
	struct uvb_cells all = uvb_map_cells(m, uvb_id(evil), 0);

	ref &= m->cells_per_txq - 1;
	if (rnd() % 2 == 0) {
		all.desc[ref].len = (uint16_t)rnd();
		return;
	}
	all.desc[ref].flags |= UVB_CELL_EXTRA;
	all.cell[ref].next = any_index(m->cells_per_txq);
}

static void
test_scribbling_sender(void)
{
	for (int i = 0; i < 20000; i++) {
		if (i % 2 == 0)
			scribble_sender();
		if (i % 3 == 0) {
			send_one(evil, 0, buf,
				 frame_make(buf, 2, 9, 60 + (uint32_t)(rnd() % 3000), 0));
			scribble_published();
		}
		check_others();
	}
}

/* And as a receiver, and as the owner of a configuration. */
static void
scribble_receiver(void)
{
	const struct uvb_map *m = &evil->map;
	uint16_t id = uvb_id(evil);
	struct uvb_voq_shm *v = uvb_map_voq(m, id, (uint32_t)(rnd() & 1), uvb_id(a), 0);
	struct uvb_rxq_shm *q = uvb_map_rxq(m, id, (uint32_t)(rnd() & 1));
	uint8_t *conf = (uint8_t *)&evil->shm->conf[rnd() & 1];

	switch (rnd() % 5) {
	case 0:
		atomic_store(&v->tail, any_index(128) + atomic_load(&v->head));
		break;
	case 1:
		atomic_store(&q->leaf[rnd() % 64], rnd());
		atomic_store(&q->summary, rnd());
		break;
	case 2:
		atomic_store(&q->armed, rnd());
		break;
	case 3:
		for (int i = 0; i < 30; i++)
			conf[rnd() % (rnd() & 1 ? 40 : sizeof(struct uvb_conf))] = (uint8_t)rnd();
		atomic_store(&evil->shm->conf_seq, (uint32_t)rnd());
		break;
	default:
		evil->shm->nb_rxq = (uint16_t)rnd();
		break;
	}
}

static void
test_scribbling_receiver(void)
{
	for (int i = 0; i < 20000; i++) {
		scribble_receiver();
		send_one(a, 0, buf, frame_make(buf, 9, 1, 60 + (uint32_t)(rnd() % 200), 0));
		frame_make(buf, 0, 1, 60, 0);
		memset(buf, 0xff, 6);
		send_one(a, 0, buf, 60);
		check_others();
	}
}

/* ---------------------------------------------------------------------------------------- control
 */

static void
fill_random(void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)p)[i] = (uint8_t)rnd();
}

/* A message that is right in part, so that it comes further than noise does. */
static size_t
make_message(uint8_t *m, size_t room)
{
	static const size_t sizes[] = {sizeof(struct uvb_ctl_attach), sizeof(struct uvb_ctl_detach),
				       sizeof(struct uvb_ctl_plain), sizeof(struct uvb_ctl_hdr)};
	struct uvb_ctl_hdr *h = (struct uvb_ctl_hdr *)m;
	size_t n = sizes[rnd() % 4];

	fill_random(m, room);
	if (rnd() % 8 == 0)
		return rnd() % room;
	*h = (struct uvb_ctl_hdr){UVB_CTL_MAGIC, UVB_CTL_VERSION, (uint16_t)(1 + rnd() % 6),
				  (uint32_t)n, UVB_ABI_VERSION};
	if (h->type == UVB_CTL_ATTACH && rnd() & 1) {
		struct uvb_ctl_attach *at = (struct uvb_ctl_attach *)m;

		at->mac[0] &= 0xfe;
		at->kind = (uint16_t)(1 + rnd() % 7);
		at->nb_rxq = (uint16_t)(rnd() % 4);
		at->nb_txq = (uint16_t)(rnd() % 4);
		snprintf(at->name, sizeof(at->name), "f%u", (unsigned)(rnd() % 10));
	}
	if (h->type == UVB_CTL_DETACH && rnd() & 1) {
		struct uvb_ctl_detach *de = (struct uvb_ctl_detach *)m;

		de->port = uvb_id(rnd() & 1 ? a : b); /* not this connection's: refused */
		de->gen = a->gen;
	}
	if (rnd() % 4 == 0)
		m[rnd() % sizeof(*h)] = (uint8_t)rnd();
	if (rnd() % 4 == 0)
		n = rnd() % room;
	if (h->type == UVB_CTL_DOWN) /* the one thing that a client may do to all */
		h->type = UVB_CTL_ATTACH;
	return n;
}

static void
fuzz(const char *path)
{
	uint8_t m[512], reply[1024];
	char err[UVB_ERR_LEN];

	for (int i = 0; i < 3000; i++) {
		int fd = uvb_control_connect(path, err);

		CHECK(fd >= 0);
		for (uint64_t k = rnd() % 4; k > 0; k--) {
			struct pollfd pfd = {.fd = fd, .events = POLLIN};
			size_t n = make_message(m, sizeof(m));

			if (send(fd, m, n, MSG_NOSIGNAL) < 0 || n == 0)
				break;
			CHECK_EQ(poll(&pfd, 1, 2000), 1); /* an answer, or the end */
			if (recv(fd, reply, sizeof(reply), 0) <= 0)
				break;
		}
		close(fd);
	}
}

static void
test_control_fuzz(void)
{
	char path[PATH_MAX], err[UVB_ERR_LEN];
	pid_t pid;
	int status;

	CHECK_EQ(uvb_fabric_path(FABRIC, path, err), 0);
	/* By another process: ports it happens to attach end with it. */
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		fuzz(path);
		_exit(0);
	}
	while (waitpid(pid, &status, WNOHANG) == 0)
		check_others();
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(uvb_link(a) && uvb_link(b));
	check_others();
}

/* Who hoards connections keeps nobody out: the oldest are ended. */
static void
test_many_connections(void)
{
	char path[PATH_MAX], err[UVB_ERR_LEN], c;
	int fd[300];

	CHECK_EQ(uvb_fabric_path(FABRIC, path, err), 0);
	for (int i = 0; i < 300; i++) {
		fd[i] = uvb_control_connect(path, err);
		CHECK(fd[i] >= 0);
	}
	uvb_close(port_up("after", 1, 1, 0));
	CHECK_EQ(recv(fd[0], &c, 1, 0), 0);
	CHECK(uvb_link(a) && uvb_link(b)); /* life lines are older, and stay */
	check_others();
	for (int i = 0; i < 300; i++)
		close(fd[i]);
}

/* Asks and asks, and never reads an answer: the daemon does not wait, it hangs up. */
static void
test_slow_reader(void)
{
	struct uvb_ctl_plain ping = {.hdr = {UVB_CTL_MAGIC, UVB_CTL_VERSION, UVB_CTL_PING,
					     sizeof(ping), UVB_ABI_VERSION}};
	char path[PATH_MAX], err[UVB_ERR_LEN];
	uint64_t end = uvb_now_ns() + 5000000000ULL;
	int fd;

	CHECK_EQ(uvb_fabric_path(FABRIC, path, err), 0);
	fd = uvb_control_connect(path, err);
	CHECK(fd >= 0);
	while (send(fd, &ping, sizeof(ping), MSG_NOSIGNAL) == (ssize_t)sizeof(ping))
		CHECK(uvb_now_ns() < end);
	CHECK(errno == EPIPE || errno == ECONNRESET);
	close(fd);
	uvb_close(port_up("after", 1, 1, 0));
	check_others();
}

int
main(void)
{
	static const char *const args[] = {"--ports", "8",     "--queues", "2", "--cells",
					   "256",     "--voq", "64",       NULL};
	struct fabric f;

	seed_init();
	fabric_up(&f, args);
	a = port_up("a", 1, 1, 0);
	b = port_up("b", 1, 1, UVB_CONF_PROMISC);
	evil = port_up("evil", 2, 1, UVB_CONF_PROMISC);
	send_one(b, 0, buf, frame_make(buf, 99, 2, 60, 0));
	send_one(evil, 0, buf, frame_make(buf, 99, 9, 60, 0));
	RUN(test_scribbling_sender);
	RUN(test_scribbling_receiver);
	uvb_close(evil);
	check_others();
	evil = port_up("evil", 2, 1, UVB_CONF_PROMISC);
	check_others();
	uvb_close(evil);
	RUN(test_control_fuzz);
	RUN(test_many_connections);
	RUN(test_slow_reader);
	uvb_rx_flush(uvb_rxq(b, 0));
	uvb_close(a);
	uvb_close(b);
	fabric_down(&f);
	return 0;
}
