/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Counters, gathered from the words of all ports.
 *
 * Counters belong to slots of the segment and are never set back: sums over them are monotonic, and
 * what was sent stays equal to what was received or dropped, across any number of deaths.
 */
#include "uvbridge/internal.h"

void
uvb_rxq_stats(const struct uvb_dev *dev, uint16_t rxq, struct uvb_rxq_stats *stats)
{
	const struct uvb_map *map = &dev->map;
	const struct uvb_rxq_shm *q = uvb_map_rxq(map, dev->id, rxq);

	*stats = (struct uvb_rxq_stats){
		uvb_load(&q->packets), uvb_load(&q->bytes), uvb_load(&q->nombuf),
		uvb_load(&q->stale),   uvb_load(&q->bad),   uvb_load(&q->sleeps),
		uvb_load(&q->wakes),   uvb_load(&q->lost),  0};
	for (uint32_t src = 0; src < map->nb_ports; src++)
		for (uint32_t t = 0; t < uvb_map_ever_txq(map, src); t++)
			stats->full += uvb_load(&uvb_map_voq(map, dev->id, rxq, src, t)->full);
}

void
uvb_txq_stats(const struct uvb_dev *dev, uint16_t txq, struct uvb_txq_stats *stats)
{
	const struct uvb_map *map = &dev->map;
	const struct uvb_txq_shm *q = uvb_map_txq(map, dev->id, txq);

	memset(stats, 0, sizeof(*stats));
	stats->packets = uvb_load(&q->packets);
	stats->bytes = uvb_load(&q->bytes);
	stats->flooded = uvb_load(&q->flooded);
	stats->copies = uvb_load(&q->copies);
	stats->no_cell = uvb_load(&q->no_cell);
	stats->limited = uvb_load(&q->limited);
	stats->bells = uvb_load(&q->bells);
	stats->fault_dups = uvb_load(&q->fault_dups);
	for (uint32_t i = 0; i < UVB_TXD_MAX; i++)
		stats->drops[i] = uvb_load(&q->drops[i]);
	for (uint32_t dst = 0; dst < map->nb_ports; dst++) {
		if (!uvb_map_ever_attached(map, dst))
			continue;
		for (uint32_t i = 0; i < UVB_PD_MAX; i++)
			stats->pair_drops[i] +=
				uvb_load(&uvb_map_pair(map, dev->id, txq, dst)->drops[i]);
		for (uint32_t r = 0; r < uvb_map_ever_rxq(map, dst); r++)
			stats->full += uvb_load(&uvb_map_voq(map, dst, r, dev->id, txq)->full);
	}
}

void
uvb_rx_drops(const struct uvb_dev *dev, uint64_t drops[UVB_PD_MAX])
{
	const struct uvb_map *map = &dev->map;

	memset(drops, 0, UVB_PD_MAX * sizeof(*drops));
	for (uint32_t src = 0; src < map->nb_ports; src++)
		for (uint32_t t = 0; t < uvb_map_ever_txq(map, src); t++)
			for (uint32_t i = 0; i < UVB_PD_MAX; i++)
				drops[i] += uvb_load(&uvb_map_pair(map, src, t, dev->id)->drops[i]);
}
