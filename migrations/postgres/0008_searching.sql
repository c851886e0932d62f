-- Items whose `search_text` an earlier version wrote: a start looks for them and writes it anew. In a new store there are none.
CREATE INDEX items_by_earlier_search_text ON items (tenant, id)
    WHERE fields IS NOT NULL AND substr(search_text, 1, 1) <> 'S';
