"""What asking a foreign server may end in: a body, or an answer that says why there is none."""

import pytest
from plumbline_score_api.network import AnswerError, client, get


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
