-- Why this server takes no writes, NULL where it does.
SELECT CASE WHEN pg_is_in_recovery()
                THEN 'takes no writes: it is a standby; name the primary, or all of them and target_session_attrs=read-write, in DATABASE_URL'
        WHEN current_setting('transaction_read_only') = 'on'
                THEN 'takes no writes: default_transaction_read_only is on (of the server, the database or the role)' END
