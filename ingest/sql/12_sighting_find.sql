-- 1 where there is something of that kind to be mended, else 0
SELECT least(count(*), 1) FROM sighting_audit()
