/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Listening on several stacks (sock_priv.h). */
#include "stack/sock/sock_priv.h"
#include "stack/sock/stack.h"

#include <stdlib.h>

enum { NUDGE_IDLE, NUDGE_QUEUED, NUDGE_CLOSED };

/* ----------------------------------------------------------------------------------- life cycle */

static void
unref(struct uvs_spread *spread)
{
	if (__atomic_fetch_sub(&spread->refs, 1, __ATOMIC_ACQ_REL) == 1)
		free(spread);
}

/* Under the face's instance. */
static void
hear_news(struct uvs_deferred *d)
{
	struct uvs_member *m = (struct uvs_member *)((char *)d - offsetof(struct uvs_member, news));
	uint32_t queued = NUDGE_QUEUED;

	if (!__atomic_compare_exchange_n(&m->nudge, &queued, NUDGE_IDLE, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		unref(m->spread); /* closed meanwhile */
	else if (m->spread->face != NULL)
		uvs_publish(m->spread->face, EPOLLIN);
}

void
uvs_spread_nudge(struct uvs_member *m)
{
	/* An exchange in any case: whoever takes the queued one sees the level it tells of. */
	if (__atomic_exchange_n(&m->nudge, NUDGE_QUEUED, __ATOMIC_ACQ_REL) == NUDGE_IDLE)
		uvs_inst_defer(m->spread->in, &m->news);
}

static long
close_member(void *arg)
{
	struct uvs_member *m = arg;
	struct uvs_sock *s = m->sock;

	s->member = NULL; /* it has no more news */
	uvs_sock_close(s);
	free(s);
	if (__atomic_exchange_n(&m->nudge, NUDGE_CLOSED, __ATOMIC_ACQ_REL) == NUDGE_IDLE)
		unref(m->spread);
	return 0;
}

static void
close_deferred(struct uvs_deferred *d)
{
	close_member((struct uvs_member *)((char *)d - offsetof(struct uvs_member, closing)));
}

void
uvs_spread_close(struct uvs_spread *spread)
{
	for (unsigned int i = 0; i < spread->n; i++) {
		struct uvs_member *m = &spread->member[i];

		if (uvs_model->call(m->sock->in, close_member, m) >= 0)
			continue;
		m->closing.run = close_deferred;
		uvs_inst_defer(m->sock->in, &m->closing);
	}
}

void
uvs_spread_face_closes(struct uvs_spread *spread)
{
	spread->face = NULL;
	unref(spread);
}

void
uvs_spread_forget(struct uvs_spread *spread)
{
	for (unsigned int i = 0; i < spread->n; i++)
		free(spread->member[i].sock);
	free(spread);
}

static int
member_new(struct uvs_spread *spread, struct uvs_instance *in)
{
	struct uvs_member *m = &spread->member[spread->n];
	const struct uvs_sock *face = spread->face;
	int r = uvs_sock_new_on(in, face->domain, face->type, face->protocol, &m->sock);

	if (r < 0)
		return r;
	m->spread = spread;
	m->news.run = hear_news;
	m->sock->member = m;
	spread->n++;
	return 0;
}

static struct uvs_spread *
spread_new(struct uvs_sock *face, struct uvs_instance *const *in, unsigned int n)
{
	struct uvs_spread *spread = calloc(1, sizeof(*spread) + n * sizeof(spread->member[0]));
	int r = 0;

	if (spread == NULL)
		return NULL;
	spread->face = face;
	spread->in = face->in;
	for (unsigned int i = 0; r == 0 && i < n; i++)
		if (in[i] != face->in)
			r = member_new(spread, in[i]);
	spread->refs = spread->n + 1;
	if (r == 0)
		return spread;
	uvs_spread_forget(spread);
	return NULL;
}

/* The face's, made now if it has none: another thread may be at the same. */
static struct uvs_spread *
spread_of(struct uvs_sock *face, struct uvs_instance *const *in, unsigned int n)
{
	struct uvs_spread *spread = __atomic_load_n(&face->spread, __ATOMIC_ACQUIRE), *new;

	if (spread != NULL)
		return spread;
	new = spread_new(face, in, n);
	if (new == NULL || __atomic_compare_exchange_n(&face->spread, &spread, new, false,
						       __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return new;
	uvs_spread_forget(new);
	return spread;
}

/* --------------------------------------------------------------------------------------- listen */

/* What a member has of its face. */
struct likeness {
	struct uvs_sock *sock; /* of which it is taken, or to which it is given */
	struct uvs_spread *spread;
	struct uvs_opts opt;
	struct uvs_addr local;
};

static long
take_likeness(void *arg)
{
	struct likeness *l = arg;

	if (l->sock->use == NULL)
		return -EINVAL; /* another thread has closed it meanwhile */
	uvs_ports_join(l->sock->use, l->spread);
	l->opt = l->sock->opt;
	l->local = l->sock->local;
	return 0;
}

static long
give_likeness(void *arg)
{
	struct likeness *l = arg;

	l->sock->opt = l->opt;
	return l->sock->use == NULL ? l->sock->proto->bind(l->sock, &l->local) : 0;
}

int
uvs_spread_over(struct uvs_sock *s)
{
	struct uvs_instance *const *in;
	struct likeness l = {.sock = s};
	unsigned int n;
	int r;

	if (!uvs_stack_has(s->in) || s->type != SOCK_STREAM)
		return 0;
	in = uvs_stack_instances(&n);
	if (n == 1)
		return 0;
	l.spread = spread_of(s, in, n);
	if (l.spread == NULL)
		return -ENOBUFS;
	r = (int)uvs_model->call(s->in, take_likeness, &l);
	return r < 0 ? r : (int)uvs_spread_call(s, give_likeness, &l, &l.sock);
}

long
uvs_spread_call(struct uvs_sock *s, uvs_call_fn fn, void *arg, struct uvs_sock **target)
{
	struct uvs_spread *spread = __atomic_load_n(&s->spread, __ATOMIC_ACQUIRE);
	long r = 0;

	for (unsigned int i = 0; spread != NULL && r == 0 && i < spread->n; i++) {
		*target = spread->member[i].sock;
		r = uvs_model->call((*target)->in, fn, arg);
	}
	return r;
}

/* --------------------------------------------------------------------------------------- accept */

unsigned int
uvs_spread_width(const struct uvs_sock *s)
{
	const struct uvs_spread *spread = __atomic_load_n(&s->spread, __ATOMIC_ACQUIRE);

	return spread != NULL ? spread->n + 1 : 1;
}

static bool
has_events(const struct uvs_sock *s)
{
	return __atomic_load_n(&s->events, __ATOMIC_ACQUIRE) != 0;
}

struct uvs_sock *
uvs_spread_ready(struct uvs_sock *s)
{
	struct uvs_spread *spread = __atomic_load_n(&s->spread, __ATOMIC_ACQUIRE);
	unsigned int turn;

	if (likely(spread == NULL))
		return has_events(s) ? s : NULL;
	turn = __atomic_fetch_add(&spread->turn, 1, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i <= spread->n; i++) {
		unsigned int at = (turn + i) % (spread->n + 1);
		struct uvs_sock *one = at < spread->n ? spread->member[at].sock : s;

		if (has_events(one))
			return one;
	}
	return NULL;
}

uint32_t
uvs_spread_events(const struct uvs_spread *spread)
{
	uint32_t all = 0;

	for (unsigned int i = 0; i < spread->n; i++)
		all |= __atomic_load_n(&spread->member[i].sock->events, __ATOMIC_ACQUIRE);
	return all;
}

uint32_t
uvs_spread_seq(const struct uvs_spread *spread)
{
	uint32_t sum = 0;

	for (unsigned int i = 0; i < spread->n; i++)
		sum += __atomic_load_n(&spread->member[i].sock->seq, __ATOMIC_ACQUIRE);
	return sum;
}
