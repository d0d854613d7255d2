/*
 * cpu.c: page tables, exceptions, the clock and idling. Time is the TSC divided by a
 * frequency that is found as Hermit finds it: CPUID, then -freq, then a guess,
 * so a wrong -freq gives wrong times here too. The APIC timer, which runs at
 * 1 GHz in QEMU, only wakes naps and serves measure_mhz.
 */
#include "kernel.h"
#include "variant.h"

enum { GUESSED_MHZ = 2000, TIMER_VECTOR = 64, SPURIOUS_VECTOR = 255 };

/* Local APIC registers, Intel SDM volume 3, table 11-1. */
enum { APIC_EOI = 0xb0, APIC_SVR = 0xf0, APIC_LVT_TIMER = 0x320, APIC_COUNT = 0x380, APIC_NOW = 0x390, APIC_DIVIDE = 0x3e0 };

struct gate {
	uint16_t low, selector, flags, middle;
	uint32_t high, reserved;
};

extern char exception_stubs[], timer_stub[];

static struct gate idt[256] __attribute__((aligned(16)));
static uint64_t device_pages[512] __attribute__((aligned(4096)));
static volatile uint32_t *apic;
static unsigned mhz;

static void cpuid(uint32_t leaf, uint32_t r[4])
{
	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(0));
}

static uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

static uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (uint64_t)hi << 32 | lo;
}

bool cpu_has_rdseed(void)
{
	uint32_t r[4];

	cpuid(7, r);
	return r[1] & 1 << 18;
}

bool cpu_has_fsgsbase(void)
{
	uint32_t r[4];

	cpuid(7, r);
	return r[1] & 1 << 0;
}

/* QEMU's firmware configuration device knows: selector 5, 16 bits. */
unsigned cpu_count(void)
{
	unsigned n;

	outw(0x510, 5);
	n = inb(0x511);
	return n | inb(0x511) << 8;
}

static unsigned cpuid_mhz(void)
{
	uint32_t r[4], max;

	cpuid(0, r);
	max = r[0];
	if (max >= 0x16) {
		cpuid(0x16, r);
		if (r[0] & 0xffff)
			return r[0] & 0xffff;
	}
	if (max >= 0x15) {
		cpuid(0x15, r);
		if (r[0] && r[1] && r[2])
			return (uint64_t)r[2] * r[1] / r[0] / 1000000;
	}
	cpuid(1, r);
	if (r[2] & 1U << 31) { /* a hypervisor */
		cpuid(0x40000000, r);
		if (r[0] >= 0x40000010) {
			cpuid(0x40000010, r);
			return r[0] / 1000;
		}
	}
	return 0;
}

enum { PRESENT = 1, WRITABLE = 2, UNCACHED = 0x18, HUGE = 0x80 };

static uint64_t *table(uint64_t entry)
{
	return (uint64_t *)(entry & 0xffffffffff000);
}

/* Identity-maps what of a table's range is not mapped yet, size bytes an entry. */
static void fill(uint64_t *entries, uint64_t start, uint64_t size, int flags)
{
	for (uint64_t i = 0; i < 512; i++)
		if (!(entries[i] & PRESENT))
			entries[i] = (start + i * size) | flags;
}

/*
 * New loaders map all memory, old ones only the image: complete the first GiB,
 * tables within tables. And map the last GiB below 4 GiB, where devices are.
 */
void map_memory(void)
{
	uint64_t cr3, *level3, *level2;

	__asm__("mov %%cr3, %0" : "=r"(cr3));
	level3 = table(table(cr3)[0]);
	if (!(level3[0] & HUGE)) {
		level2 = table(level3[0]);
		for (uint64_t i = 0; i < 512; i++)
			if ((level2[i] & (PRESENT | HUGE)) == PRESENT)
				fill(table(level2[i]), i << 21, 4096, PRESENT | WRITABLE);
		fill(level2, 0, 2 << 20, PRESENT | WRITABLE | HUGE);
	}
	if (!(level3[3] & PRESENT)) {
		fill(device_pages, 3UL << 30, 2 << 20, PRESENT | WRITABLE | UNCACHED | HUGE);
		level3[3] = (uint64_t)device_pages | PRESENT | WRITABLE;
	}
}

