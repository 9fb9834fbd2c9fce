from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from tenants.models import Domain

MOST_SHOWN = 50


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """How to reach a tenant. It names them on a developer's machine only: customers are not listed in public."""
    listed = settings.ENVIRONMENT == "development"
    tenants = [
        {
            "name": domain.tenant.name,
            "state": domain.tenant.state,
            "url": settings.TENANT_URL.format(slug=domain.tenant.slug),
            "hue": domain.tenant_id.int % 360,
        }
        for domain in (_domains() if listed else ())
    ]
    url = settings.TENANT_URL.format(slug="<slug>")
    return render(request, "home.html", {"tenants": tenants, "listed": listed, "url": url, "most": MOST_SHOWN})


def _domains() -> list[Domain]:
    columns = ("domain", "tenant__slug", "tenant__name", "tenant__state")
    primary = Domain.objects.filter(is_primary=True).select_related("tenant").only(*columns)
    return list(primary.order_by("tenant__slug")[:MOST_SHOWN])
