/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Buffers of the native interface: got, queued where they lie, detached from what was received. */
#include "stack/sock/native.h"
#include "stack/sock/sock_priv.h"
#include "stack/sock/stack.h"

#include <stdlib.h>
#include <sys/param.h>

/* Room before the data for TCP's options, beyond what lwIP keeps for headers. */
#define OPTIONS 40

/* In pbuf.flags, where lwIP has no bit: from uvs_native_get(), not yet sent. */
#define GOT 0x40u

#define IP_UDP_HEADERS  28
#define IP6_UDP_HEADERS 48

struct op {
	struct uvs_sock *s;
	struct uvstack_seg *seg;
	const struct uvstack_seg *out;
	unsigned int n;
	const struct sockaddr *to;
	socklen_t len;
	int flags;
};

static long
enter(struct uvs_sock *s, uvs_call_fn fn, struct op *o)
{
	long r;

	if (unlikely(s->epoch != uvs_stack_epoch()))
		return -EBADF;
	r = uvs_model->call(s->in, fn, o);
	return r == -EDEADLK ? -EAGAIN : r;
}

/* ----------------------------------------------------------------------------------- get and put
 */

/* What fits into one packet; 0: a stream that is not connected. */
static uint32_t
capacity(const struct uvs_sock *s)
{
	if (s->type == SOCK_STREAM)
		return s->tcp.state == UVS_TCP_OPEN && s->tcp.pcb != NULL ? uvl_tcp_room(s->tcp.pcb)
									  : 0;
	return s->in->conf->mtu - (s->domain == AF_INET ? IP_UDP_HEADERS : IP6_UDP_HEADERS);
}

static struct pbuf *
new_buffer(uint32_t len)
{
	struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, (u16_t)(len + OPTIONS), PBUF_RAM);

	if (p != NULL)
		pbuf_remove_header(p, OPTIONS);
	return p;
}

static void
free_all(const struct uvstack_seg *seg, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		pbuf_free(seg[i].buf);
}

static long
do_get(void *arg)
{
	struct op *o = arg;
	uint32_t len = capacity(o->s);

	if (len == 0)
		return -ENOTCONN;
	for (unsigned int i = 0; i < o->n; i++) {
		struct pbuf *p = new_buffer(len);

		if (p == NULL) {
			free_all(o->seg, i);
			return -ENOBUFS;
		}
		p->flags |= GOT;
		o->seg[i] = (struct uvstack_seg){.data = p->payload, .len = len, .buf = p};
	}
	return 0;
}

int
uvs_native_get(struct uvs_sock *s, struct uvstack_seg *seg, unsigned int n)
{
	struct op o = {.s = s, .seg = seg, .n = n};
	int r = uvs_stack_ready(s->in);

	return r < 0 ? r : (int)enter(s, do_get, &o);
}

static long
do_put(void *arg)
{
	struct op *o = arg;

	free_all(o->seg, o->n);
	return 0;
}

void
uvs_native_put(struct uvs_sock *s, struct uvstack_seg *seg, unsigned int n)
{
	struct op o = {.s = s, .seg = seg, .n = n};

	enter(s, do_put, &o);
}

/* ------------------------------------------------------------------------------------------ send
 */

static bool
was_received(const struct pbuf *p)
{
	return (p->flags & GOT) == 0;
}

/* A buffer of ours, with its data where it was: it can go as it is. */
static bool
is_whole(const struct uvstack_seg *seg)
{
	const struct pbuf *p = seg->buf;

	return !was_received(p) && p->next == NULL && p->ref == 1 && seg->data == p->payload &&
	       seg->len <= p->len;
}

/* What was received, as a whole and in a packet that may be sent again. */
static bool
may_stay(const struct uvstack_seg *seg, uint32_t most)
{
	const struct pbuf *p = seg->buf;

	return seg->data == p->payload && seg->len <= p->len && seg->len <= most;
}

static int
check_segments(const struct op *o, size_t *total)
{
	*total = 0;
	for (unsigned int i = 0; i < o->n; i++) {
		const struct uvstack_seg *seg = &o->out[i];

		if (seg->buf == NULL || seg->len == 0 ||
		    (!was_received(seg->buf) && !is_whole(seg)))
			return -EINVAL;
		*total += seg->len;
	}
	return 0;
}

/* Copies of what was received, in packets of at most `most`. */
static bool
copy_segment(struct uvs_sock *s, const struct uvstack_seg *seg, uint32_t most,
	     struct uvs_pbuf_queue *copies)
{
	for (uint32_t done = 0; done < seg->len;) {
		uint32_t n = MIN(seg->len - done, most);
		struct pbuf *p = new_buffer(n);

		if (p == NULL)
			return false;
		memcpy(p->payload, (const char *)seg->data + done, n);
		uvs_queue_put(s->in, copies, p);
		done += n;
	}
	return true;
}

