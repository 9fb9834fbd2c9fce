"""Every address of the control plane's own process. Tenants' pages are served by another one."""

from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from controlplane.admin.site import site
from controlplane.health import healthz, readyz
from controlplane.jwks import key_set

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/", include("controlplane.api.urls")),
    path(".well-known/jwks.json", key_set),
    path("healthz", healthz),
    path("readyz", readyz),
    path("admin/", site.urls),
    path("", RedirectView.as_view(pattern_name="admin:index")),
]
handler400 = "controlplane.api.fallbacks.bad_request"
handler404 = "controlplane.api.fallbacks.not_found"
handler500 = "controlplane.api.fallbacks.server_error"
