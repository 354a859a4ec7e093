"""Tests, laid out as `src/` is: `tests/gateway/formats/test_form.py` is of `src/paig_gateway/formats/form.py`."""
