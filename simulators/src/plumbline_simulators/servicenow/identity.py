"""How an instance names its records and writes dates."""

import hashlib
from datetime import datetime
from functools import lru_cache


def stamp(moment: datetime) -> str:
    """A date as the Table API writes it, UTC."""
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def sys_id(text: str) -> str:
    """The sys_id of the record that this text names; the same in every run."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@lru_cache(maxsize=1024)
def role_key(role: str) -> str:
    """The sys_id of a role."""
    return sys_id(f"sys_user_role/{role}")
