"""What an org holds beside users and settings: apps, certificates, sites, trusted addresses, packages, keys."""

import base64
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from plumbline_simulators.salesforce.entity import record_id
from plumbline_simulators.salesforce.people import SECRET, user_id
from plumbline_simulators.salesforce.shape import Shape
from plumbline_simulators.tables import Row

Collection = dict[str, Row]
_FIRST_GUEST = 58


def _rows(prefix: str, columns: str, *values: tuple[Any, ...]) -> Collection:
    """Records by their first column, with ids in the order they are given."""
    names = columns.split()
    rows = [dict(zip(names, found, strict=True)) for found in values]
    return {str(row[names[0]]): {"Id": record_id(prefix, number), **row} for number, row in enumerate(rows)}


def connected_apps(shape: Shape) -> Collection:
    """ConnectedApplication by name; in a weak org two of three let any user authorise themselves."""
    names = ("Slack", "Mobile Salesforce", "Marketing Sync", "Warehouse Export", "Plumbline")
    found = {}
    for number in range(shape.connected_apps):
        name = names[number] if number < len(names) else f"App {number:03d}"
        managed = shape.is_strong or number % 3 == 0
        identity = record_id("0H4", number)
        found[name] = {
            "Id": identity,
            "Name": name,
            "OptionsAllowAdminApprovedUsersOnly": managed,
            "OptionsRefreshTokenValidityMetric": 4 if managed else 0,
            "RefreshTokenValidityPeriod": 30 if managed else None,
            "OptionsHasSessionLevelPolicy": shape.is_strong,
            "OptionsIsInternal": number == 1,
            "MobileSessionTimeout": 30 if shape.is_strong else None,
            "PinLength": 6 if shape.is_strong else None,
            "StartUrl": None,
            "CreatedDate": shape.now - timedelta(days=900 - number % 800),
            "LastModifiedDate": shape.now - timedelta(days=number % 300),
            "AppMenuItem": {
                "Id": record_id("0DS", number),
                "IsUsingAdminAuthorization": managed,
                "ApplicationId": identity,
            },
        }
    return found


def external_client_apps(shape: Shape) -> tuple[Collection, Collection, Collection]:
    """ExternalClientApplication, their OAuth policies and their OAuth settings, each by the app's name.

    The last app does without OAuth, so it has neither.
    """
    names = ("Plumbline_Collector", "Data_Bridge", "Partner_Portal", "Push_Notices")
    apps = _rows("0xI", "DeveloperName MasterLabel DistributionState",
                 *((name, name.replace("_", " "), "Local") for name in names))  # fmt: skip
    policies, settings = {}, {}
    for number, name in enumerate(names[:-1]):
        good = shape.is_strong or number == 0
        policies[name] = {
            "Id": record_id("0xO", number),
            "ExternalClientApplicationId": apps[name]["Id"],
            "PermittedUsersPolicyType": "AdminApprovedPreAuthorized" if good else "AllSelfAuthorized",
            "IpRelaxationPolicyType": "Enforce" if good else "Relax",
            "RefreshTokenPolicyType": "SpecificLifetime" if good else "Infinite",
            "RefreshTokenValidityPeriod": 30 if good else None,
            "RefreshTokenValidityUnit": "Days" if good else None,
            "RequiredSessionLevel": "HIGH_ASSURANCE" if good else "STANDARD",
            "IsClientCredentialsFlowEnabled": number == 0,
            "ClientCredentialsFlowUser": user_id(0) if number == 0 else None,
        }
        settings[name] = {
            "Id": record_id("0xS", number),
            "ExternalClientApplicationId": apps[name]["Id"],
            "OauthScopesFULL": not good,
            "OauthScopesAPI": True,
            "OauthScopesREFRESH_TOKEN": number != 0,
        }
    return apps, policies, settings


def certificates(shape: Shape) -> Collection:
    """Certificate by name; a weak org has an expired one and one that soon is."""
    columns = (
        "DeveloperName MasterLabel ExpirationDate KeySize OptionsIsCaSigned OptionsIsPrivateKeyExportable "
        "OptionsIsUnusable"
    )
    good = [("SelfSigned_2026", "SelfSigned 2026", shape.now + timedelta(days=400), 4096, False, False, False)]
    weak = [
        ("Old_Partner", "Old Partner", shape.now - timedelta(days=20), 1024, True, True, False),
        ("Gateway", "Gateway", shape.now + timedelta(days=20), 2048, True, True, False),
    ]
    return _rows("0P1", columns, *good, *([] if shape.is_strong else weak))


