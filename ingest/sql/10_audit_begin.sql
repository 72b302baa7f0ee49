-- $1 the copy window of notices in ms. Makes the temporary tables that the streams are read into.
SELECT audit_begin($1::bigint)
