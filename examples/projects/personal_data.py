"""What the tables of this app hold of people. Members are people; projects and documents may speak of them."""

from tenants.classification import Blank, Delete, NoPersonalData, Policy

PERSONAL_DATA: dict[str, Policy] = {
    "projects_member": Delete(subject={"email": "email"}),
    "projects_project_members": Delete(),
    "projects_project": Blank(columns={"description": ""}, mentions=("description",), keeps=("name",)),
    "projects_document": Delete(mentions=("file", "title")),
    "projects_project_tags": NoPersonalData("which words a project bears"),
    "projects_tag": NoPersonalData("words that projects share"),
}
