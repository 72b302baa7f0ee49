-- Notices and repeated sightings that are not as the streams have them. Table, key and difference.
SELECT name, key, difference FROM sighting_audit()
