"""Projects, their documents, and who works on them. An ordinary Django app: it knows nothing of tenants."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Lower


class Tag(models.Model):
    """A word that projects share. A new installation starts with a few."""

    name = models.CharField(max_length=40, unique=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class Member(models.Model):
    """A person who works on projects. Nobody joins twice: one address, in whatever case."""

    name = models.CharField(max_length=120)
    email = models.EmailField()
    joined_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                Lower("email"), name="member_email_once", violation_error_message="This address is already a member's."
            )
        ]

    def __str__(self) -> str:
        return self.name


class Project(models.Model):
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    tags = models.ManyToManyField(Tag, related_name="projects", blank=True)
    members = models.ManyToManyField(Member, related_name="projects", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["name"], name="project_name_once", violation_error_message="There is a project of this name."
            )
        ]

    def __str__(self) -> str:
        return self.name


class Document(models.Model):
    """A file of a project."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="documents")
    file = models.FileField(upload_to="documents/%Y/%m", max_length=255)
    title = models.CharField(max_length=255, default="", help_text="The file's name as it was uploaded.")
    size = models.PositiveBigIntegerField(default=0, help_text="In bytes.")
    uploaded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-uploaded_at"]
        indexes: ClassVar = [models.Index(fields=["project", "-uploaded_at"], name="document_newest_first")]

    def __str__(self) -> str:
        return self.title
