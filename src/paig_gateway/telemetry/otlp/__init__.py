"""The OTLP protocol: encoding, exporting, pushing metrics."""

from __future__ import annotations
