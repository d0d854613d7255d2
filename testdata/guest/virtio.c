/*
 * virtio.c: the part of virtio that no transport changes: the order in which a
 * device is set up (virtio 1.2, section 3.1.1), and split virtqueues (2.7).
 */
#include "kernel.h"
#include "virtio.h"

enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8 };
enum { DESC_NEXT = 1, DESC_WRITE = 2, AVAIL_NO_INTERRUPT = 1 };

/* Neither the compiler nor the CPU moves memory accesses across this. */
static void barrier(void)
{
	__asm__ volatile("mfence" ::: "memory");
}

bool virtio_open(struct virtio *dev, uint32_t id, uint64_t features)
{
	uint64_t offered;

	if (!transport_find(dev, id))
		return false;
	transport_set_status(dev, 0);
	while (transport_status(dev))
		;
	transport_set_status(dev, ACKNOWLEDGE);
	transport_set_status(dev, ACKNOWLEDGE | DRIVER);
	offered = transport_features(dev);
	if (!(offered & VIRTIO_F_VERSION_1))
		panic("virtio device %u offers features 0x%lx: no virtio 1", id, offered);
	dev->features = offered & (features | VIRTIO_F_VERSION_1);
	transport_set_features(dev, dev->features);
	transport_set_status(dev, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	if (!(transport_status(dev) & FEATURES_OK))
		panic("virtio device %u does not take features 0x%lx", id, dev->features);
	return true;
}

void virtio_start(struct virtio *dev)
{
	transport_set_status(dev, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

void virtq_init(struct virtq *q, struct virtio *dev, uint16_t index)
{
	uint16_t most = transport_select(dev, index);

	if (!most)
		panic("a virtio device has no queue %u", index);
	memset(q, 0, sizeof *q);
	q->dev = dev;
	q->index = index;
	q->size = most < VIRTQ_SIZE ? most : VIRTQ_SIZE;
	q->free_count = q->size;
	for (uint16_t i = 0; i < q->size; i++)
		q->desc[i].next = i + 1;
	q->avail.flags = AVAIL_NO_INTERRUPT;
	transport_enable(q);
}

int virtq_add(struct virtq *q, const struct piece *out, int outs, const struct piece *in, int ins)
{
	uint16_t head = q->free;

	if (outs + ins > q->free_count)
		return -1;
	for (int i = 0; i < outs + ins; i++) {
		const struct piece *p = i < outs ? &out[i] : &in[i - outs];
		struct virtq_desc *d = &q->desc[q->free];

		d->addr = (uint64_t)p->at;
		d->len = p->len;
		d->flags = (i < outs ? 0 : DESC_WRITE) | (i < outs + ins - 1 ? DESC_NEXT : 0);
		q->free = d->next;
	}
	q->free_count -= outs + ins;
	q->avail.ring[q->avail.idx % q->size] = head;
	barrier(); /* what the buffer is, before that there is one */
	*(volatile uint16_t *)&q->avail.idx = q->avail.idx + 1;
	return head;
}

void virtq_kick(struct virtq *q)
{
	barrier();
	transport_notify(q);
}

int virtq_take(struct virtq *q, uint32_t *written)
{
	uint16_t head, last;

	if (*(volatile uint16_t *)&q->used.idx == q->seen)
		return -1;
	barrier();
	head = q->used.ring[q->seen % q->size].id;
	*written = q->used.ring[q->seen % q->size].len;
	q->seen++;
	/* Its descriptors go back to the front of the list. */
	for (last = head, q->free_count++; q->desc[last].flags & DESC_NEXT; last = q->desc[last].next)
		q->free_count++;
	q->desc[last].next = q->free;
	q->free = head;
	return head;
}
