"""What kind of org is simulated: its seed, its size, what it has licensed and who asks."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

Seed = Literal["weak", "strong", "restricted"]

BASE_RIGHTS = frozenset(
    {
        "PermissionsApiEnabled",
        "PermissionsViewSetup",
        "PermissionsViewAllUsers",
        "PermissionsViewHealthCheck",
        "PermissionsViewRoles",
    }
)
EXTENDED_RIGHTS = BASE_RIGHTS | {
    "PermissionsMonitorLoginHistory",
    "PermissionsManageTwoFactor",
    "PermissionsViewEventLogFiles",
}
"""With `BASE_RIGHTS`, what the permission sets of `deploy/salesforce` grant."""
OPEN_RIGHTS = EXTENDED_RIGHTS | {"PermissionsCustomizeApplication", "PermissionsManageEncryptionKeys"}
"""With two rights more that some grant knowingly, for OAuth tokens, login ranges and the age of keys."""
FULL_RIGHTS = OPEN_RIGHTS | {"PermissionsManageUsers", "PermissionsViewAllData"}
"""With these nothing is out of sight. No posture service should hold the last two."""
_RIGHTS_OF_SEED = {"weak": FULL_RIGHTS, "strong": OPEN_RIGHTS, "restricted": BASE_RIGHTS}
"""A weak org gives its integration user too much, as weak orgs do."""
CALLER = 0
"""The number of the integration user."""


@dataclass
class Shape:
    """The options of an org. `rights` are the integration user's permissions; None: as the seed has them.

    `hidden_columns` (`User.FederationIdentifier`) are out of the integration user's sight by field-level security;
    `language` is the one that standard profiles and labels are shown in.
    """

    seed: Seed = "weak"
    users: int = 60
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    assignments_per_user: int = 3
    connected_apps: int = 12
    oauth_tokens: int = 90
    logins_per_user: int = 4
    language: str = "en_US"
    has_gated_features: bool = True
    has_experience_cloud: bool = True
    has_shield: bool = True
    has_custom_baseline: bool = False
    rights: frozenset[str] | None = None
    hidden_columns: frozenset[str] = frozenset()
    daily_limit: int = 100_000
    has_usage_per_app: bool = False
    page_size: int = 2000
    user_changes: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def is_strong(self) -> bool:
        """Whether the org is configured well."""
        return self.seed == "strong"

    @property
    def held(self) -> frozenset[str]:
        """The integration user's permissions, by field name."""
        if self.rights is not None:
            return self.rights
        return _RIGHTS_OF_SEED[self.seed]
