/*
 * app.c: the application half: it does what its arguments say. Commands follow
 * each other, separated by ";" as an argument of its own. README.md lists them.
 */
#include "fs.h"
#include "fuse.h"
#include "kernel.h"
#include "variant.h"

/* The arguments of one command: from argv[next] up to the next ";". */
static int next, end;

static int final_status;

static const char *argument(void)
{
	return next < end ? argv[next++] : NULL;
}

static _Noreturn void usage(const char *problem, const char *what)
{
	print("%s: %s\n", problem, what);
	shut_down(2, STATUS_LINE);
}

static long number(long otherwise)
{
	const char *s = argument();
	long v = otherwise;

	if (s && !parse_int(s, &v))
		usage("not a number", s);
	return v;
}

/* Go's strconv.Unquote undoes this. */
static void print_quoted(const char *s)
{
	print("\"");
	for (; *s; s++) {
		unsigned char c = *s;

		if (c == '"' || c == '\\')
			print("\\%c", c);
		else if (c == '\n')
			print("\\n");
		else if (c < ' ' || c == 0x7f)
			print("\\x%02x", c);
		else
			print("%c", c);
	}
	print("\"");
}

static void hello(void)
{
	print("Hello from Hermit's stand-in!\n");
}

/* All arguments, so nothing can follow it. */
static void args(void)
{
	for (int i = 0; i < argc; i++) {
		print("arg[%d]=", i);
		print_quoted(argv[i]);
		print("\n");
	}
	next = end = argc;
}

static void env(void)
{
	for (int i = 0; i < envc; i++) {
		print("env[%d]=", i);
		print_quoted(envp[i]);
		print("\n");
	}
}

static void print_words(void)
{
	const char *s;

	for (bool first = true; (s = argument()); first = false)
		print(first ? "%s" : " %s", s);
}

static void mem(void)
{
	uint64_t total = 0;

	for (int i = 0; i < boot.memory_count; i++) {
		struct range r = boot.memory[i];

		print("memory[%d]=0x%lx-0x%lx\n", i, r.start, r.end);
		total += r.end - r.start;
	}
	print("memory=%lu\n", total);
}

/* Writes to one byte in every page of that many MiB, or of all memory. */
static void touch(void)
{
	uint64_t at = heap, stop;
	long pages = number(-1) * 256;

	for (int i = 0; i < boot.memory_count; i++) {
		if (at < boot.memory[i].start)
			at = boot.memory[i].start;
		stop = boot.memory[i].end;
		for (; at < stop && pages; at += 4096, pages--)
			*(volatile char *)at = 1;
	}
	print("touched\n");
}

static void cpu(void)
{
	print("cpus=%u mhz=%u fsgsbase=%d rdseed=%d\n", cpu_count(), cpu_mhz(), cpu_has_fsgsbase(), cpu_has_rdseed());
}

static void freq(void)
{
	print("mhz=%u measured=%u\n", cpu_mhz(), measure_mhz());
}

/* As Hermit's read(2) on the console: waits, and echoes what it got. */
static int read_byte(void)
{
	int c;
	char b;

	/* QEMU needs time without port accesses to bring the next byte. */
	for (int tries = 0; (c = serial_read()) < 0; tries++)
		nap(tries < 20 ? 20 : 5000);
	b = (char)c;
	console_write(&b, 1);
	console_flush();
	return c;
}

/*
 * Reads N bytes, or up to ^D or a line that is "quit". They come back once by
 * the kernel's echo; cat writes them a second time.
 */
static void read_input(bool write)
{
	long limit = number(-1), n = 0;
	char line[6];
	unsigned len = 0;

	while (n != limit) {
		char c = (char)read_byte();

		n++;
		if (write) {
			console_write(&c, 1);
			console_flush();
		}
		if (limit >= 0)
			continue;
		if (c == 4)
			return;
		if (c != '\n' && c != '\r') {
			if (len < sizeof line)
				line[len++] = c;
			continue;
		}
		if (len == 4 && !memcmp(line, "quit", 4))
			return;
		len = 0;
	}
}

static void count(void)
{
	long limit = number(0);

	for (long i = 1;; i++) {
		print("count %ld\n", i);
		if (i == limit)
			return;
		sleep_us(100000);
	}
}

