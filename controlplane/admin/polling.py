"""What a fragment that polls answers when it cannot show anything."""

from urllib.parse import quote

from django.http import HttpResponse
from django.urls import reverse


def to_login(page: str) -> HttpResponse:
    """Signed out meanwhile: htmx leaves the page for the login, instead of swapping the login into the region."""
    return HttpResponse(status=204, headers={"HX-Redirect": f"{reverse('admin:login')}?next={quote(page)}"})
