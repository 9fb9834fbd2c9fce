"""An editor's morning: pages in a tree, drafts and revisions, files, a search, a move and a delete, then the admin."""

import re
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.core.files.base import ContentFile
from django.db import transaction
from django.db.models import Count, Max
from django.test import Client
from taggit.models import Tag
from wagtail.documents.models import Document
from wagtail.models import Collection, GroupPagePermission, Page, PageLogEntry, ReferenceIndex, Revision, Site

from tenants.context import TenantContext, tenant_scope

SITE = {
    "ROOT_URLCONF": "tests.wagtail.urls",
    "MIDDLEWARE": [
        "tenants.isolation.middleware.TenantHostMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "wagtail.contrib.redirects.middleware.RedirectMiddleware",
    ],
    "TEMPLATES": [{**settings.TEMPLATES[0], "DIRS": []}],
    "LOGIN_URL": "wagtailadmin_login",
}
PASSWORD = "a long password"


def work(slug: str) -> dict[str, Any]:
    """Users and groups, a page tree, drafts and revisions, a document in the bucket, upserts."""
    name = slug.title()
    editor = User.objects.create_user("editor", f"editor@{slug}.example", PASSWORD)
    editor.groups.add(Group.objects.get(name="Moderators"))
    editor.user_permissions.add(Permission.objects.get(codename="access_admin"))
    author = User.objects.create_user("author", f"author@{slug}.example", PASSWORD)

    home = Site.objects.get(is_default_site=True).root_page
    news = home.add_child(instance=Page(title=f"News of {slug}", slug="news", owner=editor))
    for number in range(3):
        news.add_child(instance=Page(title=f"{name} item {number}", slug=f"item-{number}", owner=editor))
    first = Page.objects.get(slug="item-0")
    first.title = f"{name} item zero"
    first.save_revision(user=editor).publish(user=editor)
    first.refresh_from_db()
    first.copy(to=home, update_attrs={"slug": "copy", "title": f"{name} copy"})
    Page.objects.get(slug="item-1").move(home, pos="first-child")
    Page.objects.get(slug="item-2").delete()
    with transaction.atomic():  # names no alias, as Wagtail itself does
        news.add_child(instance=Page(title="Undone", slug="undone"))
        transaction.set_rollback(True)

    news.refresh_from_db()  # the move has shifted its path
    authors = Group.objects.create(name=f"Authors of {slug}")
    author.groups.add(authors)
    change = Permission.objects.get(content_type__app_label="wagtailcore", codename="change_page")
    GroupPagePermission.objects.create(group=authors, page=news, permission=change)
    collection = Collection.get_first_root_node().add_child(name=f"Files of {slug}")
    document = Document(title="Plan", collection=collection, uploaded_by_user=editor)
    document.file.save("plan.txt", ContentFile(f"the plan of {slug}".encode()))
    document.save()
    with document.open_file() as file:
        content = file.read().decode()
    for title in ("First", "Second"):  # the second time every row is there
        Tag.objects.bulk_create(
            [Tag(name=f"{title} {number}", slug=f"tag-{number}") for number in range(3)],
            update_conflicts=True,
            unique_fields=["slug"],
            update_fields=["name"],
        )
    return {
        "titles": sorted(Page.objects.filter(depth__gt=2).values_list("title", flat=True)),
        "tree": [page.url_path for page in home.get_descendants()],
        "children": list(Page.objects.filter(depth__gt=1).order_by("path").values_list("slug", "numchild")),
        "found": sorted({page.title for page in Page.objects.search(slug.partition("-")[0])}),
        "others found": [page.title for page in Page.objects.search("globex" if slug[0] == "a" else "acme")],
        "completed": sorted({page.title for page in Page.objects.autocomplete(slug[:3])}),
        "may edit": [news.permissions_for_user(each).can_edit() for each in (editor, author)],
        "may publish": [news.permissions_for_user(each).can_publish() for each in (editor, author)],
        "document": content,
        "tags": list(Tag.objects.order_by("slug").values_list("name", "slug")),
        "problems": [str(problem) for problem in Page.find_problems() if problem],
        "types": dict(ContentType.objects.order_by("id").values_list("id", "model")),
    }


def visit(client: Client, context: TenantContext) -> dict[str, Any]:
    """A reader at the front door; an editor who signs in to the admin, edits, publishes, searches and unpublishes."""
    slug = context.slug
    with tenant_scope(context):
        news = Page.objects.get(slug="news")
        zero = Page.objects.get(slug="item-0")
    front = client.get("/news/item-0/").content.decode()
    turned_away = client.get("/admin/").status_code
    signed_in = client.post("/admin/login/", {"username": "editor", "password": PASSWORD})
    dashboard = client.get("/admin/").content.decode()
    listing = client.get(f"/admin/pages/{news.pk}/").content.decode()
    form = {
        "title": f"{slug.title()} item anew",
        "slug": "item-0",
        "seo_title": "",
        "search_description": "",
        "go_live_at": "",
        "expire_at": "",
        "comments-TOTAL_FORMS": "0",
        "comments-INITIAL_FORMS": "0",
        "comments-MIN_NUM_FORMS": "0",
        "comments-MAX_NUM_FORMS": "",
        "action-publish": "action-publish",
    }
    edited = client.post(f"/admin/pages/{zero.pk}/edit/", form)
    history = client.get(f"/admin/pages/{zero.pk}/history/")
    searched = client.get("/admin/pages/search/", {"q": "item"}).content.decode()
    documents = client.get("/admin/documents/").content.decode()
    return {
        "front": f"{slug.title()} item zero" in front,
        "turned away": turned_away,
        "signed in": signed_in.status_code,
        "dashboard": "editor" in dashboard,
        "listed": _names(listing, slug),
        "edited": edited.status_code,
        "history": history.status_code,
        "searched": _names(searched, slug),
        "front again": f"{slug.title()} item anew" in client.get("/news/item-0/").content.decode(),
        "documents": "Plan" in documents,
        "signed out": client.post("/admin/logout/").status_code,
        "turned away again": client.get("/admin/").status_code,
    }


def _names(page: str, slug: str) -> list[str]:
    return sorted(set(re.findall(rf"{slug.title()} \w+(?: \w+)?", page)))


def reckon(_slug: str) -> dict[str, Any]:
    """Revisions, the log, references and sessions counted; aggregates by several ways; a subtree goes."""
    news = Page.objects.get(slug="news")
    told = {
        "revisions": list(
            Page.objects.annotate(revisions=Count("_revisions"))
            .filter(revisions__gt=0)
            .order_by("path")
            .values_list("title", "revisions")
        ),
        "by owner": list(
            User.objects.annotate(pages=Count("owned_pages"), deepest=Max("owned_pages__depth"))
            .order_by("username")
            .values_list("username", "pages", "deepest")
        ),
        "log": sorted(PageLogEntry.objects.values_list("action").annotate(times=Count("pk"))),
        "references": ReferenceIndex.objects.count(),
        "sessions": Session.objects.count(),
        "latest": Revision.objects.latest("created_at").object_str,
    }
    news.delete()
    return {
        **told,
        "left": list(Page.objects.filter(depth__gt=2).order_by("path").values_list("slug", flat=True)),
        "revisions left": Revision.objects.count(),
        "may change": GroupPagePermission.objects.filter(permission__codename="change_page").count(),
        "problems": [str(problem) for problem in Page.find_problems() if problem],
    }
