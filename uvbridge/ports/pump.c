/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The thread that moves frames between a queue pair and the other side.
 */
#include <errno.h>
#include <limits.h>
#include <time.h>
#include <unistd.h>

#include "uvbridge/ports/ports.h"

/* Nobody says when cells come free: look again after this long. The receiver needs the time. */
#define RETRY_NS 100000ULL
#define END_NS   100000000ULL /* how long a port that ends waits for cells */

void
uvp_batch_add(struct uvp_batch *b, const void *data, uint32_t len, uint16_t flags)
{
	b->seg[b->n][0] = (struct uvb_seg){data, len};
	b->frame[b->n] = (struct uvb_frame){b->seg[b->n], 1, flags, len};
	b->n++;
}

void
uvp_batch_add_split(struct uvp_batch *b, uint32_t header_len, const void *data, uint32_t len,
		    uint16_t flags)
{
	b->seg[b->n][0] = (struct uvb_seg){b->header[b->n], header_len};
	b->seg[b->n][1] = (struct uvb_seg){data, len};
	b->frame[b->n] = (struct uvb_frame){b->seg[b->n], 2, flags, header_len + len};
	b->n++;
}

void
uvp_count(struct uvp_pump *p, unsigned counter)
{
	struct uvp_port *port = p->port;

	uvb_add(&p->count[counter], 1);
	if (!atomic_flag_test_and_set(&port->complained[counter]))
		uvp_log(port, "dropped a frame: %s (later ones are only counted)",
			uvp_counter_name(port, counter));
}

/* ------------------------------------------------------------------------------------ directions
 */

static bool
may_fill(const struct uvp_pump *p)
{
	return p->fill_at == 0 || (p->fill_at != UINT64_MAX && uvb_now_ns() >= p->fill_at);
}

/* What is in the batch, as far as there are cells. True if anything moved. */
static bool
send_batch(struct uvp_pump *p)
{
	struct uvp_batch *b = p->batch;
	uint16_t sent = uvb_tx_burst(p->txq, b->frame + b->sent, (uint16_t)(b->n - b->sent));

	b->sent += sent;
	p->retry_at = b->sent < b->n ? uvb_now_ns() + RETRY_NS : 0;
	return sent != 0;
}

/* Other side to fabric: one batch. True if anything moved. */
static bool
pump_in(struct uvp_pump *p)
{
	struct uvp_batch *b = p->batch;

	if (p->ops->fill == NULL || (p->retry_at != 0 && uvb_now_ns() < p->retry_at))
		return false;
	if (b->sent == b->n) {
		b->n = 0;
		b->sent = 0;
		if (!may_fill(p))
			return false;
		p->ops->fill(p);
		if (b->n == 0)
			return false;
	}
	return send_batch(p);
}

/* Fabric to other side: one burst. True if anything moved. */
static bool
pump_out(struct uvp_pump *p)
{
	uint16_t n;

	if (p->rx_blocked && p->deliver_at != 0 && uvb_now_ns() >= p->deliver_at)
		p->rx_blocked = false;
	if (p->ops->deliver == NULL || p->rx_blocked)
		return false;
	p->deliver_at = 0;
	if (p->nb_rx == 0) {
		p->nb_rx = uvb_rx_peek(p->rxq, p->rx, UVP_BURST);
		p->rx_done = 0;
		if (p->nb_rx == 0)
			return false;
	}
	n = p->ops->deliver(p, p->rx + p->rx_done, (uint16_t)(p->nb_rx - p->rx_done));
	p->rx_done += n;
	p->rx_blocked = p->rx_done < p->nb_rx;
	if (!p->rx_blocked) {
		uvb_rx_done(p->rxq, 0);
		p->nb_rx = 0;
	}
	return n != 0;
}

/* ---------------------------------------------------------------------------------------- asleep
 */

/* When there is something to do for the direction in, if nobody says so before. */
static uint64_t
next_in(const struct uvp_pump *p)
{
	if (p->ops->fill == NULL)
		return UINT64_MAX;
	if (p->batch->sent < p->batch->n)
		return p->retry_at;
	return p->fill_at != 0 ? p->fill_at : UINT64_MAX;
}

static uint64_t
next_out(const struct uvp_pump *p)
{
	return p->rx_blocked && p->deliver_at != 0 ? p->deliver_at : UINT64_MAX;
}

/* How long nothing will happen unless somebody says so. NULL: for ever. */
static struct timespec *
sleep_time(const struct uvp_pump *p, struct timespec *ts)
{
	uint64_t in = next_in(p), out = next_out(p), until = in < out ? in : out, now;

	if (until == UINT64_MAX)
		return NULL;
	now = uvb_now_ns();
	until = until > now ? until - now : 0;
	ts->tv_sec = (time_t)(until / 1000000000ULL);
	ts->tv_nsec = (long)(until % 1000000000ULL);
	return ts;
}

static void
pump_sleep(struct uvp_pump *p)
{
	/* Nothing is asked for that could not be acted upon. */
	bool listen = p->ops->deliver != NULL && p->nb_rx == 0;
	bool look = p->ops->fill != NULL && p->fill_at == 0 && p->batch->sent == p->batch->n;
	struct pollfd pfd[] = {
		{.fd = p->port->stop_fd, .events = POLLIN},
		{.fd = listen ? uvb_rxq_fd(p->rxq) : -1, .events = POLLIN},
		{.fd = look ? p->fd : -1, .events = POLLIN},
		{.fd = p->rx_blocked ? p->out_fd : -1, .events = POLLOUT},
	};
	struct timespec ts;

	if (p->ops->idle != NULL)
		p->ops->idle(p);
	if (listen && !uvb_rx_arm(p->rxq, false))
		return;
	(void)ppoll(pfd, sizeof(pfd) / sizeof(pfd[0]), sleep_time(p, &ts), NULL);
	if (listen)
		uvb_rx_disarm(p->rxq);
	/* Errors too: deliver() meets them and says what they mean. */
	if (pfd[3].revents != 0)
		p->rx_blocked = false;
}

/* ------------------------------------------------------------------------------------------- end
 */

/* What was taken from the other side, and is not in the fabric yet. */
static void
end_in(struct uvp_pump *p)
{
	uint64_t until = uvb_now_ns() + END_NS;
	struct uvp_batch *b = p->batch;

	while (b->sent < b->n && uvb_now_ns() < until)
		if (!send_batch(p))
			nanosleep(&(struct timespec){0, RETRY_NS}, NULL);
	for (; b->sent < b->n; b->sent++)
		uvp_count(p, UVP_UNSENT);
}

/* What waits in the fabric by now, and the other side takes without being waited for. */
static void
end_out(struct uvp_pump *p)
{
	uint32_t left = p->ops->deliver != NULL ? uvb_rx_count(p->rxq) : 0;

	p->rx_blocked = false;
	for (; left > 0 && pump_out(p); left -= left < UVP_BURST ? left : UVP_BURST)
		;
	if (p->nb_rx != 0)
		uvb_rx_done(p->rxq, (uint16_t)(p->nb_rx - p->rx_done));
	p->nb_rx = 0;
}

void *
uvp_pump_main(void *arg)
{
	struct uvp_pump *p = arg;

	while (!atomic_load_explicit(&p->port->stopping, memory_order_relaxed)) {
		bool in = pump_in(p), out = pump_out(p);

		if (!in && !out)
			pump_sleep(p);
	}
	end_in(p);
	end_out(p);
	if (p->ops->idle != NULL)
		p->ops->idle(p);
	return NULL;
}