def remote_sites(shape: Shape) -> Collection:
    """RemoteProxy by name; all but a strong org have one without protocol security and one without TLS."""
    sites = [("Billing", "https://billing.example.com", True, False, None),
             ("Maps", "https://maps.example.com", True, False, None)]  # fmt: skip
    if not shape.is_strong:
        sites.append(("OldErp", "http://erp.example.com", True, True, None))
        sites.append(("Weather", "http://weather.example.com", True, False, None))
    return _rows("0rp", "SiteName EndpointUrl IsActive ProtocolMismatch NamespacePrefix", *sites)


def sites(shape: Shape) -> Collection:
    """Site by name. Its guest is user 58 of an org that has so many."""
    guest = user_id(_FIRST_GUEST) if shape.users > _FIRST_GUEST else None
    columns = (
        "Name Status SiteType GuestUserId ClickjackProtectionLevel OptionsRequireHttps "
        "OptionsContentSniffingProtection OptionsBrowserXssProtection OptionsCspUpgradeInsecureRequests "
        "OptionsAllowGuestSupportApi"
    )
    strong = shape.is_strong
    level = "SameOriginOnly" if strong else "AllowAllFraming"
    return _rows(
        "0DM",
        columns,
        ("Help", "Active", "ChatterNetwork", guest, level, True, True, True, strong, not strong),
        ("Landing", "Active", "Visualforce", guest, "SameOriginOnly", strong, True, True, strong, False),
        ("Retired", "InMaintenance", "Visualforce", None, "AllowAllFraming", False, False, False, False, False),
    )


def site_details(shape: Shape) -> Collection:
    """SiteDetail by its DurableId, which is the id of the site."""
    return {
        row["Id"]: {
            "DurableId": row["Id"],
            "IsRegistrationEnabled": not shape.is_strong,
            "SecureUrl": f"https://{name.lower()}.example.com",
        }
        for name, row in sites(shape).items()
    }


def networks(shape: Shape) -> Collection:
    """Network by name."""
    open_ = not shape.is_strong
    columns = "Name Status OptionsGuestChatterEnabled OptionsSelfRegistrationEnabled OptionsGuestMemberVisibility"
    return _rows("0DB", columns, ("Help", "Live", open_, open_, open_), ("Partners", "Live", False, False, False))


def trusted(shape: Shape) -> dict[str, Collection]:
    """Addresses that the org trusts: CORS, CSP, named credentials."""
    weak = not shape.is_strong
    cors = [("Portal", "https://portal.example.com")] + ([("Anyone", "https://*")] if weak else [])
    csp_columns = "DeveloperName EndpointUrl IsActive Context IsApplicableToConnectSrc IsApplicableToFrameSrc"
    csp = [("Cdn", "https://cdn.example.com", True, "All", True, False)]
    csp += [("Wild", "http://*.example.net", True, "All", True, True)] if weak else []
    credential_columns = "DeveloperName MasterLabel Endpoint PrincipalType NamedCredentialType Password OauthToken"
    credentials: list[tuple[Any, ...]] = [
        ("Erp", "ERP", "https://erp.example.com", "NamedUser", "SecuredEndpoint", SECRET, SECRET)
    ]
    credentials += (
        [("Legacy", "Legacy", "http://old.example.com", "NamedUser", "Legacy", SECRET, SECRET)] if weak else []
    )
    return {
        "CorsWhitelistEntry": _rows("07x", "DeveloperName UrlPattern", *cors),
        "CspTrustedSite": _rows("08y", csp_columns, *csp),
        "NamedCredential": _rows("0XA", credential_columns, *credentials),
    }


