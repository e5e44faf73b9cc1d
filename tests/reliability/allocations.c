/* Makes the Nth request for memory of this process fail: built and preloaded by memory.py.

   Seen are the calls of the C library that cross a library's border: posix_memalign and its kin (torch, oneDNN), malloc,
   calloc and realloc (numpy, Pillow, matplotlib, Rust's and C++'s allocators, Python's large objects), mmap (files that
   are mapped, Python's arenas), pthread_create and fork. Not seen: what the C library asks of itself (the buffer of
   fopen, the stack of a thread), and system calls made without it. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum kind { TENSOR, ALIGNED, HEAP, MAPPED, THREAD, FORK, KINDS };

/* Smaller requests are not counted, so that Python's own objects do not fail: a machine whose memory is short refuses
   large blocks. */
static const size_t smallest[KINDS] = {1, 1 << 14, 1 << 14, 1, 0, 0};

/* Shared by a process and its forks; memory.py has the same fields. */
struct state {
    long kind;                   /* the kind of which requests fail */
    long first, last;            /* those that fail, counted from 0; first is -1: none */
    _Atomic long failed;
    _Atomic long counted[KINDS];
};

static struct state *state;

static uintptr_t torch_start, torch_end; /* where c10, the library of torch's own allocator, was loaded */

static int find_torch(struct dl_phdr_info *library, size_t size, void *unused) {
    (void)size, (void)unused;
    if (!strstr(library->dlpi_name, "libc10.so")) return 0;
    for (int i = 0; i < library->dlpi_phnum; i++) {
        uintptr_t start = library->dlpi_addr + library->dlpi_phdr[i].p_vaddr;
        if (library->dlpi_phdr[i].p_type != PT_LOAD || !(library->dlpi_phdr[i].p_flags & PF_X)) continue;
        torch_start = start;
        torch_end = start + library->dlpi_phdr[i].p_memsz;
    }
    return 1;
}

void allocations_start(struct state *shared) {
    dl_iterate_phdr(find_torch, NULL);
    state = shared;
}

static int must_fail(enum kind kind, size_t bytes) {
    if (!state || bytes < smallest[kind]) return 0;
    long number = atomic_fetch_add(&state->counted[kind], 1);
    if (kind != state->kind || state->first < 0 || number < state->first || number > state->last) return 0;
    atomic_fetch_add(&state->failed, 1);
    return 1;
}

/* torch asks in the same way as oneDNN, which is in another library. dladdr would tell it, in milliseconds. */
static enum kind aligned_kind(void *caller) {
    return (uintptr_t)caller >= torch_start && (uintptr_t)caller < torch_end ? TENSOR : ALIGNED;
}

/* dlsym itself asks for memory, before the real calloc is known: that comes from here and is never given back. */
static char early[65536];
static atomic_size_t taken;

static void *from_early(size_t bytes) {
    size_t start = atomic_fetch_add(&taken, (bytes + 15) & ~(size_t)15);
    return start + bytes > sizeof early ? NULL : early + start;
}

static int is_early(void *place) { return (char *)place >= early && (char *)place < early + sizeof early; }

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

void *malloc(size_t bytes) {
    REAL(malloc);
    if (must_fail(HEAP, bytes)) { errno = ENOMEM; return NULL; }
    return real(bytes);
}

void *calloc(size_t count, size_t size) {
    static __thread int looking;
    static __typeof__(&calloc) real;
    if (!real) {
        if (looking) return from_early(count * size);
        looking = 1;
        real = (__typeof__(&calloc))dlsym(RTLD_NEXT, "calloc");
        looking = 0;
    }
    if (must_fail(HEAP, count * size)) { errno = ENOMEM; return NULL; }
    return real(count, size);
}

void *realloc(void *place, size_t bytes) {
    REAL(realloc);
    if (is_early(place)) {
        size_t left = (size_t)(early + sizeof early - (char *)place);
        void *moved = malloc(bytes);
        if (moved) memcpy(moved, place, bytes < left ? bytes : left);
        return moved;
    }
    if (must_fail(HEAP, bytes)) { errno = ENOMEM; return NULL; }
    return real(place, bytes);
}

void free(void *place) {
    REAL(free);
    if (!is_early(place)) real(place);
}

int posix_memalign(void **place, size_t alignment, size_t bytes) {
    REAL(posix_memalign);
    enum kind kind = aligned_kind(__builtin_return_address(0));
    return must_fail(kind, bytes) ? ENOMEM : real(place, alignment, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
    REAL(aligned_alloc);
    if (must_fail(ALIGNED, bytes)) { errno = ENOMEM; return NULL; }
    return real(alignment, bytes);
}

void *memalign(size_t alignment, size_t bytes) {
    static void *(*real)(size_t, size_t);
    if (!real) real = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "memalign");
    if (must_fail(ALIGNED, bytes)) { errno = ENOMEM; return NULL; }
    return real(alignment, bytes);
}

void *mmap(void *place, size_t bytes, int protection, int flags, int file, off_t offset) {
    REAL(mmap);
    if (must_fail(MAPPED, bytes)) { errno = ENOMEM; return MAP_FAILED; }
    return real(place, bytes, protection, flags, file, offset);
}

void *mmap64(void *place, size_t bytes, int protection, int flags, int file, off_t offset) {
    return mmap(place, bytes, protection, flags, file, offset);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *with, void *(*start)(void *), void *given) {
    REAL(pthread_create);
    return must_fail(THREAD, 0) ? EAGAIN : real(thread, with, start, given);
}

pid_t fork(void) {
    REAL(fork);
    if (must_fail(FORK, 0)) { errno = ENOMEM; return -1; }
    return real();
}

/* A vfork may not return from a function that calls it, so a fork stands in for it. */
pid_t vfork(void) { return fork(); }
