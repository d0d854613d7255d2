/*
 * virtio_mmio.c: the transport of a microvm (virtio 1.2, section 4.2). QEMU
 * fills the eight slots from the last one down.
 */
#include "devices.h"
#include "variant.h"
#include "virtio.h"

#ifndef PCI

enum {
	DEVICE_ID = 0x08, DEVICE_FEATURES = 0x10, DEVICE_FEATURES_SEL = 0x14, DRIVER_FEATURES = 0x20, DRIVER_FEATURES_SEL = 0x24,
	QUEUE_SEL = 0x30, QUEUE_NUM_MAX = 0x34, QUEUE_NUM = 0x38, QUEUE_READY = 0x44, QUEUE_NOTIFY = 0x50, STATUS = 0x70,
	QUEUE_DESC = 0x80, QUEUE_DRIVER = 0x90, QUEUE_DEVICE = 0xa0, CONFIG = 0x100,
};

static volatile uint32_t *reg(struct virtio *dev, int offset)
{
	return (volatile uint32_t *)(dev->regs + offset);
}

static void write64(struct virtio *dev, int offset, uint64_t v)
{
	*reg(dev, offset) = (uint32_t)v;
	*reg(dev, offset + 4) = v >> 32;
}

bool transport_find(struct virtio *dev, uint32_t id)
{
	for (int i = MMIO_SLOTS - 1; i >= 0; i--) {
		volatile uint32_t *s = mmio_slot(i);

		if (s[0] == MMIO_MAGIC && s[1] == 2 && s[DEVICE_ID / 4] == id) {
			dev->regs = (volatile uint8_t *)s;
			dev->config = dev->regs + CONFIG;
			return true;
		}
	}
	return false;
}

uint8_t transport_status(struct virtio *dev)
{
	return *reg(dev, STATUS);
}

void transport_set_status(struct virtio *dev, uint8_t status)
{
	*reg(dev, STATUS) = status;
}

uint64_t transport_features(struct virtio *dev)
{
	uint64_t low;

	*reg(dev, DEVICE_FEATURES_SEL) = 0;
	low = *reg(dev, DEVICE_FEATURES);
	*reg(dev, DEVICE_FEATURES_SEL) = 1;
	return (uint64_t)*reg(dev, DEVICE_FEATURES) << 32 | low;
}

void transport_set_features(struct virtio *dev, uint64_t features)
{
	*reg(dev, DRIVER_FEATURES_SEL) = 0;
	*reg(dev, DRIVER_FEATURES) = (uint32_t)features;
	*reg(dev, DRIVER_FEATURES_SEL) = 1;
	*reg(dev, DRIVER_FEATURES) = features >> 32;
}

uint16_t transport_select(struct virtio *dev, uint16_t queue)
{
	*reg(dev, QUEUE_SEL) = queue;
	return *reg(dev, QUEUE_NUM_MAX);
}

void transport_enable(struct virtq *q)
{
	*reg(q->dev, QUEUE_NUM) = q->size;
	write64(q->dev, QUEUE_DESC, (uint64_t)q->desc);
	write64(q->dev, QUEUE_DRIVER, (uint64_t)&q->avail);
	write64(q->dev, QUEUE_DEVICE, (uint64_t)&q->used);
	*reg(q->dev, QUEUE_READY) = 1;
}

void transport_notify(struct virtq *q)
{
	*reg(q->dev, QUEUE_NOTIFY) = q->index;
}

#endif
