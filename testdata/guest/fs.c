/*
 * fs.c: files of a virtio-fs device, at the paths where Hermit has them. Tag
 * "root" (or any other) is the directory /root of the guest; under the tag "/"
 * each top-level directory of the share is a directory of the guest, but for
 * /tmp and /proc, which are the kernel's own. One device counts, the first.
 *
 * Every function returns 0 or more, or -errno as the device sent it.
 */
#include "fs.h"
#include "fuse.h"
#include "kernel.h"
#include "virtio.h"

enum { REQUESTS = 1 }; /* queue 0 is for urgent ones */
enum { PATH_MAX = 4096, LINKS_MAX = 8, DEPTH_MAX = 64 };
enum { O_RDONLY = 0, O_WRONLY = 1, O_CREAT = 0100, O_TRUNC = 01000 };

static struct virtio device;
static struct virtq requests;
static char tag[37];

/*
 * Sends one request with its arguments, and data if there is any, and waits for
 * the answer: its length in out, which may be shorter than size, or -errno.
 */
static long fuse(enum fuse_op op, uint64_t node, void *args, uint32_t args_len, const void *data, uint32_t len, void *out, uint32_t size)
{
	static uint64_t unique;
	struct fuse_in in = { .len = sizeof in + args_len + len, .op = op, .unique = ++unique, .node = node };
	struct fuse_out answer = { 0 };
	struct piece send[3] = { { &in, sizeof in } }, receive[2] = { { &answer, sizeof answer }, { out, size } };
	int sends = 1;
	uint32_t written;

	if (args_len)
		send[sends++] = (struct piece){ args, args_len };
	if (len)
		send[sends++] = (struct piece){ (void *)data, len };
	if (virtq_add(&requests, send, sends, receive, size ? 2 : 1) < 0)
		panic("virtio-fs: the request queue is full");
	virtq_kick(&requests);
	for (unsigned tries = 0; virtq_take(&requests, &written) < 0; tries++)
		nap(tries < 50 ? 20 : 1000);
	if (written < sizeof answer || answer.unique != unique)
		panic("virtio-fs: request %u got an answer of %u bytes", op, written);
	return answer.error ? answer.error : (long)(written - sizeof answer);
}

/* At the first use, where Hermit does it at boot. */
static long mount(void)
{
	struct fuse_init_in args = { .major = 7, .minor = 31 };
	struct fuse_init_out out;

	if (device.config)
		return 0;
	if (!virtio_open(&device, VIRTIO_FS, 0))
		return -ENODEV;
	for (int i = 0; i < 36; i++)
		tag[i] = (char)device.config[i];
	virtq_init(&requests, &device, REQUESTS);
	virtio_start(&device);
	return fuse(FUSE_INIT, FUSE_ROOT, &args, sizeof args, NULL, 0, &out, sizeof out);
}

/* The path in the share of one in the guest, NULL if the share does not have it. */
static const char *shared_path(const char *path)
{
	const char *name = tag[0] == '/' ? tag + 1 : tag;
	size_t n = strlen(name);

	if (path[0] != '/')
		return NULL;
	if (!*name) /* top-level directories only */
		return find_char(path + 1, '/') && !starts_with(path, "/tmp/") && !starts_with(path, "/proc/") ? path : NULL;
	if (!starts_with(path + 1, name) || (path[1 + n] && path[1 + n] != '/'))
		return NULL;
	return path + 1 + n;
}

/* One name in a directory. */
static long lookup(uint64_t dir, const char *name, struct fuse_entry *e)
{
	long r = fuse(FUSE_LOOKUP, dir, NULL, 0, name, strlen(name) + 1, e, sizeof *e);

	return r >= 0 && !e->node ? -ENOENT : r;
}

/*
 * Finds a path of the guest; links are followed, one that begins with '/' from
 * the share's root. With last, the last name goes there instead of being looked
 * up, and e is the directory that it is in.
 */
