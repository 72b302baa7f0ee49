-- Which data this is, which database holds it, and its schema: copies of the data have the same id, and another place.
SELECT pipeline_identity_get(), pipeline_place(), current_schema()
