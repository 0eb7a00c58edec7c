/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Offloads against a plain reference: checksums by the book, byte by byte, super-frames and their
 * segments, and segments joined again. UVB_SEED repeats a run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "uvbridge/ports/merge.h"
#include "uvbridge/ports/offload.h"

#define ROUNDS    3000
#define FRAME_MAX (14 + 1500)
#define SUPER_MAX 65550

#define CHECK(cond)                                                                              \
	do {                                                                                     \
		if (!(cond)) {                                                                   \
			fprintf(stderr, "%s:%d: %s: failed: %s\n", __FILE__, __LINE__, __func__, \
				#cond);                                                          \
			exit(1);                                                                 \
		}                                                                                \
	} while (0)

static uint64_t state;

static uint64_t
rnd(void) /* splitmix64 */
{
	uint64_t z = (state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static uint32_t
upto(uint32_t n) /* 0 .. n */
{
	return (uint32_t)(rnd() % (n + 1ULL));
}

static void
fill(uint8_t *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		p[i] = (uint8_t)rnd();
}

/* ------------------------------------------------------------------------------------- reference
 */

static uint32_t
be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t
be32(const uint8_t *p)
{
	return be16(p) << 16 | be16(p + 2);
}

static void
set16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t
ref_sum(const uint8_t *p, uint32_t n, uint32_t sum)
{
	for (uint32_t i = 0; i < n; i++) {
		sum += i % 2 == 0 ? (uint32_t)p[i] << 8 : p[i];
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

/* Sum of the pseudo header of `n` bytes of `proto`. */
static uint32_t
ref_pseudo(const uint8_t *ip, bool v6, uint32_t proto, uint32_t n)
{
	uint32_t sum = v6 ? ref_sum(ip + 8, 32, 0) : ref_sum(ip + 12, 8, 0);

	sum += proto + (n >> 16) + (n & 0xffff);
	return (sum & 0xffff) + (sum >> 16);
}

static bool
ref_l4_good(const uint8_t *ip, bool v6, uint32_t proto, const uint8_t *l4, uint32_t n)
{
	return ref_sum(l4, n, ref_pseudo(ip, v6, proto, n)) == 0xffff;
}

/* --------------------------------------------------------------------------------------- packets
 */

struct packet {
	uint32_t len, l3, l4, payload;
	bool v6;
	uint8_t bytes[SUPER_MAX];
};

static void
make_ether(struct packet *p, bool v6, uint32_t tags)
{
	uint32_t off = 12;

	fill(p->bytes, 12);
	for (uint32_t i = 0; i < tags; i++, off += 4) {
		set16(p->bytes + off, i + 1 < tags ? 0x88a8 : 0x8100);
		set16(p->bytes + off + 2, upto(0xffff));
	}
	set16(p->bytes + off, v6 ? 0x86dd : 0x0800);
	p->l3 = off + 2;
	p->v6 = v6;
}

static void
make_ip4(struct packet *p, uint32_t proto, uint32_t options)
{
	uint8_t *ip = p->bytes + p->l3;

	fill(ip, 20 + options);
	ip[0] = (uint8_t)(0x45 + options / 4);
	set16(ip + 6, upto(1) ? 0x4000 : 0); /* may say "do not fragment" */
	ip[9] = (uint8_t)proto;
	p->l4 = p->l3 + 20 + options;
}

static void
make_ip6(struct packet *p, uint32_t proto, uint32_t extensions)
{
	uint8_t *ip = p->bytes + p->l3, *next = ip + 6;

	fill(ip, 40);
	ip[0] = 0x60 | (ip[0] & 15);
	p->l4 = p->l3 + 40;
	for (uint32_t i = 0; i < extensions; i++) {
		*next = 60; /* destination options */
		next = p->bytes + p->l4;
		fill(next, 16);
		next[1] = (uint8_t)upto(1);
		p->l4 += (next[1] + 1u) * 8;
	}
	*next = (uint8_t)proto;
}

/* Lengths and checksum of IP, and the pseudo header's sum where the checksum goes: as the kernel
 * hands a frame over. */
static void
finish_ip(struct packet *p, uint32_t proto, uint32_t csum_at)
{
	uint8_t *ip = p->bytes + p->l3;

	if (p->v6) {
		set16(ip + 4, p->len - p->l3 - 40);
	} else {
		set16(ip + 2, p->len - p->l3);
		set16(ip + 10, 0);
		set16(ip + 10, ~ref_sum(ip, p->l4 - p->l3, 0));
	}
	set16(p->bytes + csum_at, ref_pseudo(ip, p->v6, proto, p->len - p->l4));
}

static void
make_l4(struct packet *p, bool tcp, uint32_t payload_max)
{
	uint32_t header = tcp ? 20 + 4 * upto(10) : 8;

	p->payload = p->l4 + header;
	p->len = p->payload + 1 + upto(payload_max - 1);
	fill(p->bytes + p->l4, p->len - p->l4);
	if (tcp)
		p->bytes[p->l4 + 12] = (uint8_t)(header / 4 << 4 | upto(15));
	else
		set16(p->bytes + p->l4 + 4, p->len - p->l4);
	finish_ip(p, tcp ? 6 : 17, p->l4 + (tcp ? 16 : 6));
}

static void
make_packet(struct packet *p, bool v6, bool tcp, uint32_t payload_max)
{
	make_ether(p, v6, upto(2));
	if (v6)
		make_ip6(p, tcp ? 6 : 17, upto(2));
	else
		make_ip4(p, tcp ? 6 : 17, 4 * upto(10));
	make_l4(p, tcp, payload_max);
}

static struct virtio_net_hdr
partial(const struct packet *p, bool tcp)
{
	return (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				       .csum_start = (uint16_t)p->l4,
				       .csum_offset = tcp ? 16 : 6};
}

static struct virtio_net_hdr
super(const struct packet *p, uint32_t size)
{
	struct virtio_net_hdr v = partial(p, true);

	v.gso_type = p->v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
	v.gso_size = (uint16_t)size;
	v.hdr_len = (uint16_t)p->payload;
	return v;
}

/* ----------------------------------------------------------------------------------------- tests
 */

static struct packet in;

static void
test_sum(void)
{
	static uint8_t buf[4096];
	uint16_t got;

	for (int i = 0; i < ROUNDS; i++) {
		uint32_t off = upto(63), n = upto(4000);

		fill(buf, sizeof(buf));
		if (upto(9) == 0)
			memset(buf, upto(1) ? 0xff : 0, sizeof(buf));
		got = uvp_fold(uvp_sum(buf + off, n, 0));
		CHECK(be16((uint8_t *)&got) == ref_sum(buf + off, n, 0));
	}
}

static void
test_partial_checksums(void)
{
	static uint8_t before[SUPER_MAX];
	struct uvp_job job;

	for (int i = 0; i < ROUNDS; i++) {
		bool v6 = upto(1), tcp = upto(1);
		struct virtio_net_hdr v;
		uint32_t field;

		make_packet(&in, v6, tcp, 1400);
		v = partial(&in, tcp);
		field = v.csum_start + v.csum_offset;
		memcpy(before, in.bytes, in.len);
		CHECK(uvp_offload_check(&v, in.bytes, in.len, FRAME_MAX, &job) == UVP_OK);
		CHECK(job.nb_segs == 0 && job.csum_good);
		uvp_offload_finish(&job, in.bytes);
		CHECK(ref_l4_good(in.bytes + in.l3, v6, tcp ? 6 : 17, in.bytes + in.l4,
				  in.len - in.l4));
		CHECK(memcmp(before, in.bytes, field) == 0);
		CHECK(memcmp(before + field + 2, in.bytes + field + 2, in.len - field - 2) == 0);
	}
}

/* A UDP checksum that comes out as 0 is written as 0xffff: 0 would say that there is none. */
static void
test_udp_zero(void)
{
	struct virtio_net_hdr v;
	struct uvp_job job;

	make_ether(&in, false, 0);
	make_ip4(&in, 17, 0);
	make_l4(&in, false, 100);
	in.len = in.payload + 2;
	set16(in.bytes + in.l4 + 4, 10);
	set16(in.bytes + in.payload, 0);
	finish_ip(&in, 17, in.l4 + 6);
	/* The payload that makes the sum 0xffff. */
	set16(in.bytes + in.payload, ~ref_sum(in.bytes + in.l4, 10, 0));
	v = partial(&in, false);
	CHECK(uvp_offload_check(&v, in.bytes, in.len, FRAME_MAX, &job) == UVP_OK);
	uvp_offload_finish(&job, in.bytes);
	CHECK(be16(in.bytes + in.l4 + 6) == 0xffff);
}

static void
test_nothing_to_do(void)
{
	struct virtio_net_hdr v = {0};
	static uint8_t before[SUPER_MAX];
	struct uvp_job job;

	make_packet(&in, false, true, 1000);
	memcpy(before, in.bytes, in.len);
	CHECK(uvp_offload_check(&v, in.bytes, in.len, FRAME_MAX, &job) == UVP_OK);
	uvp_offload_finish(&job, in.bytes);
	CHECK(memcmp(before, in.bytes, in.len) == 0 && !job.csum_good);
	v.flags = VIRTIO_NET_HDR_F_DATA_VALID;
	CHECK(uvp_offload_check(&v, in.bytes, in.len, FRAME_MAX, &job) == UVP_OK);
	CHECK(job.csum_good && job.csum_at == 0);
	CHECK(uvp_offload_check(&v, in.bytes, 0, FRAME_MAX, &job) == UVP_VNET_SHORT);
}

/* One segment: headers right by themselves, and its payload where it belongs. */
static void
check_segment(const struct uvp_job *job, uint32_t i, uint32_t size)
{
	static uint8_t seg[SUPER_MAX];
	const uint8_t *ip = seg + in.l3, *tcp = seg + in.l4, *was = in.bytes + in.l4;
	uint32_t off, len, total;
	uint8_t changing = 0;

	uvp_offload_segment(job, in.bytes, i, seg, &off, &len);
	CHECK(off == in.payload + i * size);
	CHECK(len == (i + 1 < job->nb_segs ? size : in.len - off));
	total = in.payload + len;
	CHECK(total - (in.l3 - 14) <= FRAME_MAX);
	memcpy(seg + in.payload, in.bytes + off, len);

	CHECK(memcmp(seg, in.bytes, in.l3) == 0);
	if (in.v6) {
		CHECK(be16(ip + 4) == total - in.l3 - 40);
		CHECK(memcmp(ip, in.bytes + in.l3, 4) == 0);
		CHECK(memcmp(ip + 6, in.bytes + in.l3 + 6, in.l4 - in.l3 - 6) == 0);
	} else {
		CHECK(be16(ip + 2) == total - in.l3);
		CHECK(be16(ip + 4) == ((be16(in.bytes + in.l3 + 4) + i) & 0xffff));
		CHECK(ref_sum(ip, in.l4 - in.l3, 0) == 0xffff);
		CHECK(memcmp(ip + 6, in.bytes + in.l3 + 6, 4) == 0);
		CHECK(memcmp(ip + 12, in.bytes + in.l3 + 12, in.l4 - in.l3 - 12) == 0);
	}
	CHECK(ref_l4_good(ip, in.v6, 6, tcp, total - in.l4));
	CHECK(be32(tcp + 4) == be32(was + 4) + i * size);
	if (i > 0)
		changing |= 0x80; /* CWR */
	if (i + 1 < job->nb_segs)
		changing |= 0x09; /* FIN, PSH */
	CHECK(tcp[13] == (was[13] & ~changing));
	CHECK(memcmp(tcp, was, 4) == 0 && memcmp(tcp + 8, was + 8, 5) == 0);
	CHECK(memcmp(tcp + 14, was + 14, 2) == 0);
	CHECK(memcmp(tcp + 18, was + 18, in.payload - in.l4 - 18) == 0);
}

static void
test_segments(void)
{
	struct uvp_job job;

	for (int i = 0; i < ROUNDS / 10; i++) {
		uint32_t size, n = 0;
		struct virtio_net_hdr v;

		make_packet(&in, upto(1), true, 65000);
		size = 1 + upto(FRAME_MAX - 1 - (in.payload - (in.l3 - 14)));
		if (size < 100) /* tens of thousands of segments are no better than hundreds */
			size += 100;
		v = super(&in, size);
		v.gso_type |= upto(1) ? VIRTIO_NET_HDR_GSO_ECN : 0;
		CHECK(uvp_offload_check(&v, in.bytes, in.len, FRAME_MAX, &job) == UVP_OK);
		CHECK(job.header_len == in.payload);
		CHECK(job.nb_segs == (in.len - in.payload + size - 1) / size);
		for (n = 0; n < job.nb_segs; n++)
			check_segment(&job, n, size);
	}
}

static enum uvp_refusal
look(const struct virtio_net_hdr *v)
{
	struct uvp_job job;

	return uvp_offload_check(v, in.bytes, in.len, FRAME_MAX, &job);
}

static void
test_malformed_vnet(void)
{
	struct virtio_net_hdr good, v;

	make_packet(&in, false, true, 10000);
	good = super(&in, 1000);
	CHECK(look(&good) == UVP_OK);
	v = good, v.flags = 0;
	CHECK(look(&v) == UVP_VNET_CSUM);
	v = good, v.csum_start = (uint16_t)(in.len - 16);
	CHECK(look(&v) == UVP_VNET_CSUM);
	v = good, v.csum_offset = 0xfffe;
	CHECK(look(&v) == UVP_VNET_CSUM);
	v = good, v.csum_offset = 7;
	CHECK(look(&v) == UVP_VNET_CSUM);
	v = good, v.csum_start = 4;
	CHECK(look(&v) == UVP_VNET_CSUM);
	v = good, v.gso_type = VIRTIO_NET_HDR_GSO_UDP;
	CHECK(look(&v) == UVP_GSO_TYPE);
	v = good, v.gso_type = 77;
	CHECK(look(&v) == UVP_GSO_TYPE);
	v = good, v.gso_type = VIRTIO_NET_HDR_GSO_TCPV6;
	CHECK(look(&v) == UVP_GSO_HEADERS);
	v = good, v.csum_offset = 6;
	CHECK(look(&v) == UVP_GSO_HEADERS);
	v = good, v.csum_start += 2;
	CHECK(look(&v) == UVP_GSO_HEADERS);
	v = good, v.gso_size = 0;
	CHECK(look(&v) == UVP_GSO_SIZE);
	v = good, v.gso_size = 1500;
	CHECK(look(&v) == UVP_GSO_SIZE);
}

static void
test_malformed_headers(void)
{
	struct virtio_net_hdr v;
	uint8_t *ip, keep;

	make_packet(&in, false, true, 10000);
	ip = in.bytes + in.l3;
	v = super(&in, 1000);
	keep = ip[9], ip[9] = 17; /* UDP */
	CHECK(look(&v) == UVP_GSO_HEADERS);
	ip[9] = keep;
	keep = ip[7], ip[7] = 1; /* a fragment */
	CHECK(look(&v) == UVP_GSO_HEADERS);
	ip[7] = keep;
	keep = ip[0], ip[0] = 0x44; /* a header shorter than its own fields */
	CHECK(look(&v) == UVP_GSO_HEADERS);
	ip[0] = keep;
	keep = in.bytes[in.l4 + 12], in.bytes[in.l4 + 12] = 0x40; /* the same of TCP's */
	CHECK(look(&v) == UVP_GSO_HEADERS);
	in.bytes[in.l4 + 12] = keep;
	in.len = in.payload; /* no payload */
	CHECK(look(&v) == UVP_GSO_SIZE);
	in.len = in.payload - 1; /* cut within the TCP header */
	CHECK(look(&v) != UVP_OK);
	make_ether(&in, true, 0);
	make_ip6(&in, 44, 1); /* a fragment header */
	make_l4(&in, true, 10000);
	in.bytes[in.l3 + 6] = 44;
	v = super(&in, 1000);
	CHECK(look(&v) == UVP_GSO_HEADERS);
}

/* Whatever is in a frame or in its virtio header: no byte outside of the frame is read (the
 * sanitizers watch: it stands at the end of a block of its own), no segment is too long. */
static void
test_garbage(void)
{
	struct uvp_job job;

	for (int i = 0; i < ROUNDS * 10; i++) {
		struct virtio_net_hdr v;
		uint8_t *frame, header[UVP_HEADER_MAX];
		uint32_t off, len, end;

		make_packet(&in, upto(1), true, 3000);
		v = super(&in, 1 + upto(2000));
		for (uint32_t n = upto(3); n > 0; n--)
			in.bytes[upto(upto(3) ? in.payload : in.len - 1)] = (uint8_t)rnd();
		for (uint32_t n = upto(2); n > 0; n--)
			((uint8_t *)&v)[upto(sizeof(v) - 1)] = (uint8_t)rnd();
		end = upto(2) ? in.len : upto(in.len);
		frame = malloc(end + !end);
		CHECK(frame != NULL);
		memcpy(frame, in.bytes, end);
		if (uvp_offload_check(&v, frame, end, FRAME_MAX, &job) == UVP_OK) {
			uvp_offload_finish(&job, frame);
			for (uint32_t n = 0; n < job.nb_segs; n++) {
				uvp_offload_segment(&job, frame, n, header, &off, &len);
				CHECK(len > 0 && off + len <= end);
				CHECK(job.header_len + len <= FRAME_MAX + 8);
			}
		}
		free(frame);
	}
}

/* ---------------------------------------------------------------------------------------- merging
 */

/* The segments of the packet `in`, as they are on the fabric. */
static struct {
	uint8_t bytes[FRAME_MAX + 8];
	uint32_t len;
} seg[SUPER_MAX / 100];

static uint32_t
cut_packet(uint32_t size)
{
	struct virtio_net_hdr v = super(&in, size);
	struct uvp_job job;
	uint32_t off, len;

	CHECK(uvp_offload_check(&v, in.bytes, in.len, FRAME_MAX, &job) == UVP_OK);
	for (uint32_t i = 0; i < job.nb_segs; i++) {
		uvp_offload_segment(&job, in.bytes, i, seg[i].bytes, &off, &len);
		memcpy(seg[i].bytes + in.payload, in.bytes + off, len);
		seg[i].len = in.payload + len;
	}
	return job.nb_segs;
}

/* A packet in the middle of a stream, that a kernel would hand over as one. */
static void
make_stream(struct packet *p)
{
	uint8_t *tcp;

	do {
		make_ether(p, upto(1), upto(2));
		if (p->v6)
			make_ip6(p, 6, 0);
		else
			make_ip4(p, 6, 0);
		make_l4(p, true, 64000);
	} while (p->payload > UVP_MERGE_HEADER);
	tcp = p->bytes + p->l4;
	tcp[13] = (uint8_t)(0x10 | (upto(1) ? 8 : 0));
	set16(tcp + 18, 0);
}

/* Cut and joined again, a super-frame is what it was, but for the sums that are left to finish. */
static void
test_merge_undoes_segmentation(void)
{
	for (int i = 0; i < ROUNDS / 10; i++) {
		struct virtio_net_hdr v, was;
		struct uvp_merge m;
		uint32_t size, n;

		make_stream(&in);
		size = 100 + upto(FRAME_MAX - 100 - (in.payload - (in.l3 - 14)));
		was = super(&in, size);
		n = cut_packet(size);
		CHECK(uvp_merge_begin(&m, seg[0].bytes, seg[0].len));
		for (uint32_t k = 1; k < n; k++)
			CHECK(uvp_merge_add(&m, seg[k].bytes, seg[k].len));
		uvp_merge_end(&m, &v);
		CHECK(m.nb_segs == n && m.header_len == in.payload);
		CHECK(m.payload == in.len - in.payload);
		/* The checksum field holds the pseudo header's sum again, so all of it is the same.
		 */
		CHECK(memcmp(m.header, in.bytes, in.payload) == 0);
		if (n == 1)
			was.gso_type = 0, was.gso_size = 0, was.hdr_len = 0;
		CHECK(memcmp(&v, &was, sizeof(v)) == 0);
	}
}

static bool
joins(uint32_t a, uint32_t b)
{
	struct uvp_merge m;

	CHECK(uvp_merge_begin(&m, seg[a].bytes, seg[a].len));
	return uvp_merge_add(&m, seg[b].bytes, seg[b].len);
}

/* Every byte of a header that says something keeps segments apart when it differs. */
static void
test_merge_keeps_apart(void)
{
	for (int i = 0; i < ROUNDS / 10; i++) {
		make_stream(&in);
		in.len = in.payload + 3000;
		finish_ip(&in, 6, in.l4 + 16);
		cut_packet(1000);
		CHECK(joins(0, 1) && joins(1, 2));
		CHECK(!joins(0, 2) && !joins(1, 0) && !joins(0, 0) && !joins(2, 1));
		for (uint32_t b = 0; b < in.payload; b++) {
			uint32_t ip = b - in.l3, tcp = b - in.l4;
			uint8_t keep = seg[1].bytes[b], bit = (uint8_t)(1u << upto(7));
			bool sum = b == in.l4 + 16 || b == in.l4 + 17;

			if (b >= in.l3 && !in.v6 &&
			    b < in.l4) /* checksum; identification under DF */
				sum = ip == 10 || ip == 11 ||
				      ((ip == 4 || ip == 5) && (seg[1].bytes[in.l3 + 6] & 0x40));
			if (sum || (b >= in.l4 && tcp == 13 && bit == 8)) /* push */
				continue;
			seg[1].bytes[b] ^= bit;
			CHECK(!joins(0, 1));
			seg[1].bytes[b] = keep;
		}
		seg[0].bytes[in.l4 + 13] |= 8; /* a push is the end */
		CHECK(!joins(0, 1));
		CHECK(!joins(2, 1));
	}
}

static void
test_merge_has_an_end(void)
{
	struct uvp_merge m;
	uint32_t n = 1;

	make_stream(&in);
	in.len = in.payload + 3000;
	finish_ip(&in, 6, in.l4 + 16);
	in.bytes[in.l4 + 13] = 0x10;
	cut_packet(1000);
	CHECK(uvp_merge_begin(&m, seg[0].bytes, seg[0].len));
	for (; n < 100; n++) { /* the next one, again and again */
		uint8_t *ip = seg[1].bytes + in.l3, *tcp = seg[1].bytes + in.l4;
		uint32_t seq = be32(seg[0].bytes + in.l4 + 4) + n * 1000;

		set16(tcp + 4, seq >> 16);
		set16(tcp + 6, seq);
		if (!in.v6)
			set16(ip + 4, be16(seg[0].bytes + in.l3 + 4) + n);
		if (!uvp_merge_add(&m, seg[1].bytes, seg[1].len))
			break;
	}
	CHECK(n == m.nb_segs && n > 60);
	CHECK(in.payload - in.l3 + n * 1000 <= 65535 &&
	      in.payload - in.l3 + (n + 1) * 1000 > 65535);
}

/* Whatever is in the frames; the sanitizers watch. */
static void
test_merge_garbage(void)
{
	for (int i = 0; i < ROUNDS * 3; i++) {
		uint8_t *frame[2];
		struct virtio_net_hdr v;
		struct uvp_merge m;

		make_stream(&in);
		in.len = in.payload + 500;
		finish_ip(&in, 6, in.l4 + 16);
		cut_packet(250);
		for (uint32_t k = 0; k < 2; k++) {
			if (upto(3) == 0)
				seg[k].len = 1 + upto(seg[k].len - 1);
			frame[k] = malloc(seg[k].len);
			CHECK(frame[k] != NULL);
			memcpy(frame[k], seg[k].bytes, seg[k].len);
			for (uint32_t n = upto(2); n > 0; n--)
				frame[k][upto(seg[k].len - 1)] = (uint8_t)rnd();
		}
		if (uvp_merge_begin(&m, frame[0], seg[0].len)) {
			CHECK(m.header_len + m.payload == seg[0].len);
			if (uvp_merge_add(&m, frame[1], seg[1].len))
				CHECK(m.header_len < seg[1].len);
			uvp_merge_end(&m, &v);
		}
		free(frame[0]);
		free(frame[1]);
	}
}

#define RUN(test)                      \
	do {                           \
		printf("%s\n", #test); \
		fflush(stdout);        \
		test();                \
	} while (0)

int
main(void)
{
	const char *env = getenv("UVB_SEED");

	if (env != NULL)
		state = strtoull(env, NULL, 0);
	else
		CHECK(getrandom(&state, sizeof(state), 0) == sizeof(state));
	printf("UVB_SEED=%llu\n", (unsigned long long)state);
	RUN(test_sum);
	RUN(test_partial_checksums);
	RUN(test_udp_zero);
	RUN(test_nothing_to_do);
	RUN(test_segments);
	RUN(test_malformed_vnet);
	RUN(test_malformed_headers);
	RUN(test_garbage);
	RUN(test_merge_undoes_segmentation);
	RUN(test_merge_keeps_apart);
	RUN(test_merge_has_an_end);
	RUN(test_merge_garbage);
	return 0;
}
