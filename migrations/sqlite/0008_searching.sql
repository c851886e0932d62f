-- Items whose `search_text` an earlier version wrote: the same index as on Postgres.
CREATE INDEX items_by_earlier_search_text ON items (tenant, id)
    WHERE fields IS NOT NULL AND substr(search_text, 1, 1) <> 'S';
