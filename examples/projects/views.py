"""The pages. A form that was refused is shown again on the page it was sent from, with 422 (RFC 9110 §15.5.21)."""

from http import HTTPStatus

from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from examples.projects.forms import DocumentForm, MemberForm, ProjectForm
from examples.projects.models import Document, Project

A_PAGE = 25


@require_http_methods(["GET", "HEAD", "POST"])
def project_list(request: HttpRequest) -> HttpResponse:
    form = ProjectForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        with transaction.atomic():  # a project and its tags, or neither
            project = form.save()
        return redirect("projects:project", pk=project.pk)
    projects = Project.objects.prefetch_related("tags").annotate(
        document_count=Count("documents", distinct=True), member_count=Count("members", distinct=True)
    )
    # An aggregate drops the model's own order (Django 3.1, "Miscellaneous").
    page = Paginator(projects.order_by("-created_at", "-pk"), A_PAGE).get_page(request.GET.get("page"))
    return render(request, "projects/list.html", {"page": page, "form": form}, status=_status(form))


@require_GET
def project_page(request: HttpRequest, pk: int) -> HttpResponse:
    return _project(request, get_object_or_404(Project, pk=pk))


@require_POST
def edit_project(request: HttpRequest, pk: int) -> HttpResponse:
    project = get_object_or_404(Project, pk=pk)
    form = ProjectForm(request.POST, instance=project)
    if not form.is_valid():
        return _project(request, get_object_or_404(Project, pk=pk), project_form=form)
    with transaction.atomic():
        form.save()
    return redirect("projects:project", pk=pk)


@require_POST
def add_document(request: HttpRequest, pk: int) -> HttpResponse:
    project = get_object_or_404(Project, pk=pk)
    form = DocumentForm(request.POST, request.FILES, instance=Document(project=project))
    if not form.is_valid():
        return _project(request, project, document_form=form)
    form.save()
    return redirect("projects:project", pk=pk)


@require_POST
def add_member(request: HttpRequest, pk: int) -> HttpResponse:
    project = get_object_or_404(Project, pk=pk)
    form = MemberForm(request.POST)
    if not form.is_valid():
        return _project(request, project, member_form=form)
    with transaction.atomic():
        form.save(project)
    return redirect("projects:project", pk=pk)


@require_GET
def download(_request: HttpRequest, pk: int) -> HttpResponse:
    """To the storage's own link, made now: it lives for minutes only."""
    return redirect(get_object_or_404(Document, pk=pk).file.url)


def _project(
    request: HttpRequest,
    project: Project,
    *,
    project_form: ProjectForm | None = None,
    document_form: DocumentForm | None = None,
    member_form: MemberForm | None = None,
) -> HttpResponse:
    project_form = project_form or ProjectForm(instance=project)
    document_form = document_form or DocumentForm()
    member_form = member_form or MemberForm()
    forms = {"project_form": project_form, "document_form": document_form, "member_form": member_form}
    status = _status(project_form, document_form, member_form)
    return render(request, "projects/project.html", {"project": project, **forms}, status=status)


def _status(*forms: ProjectForm | DocumentForm | MemberForm) -> HTTPStatus:
    refused = any(form.is_bound and not form.is_valid() for form in forms)
    return HTTPStatus.UNPROCESSABLE_ENTITY if refused else HTTPStatus.OK
