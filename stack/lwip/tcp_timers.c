/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When TCP's timers look at a connection, in place of walks along all of them.
 *
 * TCP's clock ticks every TCP_TMR_INTERVAL; every other tick is a slow one, which tcp_ticks counts.
 *
 * wheel  active PCBs by the slow tick at which the first of their timers may have something to do:
 *        retransmission, persist, keepalive, user time-out, FIN_WAIT_2, SYN_RCVD, LAST_ACK, old
 *        out-of-order data, output to be tried again. Three levels of 64 slots: the next 64 ticks,
 *        the next 64 * 64, and 64 times that. A PCB that is later than its slot says stays where it
 *        is, and is put where it belongs when it is looked at: what an acknowledgment does to a
 *        timer costs nothing.
 * soon   active PCBs that the next tick is to look at, slow or not: a delayed ACK, a FIN or data
 *        that found no room. A PCB leaves as soon as that is done.
 *
 * A connection with nothing of all that is in neither, and costs nothing. Ticks at which nobody has
 * anything to do are left out, up to half a second: TIME_WAIT, whose oldest PCB is looked at, and
 * tcp_ticks itself want no more. RACK's and TLP's milliseconds have a wheel of their own
 * (tcp_rack.c).
 */
#include "uvl.h"

#include "lwip/tcp.h"

#define SLOT_BITS 6
#define SLOT_MASK (UVL_WHEEL_SLOTS - 1u)
#define HORIZON   (1u << (SLOT_BITS * UVL_WHEEL_LEVELS))

_Static_assert(UVL_WHEEL_SLOTS == 1u << SLOT_BITS, "slots are chosen by bits of the tick");

/* ---- the clock --------------------------------------------------------------------------------*/

/* Ticks that were left out. Slow are those after which tcp_timer_ is odd. */
static void
skip(struct uvl *self, u32_t n)
{
	tcp_ticks += (n + 1 - (self->tcp_timer_ & 1u)) / 2;
	self->tcp_timer_ = (u8_t)(self->tcp_timer_ + n);
	self->tick_at_ += n * TCP_TMR_INTERVAL;
	self->tick_wait_ -= n;
}

void
uvl_tcp_clock_sync(void)
{
	struct uvl *self = uvl_self;
	u32_t n = (sys_now() - self->tick_at_) / TCP_TMR_INTERVAL;

	skip(self, LWIP_MIN(n, self->tick_wait_ - 1));
}

/* Ticks until the slow one that comes as the n-th. */
static u32_t
ticks_to(const struct uvl *self, u32_t n)
{
	return 2 * n - ((self->tcp_timer_ & 1u) == 0);
}

/* Slow ticks until the next that has something to do. A turn of the first level is one. */
static u32_t
slow_ticks_to_work(const struct uvl *self)
{
	u32_t from = (tcp_ticks + 1) & SLOT_MASK;
	u64_t used = self->wheel_used_[0], turned = used >> from | used << (-from & SLOT_MASK);
	u32_t n = UVL_TCP_TICKS - tcp_ticks % UVL_TCP_TICKS;

	n = LWIP_MIN(n, UVL_WHEEL_SLOTS - (tcp_ticks & SLOT_MASK));
	return turned == 0 ? n : LWIP_MIN(n, (u32_t)__builtin_ctzll(turned) + 1);
}

static u32_t
ticks_to_work(const struct uvl *self)
{
	if (!UVL_TCP_WHEEL || self->tcp_soon_ != NULL)
		return 1;
	return ticks_to(self, slow_ticks_to_work(self));
}

u32_t
uvl_tcp_clock_next(void)
{
	struct uvl *self = uvl_self;

	self->tick_at_ = sys_now();
	self->tick_wait_ = ticks_to_work(self);
	return self->tick_wait_ * TCP_TMR_INTERVAL;
}

void
uvl_tcp_clock_fires(void)
{
	struct uvl *self = uvl_self;

	if (self->tick_wait_ > 1)
		skip(self, self->tick_wait_ - 1);
}

/* Something is to be done sooner than the clock would have it. It is synchronous. */
static void
wake(struct uvl *self, u32_t ticks)
{
	s32_t left;

	if (ticks >= self->tick_wait_)
		return;
	self->tick_wait_ = ticks;
	left = (s32_t)(self->tick_at_ + ticks * TCP_TMR_INTERVAL - sys_now());
	uvl_tcp_timer_restart(left > 0 ? (u32_t)left : 0);
}

/* ---- the wheel --------------------------------------------------------------------------------*/