def single_sign_on(shape: Shape) -> dict[str, Collection]:
    """SAML configurations, authentication providers and what the login page of My Domain offers."""
    columns = (
        "DeveloperName MasterLabel Version Issuer Audience IdentityMapping OptionsSpInitBinding "
        "OptionsUserProvisioning OptionsRequireMfaSaml RequestSignatureMethod LoginUrl ValidationCert"
    )
    strong = shape.is_strong
    issuer, method = "https://idp.example.com", "RSA_SHA256" if strong else "RSA_SHA1"
    certificate = signing_certificate(days=700 if strong else 20)
    saml = ("Corporate", "Corporate", "SAML2_0", issuer, "https://example.my.salesforce.com", "FederationId",
            False, False, strong, method, f"{issuer}/login", certificate)  # fmt: skip
    page = "DeveloperName Url IsActive AuthOptionsUsernamePassword AuthOptionsSaml AuthOptionsAuthProvider Type"
    return {
        "SamlSsoConfig": _rows("0LE", columns, saml),
        "AuthProvider": _rows("0SO", "DeveloperName ProviderType FriendlyName",
                              ("Corporate_OIDC", "OpenIdConnect", "Work")),
        "AuthConfig": _rows("0Bx", page,
                            ("MyDomain", "https://example.my.salesforce.com", True, not strong, True, True, "Org")),
    }  # fmt: skip


@lru_cache
def signing_certificate(days: int) -> str:
    """An X.509 certificate that ends in so many days, as base64 of its DER form."""
    key, today = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp.example.com")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = builder.not_valid_before(today - timedelta(days=365)).not_valid_after(today + timedelta(days=days))
    return base64.b64encode(made.sign(key, SHA256()).public_bytes(Encoding.DER)).decode()


def packages(shape: Shape) -> dict[str, Collection]:
    """Installed packages and their licences."""
    installed = [("Sign Here", "sign", True, False, False)]
    installed += [] if shape.is_strong else [("Toolbox", "tools", False, True, True)]
    found = {
        namespace: {
            "Id": record_id("0A3", number),
            "SubscriberPackage": {"Name": name, "NamespacePrefix": namespace},
            "SubscriberPackageVersion": {"IsSecurityReviewed": reviewed, "IsBeta": beta, "IsDeprecated": deprecated},
        }
        for number, (name, namespace, reviewed, beta, deprecated) in enumerate(installed)
    }
    licences = [(namespace, "Active", -1, 4, None) for _, namespace, *_ in installed]
    columns = "NamespacePrefix Status AllowedLicenses UsedLicenses ExpirationDate"
    return {"InstalledSubscriberPackage": found, "PackageLicense": _rows("050", columns, *licences)}


def mail(shape: Shape) -> dict[str, Collection]:
    """DKIM keys, relays and inbound services."""
    strong = shape.is_strong
    return {
        "EmailDomainKey": _rows("0Q2", "Domain Selector IsActive PublicKey", ("example.com", "s1", strong, SECRET)),
        "EmailRelay": _rows("0ED", "Host TlsSetting IsRequireAuth Password",
                            ("relay.example.com", "RequiredVerify" if strong else "Off", strong, SECRET)),
        "EmailServicesFunction": _rows("093", "FunctionName IsActive IsAuthenticationRequired IsTlsRequired",
                                       ("CaseMail", True, strong, strong), ("OldMail", False, False, False)),
    }  # fmt: skip


