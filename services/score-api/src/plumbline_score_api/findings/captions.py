"""OCSF's numbers and what they are called. Pure.

Source: OCSF 1.8.0, class Compliance Finding (2003), https://schema.ocsf.io/1.8.0.
"""

from plumbline_contracts.events import Product, Severity

from plumbline_score_api.findings.state import Activity, StatusId, Verdict

CLASS_UID, CLASS_NAME = 2003, "Compliance Finding"
ACTIVITIES = {Activity.CREATE: "Create", Activity.UPDATE: "Update", Activity.CLOSE: "Close"}
STATUSES = {
    StatusId.UNKNOWN: "Unknown",
    StatusId.NEW: "New",
    StatusId.IN_PROGRESS: "In Progress",
    StatusId.SUPPRESSED: "Suppressed",
    StatusId.RESOLVED: "Resolved",
    StatusId.ARCHIVED: "Archived",
    StatusId.DELETED: "Deleted",
}
SEVERITIES = {1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical"}
MEASURED = {
    Verdict.PASS: (1, "Pass"),
    Verdict.PARTIAL: (3, "Fail"),
    Verdict.FAIL: (3, "Fail"),
    Verdict.NOT_APPLICABLE: (99, "Not Applicable"),
    Verdict.UNKNOWN: (2, "Warning"),
    Verdict.ERROR: (99, "Error"),
    Verdict.NOT_EVALUATED: (0, "Unknown"),
}
"""`compliance.status_id` and its caption: what was measured, whatever people decided."""
INFORMATIONAL, LOW = 1, 2
SEVERITY_IDS = {
    Severity.INFORMATIONAL: 1,
    Severity.LOW: 2,
    Severity.MEDIUM: 3,
    Severity.HIGH: 4,
    Severity.CRITICAL: 5,
}
PRODUCTS = {Product.SALESFORCE: "Salesforce", Product.SERVICENOW: "ServiceNow"}
INSTANCES = {Product.SALESFORCE: "Salesforce Org", Product.SERVICENOW: "ServiceNow Instance"}
