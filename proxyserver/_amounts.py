"""Amounts of memory, as people write them."""


def in_gib(amount: int) -> str:
    """Write an amount of memory for people: `23.5 GiB`, `512 MiB`."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if amount >= factor:
            return f"{amount / factor:.2f}".rstrip("0").rstrip(".") + f" {unit}"
    return f"{amount} B"
