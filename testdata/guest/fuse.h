/*
 * fuse.h: the requests of a virtio-fs device, as far as fs.c makes them: FUSE
 * 7.31 of Linux's include/uapi/linux/fuse.h, where each struct is explained.
 */
#ifndef FUSE_H
#define FUSE_H

#include <stdint.h>

enum { FUSE_ROOT = 1 };

enum fuse_op {
	FUSE_LOOKUP = 1, FUSE_GETATTR = 3, FUSE_READLINK = 5, FUSE_MKNOD = 8, FUSE_MKDIR = 9, FUSE_UNLINK = 10, FUSE_RMDIR = 11,
	FUSE_OPEN = 14, FUSE_READ = 15, FUSE_WRITE = 16, FUSE_RELEASE = 18, FUSE_INIT = 26, FUSE_OPENDIR = 27, FUSE_READDIR = 28,
	FUSE_RELEASEDIR = 29, FUSE_CREATE = 35,
};

struct fuse_in {
	uint32_t len, op;
	uint64_t unique, node;
	uint32_t uid, gid, pid, padding;
};

struct fuse_out {
	uint32_t len;
	int32_t error; /* 0 or -errno */
	uint64_t unique;
};

struct fuse_init_in {
	uint32_t major, minor, max_readahead, flags;
};

struct fuse_init_out {
	uint32_t major, minor, max_readahead, flags, rest[12];
};

struct fuse_attr {
	uint64_t ino, size, blocks, atime, mtime, ctime;
	uint32_t atimensec, mtimensec, ctimensec, mode, nlink, uid, gid, rdev, blksize, flags;
};

struct fuse_entry {
	uint64_t node, generation, entry_valid, attr_valid;
	uint32_t entry_valid_nsec, attr_valid_nsec;
	struct fuse_attr attr;
};

struct fuse_open_in {
	uint32_t flags, open_flags;
};

struct fuse_opened {
	uint64_t handle;
	uint32_t open_flags, padding;
};

struct fuse_create_in {
	uint32_t flags, mode, umask, open_flags;
};

struct fuse_created {
	struct fuse_entry entry;
	struct fuse_opened opened;
};

struct fuse_mkdir_in {
	uint32_t mode, umask;
};

struct fuse_mknod_in {
	uint32_t mode, rdev, umask, padding;
};

/* Of READ, READDIR and WRITE. */
struct fuse_transfer {
	uint64_t handle, offset;
	uint32_t size, transfer_flags;
	uint64_t lock_owner;
	uint32_t flags, padding;
};

struct fuse_written {
	uint32_t size, padding;
};

struct fuse_release_in {
	uint64_t handle;
	uint32_t flags, release_flags;
	uint64_t lock_owner;
};

struct fuse_dirent {
	uint64_t ino, off;
	uint32_t name_len, type;
	char name[];
};

_Static_assert(sizeof(struct fuse_in) == 40 && sizeof(struct fuse_out) == 16, "the headers' layout");
_Static_assert(sizeof(struct fuse_entry) == 128 && sizeof(struct fuse_transfer) == 40, "the kernel's layout");

#endif
