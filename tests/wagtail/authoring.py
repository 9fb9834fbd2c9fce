"""What editors have written by the time of a release, as SQL that fits the tables of that release.

Ids are left to the sequences; whatever is referred to is found by its name.
"""

AT = {
    "2.0": """
INSERT INTO auth_group (name) VALUES ('Authors');
INSERT INTO auth_user (username, password, email, first_name, last_name, is_superuser, is_staff, is_active, date_joined)
VALUES ('editor', '!', 'editor@{name}.example', 'Ed', 'Itor', false, true, true, '2018-03-01 08:00Z'),
    ('author', '!', 'author@{name}.example', 'Au', 'Thor', false, true, true, '2018-03-02 08:00Z');
INSERT INTO auth_user_groups (user_id, group_id)
SELECT u.id, g.id FROM auth_user u JOIN auth_group g
    ON g.name = CASE u.username WHEN 'editor' THEN 'Moderators' ELSE 'Authors' END ORDER BY u.id;
INSERT INTO wagtailusers_userprofile
    (user_id, submitted_notifications, approved_notifications, rejected_notifications, preferred_language)
SELECT id, true, false, true, 'de' FROM auth_user ORDER BY id;

INSERT INTO wagtailcore_page (path, depth, numchild, title, draft_title, slug, live, has_unpublished_changes, url_path,
    seo_title, show_in_menus, search_description, expired, locked, content_type_id, owner_id, first_published_at,
    last_published_at, latest_revision_created_at)
SELECT h.path || p.path, 2 + length(p.path) / 4, p.children, p.title, p.title || ' (draft)', p.slug, p.live, NOT p.live,
    h.url_path || p.url, '', true, 'About {name}', false, p.locked, h.content_type_id, u.id, '2018-04-01 09:00Z',
    '2018-04-02 09:00Z', '2018-04-03 09:00Z'
FROM wagtailcore_page h, auth_user u,
    (VALUES ('0001', 2, 'News of {name}', 'news', 'news/', true, false),
            ('00010001', 0, 'First', 'first', 'news/first/', true, true),
            ('00010002', 0, 'Zweite Ü', 'zweite', 'news/zweite/', false, false))
    AS p (path, children, title, slug, url, live, locked)
WHERE h.depth = 2 AND u.username = 'editor' ORDER BY p.path;
UPDATE wagtailcore_page SET numchild = 1 WHERE depth = 2;
INSERT INTO wagtailcore_pagerevision
    (page_id, submitted_for_moderation, created_at, user_id, content_json, approved_go_live_at)
SELECT p.id, number = 2, timestamptz '2018-04-02 10:00Z' + number * interval '1 h', p.owner_id,
    jsonb_build_object('title', p.title || ' ' || number, 'slug', p.slug,
        'content_type', p.content_type_id)::text, NULL
FROM wagtailcore_page p, generate_series(1, 2) AS number WHERE p.depth > 2 ORDER BY p.path, number;
UPDATE wagtailcore_page p
SET live_revision_id = (SELECT min(r.id) FROM wagtailcore_pagerevision r WHERE r.page_id = p.id) WHERE p.live;
INSERT INTO wagtailcore_grouppagepermission (group_id, page_id, permission_type)
SELECT g.id, p.id, kind FROM auth_group g, wagtailcore_page p, unnest(ARRAY['add', 'edit', 'lock']) AS kind
WHERE g.name = 'Authors' AND p.slug = 'news' ORDER BY kind;
INSERT INTO wagtailcore_pageviewrestriction (page_id, password, restriction_type)
SELECT id, 'sesame', 'password' FROM wagtailcore_page WHERE slug = 'zweite';

INSERT INTO wagtailcore_collection (path, depth, numchild, name)
SELECT path || part, 2, 0, called FROM wagtailcore_collection,
    (VALUES ('0001', 'Zebras of {name}'), ('0002', 'Apes of {name}')) AS c (part, called) WHERE depth = 1 ORDER BY part;
UPDATE wagtailcore_collection SET numchild = 2 WHERE depth = 1;
INSERT INTO wagtailcore_groupcollectionpermission (collection_id, group_id, permission_id)
SELECT c.id, g.id, p.id FROM wagtailcore_collection c, auth_group g, auth_permission p
WHERE c.name LIKE 'Apes%' AND g.name = 'Authors' AND p.codename = 'add_document';
INSERT INTO wagtaildocs_document (title, file, created_at, collection_id, uploaded_by_user_id)
SELECT 'Plan', 'documents/plan.txt', '2018-05-01 09:00Z', c.id, u.id FROM wagtailcore_collection c, auth_user u
WHERE c.name LIKE 'Apes%' AND u.username = 'author';
INSERT INTO wagtailimages_image (title, file, width, height, created_at, collection_id, uploaded_by_user_id)
SELECT 'Ape', 'original_images/ape.png', 640, 480, '2018-05-01 09:00Z', c.id, u.id
FROM wagtailcore_collection c, auth_user u WHERE c.name LIKE 'Apes%' AND u.username = 'author';
INSERT INTO wagtailimages_rendition (image_id, filter_spec, focal_point_key, file, width, height)
SELECT id, 'fill-80x60', '', 'images/ape.fill-80x60.png', 80, 60 FROM wagtailimages_image;
INSERT INTO taggit_tag (name, slug) VALUES ('animal', 'animal');
INSERT INTO taggit_taggeditem (tag_id, object_id, content_type_id)
SELECT t.id, i.id, c.id FROM taggit_tag t, wagtailimages_image i, django_content_type c
WHERE (c.app_label, c.model) = ('wagtailimages', 'image');

INSERT INTO wagtailembeds_embed
    (url, max_width, type, html, title, author_name, provider_name, thumbnail_url, width, height, last_updated)
SELECT 'https://video.example/' || video, width, 'video', '<b>', 'Video', '', '', '', 1, 1, '2018-05-02 09:00Z'
FROM (VALUES (1, 400), (2, NULL), (2, NULL), (3, NULL)) AS e (video, width);
INSERT INTO wagtailforms_formsubmission (page_id, form_data, submit_time)
SELECT id, '{{"answer": "{name}"}}', '2018-05-03 09:00Z' FROM wagtailcore_page WHERE slug = 'first';
INSERT INTO wagtailredirects_redirect (old_path, is_permanent, redirect_link, redirect_page_id, site_id)
SELECT '/old', true, '', p.id, s.id FROM wagtailcore_page p, wagtailcore_site s WHERE p.slug = 'news';
INSERT INTO wagtailsearch_query (query_string) VALUES ('{name}');
INSERT INTO django_session VALUES ('{name}', 'data', '2018-05-03 09:00Z');
""",
    "2.11": """
INSERT INTO wagtailcore_page (path, depth, numchild, title, draft_title, slug, live, has_unpublished_changes,
    url_path, seo_title, show_in_menus, search_description, expired, locked, content_type_id, owner_id, translation_key,
    locale_id)
SELECT path || '0003', 4, 0, 'Third', 'Third', 'third', true, false, url_path || 'third/', '', false, '', false, false,
    content_type_id, owner_id, '11111111-1111-4111-8111-111111111111', locale_id
FROM wagtailcore_page WHERE slug = 'news';
UPDATE wagtailcore_page SET numchild = 3 WHERE slug = 'news';
INSERT INTO wagtailcore_workflowpage (page_id, workflow_id)
SELECT p.id, w.id FROM wagtailcore_page p, wagtailcore_workflow w WHERE p.slug = 'news';
INSERT INTO wagtailcore_workflowstate (status, created_at, page_id, requested_by_id, workflow_id)
SELECT 'in_progress', '2020-12-01 09:00Z', p.id, p.owner_id, w.id FROM wagtailcore_page p, wagtailcore_workflow w
WHERE p.slug = 'first';
INSERT INTO wagtailcore_taskstate
    (status, started_at, comment, content_type_id, page_revision_id, task_id, workflow_state_id)
SELECT 'in_progress', '2020-12-01 09:00Z', 'please', c.id, r.id, t.id, s.id
FROM wagtailcore_workflowstate s JOIN wagtailcore_task t ON true JOIN django_content_type c ON c.model = 'taskstate'
JOIN LATERAL (SELECT max(id) AS id FROM wagtailcore_pagerevision WHERE page_id = s.page_id) r ON true;
UPDATE wagtailcore_workflowstate SET current_task_state_id = (SELECT id FROM wagtailcore_taskstate);
INSERT INTO wagtailcore_pagelogentry
    (label, action, data_json, "timestamp", content_changed, deleted, content_type_id, page_id, user_id)
SELECT p.title, e.action, e.data, '2020-12-02 09:00Z', true, false, p.content_type_id, p.id, p.owner_id
FROM wagtailcore_page p, (VALUES ('wagtail.create', '""'),
    ('wagtail.revert', '{{"revision": {{"id": 1, "created": "03 Apr 2018 10:15"}}}}'),
    ('wagtail.schedule.cancel', '{{"revision": {{"id": 2, "created": "03 Apr 2018 11:15", "go_live_at": null}}}}'),
    ('wagtail.publish', 'null')) AS e (action, data)
WHERE p.slug = 'first' ORDER BY e.action;
""",
    "4.0": """
INSERT INTO wagtailcore_comment
    (text, contentpath, "position", created_at, updated_at, page_id, user_id, revision_created_id)
SELECT 'Really?', 'title', '', '2022-09-01 09:00Z', '2022-09-01 09:00Z', id, owner_id, live_revision_id
FROM wagtailcore_page WHERE slug = 'first';
INSERT INTO wagtailcore_commentreply (text, created_at, updated_at, comment_id, user_id)
SELECT 'Yes', '2022-09-02 09:00Z', '2022-09-02 09:00Z', id, user_id FROM wagtailcore_comment;
INSERT INTO wagtailcore_pagesubscription (comment_notifications, page_id, user_id)
SELECT true, id, owner_id FROM wagtailcore_page WHERE slug = 'first';
INSERT INTO wagtailcore_modellogentry
    (label, action, data, "timestamp", content_changed, deleted, object_id, content_type_id, user_id, uuid)
SELECT 'Plan', e.action, e.data::jsonb, '2022-09-03 09:00Z', true, false, d.id::text, c.id, d.uploaded_by_user_id,
    '22222222-2222-4222-8222-222222222222'
FROM wagtaildocs_document d, django_content_type c, (VALUES ('wagtail.create', '{{}}'), ('wagtail.edit', 'null'),
    ('wagtail.rename', '{{"revision": {{"id": 1, "created": "03 Sep 2022 10:15"}}}}')) AS e (action, data)
WHERE (c.app_label, c.model) = ('wagtaildocs', 'document') ORDER BY e.action;
INSERT INTO wagtailcore_grouppagepermission (group_id, page_id, permission_type)
SELECT g.id, p.id, 'bulk_delete' FROM auth_group g, wagtailcore_page p WHERE g.name = 'Authors' AND p.slug = 'news';
INSERT INTO wagtailcore_revision (object_id, submitted_for_moderation, created_at, user_id, content,
    content_type_id, base_content_type_id, object_str)
SELECT id::text, false, '2022-09-04 09:00Z', owner_id,
    jsonb_build_object('title', 'Third', 'content_type', content_type_id), content_type_id, content_type_id,
    'Third' FROM wagtailcore_page WHERE slug = 'third';
""",
}


def written(version: str, name: str) -> str:
    """The statements of a tenant of this name at this release; empty if nobody wrote anything then."""
    return AT.get(version, "").format(name=name)