/* The last one has left what may be a slot. */
static void
emptied(struct uvl *self, struct tcp_pcb *const *slot)
{
	size_t at = ((uintptr_t)slot - (uintptr_t)self->wheel_) / sizeof(*slot);

	if (at < UVL_WHEEL_LEVELS * UVL_WHEEL_SLOTS)
		self->wheel_used_[at / UVL_WHEEL_SLOTS] &= ~((u64_t)1 << at % UVL_WHEEL_SLOTS);
}

void
uvl_tcp_undue(struct tcp_pcb *pcb)
{
	if (pcb->due_prev == NULL)
		return;
	*pcb->due_prev = pcb->due_next;
	if (pcb->due_next != NULL)
		pcb->due_next->due_prev = pcb->due_prev;
	else
		emptied(uvl_self, pcb->due_prev);
	pcb->due_prev = NULL;
	pcb->due_next = NULL;
}

/* Not for a tick that is over; the present one: while it is being worked on. */
static void
put(struct uvl *self, struct tcp_pcb *pcb, u32_t tick)
{
	u32_t ahead = tick - tcp_ticks, at;
	unsigned int level = 0;

	while (level < UVL_WHEEL_LEVELS - 1 && ahead >> (SLOT_BITS * (level + 1)) != 0)
		level++;
	at = tick >> (SLOT_BITS * level) & SLOT_MASK;
	pcb->due_tick = tick;
	pcb->due_next = self->wheel_[level][at];
	if (pcb->due_next != NULL)
		pcb->due_next->due_prev = &pcb->due_next;
	pcb->due_prev = &self->wheel_[level][at];
	self->wheel_[level][at] = pcb;
	self->wheel_used_[level] |= (u64_t)1 << at;
}

/* A turn of the level below is over: what is due in the next goes there. */
static void
turn(struct uvl *self, unsigned int level)
{
	struct tcp_pcb **slot = &self->wheel_[level][tcp_ticks >> (SLOT_BITS * level) & SLOT_MASK];

	while (*slot != NULL) {
		struct tcp_pcb *pcb = *slot;

		uvl_tcp_undue(pcb);
		put(self, pcb, pcb->due_tick);
	}
}

void
uvl_tcp_wheel_tick(void)
{
	struct uvl *self = uvl_self;

	for (unsigned int level = UVL_WHEEL_LEVELS - 1; level > 0; level--)
		if ((tcp_ticks & ((1u << SLOT_BITS * level) - 1)) == 0)
			turn(self, level);
}

struct tcp_pcb *
uvl_tcp_first_due(void)
{
	struct uvl *self = uvl_self;

	return self->wheel_[0][tcp_ticks & SLOT_MASK];
}

void
uvl_tcp_visit(struct tcp_pcb *pcb)
{
	uvl_self->guard.stats.timer_visits++;
	uvl_tcp_undue(pcb);
}

/* ---- what is next for a connection ------------------------------------------------------------*/

static void
sooner(s32_t *ahead, u32_t tick)
{
	*ahead = LWIP_MIN(*ahead, (s32_t)(tick - tcp_ticks));
}

/* As tcp_slowtmr() has them: this long after the last segment came. */
static void
sooner_after_last(s32_t *ahead, const struct tcp_pcb *pcb, u32_t ms)
{
	sooner(ahead, pcb->tmr + ms / TCP_SLOW_INTERVAL + 1);
}

static void
next_by_state(const struct tcp_pcb *pcb, s32_t *ahead)
{
	if (pcb->state == SYN_RCVD)
		sooner_after_last(ahead, pcb, TCP_SYN_RCVD_TIMEOUT);
	else if (pcb->state == LAST_ACK)
		sooner_after_last(ahead, pcb, 2 * TCP_MSL);
	else if (pcb->state == FIN_WAIT_2 && (pcb->flags & TF_RXCLOSED))
		sooner_after_last(ahead, pcb, TCP_FIN_WAIT_TIMEOUT);
}

static void
next_keepalive(const struct tcp_pcb *pcb, s32_t *ahead)
{
#if LWIP_TCP_KEEPALIVE
	u32_t by_count = pcb->keep_cnt * pcb->keep_intvl,
	      last = uvl_tcp_keep_duration(pcb, by_count, pcb->keep_intvl);

	if (!ip_get_option(pcb, SOF_KEEPALIVE) ||
	    (pcb->state != ESTABLISHED && pcb->state != CLOSE_WAIT))
		return;
	sooner_after_last(ahead, pcb,
			  pcb->keep_idle + LWIP_MIN(last, pcb->keep_cnt_sent * pcb->keep_intvl));
#else
	(void)pcb;
	(void)ahead;
#endif
}

