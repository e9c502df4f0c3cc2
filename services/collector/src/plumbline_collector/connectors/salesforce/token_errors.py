"""What the token endpoint's errors mean and which setting to change. Pure.

Source: Salesforce Help, OAuth 2.0 authorization errors; observed answers of the endpoint.
"""

LIMITS = frozenset({"REQUEST_LIMIT_EXCEEDED", "rate_limit_exceeded"})
"""Errors that pass: the org's calls or logins are used up for now."""
_BY_DESCRIPTION = {
    "authentication failure": (
        "the user name, password or security token is wrong, or Setup > OAuth and OpenID Connect Settings blocks the "
        "user name and password flow"
    ),
    "user hasn't approved this consumer": (
        "set the app's permitted users to admin-approved and assign the app to the user's permission set"
    ),
    "expired access/refresh token": "the token was revoked or replaced; connect the app again",
    "expired authorization code": "the code was used before or is older than 15 minutes; connect the app again",
    "no client credentials user enabled": "set the Run As user under the app's client credentials flow",
    "request not supported on this domain": (
        "put the org's My Domain URL (https://NAME.my.salesforce.com) into url instead of login or test.salesforce.com"
    ),
    "audience is invalid": "set audience to https://login.salesforce.com, or https://test.salesforce.com for a sandbox",
    "audience validation failed": (
        "set audience to https://login.salesforce.com, or https://test.salesforce.com for a sandbox"
    ),
    "invalid assertion": (
        "check that the certificate in the app belongs to private_key, that client_id and username are right, and the "
        "machine's clock"
    ),
    "inactive user": "activate the integration user under Setup > Users, or name another one",
    "invalid client credentials": "the consumer secret is wrong; copy it anew from the app's OAuth settings",
    "client identifier invalid": "the consumer key is wrong; copy it anew from the app's OAuth settings",
}
_BY_CODE = {
    "inactive_org": "the org is locked, closed or suspended; ask Salesforce or the org's administrator",
    "unsupported_grant_type": "switch the flow of this method on in the app's OAuth settings, or choose another method",
    "invalid_request": "the request lacks a parameter; check that client_id and the method's secrets are all set",
    "invalid_client": "the consumer secret is wrong; copy it anew from the app's OAuth settings",
    "invalid_client_id": "the consumer key is wrong; copy it anew from the app's OAuth settings",
    "invalid_app_access": "the user may not use the app; assign the app to the user's profile or permission set",
    "unauthorized_client": "the app does not allow this flow; switch it on in the app's OAuth settings",
    "invalid_grant": "check the user, the app's policies (permitted users, IP relaxation) and the user's login hours",
}


def cause(code: str, description: str) -> str:
    """The cause of a refused token request, and the setting to change."""
    said = description.strip().lower()
    for known, meaning in _BY_DESCRIPTION.items():
        if known in said:
            return meaning
    return _BY_CODE.get(code, "check the connection's auth section and the app in Setup")
