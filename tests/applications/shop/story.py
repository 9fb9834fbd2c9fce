"""A shop's first day: stock by hand, a customer who registers, uses a voucher and buys, a clerk in the dashboard."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import IntegrityError, transaction
from django.db.models import Avg, Count, F, Sum
from django.test import Client
from oscar.apps.address.models import Country
from oscar.apps.basket.models import Basket
from oscar.apps.catalogue.categories import create_from_breadcrumbs
from oscar.apps.catalogue.models import Category, Product, ProductClass, ProductRecommendation
from oscar.apps.catalogue.reviews.models import ProductReview
from oscar.apps.order.models import Line, Order
from oscar.apps.partner.models import Partner, StockRecord
from oscar.apps.voucher.models import Voucher
from oscar.test import factories

from tenants.context import TenantContext, tenant_scope

TEMPLATE: dict[str, Any] = settings.TEMPLATES[0]
SITE: dict[str, Any] = {
    "LOGIN_URL": "/accounts/login/",
    "LOGIN_REDIRECT_URL": "/",
    "ROOT_URLCONF": "tests.applications.shop.urls",
    "MIDDLEWARE": [
        "tenants.isolation.middleware.TenantHostMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "oscar.apps.basket.middleware.BasketMiddleware",
        "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware",
    ],
    "TEMPLATES": [
        {
            **TEMPLATE,
            "DIRS": [],
            "OPTIONS": {
                "context_processors": [
                    *TEMPLATE["OPTIONS"]["context_processors"],
                    "django.template.context_processors.i18n",
                    "oscar.apps.search.context_processors.search_form",
                    "oscar.apps.checkout.context_processors.checkout",
                    "oscar.apps.communication.notifications.context_processors.notifications",
                    "oscar.core.context_processors.metadata",
                ]
            },
        }
    ],
}
PASSWORD = "a long password"
CODE = "WELCOME"
BOOKS = 3


def work(slug: str) -> dict[str, Any]:
    """Categories in a tree, products with attributes, stock, recommendations, a voucher: equal keys in both shops."""
    Country.objects.create(
        iso_3166_1_a2="NL", iso_3166_1_a3="NLD", printable_name="Netherlands", name="NL", is_shipping_country=True
    )
    clerk = User.objects.create_superuser("clerk", f"clerk@{slug}.example", PASSWORD)
    clerk.groups.add(Group.objects.get(name="All Oscar Dashboard Permissions"))  # a data migration made it
    books = [book(slug, number) for number in range(BOOKS)]
    fiction = create_from_breadcrumbs(f"Books > {slug} fiction")
    for each in books:
        each.categories.add(fiction)
    ProductRecommendation.objects.bulk_create(
        ProductRecommendation(primary=books[0], recommendation=other, ranking=rank)
        for rank, other in enumerate(books[1:])
    )
    restock(books)
    factories.create_voucher(code=CODE, name=f"Voucher of {slug}")
    return {
        "tree": [f"{'  ' * (each.depth - 1)}{each.name}" for each in Category.objects.order_by("path")],
        "in the tree": Product.objects.filter(categories__in=Category.get_root_nodes().get().get_descendants()).count(),
        "recommended": [each.title for each in books[0].recommended_products.all()],
        "stock": list(StockRecord.objects.order_by("partner_sku").values_list("partner_sku", "num_in_stock")),
        "attributes": [each.attr.pages for each in Product.objects.order_by("upc")],
        "refused": refused(),
        "groups": list(clerk.groups.values_list("name", flat=True)),
    }


def book(slug: str, number: int) -> Product:
    return factories.create_product(
        upc=f"upc-{number}",
        title=f"{slug} book {number}",
        product_class="Book",
        price=Decimal(number + 1) * 10,
        partner_name="Warehouse",
        partner_sku=f"sku-{number}",
        num_in_stock=10,
        attributes={"pages": f"{number} pages"},
    )


def restock(books: list[Product]) -> None:
    """An upsert: every row is there already."""
    warehouse = Partner.objects.get(name="Warehouse")
    StockRecord.objects.bulk_create(
        [
            StockRecord(product=each, partner=warehouse, partner_sku=f"sku-{number}", num_in_stock=20)
            for number, each in enumerate(books)
        ],
        update_conflicts=True,
        unique_fields=["partner", "partner_sku"],
        update_fields=["num_in_stock"],
    )


def refused() -> list[str]:
    """What must be unique in one shop is."""
    attempts: dict[str, Callable[[], Any]] = {
        "upc": lambda: Product.objects.create(upc="upc-0", title="Again"),
        "voucher": lambda: factories.create_voucher(code=CODE, name="Again"),
        "username": lambda: User.objects.create_user("clerk"),
    }
    found = []
    for name, attempt in attempts.items():
        try:
            with transaction.atomic():
                attempt()
        except IntegrityError:
            found.append(name)
    return found


def visit(client: Client, context: TenantContext) -> dict[str, Any]:
    """A customer registers, looks at a book, fills a basket and buys; then a clerk signs in at the dashboard."""
    slug = context.slug
    email = f"eve@{slug}.example"
    form = {
        "registration-email": email,
        "registration-password1": PASSWORD,
        "registration-password2": PASSWORD,
        "registration_submit": "Register",
    }
    registered = client.post("/accounts/login/", form)
    with tenant_scope(context):
        product = Product.objects.get(upc="upc-1")
        path = product.get_absolute_url()
    shown = client.get(path).content.decode()
    client.post(f"/basket/add/{product.pk}/", {"quantity": 2})
    client.post("/basket/vouchers/add/", {"code": CODE})
    basket = client.get("/basket/").content.decode()
    address = {"first_name": "Eve", "last_name": "Doe", "line1": f"1 {slug} Street", "line4": "Delft"}
    client.post("/checkout/shipping-address/", {**address, "postcode": "2611AA", "country": "NL"})
    client.get("/checkout/shipping-method/")
    client.get("/checkout/payment-method/")
    placed = client.post("/checkout/preview/", {"action": "place_order"}, follow=True)
    client.post("/accounts/logout/")
    signed_in = client.post(
        "/accounts/login/",
        {"login-username": f"clerk@{slug}.example", "login-password": PASSWORD, "login_submit": "Log in"},
    )
    orders = client.get("/dashboard/orders/").content.decode()
    products = client.get("/dashboard/catalogue/").content.decode()
    return {
        "registered": registered.status_code,
        "shown": sorted(set(re.findall(r"\w+-\w+ book \d", shown))),
        "voucher": f"Voucher of {slug}" in basket,
        "placed": (placed.redirect_chain[-1][0], placed.status_code),
        "signed in": signed_in.status_code,
        "orders seen": len(re.findall(r"/dashboard/orders/\d+/\"", orders)),
        "products seen": sorted(set(re.findall(r"\w+-\w+ book \d", products))),
    }


def reckon(slug: str) -> dict[str, Any]:
    """Aggregates over joins, group by a primary key, select for update; then a product goes, and what hangs on it."""
    bought = Product.objects.get(upc="upc-1")
    eve = User.objects.get(email=f"eve@{slug}.example")
    bought.reviews.create(user=eve, score=5, title="Good", body=f"Delivered by {slug}")
    best = (
        Product.objects.annotate(sold=Sum("line__quantity"), reviewed=Avg("reviews__score"), lines=Count("line"))
        .filter(sold__gt=0)
        .order_by("-sold")
    )
    with transaction.atomic():
        locked = StockRecord.objects.select_for_update().filter(num_allocated__gt=0).order_by("partner_sku")
        allocated = [(each.partner_sku, each.num_allocated, each.num_in_stock) for each in locked]
    told = {
        "orders": [(each.email, str(each.total_incl_tax), each.shipping_address.line1) for each in Order.objects.all()],
        "total": str(Order.objects.aggregate(total=Sum("total_incl_tax"))["total"]),
        "best": [(each.title, each.sold, each.reviewed, each.lines) for each in best],
        "allocated": allocated,
        "by category": list(
            Category.objects.annotate(books=Count("product", distinct=True))
            .order_by("path")
            .values_list("name", "books")
        ),
        "value of stock": str(StockRecord.objects.aggregate(value=Sum(F("price") * F("num_in_stock")))["value"]),
        "baskets": list(Basket.objects.order_by("id").values_list("status", flat=True)),
        "users": sorted(User.objects.values_list("email", flat=True)),
        "vouchers": list(Voucher.objects.values_list("code", "num_orders", "num_basket_additions")),
    }
    bought.delete()
    return {
        **told,
        "left": {
            "products": Product.objects.count(),
            "stock": StockRecord.objects.count(),
            "reviews": ProductReview.objects.count(),
            "lines without a product": Line.objects.filter(product=None).count(),
            "recommended": ProductRecommendation.objects.count(),
            "classes": ProductClass.objects.count(),
        },
    }
