"""What the collector's own user may do, and what follows for what it was not shown. Pure."""

from collections.abc import Mapping
from typing import Any

from plumbline_contracts.events import DatasetError, DatasetState, DatasetSummary, MissingField, Row

from plumbline_collector.connectors.salesforce.permissions import PREFIX
from plumbline_collector.errors import ReadError

LABELS = {
    "ApiEnabled": "API Enabled",
    "ViewSetup": "View Setup and Configuration",
    "ViewAllUsers": "View All Users",
    "ViewHealthCheck": "View Health Check",
    "MonitorLoginHistory": "Monitor Login History",
    "ManageTwoFactor": "Manage Multi-Factor Authentication in API",
    "CustomizeApplication": "Customize Application",
    "ViewEventLogFiles": "View Event Log Files",
    "ManageEncryptionKeys": "Manage Encryption Keys",
    "ManageUsers": "Manage Users",
    "ViewAllData": "View All Data",
}
"""API name to label of every permission that a dataset needs, or that shows more of it."""
BASE = {"ViewSetup": "has_view_setup", "ViewAllUsers": "has_view_all_users", "ViewHealthCheck": "has_view_health_check"}
"""The permissions without which little can be judged, to the field that says whether the user holds it."""
MORE_THAN_READING = {
    "Customize Application": "change the org's configuration",
    "Manage Encryption Keys": "rotate and destroy encryption keys",
    "Manage Multi-Factor Authentication in API": "add and remove the verification methods of users",
    "Manage Users": "create users and change the rights of all",
    "View All Data": "read every record of the org",
}
"""Permissions that let their holder do more than read the configuration, to what that is."""
_NAMES = {label: name for name, label in LABELS.items()}
_UNKNOWN_OBJECT = "INVALID_TYPE"
_LICENSED_BY = {"tenant_secrets": "ManageEncryptionKeys", "event_log_types": "ViewEventLogFiles"}
"""Datasets of licensed objects, to the one permission that is all they need."""
_SITES = frozenset({"networks", "sites"})


class Rights:
    """The caller's permissions; `held` is None while they are not known."""

    def __init__(self) -> None:
        self.held: frozenset[str] | None = None
        self.missing: tuple[str, ...] = ()
        self.problem = "they were not read"
        self.has_sites: bool | None = None

    def take(self, record: Mapping[str, Any]) -> None:
        """The caller's UserPermissionAccess record. A permission that the org does not have is not in it."""
        shown = {name: record.get(f"{PREFIX}{name}") for name in LABELS}
        self.held = frozenset(name for name, value in shown.items() if value is True)
        self.missing = tuple(name for name, value in shown.items() if value is False)

    def document(self) -> Row:
        """The lists of the `collector_permissions` document."""
        return {"held": [name for name in LABELS if self.held and name in self.held], "missing": list(self.missing)}

    def hidden(self, any_of: tuple[str, ...], what: str) -> ReadError | None:
        """Why rows may be hidden without the org counting them; None when a permission held shows all of them."""
        if not any_of:
            return None
        if self.held is None:
            message = f"whether all {what} are visible is not known: {self.problem}"
            return ReadError(DatasetState.TRUNCATED, "visibility_unknown", message)
        if self.held.isdisjoint(any_of):
            labels = " or ".join(LABELS[name] for name in any_of)
            message = f"without {labels} the org leaves {what} out and does not count them"
            return ReadError(DatasetState.TRUNCATED, "hidden_rows", message)
        return None

    def lacking(self, permission: str, what: str, *, is_empty: bool = False) -> ReadError | None:
        """Why an object may show less than there is: its permission, as labelled, is not held.

        None when it is held or is none of `LABELS`. What is empty is doubted also while the permissions are not known.
        """
        name = _NAMES.get(permission)
        if name in self.missing or (name and is_empty and self.held is None):
            return self.hidden((name,), what)
        return None

    def judged(self, dataset: str, failure: ReadError) -> ReadError:
        """The failure, as `not_licensed` where what was read proves that the feature is not there."""
        if failure.code != _UNKNOWN_OBJECT or failure.state is not DatasetState.DENIED:
            return failure
        if dataset in _SITES and self.has_sites is False:
            message = "digital experiences are off in this org (CommunitiesSettings.enableNetworksEnabled)"
            return ReadError(DatasetState.NOT_LICENSED, failure.code, message)
        needed = _LICENSED_BY.get(dataset)
        if needed and self.held is not None and needed in self.held:
            message = f"the user holds {LABELS[needed]} and the org does not know the object: it is not licensed"
            return ReadError(DatasetState.NOT_LICENSED, failure.code, message)
        return failure

    def advised(self, summary: DatasetSummary) -> DatasetSummary:
        """The summary with advice that is true and safe.

        It tells nobody to grant what the user holds already, and says what a dangerous permission allows besides.
        """
        changes: dict[str, Any] = {
            "missing_fields": [
                each.model_copy(update={"error": self._advised(each.error, each.state)})
                for each in summary.missing_fields
            ]
        }
        changes["error"] = summary.error and self._advised(summary.error, summary.state)
        return summary.model_copy(update=changes)

    def _advised(self, error: DatasetError, state: DatasetState) -> DatasetError:
        if not self.held or _NAMES.get(error.permission or "") not in self.held:
            danger = MORE_THAN_READING.get(error.permission or "")
            warning = f"; its holder can also {danger}, so leave it out unless what it opens is worth that"
            return error.model_copy(update={"remedy": f"{error.remedy}{warning}"}) if danger else error
        why = f" ({error.permission} is held: the feature may be off, or another right is needed)"
        message = error.message + (why if state is DatasetState.DENIED else "")
        return error.model_copy(update={"permission": None, "remedy": None, "message": message})

    def missing_base(self) -> list[MissingField]:
        """The base permissions that the user lacks, each as a field that says so."""
        found = []
        for name, field in BASE.items():
            if name in self.missing:
                label = LABELS[name]
                error = DatasetError(
                    code="missing_permission",
                    message=f"the collector's user lacks {label}",
                    permission=label,
                    remedy="Setup > Permission Sets > the integration user's permission set > System Permissions > "
                    f"tick {label}",
                )
                found.append(MissingField(field=field, state=DatasetState.DENIED, error=error))
        return found


def hidden_field(field: str, api_object: str, column: str, failure: ReadError) -> MissingField:
    """A field that is missing because a column may not be read."""
    error = DatasetError(
        code=failure.code,
        message=f"the org does not show {api_object}.{column} to the collector's user",
        permission=f"Read on the field {api_object}.{column}",
        remedy=f"Setup > Object Manager > {api_object} > Fields & Relationships > {column} > Set Field-Level Security: "
        "make it visible to the integration user's permission set",
    )
    return MissingField(field=field, state=DatasetState.DENIED, error=error)
