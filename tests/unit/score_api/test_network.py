"""Which addresses the API may reach by itself."""

import ipaddress

import pytest
from plumbline_score_api.network import AnswerError, client, get, refusal


@pytest.mark.parametrize(
    ("address", "public", "private"),
    [
        ("20.190.151.7", True, True),
        ("2603:1006:2000::1", True, True),
        ("10.1.2.3", False, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("fd12::1", False, True),
        ("100.64.0.1", False, True),
        ("::ffff:10.0.0.1", False, True),
        ("64:ff9b::a00:1", False, True),
        ("2002:a00:1::", False, True),
        ("fec0::1", False, True),
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("64:ff9b::a9fe:a9fe", False, False),
        ("168.63.129.16", False, False),
        ("100.100.100.200", False, False),
        ("fd00:ec2::254", False, False),
        ("169.254.1.1", False, False),
        ("fe80::1", False, False),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("224.0.0.1", False, False),
    ],
)
def test_addresses(address: str, public: bool, private: bool) -> None:
    parsed = ipaddress.ip_address(address)
    assert (refusal(parsed, allow_private=False) is None) == public
    assert (refusal(parsed, allow_private=True) is None) == private


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://127.0.0.1:1/", "http is not encrypted"),
        ("https://127.0.0.1:1/", "private address"),
        ("https://localhost:1/", "private address"),
        ("https://169.254.169.254/", "never reached"),
        ("https://[::ffff:127.0.0.1]:1/", "private address"),
        ("file:///etc/passwd", "not encrypted"),
        ("https://", "not encrypted"),
        ("", "not encrypted"),
        ("https://xn--/", "no valid URL"),
        ("https://[::1", "no valid URL"),
        ("https://a..b/", "cannot be resolved"),
        ("https://127.0.0.1:99999/", "private address"),
    ],
)
async def test_what_may_not_be_reached_is_an_answer_too(url: str, told: str) -> None:
    async with client(allow_private=False, allow_http=False) as http:
        with pytest.raises(AnswerError, match=told):
            await get(http, url, most_bytes=10, within_seconds=5)
