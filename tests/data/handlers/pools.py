"""Pools of processes, made by fork and kept."""
import concurrent.futures
import multiprocessing
import os

from descriptors import seen

KEPT = []


def pool():
    if not KEPT:
        KEPT.append(concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")))
    return KEPT[0]


def pids(payload):
    """Of the pool's processes, also of one that another was quicker than."""
    list(pool().map(pid_of, range(8)))
    return sorted(pool()._processes)


def pid_of(number):
    return os.getpid()


def descriptors(payload):
    """What one of the pool's processes has open."""
    return pool().submit(seen).result()
