"""The Salesforce permissions that controls ask about, and sets of them as single numbers. Pure.

A set is kept as bits of an integer, so that the permissions of a hundred thousand users are a hundred thousand numbers
of which only a few differ.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from plumbline_collector.connectors.salesforce.cells import truth

PRIVILEGES = ("ModifyAllData", "ViewAllData", "ManageUsers", "AuthorApex", "CustomizeApplication")
"""Who holds one of these is a privileged user."""
API_ONLY = "ApiUserOnly"
"""The permission of a user who may not log in to the user interface."""
SUPER_ADMIN = ("ViewAllData", "ModifyAllData", "ManageUsers")
SINGLE_SIGN_ON = ("IsSsoEnabled", "MustUseSso")
FULL_COMPROMISE = (
    "ModifyAllData", "AuthorApex", "CustomizeApplication", "ModifyMetadata", "ManageInteraction",
    "ManageProfilesPermissionsets",
)  # fmt: skip
IDENTITY_TAKEOVER = (
    "ManageUsers", "ManageInternalUsers", "AssignPermissionSets", "ManageRoles", "ManageSharing", "ResetPasswords",
    "ManagePasswordPolicies", "ManageLoginAccessPolicies", "ManageTwoFactor", "ManageAuthProviders",
    "ManageCertificates", "PasswordNeverExpires", "BypassMFAForUiLogins",
)  # fmt: skip
_OTHERS = (
    "ViewAllData", "ViewAllUsers", "ViewAllFieldsGlobal", "EditReadonlyFields", "QueryAllFiles",
    "DataExport", "ExportReport", "ApiEnabled", "BulkApiHardDelete",
    "ManageEncryptionKeys", "ViewEncryptedData", "ManageHealthCheck", "ViewEventLogFiles", "InstallPackaging",
    "TransactionSecurityExempt", "ModifyTransactionSecurityPolicies",
    "ManageRemoteAccess", "ExternalClientAppAdmin", "ClientSecretRotation", "ViewClientSecret", "UseAnyApiAuth",
    "UseAnyApiClient",
    "MustUseSso", "IsSsoEnabled", "BreakGlassLoginAllowed", API_ONLY, "ForceTwoFactor", "TwoFactorApi",
    "AllowLightningLogin",
)  # fmt: skip
UNINSTALLED_APPS = "ApproveUninstalledConnectedApps"
"""Our name for the permission that a describe calls *Approve Uninstalled Connected Apps*; its API name varies."""
UNINSTALLED_APPS_NAMES = frozenset({"CanApproveUninstalledApps", UNINSTALLED_APPS})
UNINSTALLED_APPS_LABEL = "approve uninstalled connected apps"
KNOWN = tuple(dict.fromkeys((*PRIVILEGES, *FULL_COMPROMISE, *IDENTITY_TAKEOVER, *_OTHERS, UNINSTALLED_APPS)))
"""All of them, in the order of the bits."""
_BITS = {name: 1 << position for position, name in enumerate(KNOWN)}
PREFIX = "Permissions"


def mask_of(names: Iterable[str]) -> int:
    """The set of these permissions."""
    mask = 0
    for name in names:
        mask |= _BITS[name]
    return mask


PRIVILEGED, ADMINISTRATOR = mask_of(PRIVILEGES), mask_of(PRIVILEGES)
TAKEOVER, SUPER = mask_of(IDENTITY_TAKEOVER), mask_of(SUPER_ADMIN)
API_USER, API_ACCESS, MODIFIES_ALL = mask_of([API_ONLY]), mask_of(["ApiEnabled"]), mask_of(["ModifyAllData"])
SSO = mask_of(SINGLE_SIGN_ON)


def names_of(mask: int) -> list[str]:
    """The permissions of a set, in the order of `KNOWN`."""
    return [name for name, bit in _BITS.items() if mask & bit]


class PermissionColumns:
    """Which of the known permissions an org has, and in which columns of PermissionSet they stand."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        """`labels`: column name to label, as a describe of PermissionSet gives them."""
        named = {column: column.removeprefix(PREFIX) for column in labels if column.startswith(PREFIX)}
        self._columns = {name: f"{PREFIX}{name}" for name in KNOWN if f"{PREFIX}{name}" in named}
        for column, label in labels.items():
            is_called_so = named.get(column) in UNINSTALLED_APPS_NAMES or UNINSTALLED_APPS_LABEL in label.lower()
            if column in named and is_called_so:
                self._columns[UNINSTALLED_APPS] = column
        self._bits = {column: _BITS[name] for name, column in self._columns.items()}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns to select."""
        return tuple(self._columns.values())

    @property
    def existing(self) -> list[str]:
        """The known permissions that the org has."""
        return [name for name in KNOWN if name in self._columns]

    @property
    def absent(self) -> list[str]:
        """The known permissions that the org does not have, so that nobody can hold them."""
        return [name for name in KNOWN if name not in self._columns]

    @property
    def is_whole(self) -> bool:
        """Whether the permissions that every org has are among them; if not, columns are hidden."""
        return all(name in self._columns for name in PRIVILEGES)

    def mask(self, record: Mapping[str, Any]) -> int:
        """The set that a PermissionSet record grants.

        Raises LookupError when a selected column was not sent, ValueError when it holds neither true nor false.
        """
        mask = 0
        for column, bit in self._bits.items():
            is_granted = truth(record[column])
            if is_granted is None:
                raise ValueError(f"{column} is neither true nor false")
            if is_granted:
                mask |= bit
        return mask
