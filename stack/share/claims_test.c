/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Claims to ports: beside the kernel's sockets, one slot for each socket; and all at once.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stack/share/claims.h"
#include "uvbridge/test.h"

#define SOCKETS 4
#define ROUNDS  1500
#define STEPS   12

static struct uvs_claims *claims;

static void
fresh(void)
{
	if (claims != NULL)
		munmap(claims, sizeof(*claims));
	claims = mmap(NULL, sizeof(*claims), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	CHECK(claims != MAP_FAILED);
}

/* --------------------------------------------------------------------------- beside the kernel */

/* A socket of the kernel's, and the slot that claims what it binds. */
struct twin {
	int fd;
	uint64_t flags;
	bool bound, listening;
};

struct pair_of_worlds {
	enum uvs_claim_space space;
	struct sockaddr_in at;
	struct twin twin[SOCKETS];
	bool mixed; /* not all flags are the same */
};

static void
set_option(int fd, int option, uint64_t on)
{
	int one = on != 0;

	CHECK_EQ(setsockopt(fd, SOL_SOCKET, option, &one, sizeof(one)), 0);
}

static void
open_twin(struct pair_of_worlds *w, uint32_t i, uint64_t flags)
{
	struct twin *t = &w->twin[i];

	*t = (struct twin){.flags = flags};
	t->fd = socket(AF_INET, w->space == UVS_CLAIM_TCP4 ? SOCK_STREAM : SOCK_DGRAM, 0);
	CHECK(t->fd >= 0);
	set_option(t->fd, SO_REUSEADDR, flags & UVS_CLAIM_REUSEADDR);
	set_option(t->fd, SO_REUSEPORT, flags & UVS_CLAIM_REUSEPORT);
}

/* We may say no where the kernel says yes, if flags differ: they are of a port, not of a socket. */
static bool
agree(const struct pair_of_worlds *w, int ours, int kernels)
{
	CHECK(ours == 0 || ours == -EADDRINUSE);
	CHECK(kernels == 0 || kernels == -EADDRINUSE);
	CHECK(ours == kernels || (ours != 0 && w->mixed));
	return ours == 0 && kernels == 0;
}

static int
kernel_says(int r)
{
	return r < 0 ? -errno : 0;
}

static void
close_twin(struct pair_of_worlds *w, uint32_t i)
{
	struct twin *t = &w->twin[i];

	if (t->bound)
		uvs_claim_drop(claims, w->space, ntohs(w->at.sin_port), i + 1);
	close(t->fd);
}

static void
bind_twin(struct pair_of_worlds *w, uint32_t i)
{
	struct twin *t = &w->twin[i];
	uint16_t port = ntohs(w->at.sin_port);
	int ours = uvs_claim_take(claims, w->space, port, uvs_claimant_alone(i + 1), t->flags);
	int kernels = kernel_says(bind(t->fd, (struct sockaddr *)&w->at, sizeof(w->at)));

	t->bound = agree(w, ours, kernels);
	if (t->bound && w->space == UVS_CLAIM_UDP4)
		CHECK_EQ(uvs_claim_open(claims, w->space, port, uvs_claimant_alone(i + 1)), 0);
	if (!t->bound && ours == 0)
		uvs_claim_drop(claims, w->space, port, i + 1);
	if (!t->bound && kernels == 0) {
		uint64_t flags = t->flags;

		close(t->fd);
		open_twin(w, i, flags);
	}
}

static void
listen_twin(struct pair_of_worlds *w, uint32_t i)
{
	struct twin *t = &w->twin[i];
	int ours =
		uvs_claim_open(claims, w->space, ntohs(w->at.sin_port), uvs_claimant_alone(i + 1));
	int kernels = kernel_says(listen(t->fd, 1));

	t->listening = agree(w, ours, kernels);
	if (t->listening)
		return;
	/* A failed listen leaves the kernel's socket unbound; ours goes with it. */
	close_twin(w, i);
	open_twin(w, i, t->flags);
}

static void
step(struct pair_of_worlds *w)
{
	uint32_t i = (uint32_t)(rnd() % SOCKETS);
	struct twin *t = &w->twin[i];

	if (!t->bound) {
		bind_twin(w, i);
	} else if (w->space == UVS_CLAIM_TCP4 && !t->listening && rnd() % 2) {
		listen_twin(w, i);
	} else if (rnd() % 3 == 0) {
		uint64_t flags = t->flags;

		close_twin(w, i);
		open_twin(w, i, flags);
	}
}

/* A port that is free, on an address nobody else uses. */
static void
choose_port(struct pair_of_worlds *w)
{
	socklen_t len = sizeof(w->at);
	int fd = socket(AF_INET, w->space == UVS_CLAIM_TCP4 ? SOCK_STREAM : SOCK_DGRAM, 0);

	w->at = (struct sockaddr_in){.sin_family = AF_INET,
				     .sin_addr.s_addr =
					     htonl(0x7f4d0001 + (uint32_t)getpid() % 250)};
	CHECK_EQ(bind(fd, (struct sockaddr *)&w->at, sizeof(w->at)), 0);
	CHECK_EQ(getsockname(fd, (struct sockaddr *)&w->at, &len), 0);
	close(fd);
}

static uint64_t
random_flags(void)
{
	return (rnd() % 2 ? UVS_CLAIM_REUSEADDR : 0) | (rnd() % 2 ? UVS_CLAIM_REUSEPORT : 0);
}

static void
beside_the_kernel(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		struct pair_of_worlds w = {.space = rnd() % 2 ? UVS_CLAIM_TCP4 : UVS_CLAIM_UDP4,
					   .mixed = rnd() % 2 != 0};
		uint64_t same = random_flags();

		choose_port(&w);
		for (uint32_t i = 0; i < SOCKETS; i++)
			open_twin(&w, i, w.mixed ? random_flags() : same);
		for (int i = 0; i < STEPS; i++)
			step(&w);
		for (uint32_t i = 0; i < SOCKETS; i++)
			close_twin(&w, i);
		CHECK_EQ(uvs_claim_held(claims, w.space, ntohs(w.at.sin_port)), 0);
	}
}