/* What could not be sent, and nothing says when it can, is tried again twice a second. */
static void
next_output(const struct tcp_pcb *pcb, s32_t *ahead)
{
	if (pcb->flags & TF_NAGLEMEMERR)
		sooner(ahead, tcp_ticks + 1);
	if (pcb->unsent == NULL)
		return;
	sooner(ahead, tcp_ticks - tcp_ticks % UVL_TCP_TICKS + UVL_TCP_TICKS);
	if (pcb->held)
		sooner(ahead, pcb->held_since + UVL_TCP_HOLD_TICKS);
}

/* Slow ticks from now; INT32_MAX: nothing, as things are. */
static s32_t
next_work(const struct tcp_pcb *pcb)
{
	s32_t ahead = INT32_MAX;

	if (pcb->persist_backoff > 0)
		sooner(&ahead, pcb->persist_at + uvl_tcp_persist_ticks(pcb));
	else if (pcb->rtime >= 0)
		sooner(&ahead, pcb->rtime_at + (u32_t)pcb->rto);
	if (pcb->user_timeout != 0 && (pcb->persist_backoff > 0 || pcb->rtime >= 0))
		sooner(&ahead, tcp_ticks + 1);
	if (pcb->ooseq != NULL)
		sooner(&ahead, pcb->tmr + (u32_t)pcb->rto * TCP_OOSEQ_TIMEOUT);
	next_by_state(pcb, &ahead);
	next_keepalive(pcb, &ahead);
	next_output(pcb, &ahead);
	return ahead;
}

void
uvl_tcp_due(struct tcp_pcb *pcb)
{
	struct uvl *self = uvl_self;
	s32_t ahead;

	/* Only connections that are registered: others have no timers, and nobody would undo it. */
	if (!UVL_TCP_WHEEL || pcb->hash_prev == NULL || pcb->state == TIME_WAIT)
		return;
	UVL_TCP_CLOCK_SYNC();
	ahead = next_work(pcb);
	if (ahead == INT32_MAX)
		return;
	ahead = LWIP_MIN(LWIP_MAX(ahead, 1), (s32_t)HORIZON - 1);
	if (pcb->due_prev != NULL && (s32_t)(pcb->due_tick - tcp_ticks) <= ahead)
		return;
	uvl_tcp_undue(pcb);
	put(self, pcb, tcp_ticks + (u32_t)ahead);
	wake(self, ticks_to(self, (u32_t)ahead));
}

/* ---- soon -------------------------------------------------------------------------------------*/

void
uvl_tcp_soon(struct tcp_pcb *pcb)
{
	struct uvl *self = uvl_self;

	if (pcb->soon_prev != NULL || pcb->hash_prev == NULL || pcb->state == TIME_WAIT)
		return;
	pcb->soon_next = self->tcp_soon_;
	if (pcb->soon_next != NULL)
		pcb->soon_next->soon_prev = &pcb->soon_next;
	pcb->soon_prev = &self->tcp_soon_;
	self->tcp_soon_ = pcb;
	UVL_TCP_CLOCK_SYNC();
	wake(self, 1);
}

void
uvl_tcp_not_soon(struct tcp_pcb *pcb)
{
	if (pcb->soon_prev == NULL)
		return;
	*pcb->soon_prev = pcb->soon_next;
	if (pcb->soon_next != NULL)
		pcb->soon_next->soon_prev = pcb->soon_prev;
	pcb->soon_prev = NULL;
	pcb->soon_next = NULL;
}

void
uvl_tcp_soon_review(struct tcp_pcb *pcb)
{
	if ((pcb->flags & UVL_TCP_SOON_FLAGS) == 0 && pcb->refused_data == NULL)
		uvl_tcp_not_soon(pcb);
}

void
uvl_tcp_soon_begin(void)
{
	struct uvl *self = uvl_self;

	self->tcp_soon_now_ = self->tcp_soon_;
	if (self->tcp_soon_now_ != NULL)
		self->tcp_soon_now_->soon_prev = &self->tcp_soon_now_;
	self->tcp_soon_ = NULL;
}

struct tcp_pcb *
uvl_tcp_soon_take(void)
{
	struct tcp_pcb *pcb = uvl_self->tcp_soon_now_;

	if (pcb != NULL) {
		uvl_self->guard.stats.timer_visits++;
		uvl_tcp_not_soon(pcb);
	}
	return pcb;
}
