"""The first of many timers, against a search."""

from hypothesis import given
from hypothesis import strategies as st

from proxycore import ServiceId
from proxycore._timers import NEVER, Timers

SERVICES = [ServiceId(name) for name in "abc"]
times = st.none() | st.sampled_from([-1.0, 0.0, 1.5, 7.0])


@given(
    st.lists(times, min_size=3, max_size=3), st.lists(st.tuples(st.sampled_from(SERVICES), times))
)
def test_the_first_is_known(
    begin: list[float | None], moves: list[tuple[ServiceId, float | None]]
) -> None:
    """Whatever is armed, moved or disarmed."""
    armed = dict(zip(SERVICES, begin, strict=True))
    timers = Timers(armed)
    for service, at in moves:
        armed[service] = at
        timers.set(service, at)
        assert timers.first_at == min(
            (one for one in armed.values() if one is not None), default=NEVER
        )
