/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What stack/sock needs of core/ and of sock/stack.c, for one instance in one thread. */
#include "stack/fuzz/sockhost.h"
#include "stack/fuzz/failing.h"
#include "stack/fuzz/host.h"

#include "stack/core/log.h"
#include "stack/core/share.h"
#include "stack/sock/sock_priv.h"
#include "stack/sock/stack.h"

#undef malloc
#undef calloc

struct uvs_instance sockhost;
__thread struct uvs_instance *uvs_self;

static struct uvs_conf conf;
static struct uvs_sock_ports ports;
static struct uvs_sock_tables tables;
static unsigned int pressure;

/* ---- life --------------------------------------------------------------------------------------
 */

static int
host_gettime(clockid_t clock, struct timespec *t)
{
	(void)clock;
	*t = uvs_clock_timespec(uvl_now_us() * UVS_NS_PER_US);
	return 0;
}

static void
open_ports(void)
{
	memset(&ports, 0, sizeof(ports));
	memset(&tables, 0, sizeof(tables));
	tables.tcp = (struct uvs_ports){.all = &ports.tcp, .tcp = true};
	tables.udp.all = &ports.udp;
	for (int v6 = 0; v6 < 2; v6++)
		tables.ping[v6].all = &ports.ping[v6];
}

void
sockhost_up(void)
{
	uvs_clock_gettime = host_gettime;
	uvs_conf_defaults(&conf);
	open_ports();
	pressure = 0;
	memset(&sockhost, 0, sizeof(sockhost));
	sockhost.conf = &conf;
	sockhost.seen = &sockhost.unseen;
	sockhost.sock = &tables;
	uvs_self = &sockhost;
	host_up(&sockhost.netif);
	sockhost.netif.state = &sockhost;
	sockhost.netif.num = UVS_IFINDEX_PORT - 1;
	sockhost.lwip = fuzz_uvl;
	if (uvs_icmp_start(&sockhost) < 0)
		abort();
}

void
sockhost_down(void)
{
	host_down();
	uvs_self = NULL;
}

void
sockhost_memory(unsigned int level)
{
	pressure = level;
	if (pressure == 0)
		uvs_feed(&sockhost);
}

void
sockhost_settle(void)
{
	netif_poll(&sockhost.netif);
}

/* ---- core/ ------------------------------------------------------------------------------------
 */

static long
call_here(struct uvs_instance *in, uvs_call_fn fn, void *arg)
{
	long r;

	sockhost.now_ns = uvs_clock_ns();
	r = fn(arg);
	netif_poll(&in->netif);
	return r;
}

static const struct uvs_model model = {.name = "fuzz", .call = call_here};
const struct uvs_model *uvs_model = &model;

void
uvs_inst_defer(struct uvs_instance *in, struct uvs_deferred *d)
{
	(void)in;
	d->run(d);
}

void
uvs_inst_lost(struct uvs_instance *in, enum uvs_lost why, const struct rte_mbuf *m)
{
	(void)m;
	in->seen->lost[why].count++;
}

void
uvs_log(enum uvs_conf_log level, const char *fmt, ...)
{
	(void)level;
	(void)fmt;
}

void
uvs_waiter_wake(struct uvs_waiter *w)
{
	(void)w;
}

void
uvs_share_connected(struct uvs_instance *in, struct udp_pcb *pcb)
{
	(void)in;
	(void)pcb;
}

void
uvs_share_disconnected(struct uvs_instance *in, struct udp_pcb *pcb)
{
	(void)in;
	(void)pcb;
}

/* ---- packet memory ----------------------------------------------------------------------------
 */

void *
failing_malloc(size_t size)
{
	return host_fails() ? NULL : malloc(size);
}

void *
failing_calloc(size_t count, size_t size)
{
	return host_fails() ? NULL : calloc(count, size);
}

uint32_t
uvs_mem_avail(const struct uvs_mem *m)
{
	(void)m;
	return pressure == 0 ? UINT32_MAX : 0;
}

bool
uvs_mem_tight(const struct uvs_mem *m)
{
	(void)m;
	return pressure >= 1;
}

bool
uvs_mem_full(const struct uvs_mem *m)
{
	(void)m;
	return pressure >= 2;
}

struct uvs_packet_note *
uvs_pbuf_note(const struct uvs_mem *m, struct pbuf *p)
{
	struct host_packet *packet = (struct host_packet *)(void *)p - 1;

	_Static_assert(sizeof(packet->note) >= sizeof(struct uvs_packet_note), "");
	(void)m;
	return (struct uvs_packet_note *)(void *)packet->note;
}

uint32_t
uvs_pbuf_tailroom(const struct uvs_mem *m, const struct pbuf *p)
{
	const struct host_packet *packet = (const struct host_packet *)(const void *)p - 1;

	(void)m;
	if (!pbuf_match_type(p, PBUF_RAM))
		return 0;
	return (uint32_t)((const char *)p + packet->size - ((const char *)p->payload + p->len));
}

bool
uvs_pbuf_adopt(const struct uvs_mem *m, struct pbuf *p)
{
	(void)m;
	(void)p;
	return false;
}

bool
uvs_pbuf_adopted(const struct pbuf *p)
{
	(void)p;
	return false;
}

struct pbuf *
uvs_pbuf_unpin(struct uvs_mem *m, struct pbuf *p)
{
	(void)m;
	return p;
}

/* ---- sock/stack.c -----------------------------------------------------------------------------
 */

uint32_t
uvs_stack_epoch(void)
{
	return 1;
}

bool
uvs_stack_may_bind_low(void)
{
	return true;
}

bool
uvs_stack_has(const struct uvs_instance *in)
{
	return in == &sockhost;
}

int
uvs_stack_ready(struct uvs_instance *in)
{
	(void)in;
	return 0;
}

struct uvs_instance *const *
uvs_stack_instances(unsigned int *n)
{
	static struct uvs_instance *const all[] = {&sockhost};

	*n = 1;
	return all;
}

struct uvs_sock_tables *
uvs_tables(struct uvs_instance *in)
{
	return in->sock;
}
