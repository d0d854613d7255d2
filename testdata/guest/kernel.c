/*
 * kernel.c: the part of the app that plays Hermit's kernel: it takes the boot
 * information apart, reads the boot arguments as Hermit does, owns the console
 * and ends the machine as Hermit does. README.md says byte for byte what it
 * prints.
 */
#include "bootinfo.h"
#include "kernel.h"
#include "shlex.h"
#include "variant.h"

/* As if built with this HERMIT_LOG_LEVEL_FILTER; the environment overrides it. */
#define DEFAULT_LEVEL ERROR
#define HEAP_MIN (4UL << 20)

int argc, envc;
char **argv, **envp;
struct fdt_content boot;
uint64_t heap;

static enum level max_level = DEFAULT_LEVEL;
static bool clock_runs;

static long parse_boot_args(void);
static void set_level(void);

_Noreturn void kernel_main(const struct boot_info *info)
{
	long freq;

#ifdef OLD
	/* Kernels before 0.11 look into their page tables where the loader has mapped them; there is no exception handler yet. */
	(void)*(volatile uint64_t *)-4096UL;
#endif
	serial_init();
	serial_reset();
	map_memory();
	if (fdt_read((void *)info->fdt, &boot))
		panic("the boot information holds no device tree");
	heap = info->image_end;
	if (info->fdt + FDT_SIZE(boot.bootargs_len) > heap)
		heap = info->fdt + FDT_SIZE(boot.bootargs_len);
	heap = (heap + (2UL << 20) - 1) & -(2UL << 20);
	if (heap + HEAP_MIN > boot.memory[boot.memory_count - 1].end)
		panic("Not enough memory available!");

	freq = parse_boot_args();
	klog(INFO, "", "Welcome to Hermit " KERNEL_VERSION " (a stand-in for tests)");
	klog(INFO, "", "Architecture: x86_64");
	klog(INFO, "", "Enabled features: " FEATURES);
	klog(INFO, "", "Executable start: 0x%lx", info->image_start);
	klog(INFO, "", "Executable end:   0x%lx", info->image_end);

	cpu_init(freq);
	clock_runs = true;
	acpi_init();
	devices_init();
	klog(INFO, "", "Jumping into application");
	shut_down(app_main(), STATUS_LINE);
}

/* ---- boot arguments ---- */

static void *allocate(size_t n)
{
	void *p = (void *)heap;

	heap += (n + 15) & ~15UL;
	return p;
}

/* Where key is or would be in envp. */
static int env_index(const char *key, size_t n)
{
	int i = 0;

	while (i < envc && (memcmp(envp[i], key, n) || envp[i][n] != '='))
		i++;
	return i;
}

const char *env_var(const char *key)
{
	int i = env_index(key, strlen(key));

	return i < envc ? envp[i] + strlen(key) + 1 : NULL;
}

/* assignment is "K=V"; a later one replaces an earlier one. */
static void env_set(char *assignment)
{
	int i = env_index(assignment, find_char(assignment, '=') - assignment);

	if (i == envc)
		envc++;
	envp[i] = assignment;
}

static char *value_of(struct shlex *words, const char *word)
{
	char *value = shlex_next(words);

	if (!value)
		panic("The argument '%s' requires a value but none was supplied", word);
	return value;
}

static void env_set_option(struct shlex *words, const char *word, const char *key)
{
	char *value = value_of(words, word), *s = allocate(strlen(key) + strlen(value) + 2);

	memcpy(s, key, strlen(key));
	s[strlen(key)] = '=';
	memcpy(s + strlen(key) + 1, value, strlen(value) + 1);
	env_set(s);
}

/* A u16 as Rust reads one: an optional '+', digits, nothing else. */
static long parse_freq(const char *s)
{
	const char *kind = NULL;
	long v = 0;

	if (!*s)
		kind = "Empty";
	if (*s == '+' && s[1])
		s++;
	for (; *s && !kind; s++) {
		if (*s < '0' || *s > '9')
			kind = "InvalidDigit";
		else if ((v = v * 10 + *s - '0') > 65535)
			kind = "PosOverflow";
	}
	if (kind)
		panic("called `Result::unwrap()` on an `Err` value: ParseIntError { kind: %s }", kind);
	return v;
}

/*
 * Returns the MHz that -freq gave, or 0. Words that mean nothing are logged at
 * the end, when the environment has said whether to log.
 */
