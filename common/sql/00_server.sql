-- For `check`: encoding, whether we may create tables here, clock, recovery.
SELECT current_setting('server_encoding'), has_schema_privilege(current_schema(), 'CREATE'), extract(epoch FROM now())::bigint, pg_is_in_recovery(),
        current_database(), current_setting('server_version')
