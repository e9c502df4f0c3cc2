"""How many calls a full collection makes, known before it makes any. Pure."""

import math
from collections.abc import Mapping

from plumbline_collector.connectors.salesforce.pages import BATCH
from plumbline_collector.connectors.salesforce.soql import IDS_PER_QUERY

PAGE_ROWS = 2000
SMALL_PAGE_ROWS = 500
"""Rows of a page of TwoFactorMethodsInfo and OauthToken."""
PRIVILEGED_PROFILES, PRIVILEGED_USERS, GUEST_PROFILES = "Profile.privileged", "User.privileged", "Profile.guest"
"""Names for parts of an object, beside the names of the objects."""
MOST_PROFILES = 12
"""Privileged profiles whose login ranges are read, a call each: those with the most users."""
MOST_VERIFIED = 2 * IDS_PER_QUERY
"""Privileged users whose verifications are looked up."""

_PAGED = {
    "permission_sets": ("PermissionSet", "PermissionSetAssignment"),
    "object_grants": ("ObjectPermissions.core",),
    "external_client_apps": ("ExternalClientApplication", "ExtlClntAppOauthPlcyCnfg", "ExtlClntAppOauthSettings"),
    "packages": ("InstalledSubscriberPackage",),
    "package_licences": ("PackageLicense",),
    "user_licences": ("UserLicense",),
    "remote_sites": ("RemoteProxy",),
    "cors_entries": ("CorsWhitelistEntry",),
    "trusted_urls": ("CspTrustedSite",),
    "named_credentials": ("NamedCredential",),
    "certificates": ("Certificate",),
    "saml_providers": ("SamlSsoConfig",),
    "auth_providers": ("AuthProvider",),
    "login_pages": ("AuthConfig",),
    "networks": ("Network",),
    "sites": ("Site", "SiteDetail"),
    "dkim_keys": ("EmailDomainKey",),
    "email_relays": ("EmailRelay",),
    "email_services": ("EmailServicesFunction",),
    "tenant_secrets": ("TenantSecret",),
    "public_links": ("ContentDistribution",),
    "transaction_security_policies": ("TransactionSecurityPolicy",),
}
"""Dataset to the objects that are paged to their end for it."""
_SINGLE = (
    "organization", "collector_permissions", "permission_catalogue", "session_settings", "connected_app_settings",
    "oauth_settings", "external_client_app_settings", "my_domain_settings", "sharing_settings", "file_upload_settings",
    "user_management_settings", "event_settings", "platform_encryption_settings", "encryption_key_settings",
    "content_settings", "apex_settings", "email_settings", "community_settings", "mfa_registrations",
    "login_activity", "session_activity", "login_addresses", "sensitive_fields", "event_log_types",
    "setup_changes",
)  # fmt: skip
"""Datasets of one call whatever the org holds."""


def pages(rows: int, size: int = PAGE_ROWS) -> int:
    """Pages of so many rows; an empty result is a page too."""
    return max(1, math.ceil(rows / size))


def batches(rows: int, page_rows: int, held_back: int = 0) -> int:
    """Calls for rows read in batches of which the last `held_back` come again: the pages of each batch."""
    calls, left = 0, rows
    while left >= BATCH:
        calls += pages(BATCH, page_rows)
        left -= BATCH - held_back
    return calls + pages(left, page_rows)


def calls_by_dataset(rows: Mapping[str, int]) -> dict[str, int]:
    """What a collection calls for each dataset, when the org has so many rows of each object and nothing fails.

    An object that is not named has one page. Exact, but for tokens that were given in one and the same second.
    """
    of = {name: rows.get(name, 1) for name in (PRIVILEGED_PROFILES, PRIVILEGED_USERS, GUEST_PROFILES)}
    found = dict.fromkeys(_SINGLE, 1)
    for dataset, objects in _PAGED.items():
        found[dataset] = sum(pages(rows.get(name, 1)) for name in objects)
    found["health_check"] = 1 + pages(rows.get("SecurityHealthCheckRisks", 1))
    found["profiles"] = pages(rows.get("Profile", 1)) + min(MOST_PROFILES, of[PRIVILEGED_PROFILES])
    found["identity_verifications"] = math.ceil(min(MOST_VERIFIED, of[PRIVILEGED_USERS]) / IDS_PER_QUERY)
    reached = math.ceil(of[GUEST_PROFILES] / IDS_PER_QUERY) and pages(rows.get("ObjectPermissions", 1))
    found["guest_users"] = pages(rows.get("User.guest", 1)) + reached
    found["connected_apps"] = 1 + pages(rows.get("ConnectedApplication", 1))
    found["object_sharing"] = batches(rows.get("EntityDefinition", 1), PAGE_ROWS)
    methods = 1 + batches(rows.get("TwoFactorMethodsInfo", 1), SMALL_PAGE_ROWS)
    found["users"] = pages(rows.get("UserLogin", 1)) + methods + pages(rows.get("User", 1))
    found["oauth_tokens"] = 1 + batches(rows.get("OauthToken", 1), SMALL_PAGE_ROWS, held_back=1)
    return found


def typical_rows(users: int) -> dict[str, int]:
    """How many rows of the large objects an org of so many active users tends to have."""
    return {
        "User": users,
        "UserLogin": users // 50,
        "TwoFactorMethodsInfo": users,
        "PermissionSetAssignment": 3 * users,
        "OauthToken": users // 2,
        "ContentDistribution": users // 10,
        "EntityDefinition": 1500,
        "ObjectPermissions": 200,
        "PermissionSet": min(1500, 50 + users // 50),
        PRIVILEGED_PROFILES: 3,
        PRIVILEGED_USERS: min(users, 5 + users // 200),
        GUEST_PROFILES: 1,
    }
