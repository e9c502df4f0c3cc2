"""Routes about scores."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from plumbline_contracts.events import Product

from plumbline_score_api.access import NoQuery, Reader
from plumbline_score_api.problems import RESPONSES
from plumbline_score_api.scores.schemas import ProductDetail, ProductList, SecureScore
from plumbline_score_api.services import Services

router = APIRouter(prefix="/v1", tags=["scores"], responses=RESPONSES)


def _services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


@router.get("/secure-score", operation_id="getSecureScore")
async def get_secure_score(request: Request, who: Reader, _: Annotated[NoQuery, Query()]) -> SecureScore:
    """The tenant's Secure Score, with each product's."""
    return await _services(request).scores.secure_score(who.tenant)


@router.get("/products", operation_id="listProducts")
async def list_products(request: Request, who: Reader, _: Annotated[NoQuery, Query()]) -> ProductList:
    """The score of every product."""
    return ProductList(items=await _services(request).scores.products(who.tenant))


@router.get("/products/{product}", operation_id="getProduct")
async def get_product(request: Request, who: Reader, product: Product, _: Annotated[NoQuery, Query()]) -> ProductDetail:
    """One product, with the score of each of its instances."""
    return await _services(request).scores.product(who.tenant, product)