/* ------------------------------------------------------------------------------------ others */

static void
reclaimed(void)
{
	static const uint16_t port[] = {0, 1, 80, 65535};

	fresh();
	for (int space = 0; space < UVS_CLAIM_SPACES; space++)
		for (int i = 0; i < 4; i++)
			for (uint32_t slot = 5; slot <= 60; slot += 55) {
				enum uvs_claim_space s = (enum uvs_claim_space)space;

				CHECK_EQ(uvs_claim_take(claims, s, port[i],
							uvs_claimant_alone(slot),
							UVS_CLAIM_REUSEPORT),
					 0);
				CHECK_EQ(uvs_claim_open(claims, s, port[i],
							uvs_claimant_alone(slot)),
					 0);
			}
	CHECK_EQ(uvs_claims_reclaim(claims, 60), 16);
	CHECK_EQ(uvs_claims_reclaim(claims, 60), 0);
	CHECK_EQ(uvs_claim_held(claims, UVS_CLAIM_UDP6, 65535), 1u << 5);
	CHECK_EQ(uvs_claim_opened(claims, UVS_CLAIM_UDP6, 65535), 1u << 5);
	CHECK_EQ(uvs_claims_reclaim(claims, 5), 16);
	/* Flags of those who are gone mean nothing. */
	CHECK_EQ(uvs_claim_take(claims, UVS_CLAIM_TCP4, 80, uvs_claimant_alone(7), 0), 0);
	CHECK_EQ(uvs_claim_take(claims, UVS_CLAIM_TCP4, 80, uvs_claimant_alone(8),
				UVS_CLAIM_REUSEPORT),
		 -EADDRINUSE);
}

