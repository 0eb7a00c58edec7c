/* SPDX-License-Identifier: BSD-3-Clause */
/* How many PCBs there may be, TIME_WAIT among them, and when one gives up. */
#include "uvl.h"

#include "lwip/tcp.h"

static struct uvl_guard *
guard(void)
{
	return &uvl_self->guard;
}

/* ---- TIME_WAIT: lwIP's list, newest first, and its end ------------------------------------------
 */

static void
end_oldest(struct uvl_guard *g)
{
	struct tcp_pcb *pcb = g->tw_oldest;

	TCP_RMV(&tcp_tw_pcbs, pcb);
	tcp_free(pcb);
}

void
uvl_time_wait_reg(struct tcp_pcb *pcb)
{
	struct uvl_guard *g = guard();

	/* Its time begins now, whenever its last segment came. */
	UVL_TCP_CLOCK_SYNC();
	pcb->tmr = tcp_ticks;
	if (g->tw_oldest == NULL)
		g->tw_oldest = pcb;
	g->time_wait++;
	if (g->limits.time_wait != 0 && g->time_wait > g->limits.time_wait) {
		g->stats.time_wait_full++;
		end_oldest(g);
	}
}

void
uvl_time_wait_rmv(struct tcp_pcb *pcb)
{
	struct uvl_guard *g = guard();

	if (g->tw_oldest == pcb)
		g->tw_oldest = pcb->list_prev == &tcp_tw_pcbs
				       ? NULL
				       : (struct tcp_pcb *)(void *)((char *)pcb->list_prev -
								    offsetof(struct tcp_pcb, next));
	g->time_wait--;
}

void
uvl_time_wait_expire(void)
{
	struct uvl_guard *g = guard();

	while (g->tw_oldest != NULL &&
	       (u32_t)(tcp_ticks - g->tw_oldest->tmr) > 2 * TCP_MSL / TCP_SLOW_INTERVAL)
		end_oldest(g);
}

void
uvl_time_wait_again(struct tcp_pcb *pcb)
{
	TCP_RMV(&tcp_tw_pcbs, pcb);
	TCP_REG(&tcp_tw_pcbs, pcb);
}

/* ---- all PCBs ---------------------------------------------------------------------------------
 */

bool
uvl_pcb_room(void)
{
	struct uvl_guard *g = guard();

	if (g->limits.pcbs == 0 || g->pcbs < g->limits.pcbs)
		return true;
	if (g->tw_oldest == NULL) {
		g->stats.pcbs_full++;
		return false;
	}
	g->stats.time_wait_full++;
	end_oldest(g);
	return true;
}

void
uvl_pcb_made(void)
{
	guard()->pcbs++;
}

void
uvl_pcb_freed(void)
{
	guard()->pcbs--;
}

bool
uvl_tcp_gives_up(const struct tcp_pcb *pcb)
{
	uint8_t synack = guard()->limits.synack_retries;

	if (pcb->state == SYN_RCVD && synack != 0)
		return pcb->nrtx >= synack &&
		       (pcb->defer != UVL_DEFER_ACKED || pcb->listener == NULL ||
			pcb->nrtx >= pcb->listener->defer_accept);
	return pcb->state != SYN_SENT && pcb->nrtx >= TCP_MAXRTX;
}

/* ---- out-of-order data ------------------------------------------------------------------------
 */

uint16_t
uvl_ooseq_limit(uint16_t most)
{
	return guard()->no_ooseq ? 0 : most;
}

void
uvl_ooseq_drop(void)
{
	for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb != NULL; pcb = pcb->next) {
		if (pcb->ooseq == NULL)
			continue;
		tcp_free_ooseq(pcb);
		guard()->stats.ooseq_dropped++;
	}
}
