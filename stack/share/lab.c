/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <sys/mman.h>

#include "stack/share/lab.h"

static void
life_set(struct lab *lab, uint32_t slot, enum uvs_life state, uint32_t step)
{
	_Atomic uint32_t *life = &lab->x.inbox[slot].life;

	atomic_store(life, ((atomic_load(life) >> 8) + step) << 8 | (uint32_t)state);
}

size_t
lab_size(void)
{
	return uvs_crossbar_size(LAB_SLOTS) +
	       LAB_SLOTS * LAB_BUFFERS * (sizeof(struct uvs_label) + sizeof(uint64_t));
}

void
lab_open_in(struct lab *lab, void *memory)
{
	uint64_t *at;

	*lab = (struct lab){.size = lab_size(), .memory = memory};
	uvs_crossbar_init(&lab->x, LAB_SLOTS, lab->memory);
	lab->label = (void *)((char *)lab->memory + uvs_crossbar_size(LAB_SLOTS));
	at = (void *)(lab->label + (size_t)LAB_SLOTS * LAB_BUFFERS);
	for (uint32_t i = 0; i < LAB_SLOTS * LAB_BUFFERS; i++)
		at[i] = (uintptr_t)&lab->label[i];
	for (uint32_t slot = 0; slot < LAB_SLOTS; slot++) {
		lab->x.pool[slot].label_at = &at[(size_t)slot * LAB_BUFFERS];
		lab->x.pool[slot].count = slot == UVS_SLOT_BOSS ? 0 : LAB_BUFFERS;
		lab_lease(lab, slot);
	}
}

void
lab_open(struct lab *lab)
{
	void *memory =
		mmap(NULL, lab_size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		abort();
	lab_open_in(lab, memory);
}

void
lab_close(struct lab *lab)
{
	munmap(lab->memory, lab->size);
}

bool
lab_stage(struct lab *lab, uint32_t from, uint32_t to, uint32_t index)
{
	return uvs_softq_stage(&lab->end[from], to, UVS_REF(from, index));
}

static struct uvs_label *
label_of(struct lab *lab, uvs_ref ref)
{
	return &lab->label[UVS_REF_POOL(ref) * LAB_BUFFERS + UVS_REF_INDEX(ref)];
}

void
lab_tie(struct lab *lab, uint32_t from, uint32_t first, uint32_t n)
{
	for (uint32_t i = first; i + 1 < first + n; i++)
		atomic_store(&label_of(lab, UVS_REF(from, i))->rest, UVS_REF(from, i + 1));
}

void
lab_untie(struct lab *lab, uvs_ref ref)
{
	atomic_store(&label_of(lab, ref)->rest, 0);
}

uint32_t
lab_serve(struct lab *lab, uint32_t at)
{
	struct uvs_softq_end *e = &lab->end[at];
	uint32_t frames = 0, n;
	uvs_ref ref[64];

	while ((n = uvs_softq_take(e, ref, 64)) != 0)
		for (uint32_t i = 0; i < n; i++) {
			lab_untie(lab, ref[i]);
			if (UVS_REF_POOL(ref[i]) != at) {
				frames++;
				if (!uvs_softq_stage(e, UVS_REF_POOL(ref[i]), ref[i]))
					abort(); /* more buffers than places */
			}
		}
	uvs_softq_publish(e);
	return frames;
}

uint64_t
lab_bury(struct lab *lab, uint32_t slot)
{
	uint64_t wake;

	life_set(lab, slot, UVS_LIFE_DOWN, 0);
	uvs_softq_reclaim(&lab->end[UVS_SLOT_BOSS], slot, &wake);
	life_set(lab, slot, UVS_LIFE_FREE, 0);
	return wake;
}

void
lab_lease(struct lab *lab, uint32_t slot)
{
	for (uint32_t i = 0; i < LAB_BUFFERS; i++)
		if (atomic_load(&label_of(lab, UVS_REF(slot, i))->owner) == UVS_OWNER_HOME)
			lab_untie(lab, UVS_REF(slot, i)); /* as new */
	life_set(lab, slot, UVS_LIFE_UP, 1);
	uvs_softq_open(&lab->end[slot], &lab->x, slot);
}

uint32_t
lab_settle(struct lab *lab)
{
	uint32_t missing = 0;
	uint64_t wake;

	for (int round = 0; round < 3; round++) { /* there, back, and the manager's */
		uvs_softq_tick(&lab->end[UVS_SLOT_BOSS], &wake);
		for (uint32_t slot = 1; slot < LAB_SLOTS; slot++)
			if (uvs_softq_up(&lab->end[UVS_SLOT_BOSS], slot))
				lab_serve(lab, slot);
	}
	for (uint32_t slot = 1; slot < LAB_SLOTS; slot++) {
		struct uvs_softq_ledger l;

		uvs_softq_ledger(&lab->x, slot, &l);
		missing += l.total - l.home;
	}
	return missing;
}
