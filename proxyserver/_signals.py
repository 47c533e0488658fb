"""What signals mean to the daemon: end, end sooner, or read the configuration again.

SIGHUP means two things, and has for fifty years: the terminal was closed, and "read your
configuration again", as users of nginx and Prometheus know it.  They can be told apart.  The kernel
takes the terminal away from its processes before it sends them the signal, so who had one at its
start and has none any more was hung up: that ends it, as closing the window of any program in the
foreground does.  Every other SIGHUP is somebody's word: it reloads, in a terminal as well as under
systemd and in a container.  Who is to outlive its terminal was started with the signal ignored
(nohup): then it always reloads, which for a closed terminal does no harm.
"""

import os
import signal
from collections.abc import Callable

import trio
from loguru import logger

TERMINAL = "/dev/tty"
"""To each process its own, if it has one."""


async def wait_signals(
    patience: trio.CancelScope,
    life: trio.CancelScope,
    reload: Callable[[], None],
    *,
    task_status: trio.TaskStatus[trio.Event] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Set the reported event at the first signal, cancel the scopes at the second and the third.

    Args:
        patience: that of running requests.
        life: of the daemon.
        reload: is called when somebody asks for that.
        task_status: is told the event.
    """
    ending = trio.Event()
    may_hang_up = signal.getsignal(signal.SIGHUP) is signal.SIG_DFL and has_terminal()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        task_status.started(ending)
        async for number in signals:
            name = signal.Signals(number).name
            if number == signal.SIGHUP and not (may_hang_up and not has_terminal()):
                if not ending.is_set():
                    reload()
            elif not ending.is_set():
                logger.info("{}: finishing what runs; again to cut it", name)
                ending.set()
            elif not patience.cancel_called:
                logger.warning("{}: cutting what runs; again to end at once", name)
                patience.cancel()
            else:
                logger.warning("{}: ending at once", name)
                life.cancel()


def has_terminal() -> bool:
    """Tell whether we have a terminal that could hang up."""
    try:
        os.close(os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True