/* The milliseconds since boot by the guest's own clock, ten times a second. */
static void clock_ms(void)
{
	long limit = number(0);

	for (long i = 1;; i++) {
		print("clock %lu\n", now_us() / 1000);
		if (i == limit)
			return;
		sleep_us(100000);
	}
}

/* Each byte there is, N times (once): what a line must not change. */
static void bytes(void)
{
	char all[256];

	for (int i = 0; i < 256; i++)
		all[i] = (char)i;
	for (long n = number(1); n > 0; n--)
		console_write(all, sizeof all);
}

static void button(void)
{
	if (!acpi_listen_button()) {
		print("no power button\n");
		return;
	}
	print("listening\n");
	while (!acpi_button_pressed())
		nap(10000);
	print("power button\n");
}

/* Byte i is '\n' where i % 64 == 63, else 'a' + (i / 64 + i % 64) % 26. */
static void burst(void)
{
	char line[64];
	long n = number(1 << 20);

	for (long i = 0; i < n; i++) {
		line[i % 64] = i % 64 == 63 ? '\n' : 'a' + (i / 64 + i % 64) % 26;
		if (i % 64 == 63 || i == n - 1)
			console_write(line, i % 64 + 1);
	}
}

/* What went wrong with a file; the commands after it still run. */
static void report(const char *command, const char *path, long r)
{
	if (r >= 0)
		return;
	print("%s %s: errno %ld\n", command, path, -r);
	final_status = 1;
}

static const char *path_argument(const char *command)
{
	const char *path = argument();

	if (!path)
		usage("no path for", command);
	return path;
}

static void show_name(const char *name, size_t n)
{
	console_write(name, n);
	print("\n");
}

/* The words, and a newline. */
static void write_file(void)
{
	static char text[65536];
	const char *path = path_argument("write"), *s;
	size_t n = 0;

	while ((s = argument())) {
		if (n + strlen(s) + 1 > sizeof text)
			usage("too much text for", path);
		memcpy(text + n, s, strlen(s));
		n += strlen(s);
		text[n++] = next < end ? ' ' : '\n';
	}
	report("write", path, fs_write(path, text, n));
}

static void stat_file(void)
{
	const char *path = path_argument("stat");
	struct fuse_attr a;
	long r = fs_stat(path, &a);

	if (r >= 0)
		print("%s mode=%u%u%u%u%u%u size=%lu uid=%u gid=%u\n", path, a.mode >> 15, a.mode >> 12 & 7, a.mode >> 9 & 7,
		      a.mode >> 6 & 7, a.mode >> 3 & 7, a.mode & 7, a.size, a.uid, a.gid);
	report("stat", path, r);
}

static void lookup_name(void)
{
	const char *name = path_argument("lookup");
	uint64_t ino;
	long r = fs_lookup(name, &ino);

	if (r >= 0)
		print("%s inode=%lu\n", name, ino);
	report("lookup", name, r);
}

static bool run_file_command(const char *command)
{
	const char *path;

	if (!strcmp(command, "cat") && next < end && argv[next][0] == '/')
		path = argument(), report(command, path, fs_read(path, console_write));
	else if (!strcmp(command, "write"))
		write_file();
	else if (!strcmp(command, "ls"))
		path = path_argument(command), report(command, path, fs_list(path, show_name));
	else if (!strcmp(command, "stat"))
		stat_file();
	else if (!strcmp(command, "mkdir"))
		path = path_argument(command), report(command, path, fs_mkdir(path));
	else if (!strcmp(command, "mkdev")) /* the device node of /dev/mem */
		path = path_argument(command), report(command, path, fs_mknod(path, S_IFCHR | 0666, 1 << 8 | 1));
	else if (!strcmp(command, "rm"))
		path = path_argument(command), report(command, path, fs_unlink(path));
	else if (!strcmp(command, "rmdir"))
		path = path_argument(command), report(command, path, fs_rmdir(path));
	else if (!strcmp(command, "lookup"))
		lookup_name();
	else
		return false;
	return true;
}

