/*
 * virtio_pci.c: the transport of pc and q35 (virtio 1.2, section 4.1). The
 * firmware has placed the BARs below 4 GiB; capabilities say what is where.
 */
#include "devices.h"
#include "kernel.h"
#include "variant.h"
#include "virtio.h"

#ifdef PCI

enum { VENDOR = 0x1af4, FIRST_DEVICE = 0x1040 };
enum { COMMAND = 4, CAPABILITIES = 0x34, COMMAND_MEMORY = 2, COMMAND_MASTER = 4, VENDOR_CAPABILITY = 9 };
enum { CAP_COMMON = 1, CAP_NOTIFY = 2, CAP_DEVICE = 4 };

/* struct virtio_pci_common_cfg */
enum {
	DEVICE_FEATURE_SELECT = 0, DEVICE_FEATURE = 4, DRIVER_FEATURE_SELECT = 8, DRIVER_FEATURE = 12, DEVICE_STATUS = 20,
	QUEUE_SELECT = 22, QUEUE_SIZE = 24, QUEUE_ENABLE = 28, QUEUE_NOTIFY_OFF = 30, QUEUE_DESC = 32, QUEUE_DRIVER = 40, QUEUE_DEVICE = 48,
};

static volatile uint32_t *reg32(struct virtio *dev, int offset)
{
	return (volatile uint32_t *)(dev->regs + offset);
}

static volatile uint16_t *reg16(struct virtio *dev, int offset)
{
	return (volatile uint16_t *)(dev->regs + offset);
}

static void write64(struct virtio *dev, int offset, uint64_t v)
{
	*reg32(dev, offset) = (uint32_t)v;
	*reg32(dev, offset + 4) = v >> 32;
}

static volatile uint8_t *bar(int d, int f, int i)
{
	uint32_t low = pci_read(d, f, 16 + 4 * i);

	if ((low & 4) && pci_read(d, f, 20 + 4 * i))
		panic("PCI device %d has its BAR %d above 4 GiB", d, i);
	return (volatile uint8_t *)(uint64_t)(low & ~15U);
}

static void read_capabilities(struct virtio *dev, int d, int f)
{
	for (int at = pci_read(d, f, CAPABILITIES) & 0xfc; at; at = pci_read(d, f, at) >> 8 & 0xfc) {
		uint32_t head = pci_read(d, f, at);
		volatile uint8_t *there;

		if ((head & 0xff) != VENDOR_CAPABILITY || pci_read(d, f, at + 12) == 0)
			continue; /* another's, or a window without a BAR */
		there = bar(d, f, pci_read(d, f, at + 4) & 0xff) + pci_read(d, f, at + 8);
		switch (head >> 24) {
		case CAP_COMMON:
			dev->regs = there;
			break;
		case CAP_NOTIFY:
			dev->notify = there;
			dev->notify_step = pci_read(d, f, at + 16);
			break;
		case CAP_DEVICE:
			dev->config = there;
		}
	}
}

bool transport_find(struct virtio *dev, uint32_t id)
{
	for (int d = 0; d < 32; d++)
		for (int f = 0; f < 8; f++)
			if (pci_read(d, f, 0) == ((FIRST_DEVICE + id) << 16 | VENDOR)) {
				pci_write(d, f, COMMAND, pci_read(d, f, COMMAND) | COMMAND_MEMORY | COMMAND_MASTER);
				read_capabilities(dev, d, f);
				return true;
			}
	return false;
}

uint8_t transport_status(struct virtio *dev)
{
	return dev->regs[DEVICE_STATUS];
}

void transport_set_status(struct virtio *dev, uint8_t status)
{
	dev->regs[DEVICE_STATUS] = status;
}

uint64_t transport_features(struct virtio *dev)
{
	uint64_t low;

	*reg32(dev, DEVICE_FEATURE_SELECT) = 0;
	low = *reg32(dev, DEVICE_FEATURE);
	*reg32(dev, DEVICE_FEATURE_SELECT) = 1;
	return (uint64_t)*reg32(dev, DEVICE_FEATURE) << 32 | low;
}

void transport_set_features(struct virtio *dev, uint64_t features)
{
	*reg32(dev, DRIVER_FEATURE_SELECT) = 0;
	*reg32(dev, DRIVER_FEATURE) = (uint32_t)features;
	*reg32(dev, DRIVER_FEATURE_SELECT) = 1;
	*reg32(dev, DRIVER_FEATURE) = features >> 32;
}

uint16_t transport_select(struct virtio *dev, uint16_t queue)
{
	*reg16(dev, QUEUE_SELECT) = queue;
	return *reg16(dev, QUEUE_SIZE);
}

void transport_enable(struct virtq *q)
{
	struct virtio *dev = q->dev;

	*reg16(dev, QUEUE_SIZE) = q->size;
	write64(dev, QUEUE_DESC, (uint64_t)q->desc);
	write64(dev, QUEUE_DRIVER, (uint64_t)&q->avail);
	write64(dev, QUEUE_DEVICE, (uint64_t)&q->used);
	q->bell = (volatile uint16_t *)(dev->notify + *reg16(dev, QUEUE_NOTIFY_OFF) * dev->notify_step);
	*reg16(dev, QUEUE_ENABLE) = 1;
}

void transport_notify(struct virtq *q)
{
	*q->bell = q->index;
}

#endif
