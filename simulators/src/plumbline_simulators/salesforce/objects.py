"""EntityDefinition: more objects than one answer may hold, and what users see of them by default."""

from plumbline_simulators.salesforce.entity import Entity
from plumbline_simulators.salesforce.shape import Shape
from plumbline_simulators.tables import Row

_STANDARD = {
    "Account": ("Private", "Private"),
    "AccountHistory": ("ControlledByParent", "ControlledByParent"),
    "Asset": ("ControlledByParent", "ControlledByParent"),
    "Campaign": ("Private", "Private"),
    "CampaignMember": ("ControlledByCampaign", "ControlledByCampaign"),
    "Case": ("Private", "Private"),
    "Contact": ("ControlledByParent", "ControlledByParent"),
    "Contract": ("ControlledByParent", "ControlledByParent"),
    "Lead": ("Private", "Private"),
    "Opportunity": ("Private", "Private"),
    "Order": ("ControlledByParent", "ControlledByParent"),
    "Pricebook2": ("Read", "None"),
    "Product2": ("ReadSelect", "None"),
    "User": ("Read", "Private"),
}
_WEAK = {
    "Account": ("ReadWrite", "Read"),
    "Case": ("ReadWriteTransfer", "Private"),
    "Lead": ("ReadWriteTransfer", "Private"),
    "Opportunity": ("Edit", "Private"),
}
CUSTOM_OBJECTS = 2300
COLUMNS = frozenset(
    {
        "DurableId", "QualifiedApiName", "Label", "KeyPrefix", "InternalSharingModel", "ExternalSharingModel",
        "IsCustomizable", "IsDeprecatedAndHidden",
    }
)  # fmt: skip


def sharing_models(shape: Shape) -> dict[str, tuple[str, str]]:
    """Internal and external default of the standard objects."""
    return dict(_STANDARD) if shape.is_strong else _STANDARD | _WEAK


def entity_definitions(standard: dict[str, Row]) -> Entity:
    """EntityDefinition: the standard objects with their sharing models, and custom ones, by API name."""
    custom = [f"Obj{number:04d}__c" for number in range(CUSTOM_OBJECTS)]
    names = sorted([*standard, *custom])

    def make(number: int) -> Row:
        name = names[number]
        model = standard.get(name, {"InternalSharingModel": "Private", "ExternalSharingModel": "Private"})
        return {
            "DurableId": name,
            "QualifiedApiName": name,
            "Label": name.removesuffix("__c"),
            "KeyPrefix": f"{number:03d}",
            "IsCustomizable": not name.endswith("History"),
            "IsDeprecatedAndHidden": number % 100 == 99,
            **model,
        }

    def name_of(number: int) -> str:
        return names[number]

    return Entity("EntityDefinition", COLUMNS, len(names), make, {"QualifiedApiName": name_of, "DurableId": name_of})
