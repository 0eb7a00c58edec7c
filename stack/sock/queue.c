/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Packets waiting to be read. A queue is a list of packets (pbuf chains) through their notes; a
 * stream's first packet shrinks as it is read. Everything is O(1) but for the bytes copied. */
#include "stack/core/latency.h"
#include "stack/sock/sock_priv.h"

/* A pbuf costs a packet buffer whatever it carries: charged so that a million one-byte datagrams do
 * not fit into the limit. */
#define CHARGE 256

/* Small stream segments are copied behind their predecessor if its buffer has room: a reader that
 * is slow then pins about as many bytes as the window allows, not a buffer per segment. */
#define JOIN_MAX 512

static struct uvs_packet_note *
note(struct uvs_instance *in, struct pbuf *p)
{
	return uvs_pbuf_note(&in->mem, p);
}

void
uvs_queue_put(struct uvs_instance *in, struct uvs_pbuf_queue *q, struct pbuf *p)
{
	if (uvs_latency_on(in))
		uvs_latency_queued(in, &q->since);
	note(in, p)->next = NULL;
	note(in, p)->extra = 0;
	if (q->head == NULL)
		q->head = p;
	else
		note(in, q->tail)->next = p;
	q->tail = p;
	q->bytes += p->tot_len;
	q->charge += p->tot_len + CHARGE;
}

struct pbuf *
uvs_queue_take(struct uvs_instance *in, struct uvs_pbuf_queue *q)
{
	struct pbuf *p = q->head;

	if (p == NULL)
		return NULL;
	if (uvs_latency_on(in))
		uvs_latency_read(in, &q->since);
	q->head = note(in, p)->next;
	q->bytes -= p->tot_len;
	q->charge -= p->tot_len + CHARGE * (1u + note(in, p)->extra);
	return p;
}

void
uvs_queue_merge(struct uvs_instance *in, struct uvs_pbuf_queue *q, struct pbuf *p)
{
	note(in, q->tail)->extra++;
	q->bytes += p->tot_len;
	q->charge += p->tot_len + CHARGE;
	pbuf_cat(q->tail, p);
}

static bool
join(struct uvs_instance *in, struct uvs_pbuf_queue *q, struct pbuf *p)
{
	struct pbuf *t = q->tail;

	if (q->head == NULL || p->tot_len > JOIN_MAX || t->next != NULL ||
	    uvs_pbuf_tailroom(&in->mem, t) < p->tot_len)
		return false;
	pbuf_copy_partial(p, (char *)t->payload + t->len, p->tot_len, 0);
	t->len = (u16_t)(t->len + p->tot_len);
	t->tot_len = t->len;
	q->bytes += p->tot_len;
	q->charge += p->tot_len;
	pbuf_free(p);
	return true;
}

void
uvs_queue_append(struct uvs_instance *in, struct uvs_pbuf_queue *q, struct pbuf *p)
{
	if (!join(in, q, p))
		uvs_queue_put(in, q, uvs_pbuf_unpin(&in->mem, p));
}

void
uvs_queue_drop(struct uvs_instance *in, struct uvs_pbuf_queue *q)
{
	struct pbuf *p;

	while ((p = uvs_queue_take(in, q)) != NULL)
		pbuf_free(p);
}

/* ---------------------------------------------------------------------------------------- iovecs
 */

size_t
uvs_iov_len(const struct iovec *iov, size_t iovlen)
{
	size_t n = 0;

	for (size_t i = 0; i < iovlen; i++)
		n += iov[i].iov_len;
	return n;
}

struct cursor {
	const struct iovec *iov;
	size_t left; /* iovecs */
	size_t off;  /* in the first */
};

static void
copy_out(struct cursor *c, const char *from, size_t n)
{
	while (n > 0) {
		size_t room = c->iov->iov_len - c->off, step = n < room ? n : room;

		memcpy((char *)c->iov->iov_base + c->off, from, step);
		from += step;
		n -= step;
		c->off += step;
		while (c->left > 0 && c->off == c->iov->iov_len) {
			c->iov++;
			c->left--;
			c->off = 0;
		}
	}
}

size_t
uvs_pbuf_to_iov(const struct pbuf *p, const struct iovec *iov, size_t iovlen)
{
	size_t room = uvs_iov_len(iov, iovlen), done = 0;
	struct cursor c = {iov, iovlen, 0};

	for (; p != NULL && done < room; p = p->next) {
		size_t n = p->len < room - done ? p->len : room - done;

		copy_out(&c, p->payload, n);
		done += n;
	}
	return done;
}

/* --------------------------------------------------------------------------------------- streams
 */

/* Take the head packet's first segment; the rest of the chain becomes the packet. */
static struct pbuf *
unlink_segment(struct uvs_instance *in, struct uvs_pbuf_queue *q)
{
	struct pbuf *p = q->head, *rest = p->next;
	struct pbuf *next = note(in, p)->next;

	if (rest != NULL) {
		note(in, rest)->next = next;
		q->head = rest;
		if (q->tail == p)
			q->tail = rest;
		p->next = NULL;
		p->tot_len = p->len;
	} else {
		q->head = next;
		q->charge -= CHARGE;
	}
	return p;
}

struct pbuf *
uvs_queue_detach(struct uvs_instance *in, struct uvs_pbuf_queue *q)
{
	struct pbuf *p = unlink_segment(in, q);

	if (uvs_latency_on(in))
		uvs_latency_read(in, &q->since);
	q->bytes -= p->len;
	q->charge -= p->len;
	return p;
}

static void
consume(struct uvs_instance *in, struct uvs_pbuf_queue *q, size_t n)
{
	struct pbuf *p = q->head;

	q->bytes -= (uint32_t)n;
	q->charge -= (uint32_t)n;
	p->payload = (char *)p->payload + n;
	p->len = (u16_t)(p->len - n);
	p->tot_len = (u16_t)(p->tot_len - n);
	if (p->len == 0)
		pbuf_free(unlink_segment(in, q));
}

static size_t
peek_all(struct uvs_instance *in, struct uvs_pbuf_queue *q, struct cursor *c, size_t len)
{
	size_t done = 0;

	for (struct pbuf *packet = q->head; packet != NULL && done < len;
	     packet = note(in, packet)->next) {
		for (struct pbuf *p = packet; p != NULL && done < len; p = p->next) {
			size_t n = p->len < len - done ? p->len : len - done;

			copy_out(c, p->payload, n);
			done += n;
		}
	}
	return done;
}

size_t
uvs_queue_read(struct uvs_instance *in, struct uvs_pbuf_queue *q, const struct iovec *iov,
	       size_t iovlen, size_t len, bool peek)
{
	struct cursor c = {iov, iovlen, 0};
	size_t done = 0;

	while (iov != NULL && c.left > 0 && c.iov->iov_len == 0) {
		c.iov++;
		c.left--;
	}
	if (peek)
		return peek_all(in, q, &c, len);
	if (uvs_latency_on(in))
		uvs_latency_read(in, &q->since);
	while (q->head != NULL && done < len) {
		size_t n = q->head->len < len - done ? q->head->len : len - done;

		if (iov != NULL)
			copy_out(&c, q->head->payload, n);
		consume(in, q, n);
		done += n;
	}
	return done;
}
