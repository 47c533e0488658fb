"""Which GPUs a placement means: device `gpu0` is GPU 0 of the driver, by PCI bus."""

import re

from proxycore import Placement

_GPU = re.compile(r"gpu(\d+)")


def gpu_numbers(placement: Placement) -> tuple[str, ...]:
    """Return the numbers of the placement's GPUs, as NVIDIA's tools take them.

    Numbers, not UUIDs: servers that read CUDA_VISIBLE_DEVICES themselves may not know the latter,
    and numbers need no driver to be asked.
    """
    devices = (_GPU.fullmatch(device) for device in placement.devices)
    return tuple(match[1] for match in devices if match)


def visible_gpus(placement: Placement) -> dict[str, str]:
    """Return the environment that shows a process its GPUs alone; nothing if it has none."""
    if not (numbers := gpu_numbers(placement)):
        return {}
    # By itself CUDA counts the fastest first, and then GPU 0 is another one than the driver's.
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(numbers)}
