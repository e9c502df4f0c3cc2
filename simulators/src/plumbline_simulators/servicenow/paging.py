"""One page of an answer: where it begins, what its headers say, and how a fault spoils it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.datastructures import URL
from starlette.requests import Request

from plumbline_simulators.servicenow import answers

DEFAULT_LIMIT = 10_000
FOREIGN_HOST = "rows.example.net"


def without_key(query: str) -> str:
    """An encoded query without the key that it goes on from."""
    return "^".join(part for part in query.split("^") if not part.startswith("sys_id>"))


@dataclass(frozen=True)
class Page:
    """`limit` rows from `offset` of the `total` that a query finds, before any access rule; `fault` spoils them."""

    url: URL
    parameters: Mapping[str, str]
    limit: int
    offset: int
    total: int
    fault: str

    @classmethod
    def of(cls, request: Request, total: int, fault: str) -> "Page | None":
        """The page that a request asks for; None when its numbers are none."""
        parameters = request.query_params
        limit, offset = (
            parameters.get(f"sysparm_{name}", str(default))
            for name, default in (("limit", DEFAULT_LIMIT), ("offset", 0))
        )
        if not limit.isdecimal() or not offset.isdecimal():
            return None
        url = request.url.replace(hostname=FOREIGN_HOST) if fault == "foreign_next" else request.url
        return cls(url, parameters, int(limit), int(offset), total, fault)

    @property
    def start(self) -> int:
        """The first row; an endless table begins anew at every page."""
        return 0 if self.fault == "endless_page" else self.offset

    def damaged(self, found: Sequence[int]) -> Sequence[int]:
        """The rows of the page as the fault leaves them; their count is told as before."""
        match self.fault:
            case "short_pages":
                return [number for position, number in enumerate(found) if position % 7]
            case "lost_rows":
                return found[1:]
            case "duplicate_rows":
                return [*found[:1], *found]
        return found

    def headers(self) -> dict[str, str]:
        """`X-Total-Count` and `Link`, as the caller wants them."""
        has_count = self.parameters.get("sysparm_no_count") != "true"
        total = self._told
        headers = {"X-Total-Count": str(total)} if has_count else {}
        if self.parameters.get("sysparm_suppress_pagination_header") == "true" or not self.limit:
            return headers
        link = answers.links(
            self.url,
            self.parameters,
            limit=self.limit,
            offset=self.offset,
            total=total if has_count else None,
            has_next=self.offset + self.limit < total,
        )
        return {**headers, "Link": link}

    @property
    def _told(self) -> int:
        """The total as the fault has it: an endless table has a page more each time, a wrong total is half of it."""
        match self.fault:
            case "endless_page":
                return self.offset + 2 * self.limit + 1
            case "wrong_total":
                return self.total // 2
        return self.total
