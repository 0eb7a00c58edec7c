/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Writing pcapng (draft-ietf-opsawg-pcapng). Blocks are built whole and written whole.
 */
#include <string.h>

#include "uvbridge/pcapng.h"

#define BLOCK_SHB 0x0a0d0d0au
#define BLOCK_IDB 1u
#define BLOCK_EPB 6u

#define LINKTYPE_ETHERNET 1
#define OPT_COMMENT       1
#define SHB_USERAPPL      4
#define IF_NAME           2
#define IF_TSRESOL        9
#define TEXT_MAX          256 /* of an option, with its padding */

struct block {
	uint8_t bytes[64 + 2 * TEXT_MAX];
	uint32_t len;
};

static void
put(struct block *b, const void *data, uint32_t len)
{
	memcpy(b->bytes + b->len, data, len);
	b->len += len;
}

static void
put32(struct block *b, uint32_t v)
{
	put(b, &v, sizeof(v));
}

static void
put16(struct block *b, uint16_t v)
{
	put(b, &v, sizeof(v));
}

static void
put_padding(struct block *b)
{
	while (b->len & 3)
		b->bytes[b->len++] = 0;
}

static void
put_option(struct block *b, uint16_t code, const void *data, size_t len)
{
	if (len > TEXT_MAX - 4)
		len = TEXT_MAX - 4;
	put16(b, code);
	put16(b, (uint16_t)len);
	put(b, data, (uint32_t)len);
	put_padding(b);
}

/* The block: type, length, head, then data, then tail, and the length again. */
static bool
write_block(struct pcapng *p, uint32_t type, const struct block *head, const void *data,
	    uint32_t len, const struct block *tail)
{
	static const uint8_t zero[4];
	uint32_t padding = -len & 3;
	uint32_t total = 12 + head->len + len + padding + tail->len;
	uint32_t start[2] = {type, total};

	if (p->max != 0 && p->size + total > p->max)
		return false;
	p->size += total;
	return fwrite(start, sizeof(start), 1, p->f) == 1 &&
	       fwrite(head->bytes, 1, head->len, p->f) == head->len &&
	       fwrite(data, 1, len, p->f) == len && fwrite(zero, 1, padding, p->f) == padding &&
	       fwrite(tail->bytes, 1, tail->len, p->f) == tail->len &&
	       fwrite(&total, sizeof(total), 1, p->f) == 1;
}

bool
pcapng_begin(struct pcapng *p, FILE *f, uint32_t snaplen, uint64_t max, const char *application)
{
	struct block head = {.len = 0}, tail = {.len = 0};

	*p = (struct pcapng){.f = f, .snaplen = snaplen, .max = max};
	put32(&head, 0x1a2b3c4d);
	put16(&head, 1);
	put16(&head, 0);
	put32(&head, UINT32_MAX); /* length of the section: not known */
	put32(&head, UINT32_MAX);
	put_option(&tail, SHB_USERAPPL, application, strlen(application));
	put32(&tail, 0);
	return write_block(p, BLOCK_SHB, &head, "", 0, &tail);
}

bool
pcapng_interface(struct pcapng *p, const char *name)
{
	static const uint8_t nanoseconds = 9;
	struct block head = {.len = 0}, tail = {.len = 0};

	put16(&head, LINKTYPE_ETHERNET);
	put16(&head, 0);
	put32(&head, p->snaplen);
	put_option(&tail, IF_NAME, name, strlen(name));
	put_option(&tail, IF_TSRESOL, &nanoseconds, 1);
	put32(&tail, 0);
	p->nb_interfaces++;
	return write_block(p, BLOCK_IDB, &head, "", 0, &tail);
}

bool
pcapng_frame(struct pcapng *p, uint32_t interface, uint64_t ns, const void *data, uint32_t kept,
	     uint32_t len, const char *comment)
{
	struct block head = {.len = 0}, tail = {.len = 0};

	put32(&head, interface);
	put32(&head, (uint32_t)(ns >> 32));
	put32(&head, (uint32_t)ns);
	put32(&head, kept);
	put32(&head, len);
	put_option(&tail, OPT_COMMENT, comment, strlen(comment));
	put32(&tail, 0);
	return write_block(p, BLOCK_EPB, &head, data, kept, &tail);
}
