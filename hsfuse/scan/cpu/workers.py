"""Sharing compiled tasks among threads: as many as torch uses, whose kernels run without the GIL."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_lock = threading.Lock()
_pools: dict[int, ThreadPoolExecutor] = {}


def run_tasks(tasks: Sequence[Callable[[], None]]) -> None:
    """Run every task once, on up to `torch.get_num_threads` threads of which the caller's is one.

    Safe to call from several threads at once. The first exception of a task is raised after all have stopped.
    """
    threads = min(torch.get_num_threads(), len(tasks))
    if threads <= 1:
        for task in tasks:
            task()
        return
    waiting = iter(tasks)
    guard = threading.Lock()

    def work() -> None:
        while True:
            with guard:
                task = next(waiting, None)
            if task is None:
                return
            task()

    helpers = [_pool(threads - 1).submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:
        for helper in helpers:
            helper.cancel()  # one that never started has nothing left to do
    for helper in helpers:
        if not helper.cancelled():
            helper.result()


def _pool(size: int) -> ThreadPoolExecutor:
    with _lock:
        if size not in _pools:
            _pools[size] = ThreadPoolExecutor(size, thread_name_prefix="hsfuse-scan")
        return _pools[size]


if hasattr(os, "register_at_fork"):  # a child has the pools' objects but not their threads
    os.register_at_fork(after_in_child=_pools.clear)