static long parse_boot_args(void)
{
	size_t n = boot.bootargs_len, unknown_count = 0;
	char *word, *image_path = NULL, **unknown, *copy;
	struct shlex words;
	long freq = 0;

	argv = allocate((n / 2 + 3) * sizeof *argv);
	envp = allocate((n / 2 + 3) * sizeof *envp);
	unknown = allocate((n / 2 + 3) * sizeof *unknown);
	argv[argc++] = "bin";
	copy = memcpy(allocate(n + 1), boot.bootargs, n);
	words = (struct shlex){ copy, copy + n };
	while ((word = shlex_next(&words))) {
		if (starts_with(word, "virtio_mmio.device="))
			continue; /* devices.c looks at the slots themselves */
		if (!strcmp(word, "-freq"))
			freq = parse_freq(value_of(&words, word));
		else if (!strcmp(word, "-ip"))
			env_set_option(&words, word, "HERMIT_IP");
		else if (!strcmp(word, "-mask"))
			env_set_option(&words, word, "HERMIT_MASK");
		else if (!strcmp(word, "-gateway"))
			env_set_option(&words, word, "HERMIT_GATEWAY");
		else if (!strcmp(word, "-mount"))
			env_set_option(&words, word, "UHYVE_MOUNT");
		else if (!strcmp(word, "--"))
			while ((word = shlex_next(&words)))
				argv[argc++] = word;
#ifdef OLD
		else if (find_char(word, '=') || image_path)
			panic("could not parse bootarg: %s", word);
#else
		else if (starts_with(word, "env=") && find_char(word + 4, '='))
			env_set(word + 4);
		else if (find_char(word, '=') || image_path)
			unknown[unknown_count++] = word;
#endif
		else
			image_path = word;
	}

	set_level();
	klog(INFO, "env", "bootargs = %s", boot.bootargs ? boot.bootargs : "");
	for (size_t i = 0; i < unknown_count; i++)
		klog(ERROR, "env", "could not parse bootarg: %s", unknown[i]);
	return freq;
}

/* ---- console and log ---- */

static char buffer[256];
static size_t buffered;

void console_flush(void)
{
	serial_write(buffer, buffered);
	buffered = 0;
}

void console_write(const char *s, size_t n)
{
	bool newline = false;

	if (n > sizeof buffer - buffered)
		console_flush();
	if (n >= sizeof buffer) {
		serial_write(s, n);
		return;
	}
	memcpy(buffer + buffered, s, n);
	buffered += n;
	for (size_t i = 0; i < n; i++)
		newline |= s[i] == '\n';
	if (newline)
		console_flush();
}

void print(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	format(console_write, fmt, ap);
	va_end(ap);
}

static const char *const level_names[] = { "OFF", "ERROR", "WARN", "INFO", "DEBUG" };

/* The first item without '=' in a list such as "warn,virtio=debug". Other names change nothing. */
static void set_level(void)
{
	const char *filter = env_var("HERMIT_LOG_LEVEL_FILTER");

	for (enum level l = OFF; filter && l <= DEBUG; l++) {
		size_t n = strlen(level_names[l]), i = 0;

		while (i < n && (filter[i] & ~0x20) == level_names[l][i])
			i++;
		if (i == n && (!filter[n] || filter[n] == ','))
			max_level = l;
	}
}

void klog(enum level level, const char *module, const char *fmt, ...)
{
	static const char *const colours[] = { "", "\033[31m", "\033[33m", "\033[32m", "\033[34m" };
	const char *no_color = env_var("NO_COLOR");
	bool plain = no_color && *no_color;
	va_list ap;

	if (level > max_level)
		return;
	if (clock_runs)
		print("[%5lu.%06lu]", now_us() / 1000000, now_us() % 1000000);
	else
		print("[            ]");
	print("[0][%s%-5s%s %-10s] ", plain ? "" : colours[level], level_names[level], plain ? "" : "\033[0m",
	      *module ? module : "hermit");
	va_start(ap, fmt);
	format(console_write, fmt, ap);
	va_end(ap);
	print("\n");
}

/* ---- the end ---- */

_Noreturn void panic_at(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	print("[0][PANIC] panicked at %s:%d:\n", file, line);
	va_start(ap, fmt);
	format(console_write, fmt, ap);
	va_end(ap);
	print("\n\n");
	shut_down(1, STATUS_LINE);
}

/* An IDT without entries: the first exception ends in the third. */
_Noreturn void triple_fault(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) none = { 0, 0 };

	for (;;)
		__asm__ volatile("lidt %0; int3" ::"m"(none));
}

void debug_exit(int status)
{
	outl(0xf4, status == 0 ? 1 : 0);
	/* Where something listens: QEMU since 9 ends a moment later, and runs on until then. */
	for (int i = 0; i < 300000; i++)
		inb(0x80);
}

_Noreturn void shut_down(int status, enum last_words how)
{
	/* Hermit counts; a constant lets tests compare every byte. */
	print("Number of interrupts\n[0][Timer]: 1\n");
#ifdef OLD
	(void)how; /* had no status line, and asked ACPI first */
	acpi_power_off();
	debug_exit(status);
#else
	if (how == STATUS_LINE)
		print("exit status %d\n", status);
	debug_exit(status);
	acpi_power_off();
#endif
	triple_fault();
}
