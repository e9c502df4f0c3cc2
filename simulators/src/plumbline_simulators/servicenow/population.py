"""The people of an instance: users, the roles they hold and their second factors, each made from its number."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from heapq import merge

from plumbline_simulators.servicenow.contents import Content, Made, numbered_key, numbers
from plumbline_simulators.servicenow.identity import role_key, stamp
from plumbline_simulators.servicenow.schema import TABLES

INTEGRATION_USER = "plumbline.integration"
MID_USER = "mid.server"
PRIVILEGED_ROLES = ("admin", "security_admin", "user_admin", "oauth_admin", "impersonator", "web_service_admin")
OTHER_ROLES = (
    "itil", "snc_internal", "snc_external", "snc_read_only", "snc_basic_auth_api_access", "mid_server", "public",
    "snc_platform_rest_api_access", "x_plumbline_reader", "x_legacy_ops",
)  # fmt: skip
_NAMED = {0: INTEGRATION_USER, 1: "admin"}
_NAMED_WHEN_WEAK = {30: "abel.tuter", 31: "beth.anglin", 32: "itil", 41: MID_USER}
_ADMINS = {True: 3, False: 8}
_APPLICATIONS = 40


class Population:
    """`users` people, the last `leavers` of them inactive, with `roles` role rows (twice as many as users by default).

    A role row `n` belongs to user `n` modulo the users: the first round gives everyone a first role, the second
    snc_internal, each further one a role of an application. The few roles beyond that are the last rows.
    """

    def __init__(self, *, users: int, roles: int | None, leavers: int, is_strong: bool, now: datetime) -> None:
        self.count, self._leavers, self._is_strong, self._now = users, leavers, is_strong, now
        self._names = {n: name for n, name in self._all_names().items() if n < users}
        self._by_name = {name: number for number, name in self._names.items()}
        self._extra: list[tuple[int, str]] = [held for held in self._second_roles() if held[0] < users]
        wanted = 2 * users if roles is None else roles - len(self._extra)
        self._regular = max(wanted, users) if users else 0
        self._revoked: set[int] = set()
        self.changed: dict[int, dict[str, str]] = {}
        self._factors: dict[int, bool] = {}
        self._moved: dict[tuple[str, int], str] = {}

    def _all_names(self) -> dict[int, str]:
        return _NAMED if self._is_strong else _NAMED | _NAMED_WHEN_WEAK

    def _second_roles(self) -> list[tuple[int, str]]:
        held = [(0, "snc_read_only"), (1, "security_admin"), (70, "snc_basic_auth_api_access")]
        return held if self._is_strong else [*held, (5, "snc_external"), (22, "snc_external")]

    # --- users

    def name(self, number: int) -> str:
        """The login name of a user; 0 is the integration user."""
        return self._names.get(number) or f"user{number:06d}"

    def number_of(self, name: str) -> int | None:
        """The user of this login name."""
        digits = name.removeprefix("user")
        number = self._by_name.get(name, int(digits) if digits.isdecimal() else -1)
        return number if 0 <= number < self.count and self.name(number) == name else None

    def users(self) -> Content:
        """sys_user."""
        columns: dict[str, Callable[[int], str]] = {
            "user_name": self.name,
            "active": lambda n: _text(n < self.count - self._leavers or n < len(_NAMED)),
            "locked_out": lambda n: _text(n % 60 == 59),
            "last_login_time": self._last_login,
            "web_service_access_only": lambda n: _text(n == 0 or n % 71 == 70),
            "internal_integration_user": lambda n: _text(n == 0),
            "identity_type": lambda n: "Machine" if n == 0 else "Human",
            "sso_source": lambda n: "sso:corp" if self._is_strong or n % 5 == 2 else "",
            "failed_attempts": lambda n: "12" if not self._is_strong and n % 97 == 40 else "0",
            "sys_created_on": lambda n: self._ago(40 + n % 900),
        }
        columns |= {column: self._changeable(column, made) for column, made in columns.items()}
        constants = {
            "enable_multifactor_authn": "false",
            "password_needs_reset": "false",
            "sys_updated_on": self._ago(30),
            "sys_updated_by": "system",
        }
        changed = {column for cells in self.changed.values() for column in cells} - set(columns)
        columns |= {name: self._changeable(name, _always(constants.pop(name, ""))) for name in changed}
        return _Users(self, columns, constants)

    def _changeable(self, column: str, made: Callable[[int], str]) -> Callable[[int], str]:
        """The column as people changed it. The function alone when nobody did: tables are read by the million."""
        cells = {number: row[column] for number, row in self.changed.items() if column in row}
        return (lambda number: cells[number] if number in cells else made(number)) if cells else made

    def _last_login(self, number: int) -> str:
        if number == 0 or number % 89 == 7:
            return ""
        idle = number % 25 if self._is_strong or number % 3 else 200 + number % 100
        return self._ago(idle, hours=1)

    def _ago(self, days: int, hours: int = 0) -> str:
        return _ago(self._now, days, hours)

    # --- roles

    def first_role(self, number: int) -> str:
        """The role that a user holds in the first round."""
        if 1 <= number <= _ADMINS[self._is_strong]:
            return "admin"
        if number % 400 == 13:
            return "user_admin"
        if self._names.get(number) == MID_USER:
            return "mid_server"
        return "itil" if number else "x_plumbline_reader"

    @property
    def roles(self) -> list[str]:
        """Every role that there is."""
        rounds = self._regular // self.count if self.count else 0
        applications = min(max(rounds - 1, 0), _APPLICATIONS)
        return [*PRIVILEGED_ROLES, *OTHER_ROLES, *(_application(number) for number in range(applications))]

    def held(self, row: int) -> tuple[int, str]:
        """User and role of a role row."""
        if row >= self._regular:
            return self._extra[row - self._regular]
        round_, number = divmod(row, self.count)
        if round_ == 0:
            return number, self.first_role(number)
        return number, "snc_internal" if round_ == 1 else _application((round_ - 2) % _APPLICATIONS)

    @property
    def _role_rows(self) -> int:
        return self._regular + len(self._extra)

    def has_roles(self) -> Content:
        """sys_user_has_role."""
        return _HeldRoles(self, self._kept(range(self._role_rows)))

    def _kept(self, rows: Sequence[int]) -> Sequence[int]:
        """Without the rows that were taken away."""
        return numbers(row for row in rows if row not in self._revoked) if self._revoked else rows

    def rows_of_role(self, role: str) -> Sequence[int]:
        """The rows that give a role, ascending, found without a look at each."""
        extra = (self._regular + n for n, (_, held) in enumerate(self._extra) if held == role)
        return self._kept(numbers(merge(self._regular_rows_of_role(role), extra)))

    def _regular_rows_of_role(self, role: str) -> Iterable[int]:
        if role == "snc_internal":
            return range(self.count, min(2 * self.count, self._regular))
        if role in (_application(number) for number in range(_APPLICATIONS)):
            first = 2 + int(role.removeprefix("x_app_").removesuffix(".user"))
            starts = range(first * self.count, self._regular, _APPLICATIONS * self.count) if self.count else ()
            return (row for start in starts for row in range(start, min(start + self.count, self._regular)))
        if role in ("admin", "user_admin", "mid_server", "itil", "x_plumbline_reader"):
            return (number for number in range(self.count) if self.first_role(number) == role)
        return ()

    def rows_of_user(self, number: int) -> Sequence[int]:
        """The role rows of a user, ascending."""
        extra = [self._regular + n for n, (holder, _) in enumerate(self._extra) if holder == number]
        return self._kept([*range(number, self._regular, self.count), *extra])

    def roles_of(self, number: int) -> set[str]:
        """The roles of a user."""
        return {self.held(row)[1] for row in self.rows_of_user(number)}

    def grant(self, number: int, role: str, at: str) -> None:
        """Give a user a role that the user does not hold."""
        given = [row for row in self._rows_ever_of(number) if self.held(row)[1] == role]
        if not given:
            given = [self._role_rows]
            self._extra.append((number, role))
        self._revoked.difference_update(given)
        self._moved |= {("role", row): at for row in given}

    def revoke(self, number: int, role: str) -> list[int]:
        """Take a role from a user; the rows that went."""
        gone = [row for row in self.rows_of_user(number) if self.held(row)[1] == role]
        self._revoked.update(gone)
        return gone

    def _rows_ever_of(self, number: int) -> Iterable[int]:
        extra = (self._regular + n for n, (holder, _) in enumerate(self._extra) if holder == number)
        return (*range(number, self._regular, self.count), *extra)

    # --- second factors

    def has_factor(self, number: int) -> bool:
        """Whether a user's second factor is validated."""
        return self._factors.get(number, number > 0 and (self._is_strong or number % 4 == 0))

    def set_factor(self, number: int, at: str, *, is_validated: bool) -> None:
        """Enrol a user, or take the factor away."""
        self._factors[number] = is_validated
        self._moved["factor", number] = at

    def updated(self, kind: str, number: int, days: int) -> str:
        """When a row was last changed: `days` ago if never since the start."""
        return self._moved.get((kind, number)) or self._ago(days)

    def factors(self) -> Content:
        """user_multifactor_auth: of a weak instance some factors were never validated."""
        begun = range(3, self.count, 20) if not self._is_strong else range(0)
        taken = numbers(n for n in range(self.count) if self.has_factor(n) or (n in begun and n not in self._factors))
        columns: dict[str, Callable[[int], str]] = {
            "user": numbered_key,
            "validated": lambda n: _text(self.has_factor(n)),
            "sys_updated_on": lambda n: self.updated("factor", n, 60),
        }
        return Made(TABLES["user_multifactor_auth"], taken, columns, {})


