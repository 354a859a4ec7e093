"""Tests, laid out as `src/` is: `tests/gateway/formats/test_sse.py` is of `src/paig_gateway/formats/sse.py`."""