/* Slots of one process: its own table says who excludes whom, and they exclude others together. */
static void
kin(void)
{
	struct uvs_claimant a = {3, 3u << 3}, b = {4, 3u << 3}, other = uvs_claimant_alone(5);

	fresh();
	CHECK_EQ(uvs_claim_take(claims, UVS_CLAIM_TCP4, 80, a, 0), 0);
	CHECK_EQ(uvs_claim_open(claims, UVS_CLAIM_TCP4, 80, a), 0);
	CHECK_EQ(uvs_claim_take(claims, UVS_CLAIM_TCP4, 80, b, 0), 0);
	CHECK_EQ(uvs_claim_open(claims, UVS_CLAIM_TCP4, 80, b), 0);
	CHECK_EQ(uvs_claim_opened(claims, UVS_CLAIM_TCP4, 80), 3u << 3);
	uvs_claim_drop(claims, UVS_CLAIM_TCP4, 80, 3);
	CHECK_EQ(uvs_claim_take(claims, UVS_CLAIM_TCP4, 80, other, 0), -EADDRINUSE);
	uvs_claim_drop(claims, UVS_CLAIM_TCP4, 80, 4);
	CHECK_EQ(uvs_claim_take(claims, UVS_CLAIM_TCP4, 80, other, 0), 0);
	CHECK_EQ(uvs_claim_take(claims, UVS_CLAIM_TCP4, 80, a, 0), -EADDRINUSE);
}

/* Garbage in the words: no bit that is no slot comes out. */
static void
nonsense(void)
{
	fresh();
	atomic_store(&claims->port[UVS_CLAIM_TCP4][9].held, ~0ULL);
	atomic_store(&claims->port[UVS_CLAIM_TCP4][9].open, ~0ULL);
	CHECK_EQ(uvs_claim_held(claims, UVS_CLAIM_TCP4, 9), UVS_CLAIM_MASK);
	CHECK_EQ(uvs_claim_opened(claims, UVS_CLAIM_TCP4, 9), UVS_CLAIM_MASK);
	for (uint32_t slot = 1; slot < UVS_CLAIM_SLOTS; slot++)
		uvs_claim_drop(claims, UVS_CLAIM_TCP4, 9, slot);
	CHECK_EQ(uvs_claim_held(claims, UVS_CLAIM_TCP4, 9), 0);
	CHECK_EQ(uvs_claim_take(claims, UVS_CLAIM_TCP4, 9, uvs_claimant_alone(4), 0), 0);
}

#define PORTS 64
#define TURNS 3000

/* Two who want ports of their own never have one together. */
static _Atomic uint32_t owner[PORTS];

static void *
grab(void *arg)
{
	uint32_t slot = (uint32_t)(uintptr_t)arg;

	for (uint32_t i = 0; i < TURNS; i++) {
		uint16_t port = (uint16_t)((i * (slot * 2 + 1)) % PORTS);

		if (uvs_claim_take(claims, UVS_CLAIM_UDP4, port, uvs_claimant_alone(slot), 0) < 0)
			continue;
		CHECK_EQ(atomic_exchange(&owner[port], slot), 0);
		CHECK_EQ(atomic_exchange(&owner[port], 0), slot);
		uvs_claim_drop(claims, UVS_CLAIM_UDP4, port, slot);
	}
	return NULL;
}

static void
all_at_once(void)
{
	pthread_t thread[4];

	fresh();
	for (uintptr_t i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&thread[i], NULL, grab, (void *)(i + 1)), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	for (uint16_t port = 0; port < PORTS; port++)
		CHECK_EQ(uvs_claim_held(claims, UVS_CLAIM_UDP4, port), 0);
}

int
main(void)
{
	seed_init();
	fresh();
	RUN(beside_the_kernel);
	RUN(reclaimed);
	RUN(kin);
	RUN(nonsense);
	RUN(all_at_once);
	return 0;
}
