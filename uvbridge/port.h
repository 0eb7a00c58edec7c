/* SPDX-License-Identifier: BSD-3-Clause
 *
 * uvbridge/port.h - being a port of a fabric. Used by the uveth driver, the non-DPDK ports and,
 * through libuvbridge.so, by test programs. libc only; no EAL.
 *
 * Threads: a txq or rxq handle is used by one thread at a time (as ethdev queues are); different
 * queues by different threads. Everything that takes a struct uvb_dev is for one thread at a time,
 * except where stated. No function blocks unless it says so; none takes a lock another process
 * could hold.
 *
 * Errors: functions that can fail return a negative errno and, where there is an `err` buffer, one
 * sentence that names the thing, the cause and the remedy.
 */
#ifndef UVBRIDGE_PORT_H
#define UVBRIDGE_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "uvbridge/abi.h"

#ifdef __cplusplus
extern "C" {
#endif

#define UVB_ERR_LEN 256

struct uvb_dev; /* an attached port, as this process sees it */
struct uvb_txq;
struct uvb_rxq;

struct uvb_attach {
	const char *fabric; /* name, or absolute path of the fabric's directory */
	const char *name;   /* of the port; NULL or "": the daemon picks one ("port7") */
	uint8_t mac[6];     /* all zero: derived from fabric and port name, locally administered */
	uint16_t nb_rxq;    /* 1 .. nb_queues of the fabric; 0: as many as there are */
	uint16_t nb_txq;
	enum uvb_port_kind kind;
	bool joinable; /* other processes may join it */
	bool shared;   /* they may, and the port outlives its owner as long as a process that joined
			  lives */
	bool adopt;    /* be the owner of the shared port `name`, whose own has died */
};

/* Attach. Blocks for the daemon's answer, at most 2 s. On success *dev is owned by the caller; the
 * port is attached but not started: publish a configuration with UVB_CONF_STARTED.
 * -ENOENT no such fabric, -ETIMEDOUT the daemon does not answer, -EPROTO versions differ,
 * -EEXIST the name is attached already, -ENOSPC no free port, -EACCES, -EINVAL.
 * With adopt: the port goes on as it was, configuration (uvb_conf_get()) and generation too; queues
 * are to be taken. -ENOENT there is no such port, -EBUSY it has an owner. */
int uvb_open(const struct uvb_attach *req, struct uvb_dev **dev, char err[UVB_ERR_LEN]);

/* A port that another process has attached. */
struct uvb_join {
	const char *fabric; /* its directory, uvb_path() of the owner */
	uint64_t epoch;     /* uvb_hdr()->epoch */
	uint32_t gen;       /* uvb_gen() */
	uint16_t port;      /* uvb_id() */
	bool look;          /* only look: tell nobody, use no queue */
};

/* Be a further process of a port (abi.h, "member"). Queues are to be taken before they are used.
 * Blocks for the daemon's answer, at most 2 s; not with `look`, which needs no daemon.
 * -EPERM the port was not attached as one that others may join, -ESTALE the fabric or the port is
 * not the one it was, -ENOSPC UVB_MEMBERS_MAX processes, and as
 * uvb_open(). */
int uvb_join(const struct uvb_join *req, struct uvb_dev **dev, char err[UVB_ERR_LEN]);

/* The owner detaches: tells the daemon and waits until the link is down, at most 2 s. Frames still
 * in flight towards other ports are delivered; the port is reclaimed when its last process has
 * left. Another member leaves. Frees *dev. With the daemon gone it returns at once; a later daemon
 * does the rest. */
void uvb_close(struct uvb_dev *dev);

/* After fork(), in the child: forget the port without detaching it. */
void uvb_forget(struct uvb_dev *dev);

uint16_t uvb_id(const struct uvb_dev *dev);
const char *uvb_name(const struct uvb_dev *dev);
const char *uvb_path(const struct uvb_dev *dev);   /* absolute, of the fabric's directory */
uint32_t uvb_gen(const struct uvb_dev *dev);       /* generation: which attachment of the port */
const uint8_t *uvb_mac(const struct uvb_dev *dev); /* the address given or derived at attach */
const struct uvb_hdr *uvb_hdr(const struct uvb_dev *dev);
uint16_t uvb_nb_rxq(const struct uvb_dev *dev); /* queues attached with */
uint16_t uvb_nb_txq(const struct uvb_dev *dev);
uint32_t uvb_frame_max(const struct uvb_dev *dev); /* bytes of the longest frame one can send */

/* Link: up while this attachment is the one the segment knows (so it stays up while the daemon is
 * stopped or dead). Any thread. */
bool uvb_link(const struct uvb_dev *dev);

/* The fabric's clock, ns: CLOCK_MONOTONIC, or what a test has made of it. Any thread. */
uint64_t uvb_clock(const struct uvb_dev *dev);

/* Carrier, as a NIC sees it: attached, and not put down by the switch (`uvbridge vf … state`, an
 * adapter's uplink). Any thread. */
bool uvb_carrier(const struct uvb_dev *dev);

/* The header in the segment, with the words that change: for uvb_clock_ns(). */
const struct uvb_hdr *uvb_live_hdr(const struct uvb_dev *dev);

/* Follow the clock (abi.h, "Clock"): before sleeping, all queues armed, until when there is nothing
 * to do; UVB_BUSY when awake. Concerns the queues this process polls, and those it takes later. Any
 * one thread at a time. */
void uvb_idle(struct uvb_dev *dev, uint64_t until);

/* Descriptor that becomes readable (EOF) when the daemon goes away; -1 if it already has. */
int uvb_control_fd(const struct uvb_dev *dev);

/* A configuration with everything at its default for this port: its MAC, MTU 1500, the key of the
 * Microsoft specification's verification suite, 128 RETA entries round robin, all hash types. */
void uvb_conf_default(const struct uvb_dev *dev, struct uvb_conf *conf);

/* The configuration in force. -EAGAIN if it changed meanwhile: try again. */
int uvb_conf_get(const struct uvb_dev *dev, struct uvb_conf *conf);

/* Check and publish. -EINVAL and a sentence if it makes no sense, -EPERM if this process is not the
 * port's owner. */
int uvb_conf_set(struct uvb_dev *dev, const struct uvb_conf *conf, char err[UVB_ERR_LEN]);

/* --------------------------------------------------------------------------------- flow rules */

/* Put a rule into a slot (below UVB_RULE_MAX) in place of the one there, or, with NULL, take that
 * one out. Senders obey from their next burst on, while the configuration has UVB_CONF_RULES. One
 * writer: the owner. -EINVAL and a sentence if the rule makes no sense, -ENOSPC if there are too
 * many of its kind, -ENODEV when the fabric went down. */
int uvb_rule_set(struct uvb_dev *dev, uint16_t slot, const struct uvb_rule *rule,
		 char err[UVB_ERR_LEN]);

/* The rule in a slot; its fate is UVB_FATE_NONE if there is none. */
void uvb_rule_get(const struct uvb_dev *dev, uint16_t slot, struct uvb_rule *rule);

/* For people, on one line without its end. */
void uvb_rule_print(FILE *f, const struct uvb_rule *rule);

/* What a slot's rules have counted since the fabric began: it only grows. Any thread. */
void uvb_rule_count(const struct uvb_dev *dev, uint16_t slot, uint64_t *frames, uint64_t *bytes);

/* -------------------------------------------------------------------- queues of several processes
 *
 * A queue is used by one thread of one process at a time. It changes hands like this:
 *   1. who had it does not touch it any more, or has died;
 *   2. reset, by anyone of the port: whatever was left half done is brought to an end;
 *   3. take, by who gets it: its handle forgets what this process once knew of the queue.
 * The processes agree on who has which by their own means. The owner has taken all of them at the
 * attach; handles keep their address as long as the device. */

/* Throw away what waits (counted as `lost`). Who sleeps on the queue is woken. -ENODEV, -EPERM
 * (only looks). */
int uvb_rxq_reset(struct uvb_dev *dev, uint16_t rxq);
/* Finish what was published, free what was not. */
int uvb_txq_reset(struct uvb_dev *dev, uint16_t txq);

/* NULL: no memory, no such queue, or this process only looks. */
struct uvb_rxq *uvb_rxq_take(struct uvb_dev *dev, uint16_t rxq);
struct uvb_txq *uvb_txq_take(struct uvb_dev *dev, uint16_t txq);

/* ----------------------------------------------------------------------------------- transmit */

struct uvb_seg {
	const void *base;
	uint32_t len;
};

/* A frame to send: Ethernet, without FCS. The memory is the caller's again when the call returns.
 */
struct uvb_frame {
	const struct uvb_seg *seg;
	uint16_t nb_seg; /* 1 .. */
	uint16_t flags;  /* UVB_CELL_CSUM_OK or 0 */
	uint32_t len;    /* sum of the segments */
};

struct uvb_txq *uvb_txq(struct uvb_dev *dev, uint16_t txq); /* NULL: not taken */

/* Send a burst: switch, filter, hash, copy, publish, and wake who sleeps. Returns how many frames
 * were taken, from the first on; fewer than n only when all cells of the queue are in flight, or
 * the queue is patient. A frame that was taken is delivered or counted under the name of its drop.
 */
uint16_t uvb_tx_burst(struct uvb_txq *q, const struct uvb_frame *frame, uint16_t n);

/* Flow control, for a port whose other side can wait: a frame to a full ring ends the burst instead
 * of being dropped, unless its receiver has taken nothing for `us` microseconds. The frames behind
 * it wait, too, so this is for queues that have one other side. 0: drop at once, the default. A
 * frame that a fault has looked at never waits. */
void uvb_tx_patience(struct uvb_txq *q, uint32_t us);

/* A TCP super-frame, or one of UDP: headers once, and the payload of many segments (TSO, USO; the
 * kernel's GSO). All offsets are within the frame's first segment, which holds all of the headers.
 */
struct uvb_gso {
	uint16_t size;       /* payload of each segment but the last; not 0 */
	uint16_t header_len; /* Ethernet to TCP: offset of the payload, at most UVB_GSO_HEADER */
	uint16_t l3, l4;     /* offsets of the IP and the TCP or UDP header */
	bool ipv6, udp;
};
#define UVB_GSO_HEADER 256
#define UVB_GSO_SEGS   160   /* segments of memory of one super-frame */
#define UVB_GSO_L3_MAX 65535 /* bytes from the IP header on */

enum uvb_gso_sent {
	UVB_GSO_NO_CELL, /* not taken: every cell is in flight */
	UVB_GSO_WHOLE,   /* one frame, to a port that takes such */
	UVB_GSO_CUT,     /* as many frames as a NIC with TSO would have sent */
};

/* Send a super-frame of at least one byte of payload. The L4 checksum field holds the sum of the
 * pseudo header for all of the payload, not complemented; lengths, checksums, sequence numbers,
 * IPv4 identifications and flags of what is sent are made here. A receiver that asked for it
 * (uvb_conf.gso_max) gets a known unicast super-frame whole, everybody else segments. Once the
 * first segment is taken all are: those that then find no cell are dropped as UVB_TXD_NO_CELL. */
enum uvb_gso_sent uvb_tx_gso(struct uvb_txq *q, const struct uvb_frame *frame,
			     const struct uvb_gso *gso);

/* Cells of this queue that are free now (a scan; for descriptor status and the ledger). */
uint32_t uvb_tx_free(const struct uvb_txq *q);

/* ------------------------------------------------------------------------------------ receive */

/* A received frame, still in the sender's cell. */
struct uvb_rx_frame {
	const struct uvb_cell *cell; /* first cell; read-only */
	const void *data;            /* of the first cell */
	uint32_t len;                /* of the whole frame, checked */
	uint32_t hash;               /* valid if flags & UVB_CELL_HASH */
	uint16_t flags;              /* UVB_CELL_* */
	uint16_t src_port;
	uint16_t nb_cells; /* more than one: the rest by uvb_rx_read() */
	uint16_t index;    /* of the frame in its burst */
};

struct uvb_rxq *uvb_rxq(struct uvb_dev *dev, uint16_t rxq); /* NULL: not taken */

/* Look at up to n frames, deficit round robin over the sources by bytes. They stay valid until
 * uvb_rx_done(), which must come before the next peek. */
uint16_t uvb_rx_peek(struct uvb_rxq *q, struct uvb_rx_frame *frame, uint16_t n);

/* Copy bytes [off, off + len) of a peeked frame, across its cells. Returns how many were copied:
 * fewer than len only past the end of the frame (or of a chain its sender has scribbled over). */
uint32_t uvb_rx_read(const struct uvb_rxq *q, const struct uvb_rx_frame *frame, uint32_t off,
		     void *dst, uint32_t len);

/* Give every peeked frame's cell back to its sender, count them as received but for the last
 * `nombuf` ones, which are counted as dropped for want of a buffer. */
void uvb_rx_done(struct uvb_rxq *q, uint16_t nombuf);

/* Frames waiting now, over all sources (descriptor status, ethdev's rx_queue_count). */
uint32_t uvb_rx_count(const struct uvb_rxq *q);

/* Throw away everything waiting. */
void uvb_rx_flush(struct uvb_rxq *q);

/* The queue's bell: readable when it rang. For poll/epoll; never read it yourself. */
int uvb_rxq_fd(const struct uvb_rxq *q);
int uvb_bell_fd(const struct uvb_dev *dev, uint16_t rxq); /* the same; -1: no such queue */

/* Ask for the bell. Returns true when it is safe to sleep, false when there is work already (the
 * queue is then not armed; with `ring` the bell is rung, so that a poll returns at once). */
bool uvb_rx_arm(struct uvb_rxq *q, bool ring);

/* Back to polling: takes what the bell holds. */
void uvb_rx_disarm(struct uvb_rxq *q);

/* --------------------------------------------------------------------------------- observing */

/* Counters as the segment has them now: each is read by itself and only ever grows (a port that
 * starts over remembers where it started). Any thread; slow path, it reads the other ports' words.
 */
struct uvb_rxq_stats {
	uint64_t packets, bytes, nombuf, stale, bad, sleeps, wakes, lost; /* struct uvb_rxq_shm */
	uint64_t full; /* for this queue, dropped by their senders: its voqs were full */
};
struct uvb_txq_stats {
	uint64_t packets, bytes, flooded, copies, no_cell, limited, bells,
		drops[UVB_TXD_MAX];      /* struct uvb_txq_shm */
	uint64_t pair_drops[UVB_PD_MAX]; /* of its frames, over all destinations */
	uint64_t full;                   /* of its frames: the destination's voq was full */
	uint64_t fault_dups;             /* frames more than were sent: copies made by faults */
};
uint32_t uvb_rxq_waiting(const struct uvb_dev *dev, uint16_t rxq);    /* uvb_rx_count() */
uint32_t uvb_txq_free_cells(const struct uvb_dev *dev, uint16_t txq); /* uvb_tx_free() */
void uvb_rxq_stats(const struct uvb_dev *dev, uint16_t rxq, struct uvb_rxq_stats *stats);
void uvb_txq_stats(const struct uvb_dev *dev, uint16_t txq, struct uvb_txq_stats *stats);

/* Frames for this port which their senders dropped on its behalf, over all sources. */
void uvb_rx_drops(const struct uvb_dev *dev, uint64_t drops[UVB_PD_MAX]);

struct uvb_view; /* a fabric mapped read-only */

/* Map a fabric to look at it; needs no daemon that answers. */
int uvb_view_open(const char *fabric, struct uvb_view **view, char err[UVB_ERR_LEN]);
void uvb_view_close(struct uvb_view *view);

/* The state of the whole fabric as one JSON object (schema: docs/uvbridge.md). The string is the
 * caller's, to free(). Counters are read one by one: a snapshot of each, not of all. */
char *uvb_view_json(struct uvb_view *view);

#ifdef __cplusplus
}
#endif
#endif /* UVBRIDGE_PORT_H */
