/* A failing disk, for one folder: preloaded (LD_PRELOAD), it stands between the process and the C library.

Every call that opens, changes or syncs something under the watched folder is counted; the n-th fails with a given
errno. Python, pyarrow and faiss all see the fault, because it happens below them. Controlled through ctypes by
`fault_script.py`, or through the environment (FAULT_FOLDER, FAULT_AT, FAULT_ERRNO, FAULT_MODE) in a process that
knows nothing of it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ONCE, STICKY, SHORT, TORN, AFTER, READS }; /* see fault_script.MODES */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[4096], hit[8192], trace[1 << 16];
static long count, fail_at = -1;
static int error_code, mode, torn, committed, hits;

void faults_watch(const char *path) { snprintf(folder, sizeof folder, "%s", path); }
void faults_arm(long at, int code, int how) {
    pthread_mutex_lock(&lock);
    memset(trace, 0, sizeof trace);
    count = 0, fail_at = at, error_code = code, mode = how, torn = committed = hits = 0, hit[0] = 0;
    pthread_mutex_unlock(&lock);
}
long faults_disarm(void) { long n = count; fail_at = -1; folder[0] = 0; return n; }
const char *faults_hit(void) { return hit; }
const char *faults_trace(void) { return trace; } /* one letter a call, see `verdict` */

__attribute__((constructor)) static void from_environment(void) {
    const char *at = getenv("FAULT_AT");
    if (!at) return;
    faults_watch(getenv("FAULT_FOLDER"));
    faults_arm(atol(at), atoi(getenv("FAULT_ERRNO")), atoi(getenv("FAULT_MODE")));
}

static int watched(const char *path) { return folder[0] && path && !strncmp(path, folder, strlen(folder)); }

static const char *name_of(int fd, char *buffer, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, buffer, size - 1);
    buffer[length < 0 ? 0 : length] = 0;
    return buffer;
}

/* Whether this call fails: 0 no, 1 yes, 2 a write that is to be cut short, 3 do it and report an error all the same. */
static int verdict(const char *call, const char *path) {
    if (!folder[0] || !watched(path)) return 0;
    int saved = errno, answer = 0, reading = !strcmp(call, "read"), writing = !strcmp(call, "write");
    int removing = !strcmp(call, "unlink") || !strcmp(call, "rmdir");
    if (reading != (mode == READS) && !(mode == READS && !strcmp(call, "open"))) return 0;
    pthread_mutex_lock(&lock);
    long n = count++;
    if (n < (long)sizeof trace - 1) trace[n] = call[0] == 'r' ? call[1] : call[0] == 'l' ? call[1] : call[0];
    if (fail_at >= 0 && n >= fail_at) {
        int first = n == fail_at;
        if (mode == ONCE || mode == READS) answer = first;
        if (mode == STICKY) answer = !(removing && error_code == ENOSPC); /* a full disk lets files go */
        if (mode == SHORT) answer = first && writing ? 2 : 0;
        if (mode == TORN) answer = torn ? !removing : first && writing ? 2 : 0;
        if (mode == AFTER) answer = first && (!strcmp(call, "link") || !strcmp(call, "rename") || removing) ? 3 : 0;
        if (answer == 2) torn = 1;
        if (answer && !hits++) snprintf(hit, sizeof hit, "%s|%s|%s", call, committed ? "after" : "before", path);
    }
    pthread_mutex_unlock(&lock);
    errno = saved;
    return answer;
}

#define REAL(result, name, ...) \
    static result (*real)(__VA_ARGS__); \
    if (!real) real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)
#define FAIL return errno = error_code, -1

static int changes(int flags) { return flags & (O_CREAT | O_TRUNC) ? 1 : 0; }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, name, const char *, int, ...); \
        va_list rest; va_start(rest, flags); mode_t bits = va_arg(rest, mode_t); va_end(rest); \
        if (verdict(changes(flags) ? "create" : "open", path)) FAIL; \
        return real(path, flags, bits); \
    }
OPEN(open)
OPEN(open64)
#define OPENAT(name) \
    int name(int at, const char *path, int flags, ...) { \
        REAL(int, name, int, const char *, int, ...); \
        va_list rest; va_start(rest, flags); mode_t bits = va_arg(rest, mode_t); va_end(rest); \
        if (verdict(changes(flags) ? "create" : "open", path)) FAIL; \
        return real(at, path, flags, bits); \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int fd, const void *content, size_t size) {
    REAL(ssize_t, write, int, const void *, size_t);
    char buffer[4096];
    int answer = folder[0] && fd > 2 ? verdict("write", name_of(fd, buffer, sizeof buffer)) : 0;
    if (answer == 1) FAIL;
    return real(fd, content, answer == 2 && size > 1 ? size / 2 : size);
}
#define PWRITE(name, offset_type) \
    ssize_t name(int fd, const void *content, size_t size, offset_type offset) { \
        REAL(ssize_t, name, int, const void *, size_t, offset_type); \
        char buffer[4096]; \
        int answer = folder[0] ? verdict("write", name_of(fd, buffer, sizeof buffer)) : 0; \
        if (answer == 1) FAIL; \
        return real(fd, content, answer == 2 && size > 1 ? size / 2 : size, offset); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)
