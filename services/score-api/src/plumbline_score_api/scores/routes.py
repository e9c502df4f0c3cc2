"""Routes about scores."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from plumbline_contracts.events import ID_PATTERN, Product

from plumbline_score_api.access import NoQuery, Reader
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

router = APIRouter(prefix="/v1", tags=["scores"], responses=RESPONSES)

Id = Annotated[str, Path(pattern=ID_PATTERN)]
Empty = Annotated[NoQuery, Query()]
Scope = Annotated[ScopeQuery, Query()]


def _scores(request: Request) -> ScoreService:
    found: ScoreService = request.app.state.services.scores
    return found


@router.get("/secure-score", operation_id="getSecureScore")
async def get_secure_score(request: Request, who: Reader, _: Empty) -> SecureScore:
    """The tenant's Secure Score, with each product's."""
    return await _scores(request).secure_score(who.tenant)


@router.get("/products", operation_id="listProducts")
async def list_products(request: Request, who: Reader, _: Empty) -> ProductList:
    """The score of every product."""
    return ProductList(items=await _scores(request).products(who.tenant))


@router.get("/products/{product}", operation_id="getProduct")
async def get_product(request: Request, who: Reader, product: Product, _: Empty) -> ProductDetail:
    """One product, with the score of each of its categories and instances."""
    return await _scores(request).product(who.tenant, product)


@router.get("/instances/{instance}/score", operation_id="getInstanceScore")
async def get_instance_score(request: Request, who: Reader, instance: Id, _: Empty) -> InstanceScoreDetail:
    """The score of one instance, whether it counts or not, with that of each category."""
    return await _scores(request).instance(who.tenant, instance)


@router.get("/categories", operation_id="listCategories")
async def list_categories(request: Request, who: Reader, scope: Scope) -> CategoryList:
    """The score of every category in scope."""
    return CategoryList(items=await _scores(request).categories(who.tenant, scope))


@router.get("/frameworks", operation_id="listFrameworks")
async def list_frameworks(request: Request, who: Reader, scope: Scope) -> FrameworkList:
    """The score of every framework in scope, over the controls that are mapped to it."""
    return FrameworkList(items=await _scores(request).frameworks(who.tenant, scope))


@router.get("/frameworks/{framework}", operation_id="getFramework")
async def get_framework(request: Request, who: Reader, framework: Id, scope: Scope) -> FrameworkDetail:
    """One framework, with the score of each of its ids."""
    return await _scores(request).framework(who.tenant, framework, scope)
