"""Traces are read as their page says."""

import pytest

from proxycore import ServiceId
from proxycore.sim.traffic import CATALOGUE, Request, TraceError, draw_services, read_trace

HEAD = "t_s,service,user,dur_s\n"
CHAT, CODER = ServiceId("chat"), ServiceId("coder")


def test_columns_are_found_by_name() -> None:
    """Their order is free, and what is not known is left alone."""
    lines = ["dur_s,t_s,tokens,service\n", "2.5,10,7,chat\r\n", "\n", "1,10,8,coder"]
    assert read_trace(lines) == (Request(10.0, CHAT, 2.5), Request(10.0, CODER, 1.0))


def test_unknown_times_are_drawn_the_same_way_each_time() -> None:
    """0 and nothing both mean: not known."""
    lines = [HEAD, "1,chat,,0\n", "2,chat,,\n"]
    first, second = read_trace(lines)
    assert first.service_s != second.service_s
    assert (first, second) == read_trace(lines)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2,chat\n", "2 cells where the header has 4"),
        ("x,chat,,1\n", "t_s must be seconds from 0 up, not 'x'"),
        ("nan,chat,,1\n", "t_s must be seconds from 0 up, not 'nan'"),
        ("2,chat,,-1\n", "dur_s must be seconds from 0 up, not '-1'"),
        ("2,,,1\n", "service is empty"),
        ("0.5,chat,,1\n", "t_s runs backwards: 0.5 after 1"),
    ],
)
def test_broken_line_is_told_by_its_number(line: str, message: str) -> None:
    """Reading stops there, or goes on when told so."""
    lines = [HEAD, "1,chat,,1\n", line, "3,coder,,1\n"]
    with pytest.raises(TraceError) as caught:
        read_trace(lines)
    assert (caught.value.line, str(caught.value)) == (3, message)
    broken: list[TraceError] = []
    assert [request.at for request in read_trace(lines, broken=broken)] == [1.0, 3.0]
    assert [(error.line, str(error)) for error in broken] == [(3, message)]


@pytest.mark.parametrize("lines", [[], ["time,service\n"]])
def test_without_a_header_there_is_no_trace(lines: list[str]) -> None:
    """Nothing can be gone on with."""
    with pytest.raises(TraceError):
        read_trace(lines, broken=[])


def test_services_are_drawn_from_the_catalogue_busiest_first() -> None:
    """A seed gives the same servers again, each of them once."""
    requests = read_trace([HEAD, "1,chat,,1\n", "2,coder,,1\n", "3,coder,,1\n"])
    services = draw_services(requests, seed=0)
    assert [spec.id for spec in services] == [CODER, CHAT]
    assert services == draw_services(requests, seed=0)
    assert services != draw_services(requests, seed=1)
    loads = {load_s for _, _, load_s in CATALOGUE}
    assert {spec.load_s for spec in services} <= loads
