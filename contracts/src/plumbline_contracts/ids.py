"""Deterministic ids: the same input gives the same id, so a replay changes nothing."""

import hashlib
import secrets
from uuid import UUID, uuid5

NAMESPACE = UUID("6f1b6e0e-3f3c-5d6b-9a53-0d8f3c2b7a11")
FINDING_NAMESPACE = UUID("b3d1c2a7-52f4-5c0e-8f6d-7a1e94d05c38")
"""Of the events that tell SIEMs of findings. It never changes: receivers drop duplicates by these ids."""


def _uuid(*parts: str) -> str:
    return str(uuid5(NAMESPACE, "\x1f".join(parts)))


def snapshot_id(tenant: str, instance: str, request_id: str) -> str:
    """The snapshot that answers one collection request, however often the request is tried."""
    return _uuid("snapshot", tenant, instance, request_id)


def evaluation_id(snapshot: str, catalogue_digest: str) -> str:
    """One snapshot judged by one state of the catalogue."""
    return _uuid("evaluation", snapshot, catalogue_digest)


def scheduled_request_id(tenant: str, instance: str, due_at: str) -> str:
    """A scheduled request of one due time: two schedulers for a moment still write one request."""
    return _uuid("request", tenant, instance, due_at)


def change_request_id(tenant: str, instance: str, change_marker: str) -> str:
    """The request for one observed position of an audit trail."""
    return _uuid("change", tenant, instance, change_marker)


def finding_uid(tenant: str, instance: str, control: str) -> str:
    """One control on one instance, for ever; also the record key of its events."""
    return f"{tenant}|{instance}|{control}"


def finding_event_id(finding: str, cause: str, transition: str) -> str:
    """The event that tells what one cause (an evaluation, a decision) did to a finding, however often it is sent."""
    return str(uuid5(FINDING_NAMESPACE, f"{finding}\n{cause}\n{transition}"))


def random_id() -> str:
    """A fresh id, for publications and requests of people."""
    return secrets.token_hex(16)


class ChunkDigest:
    """SHA-256 over the SHA-256 of every chunk value, in order: whole, unaltered and in sequence, or different."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.count = 0

    def add(self, value: bytes) -> None:
        """Take the next chunk's record value, as bytes on the wire."""
        self._digest.update(hashlib.sha256(value).digest())
        self.count += 1

    def hex(self) -> str:
        """The digest over all chunks so far; of no chunk at all it is the digest of nothing."""
        return self._digest.hexdigest()


class EntityDigest:
    """Order-independent digest over entity ids: the sum of their SHA-256 values modulo 2^256."""

    def __init__(self) -> None:
        self._sum = 0
        self.count = 0

    def add(self, entity_id: str) -> None:
        """Take one entity."""
        self._sum = (self._sum + int.from_bytes(hashlib.sha256(entity_id.encode()).digest())) % (1 << 256)
        self.count += 1

    def hex(self) -> str:
        """The digest over all entities so far, 64 hex digits."""
        return f"{self._sum:064x}"
