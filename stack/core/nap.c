/* SPDX-License-Identifier: BSD-3-Clause */
#include "stack/core/nap.h"
#include "stack/core/lock.h"

#include <stddef.h>

void (*uvs_naps_look)(uint64_t until);

static struct {
	struct uvs_lock lock;
	struct uvs_nap *head; /* changed under the lock; may be looked at without it */
} naps;

static void
take_off(struct uvs_nap *n)
{
	__atomic_store_n(n->prev, n->next, __ATOMIC_SEQ_CST);
	if (n->next != NULL)
		n->next->prev = n->prev;
	n->prev = NULL;
}

void
uvs_nap_begin(struct uvs_nap *n, uint64_t until)
{
	void (*look)(uint64_t until);

	uvs_lock_take(&naps.lock);
	n->until = until;
	n->next = naps.head;
	n->prev = &naps.head;
	if (n->next != NULL)
		n->next->prev = &n->next;
	__atomic_store_n(&naps.head, n, __ATOMIC_SEQ_CST);
	uvs_lock_give(&naps.lock);
	look = __atomic_load_n(&uvs_naps_look, __ATOMIC_ACQUIRE);
	if (look != NULL)
		look(until);
}

bool
uvs_nap_end(struct uvs_nap *n)
{
	bool listed;

	uvs_lock_take(&naps.lock);
	listed = n->prev != NULL;
	if (listed)
		take_off(n);
	uvs_lock_give(&naps.lock);
	return listed;
}

static bool
none(void)
{
	return __atomic_load_n(&naps.head, __ATOMIC_SEQ_CST) == NULL;
}

/* One timer that is over, off the list; *first: the earliest end of the others. */
static struct uvs_nap *
next_timer(uint64_t now, uint64_t *first)
{
	struct uvs_nap *due = NULL;

	*first = UINT64_MAX;
	uvs_lock_take(&naps.lock);
	for (struct uvs_nap *n = naps.head; n != NULL; n = n->next) {
		if (due == NULL && n->fire != NULL && n->until <= now)
			due = n;
		else if (n->until < *first)
			*first = n->until;
	}
	if (due != NULL)
		take_off(due);
	uvs_lock_give(&naps.lock);
	return due;
}

uint64_t
uvs_naps_next(uint64_t now)
{
	uint64_t first = UINT64_MAX;
	struct uvs_nap *n;
	bool fired = false;

	if (none())
		return first;
	while ((n = next_timer(now, &first)) != NULL) {
		n->fire(n);
		fired = true;
	}
	return fired ? 0 : first;
}

bool
uvs_naps_of_threads(void)
{
	bool found = false;

	if (none())
		return false;
	uvs_lock_take(&naps.lock);
	for (struct uvs_nap *n = naps.head; n != NULL && !found; n = n->next)
		found = n->fire == NULL;
	uvs_lock_give(&naps.lock);
	return found;
}

void
uvs_naps_forget(void)
{
	uvs_lock_init(&naps.lock);
	naps.head = NULL;
}
