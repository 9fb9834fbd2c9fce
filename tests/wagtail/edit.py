"""An editor's morning in one tenant, told as JSON. Run inside `manage.py tenant_shell`."""

import json

from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core.files.base import ContentFile
from django.db import connection, transaction
from wagtail.documents.models import Document
from wagtail.models import Collection, Page, PageLogEntry, ReferenceIndex, Site

from tenants.context import current


def story() -> dict[str, object]:
    """Users and groups, a page tree, drafts and revisions, a document in the bucket, a search, a move and a delete."""
    slug = current().slug
    editor = get_user_model().objects.create_user("editor", f"editor@{slug}.example", "a long password")
    editor.groups.add(Group.objects.get(name="Moderators"))
    editor.user_permissions.add(Permission.objects.get(codename="access_admin"))

    home = Site.objects.get(is_default_site=True).root_page
    news = home.add_child(instance=Page(title=f"News of {slug}", slug="news", owner=editor))
    for number in range(3):
        news.add_child(instance=Page(title=f"{slug.title()} item {number}", slug=f"item-{number}", owner=editor))
    first = Page.objects.get(slug="item-0")
    first.title = f"{slug.title()} item zero"
    first.save_revision(user=editor).publish(user=editor)
    first.refresh_from_db()
    copied = first.copy(to=home, update_attrs={"slug": "copy", "title": f"{slug.title()} copy"})
    Page.objects.get(slug="item-1").move(home, pos="first-child")
    Page.objects.get(slug="item-2").delete()
    with transaction.atomic():  # names no alias, as Wagtail itself does
        news.add_child(instance=Page(title="Undone", slug="undone"))
        transaction.set_rollback(True)

    collection = Collection.get_first_root_node().add_child(name=f"Files of {slug}")
    document = Document(title="Plan", collection=collection, uploaded_by_user=editor)
    document.file.save("plan.txt", ContentFile(f"the plan of {slug}".encode()))
    document.save()
    with document.open_file() as file:
        content = file.read().decode()

    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database(), current_schema(), session_user")
        place = cursor.fetchone()
    return {
        "place": list(place),
        "signs_in": authenticate(username="editor", password="a long password") == editor,
        "may_edit": editor.has_perm("wagtailadmin.access_admin"),
        "titles": sorted(Page.objects.filter(depth__gt=2).values_list("title", flat=True)),
        "tree": sorted(page.url_path for page in home.get_descendants()),
        "own": sorted({page.title for page in Page.objects.search(slug)}),
        "others": [page.title for page in Page.objects.search("globex" if slug == "acme" else "acme")],
        "autocomplete": sorted({page.title for page in Page.objects.autocomplete(slug[:3])}),
        "copied_from": copied.title,
        "log": PageLogEntry.objects.count() > 0,
        "references": ReferenceIndex.objects.count(),
        "document": content,
        "types": dict(ContentType.objects.order_by("id").values_list("id", "model")),
        "problems": [str(problem) for problem in Page.find_problems() if problem],
    }


print(json.dumps(story()))  # noqa: T201  the answer
