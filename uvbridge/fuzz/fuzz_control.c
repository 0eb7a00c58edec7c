/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Fuzzing the control protocol: what several clients say to the daemon's own handlers, and when
 * they hang up. Beside them a port is attached whose owner says nothing: whatever the others say
 * (but for `down --force`), it stays attached under its name, and its words are as they were.
 *
 * Input: steps. A byte: bits 0..2 the step, bits 3..4 the client. SEND_TYPED: a byte for the type,
 * a length, as many bytes of body; the header is made to fit. SEND_RAW: a length, the message.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "uvbridge/fuzz/fuzz.h"
#include "uvbridge/lab.h"

#define CLIENTS 4
#define MESSAGE 16384

enum step { CONNECT, HANG_UP, SEND_RAW, TICK, SEND_TYPED };

static struct lab lab;
static struct uvb_dev *quiet;
static struct uvb_port_shm quiet_port;
static struct client quiet_client = {.watch.fd = -1}; /* its connection, on which nothing comes */

/* Both ends of a connection. */
static struct {
	int fd;
	struct client *client;
} end[CLIENTS];

static struct sockaddr_un address = {.sun_family = AF_UNIX};

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const struct uvb_hdr shape = {.nb_ports = 4,
					     .nb_queues = 2,
					     .cells_per_txq = 64,
					     .voq_depth = 32,
					     .fdb_buckets = UVB_FDB_MIN};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	(void)argc;
	(void)argv;
	lab_up(&lab, &shape);
	quiet = lab_attach(&lab, "quiet", 1, 1, UVB_KIND_WIRE);
	memcpy(&quiet_port, quiet->shm, sizeof(quiet_port));
	quiet_client.member = &lab.daemon.port[uvb_id(quiet)].member[UVB_OWNER_SLOT];
	quiet_client.member->client = &quiet_client;
	lab_save(&lab);
	/* Abstract: nothing to remove. */
	snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "%.50s", lab.dir);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 1) != 0)
		abort();
	lab.daemon.listener.fd = fd;
	return 0;
}

static void
connect_client(int i)
{
	struct client *before = lab.daemon.clients;

	if (end[i].fd >= 0)
		return;
	end[i].fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (connect(end[i].fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		abort();
	control_accept(&lab.daemon, &lab.daemon.listener);
	if (lab.daemon.clients == before)
		abort();
	end[i].client = lab.daemon.clients;
}

/* The daemon's end may be freed by now. */
static bool
client_lives(const struct client *client)
{
	for (const struct client *c = lab.daemon.clients; c != NULL; c = c->next)
		if (c == client)
			return true;
	return false;
}

static void
daemon_reads(int i)
{
	if (client_lives(end[i].client))
		end[i].client->watch.ready(&lab.daemon, &end[i].client->watch);
}

static void
hang_up(int i)
{
	if (end[i].fd < 0)
		return;
	close(end[i].fd);
	end[i].fd = -1;
	daemon_reads(i);
	if (client_lives(end[i].client))
		abort(); /* it has not seen the end */
}

/* One request, one answer; or the end. */
static void
say(int i, const void *message, size_t n)
{
	struct uvb_ctl_answer ans;
	ssize_t got;

	if (end[i].fd < 0 || send(end[i].fd, message, n, MSG_NOSIGNAL) != (ssize_t)n)
		return;
	daemon_reads(i);
	got = recv(end[i].fd, &ans, sizeof(ans), MSG_DONTWAIT);
	if (got > 0) {
		read_all(&ans, (size_t)got);
		if (ans.text[UVB_CTL_TEXT - 1] != '\0' || ans.name[UVB_NAME_LEN - 1] != '\0')
			abort();
	} else if (n > 0 && got < 0) {
		abort(); /* neither */
	}
	if (!client_lives(end[i].client))
		hang_up(i);
}

static void
say_typed(int i, struct input *in)
{
	_Alignas(8) uint8_t m[MESSAGE];
	struct uvb_ctl_hdr *h = (struct uvb_ctl_hdr *)m;
	uint16_t type = input_u8(in);
	size_t n = input_u16(in) % (MESSAGE - sizeof(*h));

	*h = (struct uvb_ctl_hdr){UVB_CTL_MAGIC, UVB_CTL_VERSION, type, (uint32_t)(n + sizeof(*h)),
				  UVB_ABI_VERSION};
	input_bytes(in, m + sizeof(*h), n);
	say(i, m, n + sizeof(*h));
}

static void
take_step(struct input *in)
{
	uint8_t step = input_u8(in), m[MESSAGE];
	int i = (step >> 3) % CLIENTS;
	size_t n;

	switch (step & 7) {
	case CONNECT:
		connect_client(i);
		break;
	case HANG_UP:
		hang_up(i);
		break;
	case SEND_RAW:
		n = input_u16(in) % MESSAGE;
		input_bytes(in, m, n);
		say(i, m, n);
		break;
	case TICK:
		ports_tick(&lab.daemon);
		break;
	default:
		connect_client(i);
		say_typed(i, in);
	}
}

static void
check_quiet(void)
{
	struct uvb_ledger l = {0};
	struct uvb_port_shm now;

	memcpy(&now, quiet->shm, sizeof(now));
	/* Who may attach may also join; that concerns the owner as little. */
	memcpy(&now.member[1], &quiet_port.member[1], sizeof(now.member) - sizeof(now.member[0]));
	if (!lab.daemon.done && memcmp(&quiet_port, &now, sizeof(now)) != 0)
		abort();
	if (uvb_ledger(&lab.daemon.map, &l) != 0 || l.leaked + l.stale != 0)
		abort();
}

static void
end_members(struct port *p)
{
	for (uint32_t i = 0; i < UVB_MEMBERS_MAX; i++)
		if (p->member[i].present)
			p->member[i].pidfd.ready(&lab.daemon, &p->member[i].pidfd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};

	lab_restore(&lab);
	lab.daemon.done = false;
	lab.daemon.remove = false;
	for (int i = 0; i < CLIENTS; i++)
		end[i].fd = -1;
	while (in.left != 0 && !lab.daemon.done)
		take_step(&in);
	check_quiet();
	for (int i = 0; i < CLIENTS; i++)
		hang_up(i);
	/* Their process lives, so they are ports still. */
	for (uint32_t i = 0; i < lab.daemon.map.nb_ports; i++)
		if (i != uvb_id(quiet))
			end_members(&lab.daemon.port[i]);
	return 0;
}
