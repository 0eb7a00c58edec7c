/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/delay.h - the frames a receiver has seen the references of, and does not show yet:
 * because it is not time (a heap by time), or because something has to happen first (a list).
 *
 * Private to the thread that polls the queue. The frames stay in their cells and their references
 * in the voq, where the daemon finds them if the receiver dies.
 */
#ifndef UVBRIDGE_DELAY_H
#define UVBRIDGE_DELAY_H

#include <stdbool.h>
#include <stdint.h>

/* A parked frame. */
struct uvb_parked {
	uint64_t at;      /* ns of the fabric's clock; or UVB_HELD() */
	uint64_t order;   /* in which they were parked: the earlier one first at the same time */
	uint32_t pos;     /* its place in the voq */
	uint32_t cell;    /* its first cell */
	uint16_t source;  /* whose voq */
	uint8_t overtake; /* shown before `at` when so many later ones have been; 0: not */
};

struct uvb_delay {
	uint32_t nb_timed, nb_waiting;
	uint32_t room_timed, room_waiting;
	uint64_t order;
	struct uvb_parked *timed;   /* a heap: [0] is the next */
	struct uvb_parked *waiting; /* held, or to be overtaken; in order of arrival */
};

static inline uint32_t
uvb_delay_count(const struct uvb_delay *d)
{
	return d->nb_timed + d->nb_waiting;
}

/* Park a frame. false: no memory. */
bool uvb_delay_park(struct uvb_delay *d, struct uvb_parked p);
/* Take the next one whose time has come. */
bool uvb_delay_due(struct uvb_delay *d, uint64_t now, struct uvb_parked *p);
/* Make waiting[i] due. */
void uvb_delay_release(struct uvb_delay *d, uint32_t i);
/* When something is due by time alone; UINT64_MAX: never. */
uint64_t uvb_delay_next(const struct uvb_delay *d);
/* Empty again. */
void uvb_delay_free(struct uvb_delay *d);

#endif /* UVBRIDGE_DELAY_H */
