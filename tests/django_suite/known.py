"""Tests that pass on plain PostgreSQL and not in a tenant, each with its cause; see docs/known-limits.md."""

ALIAS = "a tenant's alias is not called default"
ONE_DATABASE = "it wants a second database"
SEQUENCES = "it sets a sequence back"
ITS_OWN_WORDS = "it compares words of ours, not what the database answers"
SECOND_SESSION = "it wants a second session of the tenant in one thread"
WHOLE_KEY = "it groups by the primary key alone"

EVERYWHERE = {
    "basic.tests.ModelRefreshTests.test_refresh_unsaved": ALIAS,
    "m2m_through_regress.tests.ThroughLoadDataTestCase.test_sequence_creation": SEQUENCES,
    "model_inheritance_regress.tests.ModelInheritanceTest.test_ptr_accessor_assigns_state": ALIAS,
    "prefetch_related.tests.MultiDbTests.test_using_is_honored_custom_qs": ONE_DATABASE,
    "prefetch_related.tests.MultiDbTests.test_using_is_honored_fkey": ONE_DATABASE,
    "prefetch_related.tests.MultiDbTests.test_using_is_honored_inheritance": ONE_DATABASE,
    "prefetch_related.tests.MultiDbTests.test_using_is_honored_m2m": ONE_DATABASE,
    "proxy_models.tests.ProxyModelAdminTests.test_delete_str_in_model_admin": ITS_OWN_WORDS,
    "queries.test_bulk_update.BulkUpdateTests.test_database_routing": ONE_DATABASE,
    "queries.test_bulk_update.BulkUpdateTests.test_database_routing_batch_atomicity": ONE_DATABASE,
    "queries.test_sqlcompiler.SQLCompilerTest.test_repr": ITS_OWN_WORDS,
    "raw_query.tests.RawQueryTests.test_rawqueryset_repr": ITS_OWN_WORDS,
}
POOL = {
    **EVERYWHERE,
    "aggregation_regress.tests.AggregationTests.test_aggregate_duplicate_columns": WHOLE_KEY,
    "aggregation_regress.tests.AggregationTests.test_aggregate_duplicate_columns_only": WHOLE_KEY,
    "aggregation_regress.tests.AggregationTests.test_aggregate_duplicate_columns_select_related": WHOLE_KEY,
    "aggregation_regress.tests.AggregationTests.test_aggregate_unmanaged_model_as_tables": WHOLE_KEY,
    "aggregation_regress.tests.AggregationTests.test_aggregate_unmanaged_model_columns": WHOLE_KEY,
    "delete_regress.tests.DeleteLockingTest.test_concurrent_delete": SECOND_SESSION,
    "raw_query.tests.RawQueryTests.test_annotations": WHOLE_KEY,
    "select_for_update.tests.SelectForUpdateTests.test_block": SECOND_SESSION,
}
KNOWN = {"pool": POOL, "schema": EVERYWHERE, "database": EVERYWHERE}
