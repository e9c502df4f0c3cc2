"""What a control protects."""

from enum import StrEnum


class Category(StrEnum):
    """What a control protects."""

    IDENTITY = "Identity"
    APPS = "Apps"
    DATA = "Data"
    DEVICE = "Device"
    INFRASTRUCTURE = "Infrastructure"
