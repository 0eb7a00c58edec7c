# SPDX-License-Identifier: BSD-3-Clause
"""Waits for ten minutes in every way there is, one after the other; prints how long each took by the
wall clock and by the monotonic one, a line each: NAME SECONDS SECONDS."""

import asyncio
import contextlib
import ctypes
import os
import queue
import select
import signal
import struct
import sys
import threading
import time

WAIT = 600
libc = ctypes.CDLL(None)


def wait_poll():
    """poll()"""
    select.poll().poll(WAIT * 1000)


def wait_select():
    """select()"""
    select.select([], [], [], WAIT)


def wait_epoll():
    """epoll_wait()"""
    with select.epoll() as epoll:
        epoll.poll(WAIT)


def wait_sleep():
    """clock_nanosleep()"""
    time.sleep(WAIT)


def wait_libc():
    """sleep(), usleep()"""
    libc.sleep(WAIT - 1)
    libc.usleep(1_000_000)


def wait_lock():
    """sem_clockwait()"""
    lock = threading.Lock()
    lock.acquire()
    lock.acquire(timeout=WAIT)


def wait_queue():
    """The same, by a queue."""
    with contextlib.suppress(queue.Empty):
        queue.Queue().get(timeout=WAIT)


def wait_thread():
    """Another thread's."""
    thread = threading.Thread(target=time.sleep, args=[WAIT])
    thread.start()
    thread.join()


def wait_condition():
    """pthread_cond_timedwait()"""
    mutex, condition = (ctypes.create_string_buffer(64) for _ in range(2))
    libc.pthread_mutex_lock(mutex)
    until = struct.pack("2q", *divmod(time.time_ns() + WAIT * 10**9, 10**9))
    while libc.pthread_cond_timedwait(condition, mutex, until) == 0:
        pass


def wait_asyncio():
    """An event loop."""
    asyncio.run(asyncio.sleep(WAIT))


def wait_timerfd():
    """A timerfd in a poll."""
    timer = libc.timerfd_create(time.CLOCK_MONOTONIC, 0)
    libc.timerfd_settime(timer, 0, struct.pack("4q", 0, 0, WAIT, 0), None)
    poller = select.poll()
    poller.register(timer, select.POLLIN)
    poller.poll(2 * WAIT * 1000)
    assert struct.unpack("q", os.read(timer, 8)) == (1,)
    os.close(timer)


def wait_alarm():
    """setitimer(), which interrupts a longer sleep."""

    def over(*_):
        raise InterruptedError

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, WAIT)
    with contextlib.suppress(InterruptedError):
        time.sleep(2 * WAIT)


def main():
    """The ways named on the command line; none: all."""
    for name, wait in list(globals().items()):
        if name.startswith("wait_") and (not sys.argv[1:] or name[5:] in sys.argv[1:]):
            wall, steady = time.time(), time.monotonic()
            wait()
            print(name[5:], time.time() - wall, time.monotonic() - steady, flush=True)


main()
