"""Record ids as small keys, for the sets that joins keep: a sys_id is 32 hex digits, thus 16 bytes."""

from collections.abc import Iterable

Key = bytes


def key(sys_id: str) -> Key:
    """The id in as few bytes as it needs. Two spellings of one id give one key."""
    try:
        return bytes.fromhex(sys_id) if len(sys_id) == 32 else sys_id.encode()
    except ValueError:
        return sys_id.encode()


def keys(sys_ids: Iterable[str]) -> set[Key]:
    """The keys of several ids."""
    return set(map(key, sys_ids))
