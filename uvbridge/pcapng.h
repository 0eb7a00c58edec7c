/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/pcapng.h - writing pcapng: as much of it as a capture needs. (libpcap reads pcapng and
 * writes it not.)
 */
#ifndef UVBRIDGE_PCAPNG_H
#define UVBRIDGE_PCAPNG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct pcapng {
	FILE *f;
	uint64_t size;    /* bytes written */
	uint64_t max;     /* bytes it may reach; 0: no limit */
	uint32_t snaplen; /* of every interface */
	uint32_t nb_interfaces;
};

/* Each returns false when the file cannot take it: full, or at its limit. */
bool pcapng_begin(struct pcapng *p, FILE *f, uint32_t snaplen, uint64_t max,
		  const char *application);
/* Adds an Ethernet interface; frames name it by number, in order of addition. */
bool pcapng_interface(struct pcapng *p, const char *name);
/* A frame of which `kept` of `len` bytes are there; time in ns since 1970. */
bool pcapng_frame(struct pcapng *p, uint32_t interface, uint64_t ns, const void *data,
		  uint32_t kept, uint32_t len, const char *comment);

#endif /* UVBRIDGE_PCAPNG_H */
