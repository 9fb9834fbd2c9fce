from typing import Any, ClassVar

from django import forms

from examples.projects.models import Document, Member, Project


class ProjectForm(forms.ModelForm):  # type: ignore[type-arg]  # generic for the type checker alone
    class Meta:
        model = Project
        fields: ClassVar = ["name", "description", "tags"]
        widgets: ClassVar = {
            "description": forms.Textarea(attrs={"rows": 3}),
            "tags": forms.CheckboxSelectMultiple,
        }


class DocumentForm(forms.ModelForm):  # type: ignore[type-arg]  # as above
    class Meta:
        model = Document
        fields: ClassVar = ["file"]

    def save(self, commit: bool = True) -> Document:  # noqa: FBT001, FBT002  Django's signature
        """Keeps the name and size of the upload: where it is stored it may be called otherwise."""
        upload = self.cleaned_data["file"]
        self.instance.title, self.instance.size = upload.name, upload.size
        saved: Document = super().save(commit)
        return saved


class MemberForm(forms.Form):
    """Somebody who joins a project. A person who is known by that address is not asked to join twice."""

    name = forms.CharField(max_length=120)
    email = forms.EmailField(max_length=254)

    def save(self, project: Project) -> Member:
        asked: dict[str, Any] = self.cleaned_data
        member, _ = Member.objects.get_or_create(email__iexact=asked["email"], defaults=asked)
        project.members.add(member)
        return member
