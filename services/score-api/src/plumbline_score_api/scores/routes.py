"""Routes about scores."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from plumbline_contracts.events import ID_PATTERN, Product

from plumbline_score_api.access import NoQuery, Reader, RestrictableReader
from plumbline_score_api.again import AgainRoute, answered
from plumbline_score_api.problems import RESPONSES
from plumbline_score_api.scores.schemas import (
    CategoryList,
    FrameworkDetail,
    FrameworkList,
    InstanceScoreDetail,
    ProductDetail,
    ProductList,
    ScopeQuery,
    SecureScore,
)
from plumbline_score_api.scores.service import ScoreService

router = APIRouter(prefix="/v1", tags=["scores"], responses=RESPONSES, route_class=AgainRoute)

Id = Annotated[str, Path(pattern=ID_PATTERN)]
Empty = Annotated[NoQuery, Query()]
Scope = Annotated[ScopeQuery, Query()]


def _scores(request: Request) -> ScoreService:
    found: ScoreService = request.app.state.services.scores
    return found


@router.get("/secure-score", operation_id="getSecureScore", response_model=SecureScore)
async def get_secure_score(request: Request, who: RestrictableReader, _: Empty) -> Response:
    """The tenant's Secure Score, with each product's."""
    scores = _scores(request)
    body = await scores.secure_score_body(who.tenant, who.restriction)
    return answered(request, body, partial(scores.secure_score_again, who.tenant, who.restriction))


@router.get("/products", operation_id="listProducts")
async def list_products(request: Request, who: RestrictableReader, _: Empty) -> ProductList:
    """The score of every product."""
    return ProductList(items=await _scores(request).products(who.tenant, who.restriction))


@router.get("/products/{product}", operation_id="getProduct")
async def get_product(request: Request, who: RestrictableReader, product: Product, _: Empty) -> ProductDetail:
    """One product, with the score of each of its categories and instances."""
    return await _scores(request).product(who.tenant, product, who.restriction)


@router.get("/instances/{instance}/score", operation_id="getInstanceScore")
async def get_instance_score(request: Request, who: Reader, instance: Id, _: Empty) -> InstanceScoreDetail:
    """The score of one instance, whether it counts or not, with that of each category."""
    return await _scores(request).instance(who.tenant, instance)


@router.get("/categories", operation_id="listCategories")
async def list_categories(request: Request, who: RestrictableReader, scope: Scope) -> CategoryList:
    """The score of every category in scope."""
    return CategoryList(items=await _scores(request).categories(who.tenant, scope, who.restriction))


@router.get("/frameworks", operation_id="listFrameworks")
async def list_frameworks(request: Request, who: RestrictableReader, scope: Scope) -> FrameworkList:
    """The score of every framework in scope, over the controls that are mapped to it."""
    return FrameworkList(items=await _scores(request).frameworks(who.tenant, scope, who.restriction))


@router.get("/frameworks/{framework}", operation_id="getFramework")
async def get_framework(request: Request, who: RestrictableReader, framework: Id, scope: Scope) -> FrameworkDetail:
    """One framework, with the score of each of its ids."""
    return await _scores(request).framework(who.tenant, framework, scope, who.restriction)