static struct pbuf *
cut(const struct uvstack_seg *seg)
{
	struct pbuf *p = seg->buf;

	p->len = p->tot_len = (u16_t)seg->len;
	p->flags &= (u8_t)~GOT;
	return p;
}

static bool
prepare_copies(const struct op *o, uint32_t most, struct uvs_pbuf_queue *copies)
{
	for (unsigned int i = 0; i < o->n; i++) {
		const struct uvstack_seg *seg = &o->out[i];

		if (!was_received(seg->buf) ||
		    (may_stay(seg, most) && uvs_pbuf_adopt(&o->s->in->mem, seg->buf)))
			continue;
		if (!copy_segment(o->s, seg, most, copies))
			return false;
	}
	return true;
}

/* Room was asked for: only the heap can be at its end, and then the stream has a hole. */
static bool
queue_one(struct uvs_sock *s, struct pbuf *p)
{
	if (uvl_tcp_queue(s->tcp.pcb, p) == ERR_OK)
		return true;
	pbuf_free(p);
	return false;
}

static bool
queue_segment(struct uvs_sock *s, const struct uvstack_seg *seg, struct uvs_pbuf_queue *copies)
{
	uint32_t left = seg->len;
	bool queued = true;

	if (!was_received(seg->buf) || (may_stay(seg, capacity(s)) && uvs_pbuf_adopted(seg->buf)))
		return queue_one(s, cut(seg));
	while (queued && left > 0) {
		struct pbuf *p = uvs_queue_take(s->in, copies);

		left -= p->tot_len;
		queued = queue_one(s, p);
	}
	pbuf_free(seg->buf);
	return queued;
}

static long
send_stream(const struct op *o)
{
	struct uvs_sock *s = o->s;
	struct uvs_pbuf_queue copies = {0};
	struct msghdr nothing = {0};
	long r = s->proto->send(s, &nothing, 0);
	size_t total;

	if (r < 0 || (r = check_segments(o, &total)) < 0)
		return r;
	r = uvs_tcp_reserve(s, total, o->n + total / capacity(s));
	if (r < 0)
		return r;
	if (!prepare_copies(o, capacity(s), &copies)) {
		uvs_queue_drop(s->in, &copies);
		uvs_tcp_starve(s);
		return -EAGAIN;
	}
	for (unsigned int i = 0; i < o->n; i++) {
		if (!queue_segment(s, &o->out[i], &copies)) {
			uvs_queue_drop(s->in, &copies);
			free_all(o->out + i + 1, o->n - i - 1);
			tcp_abort(s->tcp.pcb);
			return -ENOMEM;
		}
	}
	uvs_tcp_push(s, (o->flags & UVSTACK_HOLD) == 0);
	return o->n;
}

static struct pbuf *
as_datagram(const struct uvstack_seg *seg)
{
	struct pbuf *p;

	if (!was_received(seg->buf))
		return cut(seg);
	p = new_buffer(seg->len);
	if (p != NULL)
		memcpy(p->payload, seg->data, seg->len);
	return p;
}

/* lwIP has put headers before the data of one that it did not send. */
static void
restore(const struct uvstack_seg *seg)
{
	struct pbuf *p = seg->buf;

	p->payload = seg->data;
	p->len = p->tot_len = (u16_t)seg->len;
	p->flags |= GOT;
}

static long
send_datagram(const struct op *o, const struct uvstack_seg *seg)
{
	struct msghdr to = {.msg_name = (void *)(uintptr_t)o->to, .msg_namelen = o->len};
	struct pbuf *p = as_datagram(seg);
	long r = p == NULL ? -EAGAIN : o->s->proto->send_packet(o->s, p, &to);

	if (p != NULL && p != seg->buf)
		pbuf_free(p);
	if (r >= 0)
		pbuf_free(seg->buf);
	else if (p == seg->buf)
		restore(seg);
	return r;
}

static long
send_datagrams(const struct op *o)
{
	size_t total;
	long r = check_segments(o, &total);

	for (unsigned int i = 0; r >= 0 && i < o->n; i++) {
		r = send_datagram(o, &o->out[i]);
		if (r < 0 && i > 0)
			return i;
	}
	return r < 0 ? r : (long)o->n;
}

static long
do_send(void *arg)
{
	const struct op *o = arg;

	o->s->in->tx_later = (o->flags & UVSTACK_SOON) != 0;
	return o->s->type == SOCK_STREAM ? send_stream(o) : send_datagrams(o);
}

int
uvs_native_send(struct uvs_sock *s, const struct uvstack_seg *seg, unsigned int n,
		const struct sockaddr *to, socklen_t len, int flags)
{
	struct op o = {.s = s, .out = seg, .n = n, .to = to, .len = len, .flags = flags};
	int r = uvs_stack_ready(s->in);

	return r < 0 ? r : (int)enter(s, do_send, &o);
}

