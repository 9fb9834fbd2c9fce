from django.urls import path

from examples.projects import views

app_name = "projects"
urlpatterns = [
    path("", views.project_list, name="list"),
    path("projects/<int:pk>/", views.project_page, name="project"),
    path("projects/<int:pk>/edit/", views.edit_project, name="edit"),
    path("projects/<int:pk>/documents/", views.add_document, name="add-document"),
    path("projects/<int:pk>/members/", views.add_member, name="add-member"),
    path("documents/<int:pk>/", views.download, name="download"),
]