static void set_gate(int vector, const char *stub)
{
	uint64_t at = (uint64_t)stub;
	uint16_t cs;

	__asm__("mov %%cs, %0" : "=r"(cs));
	idt[vector] = (struct gate){ at & 0xffff, cs, 0x8e00, at >> 16 & 0xffff, at >> 32, 0 };
}

struct exception_frame {
	uint64_t vector, error_code, rip, cs, rflags, rsp, ss;
};

_Noreturn void exception(const struct exception_frame *f)
{
	uint64_t cr2;

	__asm__("mov %%cr2, %0" : "=r"(cr2));
	panic("exception %lu, error code 0x%lx, rip 0x%lx, cr2 0x%lx", f->vector, f->error_code, f->rip, cr2);
}

static void interrupts_init(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idtr = { sizeof idt - 1, (uint64_t)idt };

	for (int i = 0; i < 32; i++)
		set_gate(i, exception_stubs + 16 * i);
	set_gate(TIMER_VECTOR, timer_stub);
	set_gate(SPURIOUS_VECTOR, timer_stub);
	__asm__("lidt %0" ::"m"(idtr));

	outb(0x21, 0xff); /* nothing from the PICs, where there are any */
	outb(0xa1, 0xff);
	apic = (uint32_t *)(rdmsr(0x1b) & 0xffffff000);
	apic[APIC_SVR / 4] = 0x100 | SPURIOUS_VECTOR;
	apic[APIC_DIVIDE / 4] = 0xb; /* by 1 */
	apic[APIC_LVT_TIMER / 4] = TIMER_VECTOR;
}

/* Hermit reads the time of day at boot; without a clock chip this never ends. */
static void wait_for_rtc(void)
{
	do
		outb(0x70, 0x8a);
	while (inb(0x71) & 0x80);
}

void cpu_init(long freq_mhz)
{
#if defined(PCI) && !defined(OLD)
	if (!cpu_has_fsgsbase()) {
		klog(ERROR, "processor", "FSGSBASE support is enabled, but the processor doesn't support it!");
		shut_down(1, STATUS_LINE);
	}
#endif
	interrupts_init();
	mhz = cpuid_mhz();
	if (!mhz)
		mhz = freq_mhz;
	if (!mhz) {
		klog(WARN, "processor", "could not find out the frequency, guessing %u MHz", GUESSED_MHZ);
		mhz = GUESSED_MHZ;
	}
	wait_for_rtc();
	if (!cpu_has_rdseed())
		klog(WARN, "entropy", "no RDSEED: random numbers are predictable");
}

unsigned cpu_mhz(void)
{
	return mhz;
}

uint64_t now_us(void)
{
	return rdtsc() / mhz;
}

void nap(unsigned us)
{
	apic[APIC_COUNT / 4] = us * 1000;
	__asm__ volatile("sti; hlt; cli");
	apic[APIC_EOI / 4] = 0;
}

void sleep_us(uint64_t us)
{
	uint64_t end = now_us() + us;

	while (now_us() < end)
		nap(1000);
}

/* Both clocks at one moment: another try if the host took its time in between. */
static uint64_t read_clocks(uint32_t *apic_left)
{
	uint64_t before, after;
	int tries = 0;

	do {
		before = rdtsc();
		*apic_left = apic[APIC_NOW / 4];
		after = rdtsc();
	} while (after - before > 50000 && ++tries < 1000);
	return before + (after - before) / 2;
}

unsigned measure_mhz(void)
{
	uint32_t start_left, left;
	uint64_t start, end;

	apic[APIC_LVT_TIMER / 4] = 0x10000 | TIMER_VECTOR; /* masked */
	apic[APIC_COUNT / 4] = UINT32_MAX;
	start = read_clocks(&start_left);
	do
		end = read_clocks(&left);
	while (start_left - left < 50000000);
	apic[APIC_LVT_TIMER / 4] = TIMER_VECTOR;
	return (end - start) * 1000 / (start_left - left);
}