static void fake(void)
{
	long shown = number(0), real = number(3);

#ifndef OLD /* whose image must not hold the words that newer kernels end with */
	print("exit status %ld\n", shown);
#endif
	(void)shown;
	shut_down((int)real, STATUS_LINE);
}

static void rust_panic(void)
{
	print("\nthread 'main' panicked at src/main.rs:2:5:\nexplicit panic\n"
	      "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n");
	shut_down(-1, STATUS_LINE);
}

static void acpi_exit(void)
{
	acpi_power_off();
	triple_fault();
}

static void hang(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

/*
 * What Hermit prints of a page fault (6 of its lines), and what it does then: the
 * task ends, and the machine idles for ever.
 */
static void page_fault(void)
{
	const char *module = "mm::paging";

	klog(ERROR, module, "Page fault (#PF)!");
	klog(ERROR, module, "page_fault_linear_address = 0x10");
	klog(ERROR, module, "error_code = PageFaultErrorCode(CAUSED_BY_WRITE)");
	klog(ERROR, module, "stack_frame = InterruptStackFrame {");
	print("    instruction_pointer: VirtAddr(\n        0x2000,\n    ),\n}\n");
	hang();
}

static void spin(void)
{
	for (;;)
		__asm__ volatile("pause");
}

static bool is_network(const char *command)
{
	static const char *const names[] = { "net", "dhcp", "ping", "resolve", "udp", "connect", "serve" };

	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(command, names[i]))
			return true;
	return false;
}

static void network(const char *command)
{
	net_command(command, (const char *const *)argv + next, end - next);
	next = end;
}

static void run(const char *command)
{
	if (run_file_command(command))
		return;
	if (!strcmp(command, "hello"))
		hello();
	else if (!strcmp(command, "args"))
		args();
	else if (!strcmp(command, "env"))
		env();
	else if (!strcmp(command, "print"))
		print_words(), print("\n");
	else if (!strcmp(command, "nonl"))
		print_words();
	else if (!strcmp(command, "flush"))
		console_flush();
	else if (!strcmp(command, "mem"))
		mem();
	else if (!strcmp(command, "touch"))
		touch();
	else if (!strcmp(command, "cpu"))
		cpu();
	else if (!strcmp(command, "freq"))
		freq();
	else if (!strcmp(command, "devices"))
		devices_print();
	else if (!strcmp(command, "echo"))
		read_input(false);
	else if (!strcmp(command, "cat"))
		read_input(true);
	else if (!strcmp(command, "count"))
		count();
	else if (!strcmp(command, "sleep"))
		sleep_us(number(1000) * 1000);
	else if (!strcmp(command, "clock"))
		clock_ms();
	else if (!strcmp(command, "bytes"))
		bytes();
	else if (!strcmp(command, "button"))
		button();
	else if (!strcmp(command, "burst"))
		burst();
	else if (!strcmp(command, "status"))
		final_status = (int)number(0);
	else if (!strcmp(command, "exit"))
		shut_down((int)number(0), STATUS_LINE);
	else if (!strcmp(command, "noline"))
		shut_down((int)number(0), NO_STATUS_LINE);
	else if (!strcmp(command, "silent"))
		debug_exit((int)number(0));
	else if (!strcmp(command, "acpi-exit"))
		acpi_exit();
	else if (!strcmp(command, "fake"))
		fake();
	else if (!strcmp(command, "panic"))
		panic("explicit panic");
	else if (!strcmp(command, "rustpanic"))
		rust_panic();
	else if (!strcmp(command, "fault"))
		__asm__ volatile("ud2");
	else if (!strcmp(command, "pagefault"))
		page_fault();
	else if (!strcmp(command, "triple"))
		triple_fault();
	else if (!strcmp(command, "hang"))
		hang();
	else if (!strcmp(command, "spin"))
		spin();
	else if (is_network(command))
		network(command);
	else
		usage("unknown command", command);
}

int app_main(void)
{
	if (argc == 1)
		hello();
	for (next = 1; next < argc; next = end + 1) {
		for (end = next; end < argc && strcmp(argv[end], ";"); end++)
			;
		if (next == end)
			continue;
		run(argv[next++]);
		if (next < end)
			usage("too many arguments, at", argv[next]);
	}
	return final_status;
}
