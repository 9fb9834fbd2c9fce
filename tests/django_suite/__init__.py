"""Django's own tests of its ORM, run inside one tenant of each tier while a neighbour's rows lie in the same tables.

`make django-tests` fetches Django's source distribution and prints, per module, the share that passes on plain
PostgreSQL, in the schema tier and in the pool, and what passes on plain PostgreSQL only.
"""

MODULES = (
    "aggregation aggregation_regress annotations basic bulk_create constraints custom_columns"
    " custom_managers custom_pk dates datetimes db_functions defer delete delete_regress distinct_on_fields expressions"
    " expressions_case expressions_window extra_regress filtered_relation force_insert_update foreign_object"
    " from_db_value generic_relations get_or_create known_related_objects lookup m2m_intermediary m2m_multiple"
    " m2m_recursive m2m_regress m2m_through m2m_through_regress many_to_many many_to_one model_inheritance"
    " model_inheritance_regress mutually_referential nested_foreign_keys null_fk one_to_one or_lookups ordering"
    " prefetch_related proxy_models queries raw_query reserved_names select_for_update select_related"
    " select_related_onetoone select_related_regress string_lookup timezones transaction_hooks transactions"
    " unmanaged_models update"
).split()

# Settings that Django's own runner has while tests run (tests/runtests.py); the others cannot matter here.
AS_DJANGO_RUNS_THEM = {
    "ROOT_URLCONF": "urls",
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    "USE_TZ": False,
    "TIME_ZONE": "America/Chicago",
}
