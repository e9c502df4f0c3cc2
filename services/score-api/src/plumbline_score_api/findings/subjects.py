"""What a finding is about: the instance, and the entities that are exposed. Pure."""

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from plumbline_contracts.events import ExposedEntity

from plumbline_score_api.findings.captions import INSTANCES, PRODUCTS
from plumbline_score_api.findings.clipping import Clipper
from plumbline_score_api.findings.definitions import Json
from plumbline_score_api.findings.facts import Facts, InstanceFacts

MOST_ENTITIES = 20
_URL, _HOSTNAME, _LABEL, _ID, _LINE = 200, 256, 64, 128, 256


@dataclass(frozen=True, slots=True)
class Place:
    """What all events of an instance say of it, and share."""

    target: Json
    instance: Json
    lost_bytes: int


@lru_cache(maxsize=256)
def place_of(instance: InstanceFacts) -> Place:
    """The parts of an event that an instance alone decides."""
    clipper = Clipper()
    target: Json = {
        "uid": instance.id,
        "name": instance.id,
        "type": INSTANCES[instance.product],
        "role_id": 1,
        "role": "Target",
    }
    if instance.org_id:
        target["uid_alt"] = clipper.text(instance.org_id, _LABEL)
    url, hostname = _address(instance.url or "")
    if hostname:
        target["hostname"] = clipper.text(hostname, _HOSTNAME)
    told: Json = {"id": instance.id, "product": instance.product.value, "insights": instance.insights.value}
    if url:
        told["url"] = clipper.text(url, _URL)
    return Place(target, told, clipper.lost_bytes)


def _address(url: str) -> tuple[str, str | None]:
    """The URL and its host, without a name and password that somebody wrote into it."""
    try:
        parts = urlsplit(url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), parts.hostname
    except ValueError:
        return "", None


def resources(facts: Facts, place: Place, clipper: Clipper) -> list[Json]:
    """The instance, then the exposed entities with the first ids, so that the same ones are told every time."""
    chosen = sorted(facts.entities, key=lambda entity: entity.id)[:MOST_ENTITIES]
    return [place.target, *(_entity(each, facts.names_are_allowed, clipper) for each in chosen)]


def _entity(entity: ExposedEntity, is_name_allowed: bool, clipper: Clipper) -> Json:
    found: Json = {
        "uid": clipper.text(entity.id, _ID) or "-",
        "type": clipper.text(_entity_type(entity.type[:_LINE]), _LABEL) or "-",
        "role_id": 3,
        "role": "Affected",
    }
    if is_name_allowed and entity.name:
        found["name"] = clipper.text(entity.name, _ID)
    return found


@lru_cache(maxsize=1024)
def _entity_type(name: str) -> str:
    """`salesforce/permission_set` as `Salesforce Permission Set`."""
    product, slash, kind = name.partition("/")
    if not slash:
        return name
    words = [word[:1].upper() + word[1:] for word in kind.split("_")]
    return " ".join([_CAPTIONS.get(product, product), *words])


_CAPTIONS = {product.value: caption for product, caption in PRODUCTS.items()}