class _Users(Made):
    """sys_user, which knows its rows by user name."""

    def __init__(self, people: Population, columns: dict[str, Callable[[int], str]], constants: dict[str, str]) -> None:
        super().__init__(TABLES["sys_user"], range(people.count), columns, constants)
        self._people = people

    def narrowed(self, path: str, values: frozenset[str]) -> Sequence[int] | None:
        """See `Content`."""
        if path == "user_name":
            return sorted({n for value in values if (n := self._people.number_of(value)) is not None})
        return super().narrowed(path, values)


class _HeldRoles(Made):
    """sys_user_has_role, which knows its rows by role and by user."""

    def __init__(self, people: Population, taken: Sequence[int]) -> None:
        columns: dict[str, Callable[[int], str]] = {
            "user": lambda row: numbered_key(people.held(row)[0]),
            "role": lambda row: role_key(people.held(row)[1]),
        }
        columns["sys_updated_on"] = columns["sys_created_on"] = lambda row: people.updated("role", row, 90)
        constants = {"inherited": "false", "state": "active", "sys_updated_by": "admin"}
        super().__init__(TABLES["sys_user_has_role"], taken, columns, constants)
        self._people = people

    def narrowed(self, path: str, values: frozenset[str]) -> Sequence[int] | None:
        """See `Content`."""
        people = self._people
        if path in ("role", "role.sys_id", "role.name"):
            wanted = [role for role in people.roles if (role if path == "role.name" else role_key(role)) in values]
            return _united([people.rows_of_role(role) for role in wanted])
        if path in ("user", "user.sys_id", "user.user_name"):
            by_name = path == "user.user_name"
            found = [people.number_of(value) if by_name else _user_number(value) for value in values]
            return _united([people.rows_of_user(n) for n in found if n is not None and n < people.count])
        return super().narrowed(path, values)


def _united(found: list[Sequence[int]]) -> Sequence[int]:
    return found[0] if len(found) == 1 else numbers(merge(*found))


def _user_number(sys_id: str) -> int | None:
    try:
        number = int(sys_id, 16)
    except ValueError:
        return None
    return number if numbered_key(number) == sys_id else None


def _application(number: int) -> str:
    return f"x_app_{number:02d}.user"


def _text(value: bool) -> str:
    return "true" if value else "false"


def _always(value: str) -> Callable[[int], str]:
    return lambda _: value


@lru_cache(maxsize=4096)
def _ago(now: datetime, days: int, hours: int) -> str:
    return stamp(now - timedelta(days=days, hours=hours))
