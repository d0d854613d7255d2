/*
 * virtio.h: what a driver needs of a virtio 1.x device: find it, agree on
 * features, and pass buffers through its queues. There are no interrupts:
 * a driver asks whether a buffer has come back.
 *
 *	virtio_open, virtq_init for each queue, virtio_start
 *
 * All memory is mapped one to one, so an address is the device's address too.
 */
#ifndef VIRTIO_H
#define VIRTIO_H

#include "lib.h"

enum { VIRTIO_NET = 1, VIRTIO_FS = 26 }; /* device ids, virtio 1.2, section 5 */

#define VIRTIO_F_VERSION_1 (1ULL << 32)

struct virtio {
	uint64_t features;       /* agreed on, by virtio_open */
	volatile uint8_t *config; /* of this kind of device */
	volatile uint8_t *regs;  /* virtio_mmio.c: the slot; virtio_pci.c: the common configuration */
	volatile uint8_t *notify; /* virtio_pci.c only */
	uint32_t notify_step;
};

/* At most this many descriptors of a queue are used. */
#define VIRTQ_SIZE 64

struct virtq {
	struct virtq_desc {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} desc[VIRTQ_SIZE] __attribute__((aligned(16)));
	struct virtq_avail {
		uint16_t flags, idx, ring[VIRTQ_SIZE];
	} avail __attribute__((aligned(4)));
	struct virtq_used {
		uint16_t flags, idx;
		struct {
			uint32_t id, len;
		} ring[VIRTQ_SIZE];
	} used __attribute__((aligned(4)));

	struct virtio *dev;
	uint16_t index, size;
	uint16_t free, free_count; /* unused descriptors are a list */
	uint16_t seen;             /* of used.idx */
	volatile uint16_t *bell;   /* virtio_pci.c: where to notify */
};

/* A buffer is made of pieces: first those that the device reads, then those that it writes. */
struct piece {
	void *at;
	uint32_t len;
};

/* virtio.c. The first device of this kind; false if there is none. It stands still until virtio_start. */
bool virtio_open(struct virtio *dev, uint32_t id, uint64_t features);
void virtio_start(struct virtio *dev);
void virtq_init(struct virtq *q, struct virtio *dev, uint16_t index);

/* Hands a buffer to the device and returns its number, -1 if the queue is full. virtq_kick tells the device. */
int virtq_add(struct virtq *q, const struct piece *out, int outs, const struct piece *in, int ins);
void virtq_kick(struct virtq *q);

/* The number of a buffer that came back, and how much was written into it; -1 if none has. */
int virtq_take(struct virtq *q, uint32_t *written);

/* The transport: virtio_mmio.c or virtio_pci.c. */
bool transport_find(struct virtio *dev, uint32_t id);
uint8_t transport_status(struct virtio *dev);
void transport_set_status(struct virtio *dev, uint8_t status); /* 0 resets */
uint64_t transport_features(struct virtio *dev);
void transport_set_features(struct virtio *dev, uint64_t features);
uint16_t transport_select(struct virtio *dev, uint16_t queue); /* returns its greatest size, 0: there is none */
void transport_enable(struct virtq *q);                        /* the selected one */
void transport_notify(struct virtq *q);

#endif
