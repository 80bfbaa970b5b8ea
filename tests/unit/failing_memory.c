#include "failing_memory.h"

#include <Python.h>

#include <stdbool.h>

/* 1: the next allocation fails, and all behind it; n: the n-th; below zero: none. */
static long allowance = -1;

static bool refused(void)
{
    if (allowance > 1) {
        allowance--;
        return false;
    }
    return allowance == 1;
}

void failing_memory_after(long count) { allowance = count > 0 ? count : -1; }

void *__real_malloc(size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size) { return refused() ? NULL : __real_malloc(size); }
void *__wrap_realloc(void *memory, size_t size) { return refused() ? NULL : __real_realloc(memory, size); }

static PyMemAllocatorEx former[2];

static void *counted_malloc(void *context, size_t size)
{
    PyMemAllocatorEx *allocator = context;
    return refused() ? NULL : allocator->malloc(allocator->ctx, size);
}

static void *counted_calloc(void *context, size_t count, size_t size)
{
    PyMemAllocatorEx *allocator = context;
    return refused() ? NULL : allocator->calloc(allocator->ctx, count, size);
}

static void *counted_realloc(void *context, void *memory, size_t size)
{
    PyMemAllocatorEx *allocator = context;
    return refused() ? NULL : allocator->realloc(allocator->ctx, memory, size);
}

static void counted_free(void *context, void *memory)
{
    PyMemAllocatorEx *allocator = context;
    allocator->free(allocator->ctx, memory);
}

void failing_memory_start(void)
{
    static const PyMemAllocatorDomain domains[] = {PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ};
    for (size_t i = 0; i < sizeof domains / sizeof *domains; i++) {
        PyMem_GetAllocator(domains[i], &former[i]);
        PyMemAllocatorEx counted = {&former[i], counted_malloc, counted_calloc, counted_realloc, counted_free};
        PyMem_SetAllocator(domains[i], &counted);
    }
}
