/* fs.h: what fs.c does with files of the container. 0 or more is success, else it is -errno. */
#ifndef FS_H
#define FS_H

#include "lib.h"

struct fuse_attr;

/* Linux's numbers, as the device uses them. */
enum { ENOENT = 2, EIO = 5, ENODEV = 19, EISDIR = 21, ENAMETOOLONG = 36, ELOOP = 40 };
enum { S_IFMT = 0170000, S_IFCHR = 0020000, S_IFDIR = 0040000, S_IFREG = 0100000, S_IFLNK = 0120000 };

long fs_read(const char *path, void (*put)(const char *, size_t));
long fs_write(const char *path, const char *data, size_t n);
long fs_list(const char *path, void (*show)(const char *, size_t));
long fs_stat(const char *path, struct fuse_attr *attr);
long fs_mkdir(const char *path);
long fs_mknod(const char *path, uint32_t mode, uint32_t rdev);
long fs_unlink(const char *path);
long fs_rmdir(const char *path);

/* What the device makes of any bytes as a name in the share's root, as an attacker would ask. */
long fs_lookup(const char *name, uint64_t *ino);

#endif
