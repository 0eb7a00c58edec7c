/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Parked frames.
 */
#include <stdlib.h>
#include <string.h>

#include "uvbridge/abi.h"
#include "uvbridge/delay.h"

static bool
make_room(struct uvb_parked **list, uint32_t n, uint32_t *room)
{
	struct uvb_parked *more;

	if (n < *room)
		return true;
	more = realloc(*list, (2 * (size_t)*room + 64) * sizeof(*more));
	if (more == NULL)
		return false;
	*list = more;
	*room = 2 * *room + 64;
	return true;
}

static bool
before(const struct uvb_parked *a, const struct uvb_parked *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void
swap(struct uvb_parked *a, struct uvb_parked *b)
{
	struct uvb_parked c = *a;

	*a = *b;
	*b = c;
}

static void
sift_up(struct uvb_parked *heap, uint32_t i)
{
	for (; i > 0 && before(&heap[i], &heap[(i - 1) / 2]); i = (i - 1) / 2)
		swap(&heap[i], &heap[(i - 1) / 2]);
}

static void
sift_down(struct uvb_parked *heap, uint32_t n)
{
	uint32_t i = 0, child;

	while ((child = 2 * i + 1) < n) {
		if (child + 1 < n && before(&heap[child + 1], &heap[child]))
			child++;
		if (!before(&heap[child], &heap[i]))
			return;
		swap(&heap[child], &heap[i]);
		i = child;
	}
}

static bool
push_timed(struct uvb_delay *d, struct uvb_parked p)
{
	if (!make_room(&d->timed, d->nb_timed, &d->room_timed))
		return false;
	d->timed[d->nb_timed] = p;
	sift_up(d->timed, d->nb_timed++);
	return true;
}

bool
uvb_delay_park(struct uvb_delay *d, struct uvb_parked p)
{
	p.order = d->order++;
	if (!UVB_HELD_IS(p.at) && p.overtake == 0)
		return push_timed(d, p);
	if (!make_room(&d->waiting, d->nb_waiting, &d->room_waiting))
		return false;
	d->waiting[d->nb_waiting++] = p;
	return true;
}

bool
uvb_delay_due(struct uvb_delay *d, uint64_t now, struct uvb_parked *p)
{
	if (d->nb_timed == 0 || d->timed[0].at > now)
		return false;
	*p = d->timed[0];
	d->timed[0] = d->timed[--d->nb_timed];
	sift_down(d->timed, d->nb_timed);
	return true;
}

/* At once, behind what was released before; where there is no memory it goes on waiting. */
void
uvb_delay_release(struct uvb_delay *d, uint32_t i)
{
	struct uvb_parked p = d->waiting[i];

	p.at = 0;
	p.order = d->order++;
	if (!push_timed(d, p))
		return;
	d->nb_waiting--;
	memmove(&d->waiting[i], &d->waiting[i + 1], (d->nb_waiting - i) * sizeof(p));
}

uint64_t
uvb_delay_next(const struct uvb_delay *d)
{
	uint64_t next = d->nb_timed != 0 ? d->timed[0].at : UINT64_MAX;

	for (uint32_t i = 0; i < d->nb_waiting; i++)
		if (!UVB_HELD_IS(d->waiting[i].at) && d->waiting[i].at < next)
			next = d->waiting[i].at;
	return next;
}

void
uvb_delay_free(struct uvb_delay *d)
{
	free(d->timed);
	free(d->waiting);
	*d = (struct uvb_delay){0};
}