def shield(shape: Shape) -> dict[str, Collection]:
    """Keys, policies and event logs of Salesforce Shield."""
    strong, now = shape.is_strong, shape.now
    age = timedelta(days=90 if strong else 500)
    key = "Type Status Source Version KeyDerivationMode CreatedDate SecretValue"
    policy = "DeveloperName State EventName Type ActionConfig ExecutionUserId"
    return {
        "TenantSecret": {
            **_rows("02G", key, ("Data", "Active", "Generated", 2, "PBKDF2", now - age, SECRET)),
            "Archived": {"Id": record_id("02G", 1), "Type": "Data", "Status": "Archived", "Source": "Generated",
                         "Version": 1, "KeyDerivationMode": "PBKDF2", "CreatedDate": now - timedelta(days=900),
                         "SecretValue": SECRET},
        },
        "TransactionSecurityPolicy": _rows("0NI", policy, ("BigExports", "Enabled" if strong else "Disabled",
                                           "ReportEvent", "CustomConditionBuilderPolicy", "Block", user_id(1))),
        "EventLogFile": {
            str(number): {"Id": record_id("0AT", number), "EventType": kind,
                          "LogDate": now - timedelta(days=1 + number // 3)}
            for number, kind in enumerate(("Login", "API", "ReportExport") * (30 if strong else 1))
        },
    }  # fmt: skip


def content_distributions(shape: Shape) -> Collection:
    """ContentDistribution: public links."""
    found = {}
    for number in range(20):
        good = shape.is_strong or number % 4 == 0
        found[str(number)] = {
            "Id": record_id("05D", number),
            "PreferencesPasswordRequired": good,
            "PreferencesExpires": good,
            "ExpiryDate": shape.now + timedelta(days=30) if good else None,
            "ViewCount": number * 3,
            "CreatedDate": shape.now - timedelta(days=10 * number),
            "OwnerId": user_id(number % max(shape.users, 1)),
            "Password": SECRET,
            "DistributionPublicUrl": SECRET,
        }
    return found


def object_permissions(profiles: Collection, sets: Collection, shape: Shape) -> Collection:
    """ObjectPermissions by parent and object."""
    weak, objects = not shape.is_strong, ("Account", "Case", "Contact", "Lead", "Opportunity")
    plan: tuple[tuple[str, Iterable[str], str], ...] = (
        ("System Administrator", objects, "CREDVM"),
        ("Sales User", objects, "CRE"),
        ("Portal Guest Profile", objects if weak else ("Case",), "CRE" if weak else "R"),
    )
    found: Collection = {}
    for profile, names, letters in plan:
        owner = next(row for row in sets.values() if row["ProfileId"] == profiles[profile]["Id"])
        for name in names:
            found[f"{profile}/{name}"] = _object_permission(len(found), owner, name, letters)
    if weak:
        found["Data_Steward/Account"] = _object_permission(len(found), sets["Data_Steward"], "Account", "REVM")
        found["Site_Visitors/Order"] = _object_permission(len(found), sets["Site_Visitors"], "Order", "RV")
    return found


def _object_permission(number: int, parent: Row, name: str, letters: str) -> Row:
    """`letters` are of Create, Read, Edit, Delete, View all, Modify all."""
    kinds = {"C": "Create", "R": "Read", "E": "Edit", "D": "Delete", "V": "ViewAllRecords", "M": "ModifyAllRecords"}
    return {
        "Id": record_id("110", number),
        "ParentId": parent["Id"],
        "Parent": parent,
        "SobjectType": name,
        **{f"Permissions{kind}": letter in letters for letter, kind in kinds.items()},
    }


def field_permissions(sets: Collection, shape: Shape) -> Collection:
    """FieldPermissions of fields whose names sound sensitive."""
    readers = [row for row in sets.values() if row["IsOwnedByProfile"] or row["Name"] == "Data_Steward"]
    found: Collection = {}
    for name in ("Contact.SSN__c", "Contact.Birthdate", "Account.TaxNumber__c"):
        for parent in readers[: 2 if shape.is_strong else 5]:
            number = len(found)
            found[f"{number}"] = {
                "Id": record_id("01k", number),
                "Field": name,
                "SobjectType": name.partition(".")[0],
                "ParentId": parent["Id"],
                "Parent": parent,
                "PermissionsRead": True,
                "PermissionsEdit": number == 0,
            }
    return found


def app_access(apps: Collection, sets: Collection) -> Collection:
    """SetupEntityAccess: which permission sets may use an app."""
    parent = sets["SSPM_Base"]["Id"]
    columns = "SetupEntityId ParentId SetupEntityType"
    return _rows("0J0", columns, *((row["Id"], parent, "ConnectedApplication") for row in apps.values()))


def licences(shape: Shape) -> Collection:
    """UserLicense by name."""
    guests = shape.users // 59
    return _rows("100", "Name Status TotalLicenses UsedLicenses LicenseDefinitionKey",
                 ("Salesforce", "Active", shape.users + 40, max(0, shape.users - guests - 1), "SFDC"),
                 ("Salesforce Integration", "Active", 5, min(1, shape.users), "PID_Salesforce_Integration"),
                 ("Guest User License", "Active", 25, guests, "PID_Guest_User"))  # fmt: skip
