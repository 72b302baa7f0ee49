-- The ten largest holders of a vault. :term, :curve
SELECT account_id, shares FROM position WHERE term_id = :'term' AND curve_id = :'curve' AND shares > 0 ORDER BY shares DESC LIMIT 10;