static long walk(const char *path, struct fuse_entry *e, char *last)
{
	static char rest[2 * PATH_MAX], name[PATH_MAX];
	uint64_t above[DEPTH_MAX]; /* for "..", which a device need not know */
	int links = 0, depth = 0;
	long r = mount();

	if (r < 0)
		return r;
	path = shared_path(path);
	if (!path)
		return -ENOENT;
	if (strlen(path) >= PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(rest, path, strlen(path) + 1);
	*e = (struct fuse_entry){ .node = FUSE_ROOT, .attr.mode = S_IFDIR | 0755 };
	for (;;) {
		char *from = rest, *to;
		uint64_t dir = e->node;

		while (*from == '/')
			from++;
		if (!*from)
			return last ? -EISDIR : 0;
		to = find_char(from, '/');
		if (!to)
			to = from + strlen(from);
		memcpy(name, from, to - from);
		name[to - from] = 0;
		memmove(rest, to, strlen(to) + 1);
		if (last && !*rest) {
			memcpy(last, name, strlen(name) + 1);
			return 0;
		}
		if (!strcmp(name, "..")) {
			e->node = depth ? above[--depth] : FUSE_ROOT;
			continue;
		}
		r = lookup(dir, name, e);
		if (r < 0)
			return r;
		if ((e->attr.mode & S_IFMT) != S_IFLNK) {
			if (depth == DEPTH_MAX)
				return -ENAMETOOLONG;
			above[depth++] = dir;
			continue;
		}
		if (++links > LINKS_MAX)
			return -ELOOP;
		r = fuse(FUSE_READLINK, e->node, NULL, 0, NULL, 0, name, sizeof name - 1);
		if (r < 0)
			return r;
		if (r + strlen(rest) >= PATH_MAX)
			return -ENAMETOOLONG;
		memmove(rest + r, rest, strlen(rest) + 1);
		memcpy(rest, name, r);
		e->node = name[0] == '/' ? FUSE_ROOT : dir;
		if (name[0] == '/')
			depth = 0;
	}
}

static void release(enum fuse_op op, uint64_t node, uint64_t handle)
{
	struct fuse_release_in args = { .handle = handle };

	fuse(op, node, &args, sizeof args, NULL, 0, NULL, 0);
}

long fs_read(const char *path, void (*put)(const char *, size_t))
{
	static char data[16384];
	struct fuse_open_in how = { .flags = O_RDONLY };
	struct fuse_opened file;
	struct fuse_entry e;
	uint64_t offset = 0;
	long r = walk(path, &e, NULL);

	if (r >= 0)
		r = fuse(FUSE_OPEN, e.node, &how, sizeof how, NULL, 0, &file, sizeof file);
	if (r < 0)
		return r;
	do {
		struct fuse_transfer args = { .handle = file.handle, .offset = offset, .size = sizeof data };

		r = fuse(FUSE_READ, e.node, &args, sizeof args, NULL, 0, data, sizeof data);
		if (r > 0)
			put(data, r);
		offset += r;
	} while (r > 0);
	release(FUSE_RELEASE, e.node, file.handle);
	return r;
}

/*
 * As Linux opens for writing. Hermit always sends CREATE, and QEMU's virtiofsd
 * does not survive that for a file that is there.
 */
static long open_new(const char *path, uint64_t *node, struct fuse_opened *file)
{
	static char name[PATH_MAX];
	struct fuse_open_in how = { .flags = O_WRONLY | O_TRUNC };
	struct fuse_create_in make = { .flags = O_WRONLY | O_CREAT | O_TRUNC, .mode = 0644 };
	struct fuse_created made;
	struct fuse_entry e;
	long r = walk(path, &e, NULL);

	*node = e.node;
	if (r >= 0)
		return fuse(FUSE_OPEN, e.node, &how, sizeof how, NULL, 0, file, sizeof *file);
	if (r != -ENOENT)
		return r;
	r = walk(path, &e, name);
	if (r >= 0)
		r = fuse(FUSE_CREATE, e.node, &make, sizeof make, name, strlen(name) + 1, &made, sizeof made);
	*node = made.entry.node;
	*file = made.opened;
	return r;
}

long fs_write(const char *path, const char *data, size_t n)
{
	struct fuse_transfer args = { .size = n };
	struct fuse_opened file;
	struct fuse_written out;
	uint64_t node;
	long r = open_new(path, &node, &file);

	if (r < 0)
		return r;
	args.handle = file.handle;
	r = fuse(FUSE_WRITE, node, &args, sizeof args, data, n, &out, sizeof out);
	release(FUSE_RELEASE, node, file.handle);
	return r >= 0 && out.size != n ? -EIO : r;
}

long fs_list(const char *path, void (*show)(const char *, size_t))
{
	static uint64_t data[1024];
	struct fuse_open_in how = { .flags = O_RDONLY };
	struct fuse_opened dir;
	struct fuse_entry e;
	uint64_t offset = 0;
	long r = walk(path, &e, NULL);

	if (r >= 0)
		r = fuse(FUSE_OPENDIR, e.node, &how, sizeof how, NULL, 0, &dir, sizeof dir);
	if (r < 0)
		return r;
	do {
		struct fuse_transfer args = { .handle = dir.handle, .offset = offset, .size = sizeof data };

		r = fuse(FUSE_READDIR, e.node, &args, sizeof args, NULL, 0, data, sizeof data);
		for (long at = 0; at + (long)sizeof(struct fuse_dirent) <= r;) {
			struct fuse_dirent *d = (void *)((char *)data + at);

			show(d->name, d->name_len);
			offset = d->off;
			at += (sizeof *d + d->name_len + 7) & ~7L;
		}
	} while (r > 0);
	release(FUSE_RELEASEDIR, e.node, dir.handle);
	return r;
}

long fs_stat(const char *path, struct fuse_attr *attr)
{
	struct fuse_entry e;
	long r = walk(path, &e, NULL);

	*attr = e.attr;
	return r;
}

static long in_directory(enum fuse_op op, const char *path, void *args, uint32_t size, void *out, uint32_t out_size)
{
	static char name[PATH_MAX];
	struct fuse_entry dir;
	long r = walk(path, &dir, name);

	return r < 0 ? r : fuse(op, dir.node, args, size, name, strlen(name) + 1, out, out_size);
}

long fs_mkdir(const char *path)
{
	struct fuse_mkdir_in args = { .mode = 0755 };
	struct fuse_entry e;

	return in_directory(FUSE_MKDIR, path, &args, sizeof args, &e, sizeof e);
}

long fs_mknod(const char *path, uint32_t mode, uint32_t rdev)
{
	struct fuse_mknod_in args = { .mode = mode, .rdev = rdev };
	struct fuse_entry e;

	return in_directory(FUSE_MKNOD, path, &args, sizeof args, &e, sizeof e);
}

/* The virtiofsd written in C removes only what has been looked up. */
static long remove(enum fuse_op op, const char *path)
{
	struct fuse_entry e;
	long r = walk(path, &e, NULL);

	return r < 0 ? r : in_directory(op, path, NULL, 0, NULL, 0);
}

long fs_unlink(const char *path)
{
	return remove(FUSE_UNLINK, path);
}

long fs_rmdir(const char *path)
{
	return remove(FUSE_RMDIR, path);
}

long fs_lookup(const char *name, uint64_t *ino)
{
	struct fuse_entry e;
	long r = mount();

	if (r >= 0)
		r = lookup(FUSE_ROOT, name, &e);
	*ino = e.attr.ino;
	return r;
}
