"""The entities of Graph as expressions see them: their properties, in the order in which they are answered. Pure."""

from plumbline_score_api.graph.expressions import EntityType, Kind, Type

_TEXT, _NUMBER, _MOMENT = Type(Kind.STRING), Type(Kind.NUMBER), Type(Kind.MOMENT)
_TEXTS = Type(Kind.COLLECTION, of=_TEXT)
_VENDOR = Type(Kind.COMPLEX, {"provider": _TEXT, "providerVersion": _TEXT, "subProvider": _TEXT, "vendor": _TEXT})
_UNSEARCHED = Type(Kind.COLLECTION, of=Type(Kind.COMPLEX), is_comparable=False)
_STATE = Type(
    Kind.COMPLEX,
    {"assignedTo": _TEXT, "comment": _TEXT, "state": _TEXT, "updatedBy": _TEXT, "updatedDateTime": _MOMENT},
)
_CERTIFICATION = Type(
    Kind.COMPLEX,
    {
        "certificationName": _TEXT,
        "certificationControls": Type(Kind.COLLECTION, of=Type(Kind.COMPLEX, {"name": _TEXT, "url": _TEXT})),
    },
)

SECURE_SCORE = EntityType(
    "microsoft.graph.secureScore",
    {
        "id": _TEXT,
        "azureTenantId": _TEXT,
        "activeUserCount": _NUMBER,
        "createdDateTime": _MOMENT,
        "currentScore": _NUMBER,
        "enabledServices": _TEXTS,
        "licensedUserCount": _NUMBER,
        "maxScore": _NUMBER,
        "averageComparativeScores": _UNSEARCHED,
        "controlScores": _UNSEARCHED,
        "vendorInformation": _VENDOR,
    },
)

CONTROL_PROFILE = EntityType(
    "microsoft.graph.secureScoreControlProfile",
    {
        "id": _TEXT,
        "actionType": _TEXT,
        "actionUrl": _TEXT,
        "azureTenantId": _TEXT,
        "complianceInformation": Type(Kind.COLLECTION, of=_CERTIFICATION),
        "controlCategory": _TEXT,
        "controlName": _TEXT,
        "controlStateUpdates": Type(Kind.COLLECTION, of=_STATE),
        "deprecated": Type(Kind.BOOLEAN),
        "implementationCost": _TEXT,
        "lastModifiedDateTime": _MOMENT,
        "maxScore": _NUMBER,
        "rank": _NUMBER,
        "remediation": _TEXT,
        "remediationImpact": _TEXT,
        "service": _TEXT,
        "threats": _TEXTS,
        "tier": _TEXT,
        "title": _TEXT,
        "userImpact": _TEXT,
        "vendorInformation": _VENDOR,
    },
)
