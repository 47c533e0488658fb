"""Telemetry for collectors, by OpenTelemetry's protocol over HTTP (OTLP)."""

from .exporter import LAST_S as LAST_S
from .exporter import Exporter as Exporter
