"""Cells in every form that the API uses."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from plumbline_collector.connectors.salesforce import cells

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True), ("true", True), ("1", True), (1, True), ("Enabled", True), (" TRUE ", True),
        (False, False), ("false", False), ("0", False), (0, False), ("Disabled", False),
        (None, None), ("", None), ("8", None), ("maybe", None), ([], None),
    ],
)  # fmt: skip
def test_truth_has_many_forms(value: Any, expected: bool | None) -> None:
    assert cells.truth(value) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("8", 8), (8, 8), ("8.0", 8), ("-1", -1), ("8.5", None), (True, None), ("8 characters", None), (None, None)],
)
def test_whole_numbers_may_come_as_text(value: Any, expected: int | None) -> None:
    assert cells.whole(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-08-01T09:12:33.000+0000", datetime(2026, 8, 1, 9, 12, 33, tzinfo=UTC)),
        ("2026-08-01T09:12:33.000Z", datetime(2026, 8, 1, 9, 12, 33, tzinfo=UTC)),
        ("2026-08-01T11:12:33.000+0200", datetime(2026, 8, 1, 9, 12, 33, tzinfo=UTC)),
        ("2026-08-01", datetime(2026, 8, 1, tzinfo=UTC)),
        (None, None),
        ("", None),
    ],
)
def test_moments_are_utc(value: Any, expected: datetime | None) -> None:
    assert cells.moment(value) == expected


def test_a_future_date_is_no_age() -> None:
    assert cells.days_since("2026-11-25T09:00:00.000+0000", NOW) == 0, "a clock that is a day fast"
    assert cells.days_since("2026-11-25T09:00:01.000+0000", NOW) is None
    assert cells.days_until("2026-12-24T09:00:00.000+0000", NOW) == 30
    assert cells.days_until("2026-11-24T08:59:00.000+0000", NOW) == -1


@pytest.mark.parametrize(
    ("pattern", "is_everything"),
    [
        ("*", True), ("https://*", True), ("https://*.com", True), ("https://*:8443", True), ("http://*/", True),
        ("https://*.example.com", False), ("https://example.com", False), ("https://app.example.com/*", False),
        ("", False),
    ],
)  # fmt: skip
def test_a_pattern_that_admits_everybody_is_known(pattern: str, is_everything: bool) -> None:
    assert cells.is_catch_all(pattern) is is_everything


@pytest.mark.parametrize(
    ("start", "end", "is_everything"),
    [
        ("0.0.0.0", "255.255.255.255", True),
        ("0.0.0.1", "255.255.255.255", True),
        ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", True),
        ("10.0.0.0", "10.255.255.255", False),
        ("odd", "255.255.255.255", False),
        ("::", "255.255.255.255", False),
        (None, None, False),
    ],
)
def test_a_range_of_all_addresses_is_known(start: Any, end: Any, is_everything: bool) -> None:
    assert cells.is_everywhere(start, end) is is_everything


@pytest.mark.parametrize(
    ("ranges", "addresses"),
    [
        ([], 0),
        ([("203.0.113.7", "203.0.113.7")], 1),
        ([("203.0.113.0", "203.0.113.255"), ("198.51.100.0", "198.51.100.255")], 512),
        ([("203.0.113.0", "203.0.113.255"), ("203.0.113.128", "203.0.114.127"), ("203.0.113.5", "203.0.113.9")], 384),
        ([("1.1.1.1", "255.255.255.255")], 2**32 - 0x01010101),
        ([("0.0.0.0", "127.255.255.255"), ("128.0.0.0", "255.255.255.255")], 2**32),
        ([("203.0.113.0", "203.0.113.255"), ("2001:db8::", "2001:db8::ff")], 512),
        ([("::ffff:0:0", "::ffff:ffff:ffff")], 2**32),
        ([("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff")], cells.LARGEST),
        ([("203.0.113.0", "203.0.113.255"), ("odd", "203.0.113.255")], None),
        ([("203.0.113.9", "203.0.113.1")], None),
        ([(None, None)], None),
    ],
)
def test_ranges_hold_each_address_once(ranges: list[tuple[Any, Any]], addresses: int | None) -> None:
    assert cells.addresses_of(ranges) == addresses


def _certificate(end: datetime) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp")])
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), NOW, end)
    return built.sign(key, hashes.SHA256())


def test_the_end_of_a_certificate_is_read_in_each_form() -> None:
    end = NOW + timedelta(days=40)
    made = _certificate(end)
    pem = made.public_bytes(serialization.Encoding.PEM).decode()
    der = base64.b64encode(made.public_bytes(serialization.Encoding.DER)).decode()
    assert cells.certificate_end(pem) == cells.certificate_end(der) == end
    assert cells.certificate_end("none") is None
    assert cells.certificate_end(None) is None


def test_a_cell_of_another_type_is_absent() -> None:
    assert cells.typed_cell({"odd": 1}, "string") is None
    assert cells.typed_cell("odd", "int") is None
    assert cells.typed_cell("a,b", "string_list") is None
    assert cells.typed_cell(["a", 1], "string_list") == ["a"]
    assert cells.typed_cell("2026-08-01", "timestamp") == "2026-08-01T00:00:00.000Z"


def test_a_null_relation_is_null_and_one_that_was_not_sent_is_none_at_all() -> None:
    assert cells.at_path({"Profile": None}, "Profile.UserLicense.Name") is None
    with pytest.raises(LookupError):
        cells.at_path({"Id": "1"}, "Profile.Name")