static long
do_flush(void *arg)
{
	const struct op *o = arg;

	if (o->s->type == SOCK_STREAM && o->s->tcp.state == UVS_TCP_OPEN && o->s->tcp.pcb != NULL)
		uvs_tcp_push(o->s, true);
	return 0;
}

int
uvs_native_flush(struct uvs_sock *s)
{
	struct op o = {.s = s};

	return (int)enter(s, do_flush, &o);
}

/* --------------------------------------------------------------------------------------- receive
 */

static struct uvstack_seg
segment_of(struct pbuf *p)
{
	return (struct uvstack_seg){.data = p->payload, .len = p->len, .buf = p};
}

static long
recv_stream(const struct op *o)
{
	struct uvs_sock *s = o->s;
	struct msghdr nothing = {0};
	size_t bytes = 0;
	unsigned int n = 0;

	for (; n < o->n && s->tcp.rx.head != NULL; n++) {
		o->seg[n] = segment_of(uvs_queue_detach(s->in, &s->tcp.rx));
		bytes += o->seg[n].len;
	}
	if (n == 0)
		return s->proto->recv(s, &nothing, 0);
	uvs_tcp_taken(s, bytes);
	return n;
}

static unsigned int
split(struct pbuf *p, struct uvstack_seg *seg)
{
	unsigned int n = 0;

	while (p != NULL) {
		struct pbuf *rest = p->next;

		p->next = NULL;
		p->tot_len = p->len;
		seg[n] = segment_of(p);
		seg[n++].flags = rest != NULL ? UVSTACK_MORE : 0;
		p = rest;
	}
	return n;
}

static long
recv_datagrams(const struct op *o)
{
	struct uvs_sock *s = o->s;
	struct msghdr nothing = {0};
	unsigned int n = 0;

	if (s->err != 0 || s->dgram.rx.head == NULL)
		return s->proto->recv(s, &nothing, 0);
	while (s->dgram.rx.head != NULL && pbuf_clen(s->dgram.rx.head) <= o->n - n)
		n += split(uvs_queue_take(s->in, &s->dgram.rx), o->seg + n);
	if (n == 0)
		return -EMSGSIZE;
	uvs_publish(s, 0);
	return n;
}

static long
do_recv(void *arg)
{
	const struct op *o = arg;

	return o->s->type == SOCK_STREAM ? recv_stream(o) : recv_datagrams(o);
}

int
uvs_native_recv(struct uvs_sock *s, struct uvstack_seg *seg, unsigned int n)
{
	struct op o = {.s = s, .seg = seg, .n = n};

	if (n == 0)
		return -EINVAL;
	if (uvs_sock_events(s) == EPOLLOUT && s->epoch == uvs_stack_epoch())
		return -EAGAIN;
	return (int)enter(s, do_recv, &o);
}

int
uvs_native_from(struct uvs_sock *s, const struct uvstack_seg *seg, struct sockaddr *addr,
		socklen_t *len)
{
	const struct uvs_packet_note *note = uvs_pbuf_note(&s->in->mem, seg->buf);
	struct uvs_addr from = {note->src, note->sport};

	if (s->type == SOCK_STREAM || !was_received(seg->buf))
		return -EINVAL;
	uvs_addr_to(&from, s->domain, addr, len);
	return 0;
}

/* ---------------------------------------------------------------------------------------- memory
 */

/* Read without the instance: a number that is out of date the next moment anyway. */
enum uvstack_memory
uvs_native_memory(const struct uvs_sock *s)
{
	const struct uvs_mem *m = &s->in->mem;
	uint32_t avail;

	if (m->pool == NULL)
		return UVSTACK_PLENTY;
	avail = uvs_mem_avail(m);
	if (avail <= m->reserve)
		return UVSTACK_OUT; /* and so is the depot: it was drawn on from `low` on */
	return avail <= m->low ? UVSTACK_LOW : UVSTACK_PLENTY;
}

struct uvs_native_thirst {
	struct uvs_starved starved;
	struct uvs_instance *in;
	struct uvs_waiter *waiter;
};

static void
on_fed(struct uvs_starved *s)
{
	uvs_waiter_wake(((struct uvs_native_thirst *)s)->waiter);
}

static long
do_thirst(void *arg)
{
	struct uvs_native_thirst *t = arg;

	t->starved.fed = on_fed;
	uvs_starve(t->in, &t->starved);
	return 0;
}

struct uvs_native_thirst *
uvs_native_thirst_new(struct uvs_sock *s, struct uvs_waiter *w)
{
	struct uvs_native_thirst *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->in = s->in;
	t->waiter = w;
	uvs_model->call(t->in, do_thirst, t);
	return t;
}

static long
do_quench(void *arg)
{
	uvs_unstarve(arg);
	return 0;
}

void
uvs_native_thirst_free(struct uvs_native_thirst *t)
{
	if (t == NULL)
		return;
	uvs_call_surely(t->in, do_quench, &t->starved);
	free(t);
}
