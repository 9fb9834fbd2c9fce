from django.db.backends.postgresql import features


class DatabaseFeatures(features.DatabaseFeatures):
    # A key is (tenant_id, id) here, so grouping by `id` does not give the other columns (PostgreSQL 18, "GROUP BY").
    allows_group_by_selected_pks = False
