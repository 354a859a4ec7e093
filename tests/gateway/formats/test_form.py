"""Forms: their fields, and one of them replaced."""

from __future__ import annotations

from paig_gateway.formats.form import fields, is_form, splice_field

FORM = (
    b'--abc\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    b'name="model"\r\n\r\nx\r\n'
    b"--abc\r\ncontent-disposition: form-data; name=model\r\n\r\nlong\r\n"
    b'--abc\r\nContent-Disposition: form-data; name="empty"\r\n\r\n\r\n--abc--\r\n'
)


def test_fields() -> None:
    """Each field has its name and its content, whatever the content looks like."""
    found = [(name, FORM[start:end]) for name, start, end in fields(FORM)]
    assert found == [("image", b'name="model"\r\n\r\nx'), ("model", b"long"), ("empty", b"")]
    assert is_form(FORM)
    assert not is_form(b'{"a": "--"}')


def test_a_field_replaced() -> None:
    """No other byte changes; a field that is not there is not made."""
    assert splice_field(FORM, "model", b"other") == FORM.replace(b"\r\nlong\r\n", b"\r\nother\r\n")
    assert splice_field(FORM, "none", b"other") == FORM


def test_forms_cut_anywhere() -> None:
    """A form that ends too soon, at whichever byte, is read as far as it goes."""
    for length in range(len(FORM)):
        cut = FORM[:length]
        assert all(0 <= start <= end <= length for _, start, end in fields(cut))