ssize_t writev(int fd, const struct iovec *parts, int n) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    char buffer[4096];
    if (folder[0] && verdict("write", name_of(fd, buffer, sizeof buffer)) == 1) FAIL;
    return real(fd, parts, n);
}
ssize_t read(int fd, void *content, size_t size) {
    REAL(ssize_t, read, int, void *, size_t);
    char buffer[4096];
    if (folder[0] && mode == READS && verdict("read", name_of(fd, buffer, sizeof buffer))) FAIL;
    return real(fd, content, size);
}
#define PREAD(name, offset_type) \
    ssize_t name(int fd, void *content, size_t size, offset_type offset) { \
        REAL(ssize_t, name, int, void *, size_t, offset_type); \
        char buffer[4096]; \
        if (folder[0] && mode == READS && verdict("read", name_of(fd, buffer, sizeof buffer))) FAIL; \
        return real(fd, content, size, offset); \
    }
PREAD(pread, off_t)
PREAD(pread64, off64_t)

#define ON_FD(name, call, ...) \
    char buffer[4096]; \
    if (folder[0] && verdict(call, name_of(fd, buffer, sizeof buffer)) == 1) FAIL;
int fsync(int fd) { REAL(int, fsync, int); ON_FD(fsync, "fsync") return real(fd); }
int fdatasync(int fd) { REAL(int, fdatasync, int); ON_FD(fdatasync, "fsync") return real(fd); }
int flock(int fd, int how) { REAL(int, flock, int, int); ON_FD(flock, "lock") return real(fd, how); }
int ftruncate(int fd, off_t n) { REAL(int, ftruncate, int, off_t); ON_FD(ftruncate, "truncate") return real(fd, n); }
int ftruncate64(int fd, off64_t n) { REAL(int, ftruncate64, int, off64_t); ON_FD(ftruncate64, "truncate") return real(fd, n); }

static int settle(int answer, int result, const char *call, const char *to) {
    if (!result && watched(to) && strstr(to, "/manifests/") && strstr(to, ".json") && !strcmp(call, "link"))
        committed = 1;
    if (answer == 3 && !result) FAIL;
    return result;
}
#define TWO(name, call) \
    int name(const char *from, const char *to) { \
        REAL(int, name, const char *, const char *); \
        int answer = verdict(call, to); \
        if (answer == 1) FAIL; \
        return settle(answer, real(from, to), call, to); \
    }
TWO(link, "link")
TWO(rename, "rename")
#define TWO_AT(name, call, extra_type, extra) \
    int name(int a, const char *from, int b, const char *to extra_type) { \
        static int (*real)(int, const char *, int, const char *, ...); \
        if (!real) real = (int (*)(int, const char *, int, const char *, ...))dlsym(RTLD_NEXT, #name); \
        int answer = verdict(call, to); \
        if (answer == 1) FAIL; \
        return settle(answer, real(a, from, b, to extra), call, to); \
    }
#define COMMA ,
TWO_AT(linkat, "link", COMMA int flags, COMMA flags)
TWO_AT(renameat, "rename", , )
TWO_AT(renameat2, "rename", COMMA unsigned flags, COMMA flags)

#define ONE(name, call) \
    int name(const char *path) { \
        REAL(int, name, const char *); \
        int answer = verdict(call, path); \
        if (answer == 1) FAIL; \
        return settle(answer, real(path), call, path); \
    }
ONE(unlink, "unlink")
ONE(rmdir, "rmdir")
int unlinkat(int at, const char *path, int flags) {
    REAL(int, unlinkat, int, const char *, int);
    int answer = verdict("unlink", path);
    if (answer == 1) FAIL;
    return settle(answer, real(at, path, flags), "unlink", path);
}
int mkdir(const char *path, mode_t bits) {
    REAL(int, mkdir, const char *, mode_t);
    if (verdict("mkdir", path) == 1) FAIL;
    return real(path, bits);
}
int utimensat(int at, const char *path, const struct timespec times[2], int flags) {
    REAL(int, utimensat, int, const char *, const struct timespec *, int);
    if (verdict("utime", path) == 1) FAIL;
    return real(at, path, times, flags);
}
